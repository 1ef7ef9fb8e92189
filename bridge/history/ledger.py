"""Which revisions are recorded, what the next one's place is, and which need not be kept any longer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge.history.revision import ChainPlace, Recorded
from zones.tiers.native import is_whole

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Retention:
    """How many revisions are kept at most, and for how long after another one took their place. None: for ever."""

    keep: int = 100
    max_age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class RevisionLedger:
    """The recorded revisions of one tier, the oldest first. `taken`: numbers of records that can't be read."""

    revisions: tuple[Recorded, ...] = ()
    taken: frozenset[int] = frozenset()

    @classmethod
    def of(cls, revisions: Iterable[Recorded], taken: Iterable[int] = ()) -> RevisionLedger:
        return cls(tuple(sorted(revisions, key=lambda revision: revision.revision)), frozenset(taken))

    def least(self, number: int) -> int:
        """The lowest number that a new revision may have, which has to be this one or a higher one."""
        number = max(number, self.highest + 1)
        while number in self.taken:
            number += 1
        return number

    @property
    def last(self) -> Recorded | None:
        return self.revisions[-1] if self.revisions else None

    @property
    def highest(self) -> int:
        return self.last.revision if self.last else 0

    @property
    def parts(self) -> frozenset[str]:
        """The names of all parts that kept revisions are made of."""
        return frozenset().union(*(revision.parts for revision in self.revisions))

    def with_(self, new: Recorded) -> RevisionLedger:
        return RevisionLedger((*self.revisions, new), self.taken)

    def without(self, gone: Recorded) -> RevisionLedger:
        return RevisionLedger(tuple(revision for revision in self.revisions if revision is not gone), self.taken)

    def record_of(self, tier: Json | None) -> Recorded | None:
        """The record of what a live Tier says."""
        spec = (tier or {}).get("spec") or {}
        said = spec.get("revision"), spec.get("digest")
        return next((revision for revision in self.revisions if (revision.revision, revision.digest) == said), None)

    def place(self, tier: Json | None) -> ChainPlace:
        """Of the revision that comes next. Where the Tier is gone, or others wrote it, the last recorded one counts."""
        over = self.record_of(tier) or self.last
        return ChainPlace(self.last, over.revision if over else 0)

    def prepared(self, tier: Json | None) -> Recorded | None:
        """The last one, where it is above the live Tier: it was recorded, and then its Tier wasn't written."""
        live = int(((tier or {}).get("spec") or {}).get("revision", 0))
        return self.last if self.last is not None and self.last.revision > live else None

    def lacks(self, tier: Json | None, *, ours: bool) -> bool:
        """Whether a live Tier that a bridge wrote has no record, and can still get one behind the last."""
        return (
            tier is not None
            and ours
            and self.record_of(tier) is None
            and is_whole(tier)
            and self.least(int(tier["spec"]["revision"])) == int(tier["spec"]["revision"])
        )

    def in_force(self, tier: Json | None) -> Iterator[Recorded]:
        """Those that were in force, the newest first: from the Tier backwards, as each says which one it replaced."""
        known = {revision.revision: revision for revision in self.revisions}
        current = self.record_of(tier)
        while current is not None:
            yield current
            current = known.get(current.replaces) if current.replaces < current.revision else None

    def expired(self, tier: Json | None, retention: Retention, now: datetime) -> tuple[Recorded, ...]:
        """Those at the beginning that need not be kept: the chain is only ever shortened from there.

        What is in force stays, and whatever is younger than that.
        """
        current = self.record_of(tier)
        gone = []
        for at, revision in enumerate(self.revisions[:-1]):
            left = len(self.revisions) - at
            replaced = self.revisions[at + 1].recorded
            old = retention.max_age is not None and now - replaced > retention.max_age
            if current is None or revision.revision >= current.revision or not (left > retention.keep or old):
                break
            gone.append(revision)
        return tuple(gone)
