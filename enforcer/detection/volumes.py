"""How much each workload sent and received outside, hour by hour; and an hour that is like none before. Pure.

Hours are those of watched time. A connection's octets are counted in the hour in which it ends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from enforcer.detection.terms import HOUR, DetectionTerms

Workload = tuple[str, str]
_HOURS = 168
_QUIET = 24
_CONSISTENT, _FLOOR = 0.6745, 0.05


@dataclass(slots=True)
class _Hours:
    """`past`: octets of whole hours, the latest last. `quiet_until`: the hour up to which a raised level is no news."""

    current: int = 0
    past: list[int] = field(default_factory=list)
    quiet_until: int = 0


@dataclass(frozen=True, slots=True)
class LargeHour:
    """An hour of a workload: its octets, the usual ones, and how far it is from them."""

    workload: Workload
    octets: int
    usual: float
    score: float
    hours: int


@dataclass(slots=True)
class Volumes:
    """At most `terms.capacity` workloads: who was silent for longest is forgotten."""

    terms: DetectionTerms
    hour: int = 0
    evicted: int = 0
    repeated: int = 0
    _hours: OrderedDict[Workload, _Hours] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._hours)

    def add(self, workload: Workload, octets: int) -> None:
        hours = self._hours.pop(workload, None)
        if hours is None:
            if len(self._hours) >= self.terms.capacity:
                del self._hours[next(iter(self._hours))]
                self.evicted += 1
            hours = _Hours()
        self._hours[workload] = hours
        hours.current += octets

    def close_hours(self, now: float) -> Iterator[LargeHour]:
        """Those that stand out, of the hours that are over; what was told keeps quiet for a day, then is usual."""
        hour = int(now // HOUR)
        if hour <= self.hour:
            return
        silent, self.hour = hour - self.hour - 1, hour
        for workload, hours in self._hours.items():
            large = self._judge(workload, hours)
            hours.past = [*hours.past, hours.current, *([0] * min(silent, _HOURS))][-_HOURS:]
            hours.current = 0
            if large is not None and hour >= hours.quiet_until:
                hours.quiet_until = hour + _QUIET
                yield large
            elif large is not None:
                self.repeated += 1

    def _judge(self, workload: Workload, hours: _Hours) -> LargeHour | None:
        if hours.current < self.terms.volume_octets or len(hours.past) < self.terms.volume_history:
            return None
        usual = median(hours.past)
        spread = max(median(abs(octets - usual) for octets in hours.past), _FLOOR * usual, 1.0)
        score = _CONSISTENT * (hours.current - usual) / spread
        if score <= self.terms.volume_score:
            return None
        return LargeHour(workload, hours.current, usual, score, len(hours.past))

    def json(self) -> dict[str, Any]:
        rows = [[*workload, hours.current, hours.quiet_until, hours.past] for workload, hours in self._hours.items()]
        return {"hour": self.hour, "workloads": rows}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Raises ValueError, KeyError or TypeError where that is something else."""
        restored: OrderedDict[Workload, _Hours] = OrderedDict()
        for namespace, name, current, quiet_until, past in saved["workloads"][: self.terms.capacity]:
            octets = [int(each_hour) for each_hour in past][-_HOURS:]
            restored[str(namespace), str(name)] = _Hours(int(current), octets, int(quiet_until))
        self._hours, self.hour = restored, int(saved["hour"])
