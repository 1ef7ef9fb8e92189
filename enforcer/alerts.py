"""What the SIEM must hear about: at once the first time, then counted; and conditions that begin and end. Pure.

All state is bounded. Where denied flows are too many kinds, they are told by zone pair, and beyond that counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from enforcer.flows import Named, described, origin_json
from enforcer.records import Json, Stamp, present, timestamp
from zones.net import protocol_name


class AlertKind(StrEnum):
    DENIED_FLOW = "denied-flow"
    TIER_TAMPERED = "tier-tampered"
    TIER_REFUSED = "tier-refused"
    KERNEL_TAMPERED = "kernel-tampered"
    ZONE_UNKNOWN = "zone-unknown"
    ZONE_CLAIMED = "zone-claimed"
    ADDRESS_DISPUTED = "address-disputed"
    ADDRESS_MISPLACED = "address-misplaced"
    LOG_LOSS = "log-loss"
    SYNC_STALE = "sync-stale"
    NODE_PROBLEM = "node-problem"
    DESTINATION_TROUBLE = "destination-trouble"


class Severity(StrEnum):
    """PAN-OS's words, which SOC analysts know."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


SEVERITIES: Mapping[AlertKind, Severity] = {
    AlertKind.DENIED_FLOW: Severity.MEDIUM,
    AlertKind.TIER_TAMPERED: Severity.CRITICAL,
    AlertKind.TIER_REFUSED: Severity.HIGH,
    AlertKind.KERNEL_TAMPERED: Severity.CRITICAL,
    AlertKind.ZONE_UNKNOWN: Severity.MEDIUM,
    AlertKind.ZONE_CLAIMED: Severity.HIGH,
    AlertKind.ADDRESS_DISPUTED: Severity.HIGH,
    AlertKind.ADDRESS_MISPLACED: Severity.HIGH,
    AlertKind.LOG_LOSS: Severity.HIGH,
    AlertKind.SYNC_STALE: Severity.HIGH,
    AlertKind.NODE_PROBLEM: Severity.MEDIUM,
    AlertKind.DESTINATION_TROUBLE: Severity.HIGH,
}


class State(StrEnum):
    """RAISED: it happens. COUNTED: how often it went on happening. RESOLVED: a condition is over."""

    RAISED = "raised"
    COUNTED = "counted"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to tell. `count` is how often it happened in this record's time; `details` is the kind's own."""

    kind: AlertKind
    message: str
    at: float
    details: Mapping[str, object]
    severity: Severity
    state: State = State.RAISED
    count: int = 1
    since: float | None = None

    def record(self, stamp: Stamp) -> Json:
        told: Json = (
            stamp.record("alert", self.at)
            | {
                "alert": self.kind.value,
                "severity": self.severity.value,
                "state": self.state.value,
                "message": self.message,
                "count": self.count,
                "suppressed": self.count if self.state is State.COUNTED else 0,
            }
            | present(since=None if self.since is None else timestamp(self.since))
            | dict(self.details)
        )
        return told


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds for a while. `subject` tells it from others of its kind."""

    kind: AlertKind
    subject: str
    message: str
    severity: Severity | None = None

    def alert(self, at: float, state: State, since: float | None = None) -> Alert:
        severity = Severity.INFORMATIONAL if state is State.RESOLVED else self.severity or SEVERITIES[self.kind]
        return Alert(self.kind, self.message, at, {"subject": self.subject}, severity, state, since=since)


@dataclass(slots=True)
class _Repeated:
    """An alert that was raised; `count` is what came since, in this window."""

    alert: Alert
    since: float
    count: int = 0


class Repetitions:
    """The first of a kind at once, the rest as one count a window. At most `capacity` kinds at a time."""

    def __init__(self, window: float, capacity: int) -> None:
        self._window = window
        self._capacity = capacity
        self._entries: OrderedDict[Hashable, _Repeated] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, key: Hashable, make: Callable[[], Alert], count: int = 1) -> Iterator[Alert] | None:
        """The alerts to send now; None where there is no room for another kind. Only a first one is made."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.count += count
            return iter(())
        if len(self._entries) >= self._capacity:
            return None
        alert = make()
        self._entries[key] = _Repeated(alert, alert.at)
        return iter((replace(alert, count=count),))

    def take(self, now: float) -> Iterator[Alert]:
        """What went on in the windows that are over. What stopped is forgotten and will be new again."""
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if now - entry.since < self._window:
                return
            del self._entries[key]
            if entry.count:
                yield replace(entry.alert, at=now, state=State.COUNTED, count=entry.count, since=entry.since)
                self._entries[key] = _Repeated(entry.alert, now)


class AlertTable:
    """All alerts of this node on their way to records."""

    def __init__(self, window: float, capacity: int, remind: float = 3600.0) -> None:
        self._fine = Repetitions(window, capacity)
        self._coarse = Repetitions(window, capacity)
        self._events = Repetitions(window, capacity)
        self._conditions: dict[tuple[AlertKind, str], tuple[Condition, float, float]] = {}
        self._remind = remind
        self.overflow = 0

    def denied(self, named: Named) -> Iterator[Alert]:
        """A denied packet: by workloads and port; by zones where those are too many; else only counted."""
        told = self._fine.add(_fine_key(named), lambda: _denied_alert(named))
        if told is None:
            told = self._coarse.add(_coarse_key(named), lambda: _coarse_alert(named))
        if told is None:
            self.overflow += 1
        return told or iter(())

    def event(self, kind: AlertKind, subject: str, message: str, at: float, count: int = 1) -> Iterator[Alert]:
        """Something that happened `count` times."""
        alert = Alert(kind, message, at, {"subject": subject}, SEVERITIES[kind])
        told = self._events.add((kind, subject), lambda: alert, count)
        if told is None:
            self.overflow += count
        return told or iter(())

    def conditions(self, current: Iterator[Condition], now: float) -> Iterator[Alert]:
        """All conditions that hold now: tells the new and changed ones, now and then the old ones, and those over."""
        holding = {(condition.kind, condition.subject): condition for condition in current}
        for key, condition in holding.items():
            before = self._conditions.get(key)
            if before is None or before[0] != condition or now - before[2] >= self._remind:
                since = now if before is None else before[1]
                self._conditions[key] = (condition, since, now)
                yield condition.alert(now, State.RAISED, since)
        for key in self._conditions.keys() - holding.keys():
            over, since, _ = self._conditions.pop(key)
            yield over.alert(now, State.RESOLVED, since)

    def take(self, now: float) -> Iterator[Alert]:
        """The counts of the windows that are over."""
        for repetitions in (self._fine, self._coarse, self._events):
            yield from repetitions.take(now)
        if self.overflow:
            message = f"{self.overflow} alerts more than this node can keep apart were not sent"
            yield Alert(
                AlertKind.LOG_LOSS,
                message,
                now,
                {"subject": "alerts"},
                SEVERITIES[AlertKind.LOG_LOSS],
                State.COUNTED,
                self.overflow,
            )
            self.overflow = 0


def _denied_alert(named: Named) -> Alert:
    seen = named.seen
    port = "" if seen.port is None else f"/{named.destination.port}"
    did = _did(named)
    message = f"{_who(named, 'source')} to {_who(named, 'destination')} {protocol_name(seen.protocol)}{port} {did}"
    return Alert(AlertKind.DENIED_FLOW, message, seen.at, described(named), _severity(named))


def _coarse_alert(named: Named) -> Alert:
    message = f"many flows from zone {named.source.zone} to zone {named.destination.zone} {_did(named)}"
    details = {
        "source": {"zone": named.source.zone},
        "destination": {"zone": named.destination.zone},
        "rule": origin_json(named.seen.origin),
        "verdict": named.seen.verdict.value,
        "enforced": named.seen.enforced,
    }
    return Alert(AlertKind.DENIED_FLOW, message, named.seen.at, details, _severity(named))


def _did(named: Named) -> str:
    return f"{'denied' if named.seen.enforced else 'would be denied'} by rule '{named.seen.origin.name}'"


def _severity(named: Named) -> Severity:
    return SEVERITIES[AlertKind.DENIED_FLOW] if named.seen.enforced else Severity.LOW


def _who(named: Named, side: str) -> str:
    end = named.source if side == "source" else named.destination
    name = f"{end.namespace}/{end.workload}" if end.workload else end.node or str(end.address)
    return f"{name} (zone {end.zone})"


def _identity(named: Named, side: str) -> Hashable:
    end = named.source if side == "source" else named.destination
    return (end.namespace, end.workload) if end.workload else end.address


def _fine_key(named: Named) -> Hashable:
    seen = named.seen
    return (
        seen.origin,
        named.seen.enforced,
        _identity(named, "source"),
        _identity(named, "destination"),
        named.destination.port,
        seen.protocol,
        seen.icmp_type,
    )


def _coarse_key(named: Named) -> Hashable:
    return (named.seen.origin, named.seen.enforced, named.source.zone, named.destination.zone)
