"""How soon what others change is put back: at once, and ever later while somebody goes on changing the same object.

No I/O. `bridge.tier.sync` asks it before it writes, and tells in the alert how often it has come to that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bridge.tier.drift import ObjectDrift, What
from zones.runtime.backoff import Backoff

AT_ONCE = 3
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
QUIET = 300.0
NAMED = 3
TOLD = 20
MOST = 10_000

Key = tuple[str, str]


@dataclass(slots=True)
class _ObjectRepairs:
    """One object: how often others changed it, and when it may be written. `open`: it is as others want it."""

    since: float
    last: float
    times: int = 0
    not_before: float = 0.0
    open: bool = False


@dataclass(frozen=True, slots=True)
class RepairAttempt:
    """A change that wasn't there before: the how many-eth of its object, over how long, and what is waited first."""

    drift: ObjectDrift
    times: int
    seconds: float
    wait: float


class RepairBackoff:
    """The objects that others changed lately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._objects: dict[Key, _ObjectRepairs] = {}

    @property
    def held_back(self) -> int:
        """How many objects are left as others want them, for now."""
        return sum(repairs.open and repairs.not_before > self._clock() for repairs in self._objects.values())

    @property
    def is_idle(self) -> bool:
        """Whether nothing was changed by others for long."""
        now = self._clock()
        for key in [key for key, repairs in self._objects.items() if not repairs.open and now - repairs.last > QUIET]:
            del self._objects[key]
        return not self._objects

    def seen(self, drifts: Iterable[ObjectDrift]) -> tuple[RepairAttempt, ...]:
        """Those that are new; what is still as it was seen before is no news, however it was changed meanwhile."""
        groups: dict[Key, list[ObjectDrift]] = {}
        for drift in drifts:
            groups.setdefault(_key_of(drift), []).append(drift)
        for key in self._objects.keys() - groups.keys():
            self._objects[key].open = False
        return tuple(round_ for key, group in groups.items() for round_ in self._rounds(key, group))

    def may_write(self, kind: str, name: str) -> bool:
        """Whether a part or the Tier may be written now."""
        return self._free(self._objects.get((kind, name)))

    def may_remove_stranger(self, kind: str) -> bool:
        return self._free(self._objects.get((kind, "")))

    def settled(self) -> None:
        """What may be written was written."""
        for repairs in self._objects.values():
            if self._free(repairs):
                repairs.open = False

    def wait(self) -> float | None:
        """Seconds until the next object that is held back may be written."""
        waits = [repairs.not_before - self._clock() for repairs in self._objects.values() if repairs.open]
        return max(min(waits), 0.0) if waits else None

    def _free(self, repairs: _ObjectRepairs | None) -> bool:
        return repairs is None or repairs.not_before <= self._clock()

    def _rounds(self, key: Key, group: list[ObjectDrift]) -> Iterable[RepairAttempt]:
        now = self._clock()
        if key not in self._objects and len(self._objects) >= MOST:
            del self._objects[min(self._objects, key=lambda candidate: self._objects[candidate].last)]
        repairs = self._objects.setdefault(key, _ObjectRepairs(now, now))
        if repairs.open:
            return ()
        repairs.open, repairs.last, repairs.times = True, now, repairs.times + 1
        wait = waiting(repairs.times)
        repairs.not_before = now + wait
        return [RepairAttempt(drift, repairs.times, now - repairs.since, wait) for drift in group]


def waiting(times: int) -> float:
    """Seconds to wait before an object is put back for so many-eth time."""
    return 0.0 if times <= AT_ONCE else Backoff(FIRST_WAIT, LONGEST_WAIT).ceiling(times - AT_ONCE - 1)


def text(rounds: Sequence[RepairAttempt]) -> str:
    """For people: what was done, how often it has come to that, and what happens now."""
    named = "; ".join(str(attempt.drift) for attempt in rounds[:NAMED])
    more = f"; and {len(rounds) - NAMED} more" if len(rounds) > NAMED else ""
    worst = max(rounds, key=lambda attempt: attempt.times)
    if worst.wait:
        return (
            f"{named}{more}. It is being fought over: {worst.times} times in {worst.seconds:.0f} s; it is put back in "
            f"{worst.wait:.0f} s. End whatever writes it"
        )
    return f"{named}{more}. It is put back"


def about_json(rounds: Sequence[RepairAttempt]) -> dict[str, object]:
    """For programs."""
    return {"count": len(rounds), "changes": [_round_json(attempt) for attempt in rounds[:TOLD]]}


def _round_json(attempt: RepairAttempt) -> dict[str, object]:
    drift = attempt.drift
    return {
        "kind": drift.kind,
        "name": drift.name,
        "what": drift.what.value,
        "fields": list(drift.fields[:TOLD]),
        "by": [{"manager": hand.manager, "operation": hand.operation, "time": hand.time} for hand in drift.hands],
        "times": attempt.times,
        "wait": round(attempt.wait, 1),
    }


def _key_of(drift: ObjectDrift) -> Key:
    """Objects that are none of ours count together: each may have a name of its own."""
    return drift.kind, "" if drift.what is What.ADDED else drift.name
