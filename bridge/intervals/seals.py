"""Seals over what the database says of days that are over, so that a row that was changed since is named.

A seal is the digest of all intervals of a kind that ended in a day, of its reviews or measurements, or of when the
bridge looked in it, chained to the seal before. Who can write to the database can seal anew: the bridge logs each day's
chain digest, which must be in it. It blocks: call it from a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from bridge.evidence.database import Database
from bridge.evidence.schema import INTERVAL, MEASUREMENT, REVIEW, SEAL, TERM, WATCH
from bridge.intervals.fold import IntervalKind
from bridge.intervals.store import digest_of
from zones import canonical

DAY = 24 * 60 * 60 * 1_000_000
# What a bridge has still to write of a day is written by then.
_LATER = 60 * 60 * 1_000_000
LOOKS, REVIEWS, MEASUREMENTS = "look", "review", "measure"
KINDS = (*(kind.value for kind in IntervalKind), LOOKS, REVIEWS, MEASUREMENTS)
_INTERVALS = frozenset(kind.value for kind in IntervalKind)
_PLACES = {kind: place for place, kind in enumerate(KINDS)}
_EPOCH, _DIGITS = date(1970, 1, 1), 64


@dataclass(frozen=True, slots=True)
class SealedDay:
    """The newest seal: of which day (since the epoch), and the chain digest of it and of all before."""

    day: int
    chain: str


@dataclass(frozen=True, slots=True)
class Verified:
    """`days`: how many are sealed, `let_go`: how many of kinds' days are no longer kept; `breaks`: a sentence each."""

    days: int
    let_go: int
    last: SealedDay | None
    breaks: tuple[str, ...]


class Seals:
    """`cluster` is a name of the settings everywhere."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def seal(self, cluster: str, now: int) -> SealedDay | None:
        """Seal each day that is over and isn't sealed; the last of them. None: there was none. Raises EvidenceError."""
        with self._database.writing("sealing what is over") as connection:
            sealed = _seals(connection, cluster)
            first_look = connection.execute(select(func.min(WATCH.c.begin)).where(WATCH.c.cluster == cluster)).scalar()
            if first_look is None:
                return None
            chain, begin = (sealed[-1].chain, sealed[-1].day + 1) if sealed else ("", first_look // DAY)
            latest = None
            for day in range(begin, (now - _LATER) // DAY):
                for kind in KINDS:
                    rows, digest = _digest(connection, cluster, day, kind)
                    chain = _chain(chain, cluster, day, kind, (rows, digest))
                    values = {"cluster": cluster, "day": day, "kind": kind, "rows": rows, "digest": digest}
                    connection.execute(insert(SEAL).values(**values, chain=chain, let_go=False))
                latest = SealedDay(day, chain)
        return latest

    def let_go(self, before: Mapping[IntervalKind, int]) -> None:
        """Note which days `IntervalStore.prune` is about to take, whole or in part. Raises EvidenceError."""
        with self._database.writing("noting which days are let go") as connection:
            for kind, time in before.items():
                old = SEAL.c.kind == kind.value, SEAL.c.day <= time // DAY, SEAL.c.let_go.is_(False)
                connection.execute(update(SEAL).where(*old).values(let_go=True))

    def verify(self, cluster: str, kept: Mapping[IntervalKind, int], expected: Mapping[int, str]) -> Verified:
        """`kept`: from when on each kind must be there; `expected`: chain digests of days. Raises EvidenceError."""
        breaks, chain, days, gone = list[str](), "", dict[int, str](), 0
        with self._database.reading("verifying seals") as connection:
            for row in _seals(connection, cluster):
                named = f"{date_text(row.day)}, {row.kind}"
                chain = _chain(chain, cluster, row.day, row.kind, (row.rows, row.digest))
                if chain != row.chain:
                    breaks.append(f"{named}: its seal isn't what follows from the one before: it was changed")
                    chain = row.chain
                days[row.day] = row.chain
                if row.let_go and row.kind not in _INTERVALS:
                    breaks.append(f"{named}: it is marked as let go, and this kind never is")
                elif row.let_go:
                    gone += 1
                    if row.kind in kept and row.day > kept[IntervalKind(row.kind)] // DAY:
                        breaks.append(f"{named}: it is marked as let go, and is younger than what is kept")
                elif _digest(connection, cluster, row.day, row.kind) != (row.rows, row.digest):
                    breaks.append(f"{named}: what is recorded isn't what was sealed: it was changed, added or removed")
            breaks += _of_terms(connection)
        breaks += _of_days(days)
        for day, wanted in sorted(expected.items()):
            if days.get(day) != wanted:
                breaks.append(f"{date_text(day)}: its chain digest isn't the expected one: the seals were made anew")
        last = max(days, default=None)
        return Verified(len(days), gone, None if last is None else SealedDay(last, days[last]), tuple(breaks))


def _of_terms(connection: Connection) -> Iterator[str]:
    """Texts that aren't what their digest says, whatever cluster they are of: by that they are looked up."""
    for row in connection.execute(select(TERM.c.id, TERM.c.digest, TERM.c.content).order_by(TERM.c.id)):
        if digest_of(row.content) != row.digest:
            yield f"text {row.id} isn't what its digest says: one of both was changed"


def _of_days(days: Mapping[int, str]) -> list[str]:
    missing = [day for day in range(min(days), max(days)) if day not in days] if days else []
    return [f"{date_text(day)}: it has no seals: they were removed" for day in missing]


def _seals(connection: Connection, cluster: str) -> list[Row[Any]]:
    """In the order of their chain: by day, then as KINDS has them."""
    rows = connection.execute(select(SEAL).where(SEAL.c.cluster == cluster))
    return sorted(rows, key=lambda row: (row.day, _PLACES.get(row.kind, len(_PLACES))))


def _chain(before: str, cluster: str, day: int, kind: str, counted: tuple[int, str]) -> str:
    return canonical.digest([before, cluster, day, kind, *counted])


def _digest(connection: Connection, cluster: str, day: int, kind: str) -> tuple[int, str]:
    """How many rows a kind has of a day, and the SHA-256 of them."""
    rows = _rows(connection, cluster, day, kind)
    return len(rows), canonical.digest(rows)


def _rows(connection: Connection, cluster: str, day: int, kind: str) -> list[list[object]]:
    first, end = day * DAY, (day + 1) * DAY
    if kind == LOOKS:
        columns = WATCH.c
        asked = select(columns.begin, columns.end).where(
            columns.cluster == cluster, columns.begin < end, columns.end >= first
        )
        return sorted([max(row.begin, first), min(row.end, end)] for row in connection.execute(asked))
    if kind == REVIEWS:
        reviews = select(REVIEW).where(REVIEW.c.cluster == cluster, REVIEW.c.at >= first, REVIEW.c.at < end)
        return sorted(list(row)[1:] for row in connection.execute(reviews))
    if kind == MEASUREMENTS:
        columns = MEASUREMENT.c
        asked = select(columns.at, columns.revision, columns.content).where(
            columns.cluster == cluster, columns.at >= first, columns.at < end
        )
        return sorted(list(row) for row in connection.execute(asked))
    subject, value = TERM.alias(), TERM.alias()
    owner = select(TERM.c.id).where(TERM.c.digest == digest_of(cluster)).scalar_subquery()
    intervals = (
        select(subject.c.content, INTERVAL.c.begin, INTERVAL.c.end, value.c.content)
        .join_from(INTERVAL, subject, subject.c.id == INTERVAL.c.subject)
        .join(value, value.c.id == INTERVAL.c.value)
        .where(INTERVAL.c.cluster == owner, INTERVAL.c.kind == kind, INTERVAL.c.end >= first, INTERVAL.c.end < end)
    )
    return sorted(list(row) for row in connection.execute(intervals))


def date_text(day: int) -> str:
    """Days since the epoch as a date."""
    return (_EPOCH + timedelta(days=day)).isoformat()


def day_of(text: str) -> tuple[int, str]:
    """A day with its chain digest. Raises ValueError."""
    day, _, chain = text.partition("=")
    if len(chain) != _DIGITS or set(chain) - set("0123456789abcdef"):
        raise ValueError(f"'{text}' has no chain digest of 64 hexadecimal digits")
    return (date.fromisoformat(day) - _EPOCH).days, chain
