"""What the node's settings say of its rules. Values only; `enforcer.wiring` fills them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from enforcer.rules.connmark import ConnmarkLayout
from zones.zone import QUARANTINE


class Mode(StrEnum):
    """ENFORCE drops what the tier denies; OBSERVE counts and logs it, and drops nothing."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class Failure(StrEnum):
    """What pods may do on a node that never had a tier."""

    CLOSED = "closed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class RulesetOptions:
    """`log_group`: the NFLOG group. `log_rate`, `log_burst`: records a second, at most, for each source.

    A `log_rate` of 0 is no limit. `labels`: whether the kernel has labels for connections, which their ends need.
    `zones`: where the mode is ENFORCE, the zones whose traffic a rule's denial drops; None: all.
    `services`: the prefixes of Services' addresses.
    """

    mode: Mode = Mode.ENFORCE
    log_group: int = 9470
    log_rate: int = 1000
    log_burst: int = 10_000
    marks: ConnmarkLayout = field(default_factory=ConnmarkLayout)
    labels: bool = field(default=True, compare=False)
    zones: frozenset[str] | None = None
    services: tuple[str, ...] = ()

    def values(self) -> dict[str, Any]:
        """In the settings file's words."""
        nflog = {"group": self.log_group, "rate": self.log_rate, "burst": self.log_burst}
        values: dict[str, Any] = {"mode": self.mode.value, "nflog": nflog, "connectionMark": self.marks.mask}
        if self.services:
            values["serviceNetworks"] = list(self.services)
        return values if self.zones is None else values | {"enforcement": {"zones": sorted(self.zones)}}

    def observes(self, *zones: str) -> bool:
        """Whether a rule's denial between these zones drops nothing: either end's zone is enough to have it drop.

        Quarantine is asked for pod by pod: it doesn't wait for a zone's turn.
        """
        if QUARANTINE in zones:
            return self.mode is Mode.OBSERVE
        return self.mode is Mode.OBSERVE or (self.zones is not None and self.zones.isdisjoint(zones))

    @classmethod
    def plainly(cls, settings: Mapping[str, Any]) -> Self | None:
        """What settings say that nobody has validated yet; None where only that can tell what they mean."""
        usual = cls().values()
        mode, mask = settings.get("mode", usual["mode"]), settings.get("connectionMark", usual["connectionMark"])
        nflog = settings.get("nflog", {})
        if mode not in tuple(Mode) or not isinstance(nflog, Mapping):
            return None
        numbers = [nflog.get(name, default) for name, default in usual["nflog"].items()]
        if any(type(number) is not int for number in (*numbers, mask)):
            return None
        enforcement = settings.get("enforcement") or {}
        if not isinstance(enforcement, Mapping) or enforcement.get("nodeSelector") is not None:
            return None  # the mode depends on the node
        zones, services = enforcement.get("zones"), settings.get("serviceNetworks", [])
        if not _are_texts(services) or not (zones is None or _are_texts(zones)):
            return None
        group, rate, burst = numbers
        chosen = None if zones is None else frozenset(zones)
        return cls(Mode(mode), group, rate, burst, ConnmarkLayout(mask), zones=chosen, services=tuple(services))


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
