"""What is not told, told: every record that was lost or held back, where, and how many. `enforcer.service` asks."""

from __future__ import annotations

from dataclasses import dataclass, field

from enforcer.service_parts import ServiceParts
from zones.siem.alerts import AlertKind


@dataclass(slots=True)
class LossAlerts:
    """`totals`: records lost since the start, by where."""

    parts: ServiceParts
    totals: dict[str, int] = field(default_factory=dict)
    _told: dict[str, int] = field(default_factory=dict)

    async def tell(self, now: float) -> None:
        """What came since the last time, as alerts."""
        outbox, log, ends = self.parts.outbox, self.parts.log, self.parts.ends
        for destination, count in (await outbox.take_lost()).items():
            message = f"the spool was full: records for destination '{destination}' were dropped"
            self._lose(destination, message, now, count)
        if not outbox.refusing:
            self._lose_to("memory", "records came faster than the disk takes them", outbox.lost_in_memory, now)
            self._lose_to("disk", "the spool's disk refused records", outbox.lost_on_disk, now)
        if log.source is not None:
            lost = log.audit.lost(log.source)
            self._lose_to("kernel", "the kernel logged faster than this agent reads", lost, now)
            await self._tell_held_back(now)
        if ends is not None:
            message = "connections began and ended faster than this agent hears; each may be an end that isn't told"
            self._lose_to("connections", message, ends.lost, now)

    async def _tell_held_back(self, now: float) -> None:
        for rule, count in await self.parts.log.audit.held_back():
            terminal = self.parts.enforcement.terminals.get(rule)
            name = rule if terminal is None else terminal.origin.name
            message = f"rule '{name}' matched faster than its log's limit: packets were counted that no record tells of"
            self.totals["limit"] = self.totals.get("limit", 0) + count
            self.parts.reporter.event(AlertKind.LOG_LIMITED, name, message, now, count)

    def _lose_to(self, where: str, message: str, total: int, now: float) -> None:
        """From a total that only grows; it begins anew with a new socket."""
        before = self._told.get(where, 0)
        self._told[where] = total
        if total > before:
            self._lose(where, message, now, total - before)

    def _lose(self, where: str, message: str, now: float, count: int) -> None:
        self.totals[where] = self.totals.get(where, 0) + count
        self.parts.reporter.event(AlertKind.LOG_LOSS, where, message, now, count)
