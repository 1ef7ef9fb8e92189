"""Intervals and reviews in the evidence database: events in, what was the case out, what is old, gone.

It blocks: call it from a thread. `Store.open` brings the schema up to date first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Delete, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bridge.evidence.database import Database
from bridge.evidence.schema import DIGEST_DIGITS, INTERVAL, REVIEW, SEEN_DAY, SEEN_KEY, TERM, WATCH
from bridge.intervals.fold import Event, Interval, Kind, intervals_of

# After so long without a look, what had been the case is not taken to have gone on.
GAP = 180_000_000
_DAY = 24 * 60 * 60 * 1_000_000
_ASKED_AT_ONCE, _DELETED_AT_ONCE, _KNOWN_TERMS = 500, 5_000, 200_000


@dataclass(frozen=True, slots=True)
class Review:
    """Somebody looked at what was in force. `zones`: of which scope, empty for all; `digest`: of what was seen."""

    at: int
    due: int
    reviewer: str
    zones: tuple[str, ...]
    note: str
    revision: int
    digest: str


@dataclass(frozen=True, slots=True)
class CellCount:
    """How many connections one rule allowed or denied between two zones, on whole days."""

    from_zone: str
    to_zone: str
    verdict: str
    rule: str
    connections: int


class IntervalStore:
    """`cluster` is a name of the settings everywhere."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = sqlite.insert if database.sqlite else postgresql.insert
        self._terms: dict[str, int] = {}

    @contextmanager
    def _writing(self, what: str) -> Iterator[Connection]:
        """What was numbered in a transaction that failed isn't there."""
        try:
            with self._database.writing(what) as connection:
                yield connection
        except BaseException:
            self._terms.clear()
            raise

    # Events in

    def resume(self, cluster: str, now: int) -> dict[tuple[Kind, str], str]:
        """Begin to look, or go on: what is known to be the case. After a gap that is nothing. Raises EvidenceError."""
        with self._writing("going on with intervals") as connection:
            number = self._number(connection, cluster)
            last = self._last_look(connection, cluster)
            if last is not None and now - last[1] <= GAP:
                return {(each.kind, each.subject): each.value for each in self._open(connection, number)}
            if last is not None:
                still = INTERVAL.c.cluster == number, INTERVAL.c.end.is_(None)
                connection.execute(update(INTERVAL).where(*still).values(end=last[1]))
                # What began after the last look that was noted is not known to have lasted at all.
                empty = INTERVAL.c.cluster == number, INTERVAL.c.end < INTERVAL.c.begin
                connection.execute(update(INTERVAL).where(*empty).values(end=INTERVAL.c.begin))
            connection.execute(insert(WATCH).values(cluster=cluster, begin=now, end=now))
            return {}

    def record(self, cluster: str, events: Sequence[Event], now: int) -> bool:
        """Take in events, in their order, and note that the bridge looked until now. Raises EvidenceError.

        False: it had not looked for so long that it has to `resume`; nothing is recorded then.
        """
        made = intervals_of(events)
        with self._writing("recording intervals") as connection:
            last = self._last_look(connection, cluster)
            if last is None or now - last[1] > GAP:
                return False
            number = self._number(connection, cluster)
            ended = self._first_changes(events)
            texts = {text for each in made for text in (each.subject, each.value)} | {key[1] for key in ended}
            terms = self._numbers(connection, texts)
            known = self._current(connection, number, [(kind, terms[subject]) for kind, subject in ended])
            for (kind, subject), event in ended.items():
                row = known.get((kind, terms[subject]))
                if row is not None and event.at > row[1]:
                    connection.execute(update(INTERVAL).where(INTERVAL.c.id == row[0]).values(end=event.at))
                elif row is not None:
                    connection.execute(delete(INTERVAL).where(INTERVAL.c.id == row[0]))
            if made:
                rows = [
                    {
                        "cluster": number,
                        "kind": each.kind.value,
                        "subject": terms[each.subject],
                        "value": terms[each.value],
                        "begin": each.begin,
                        "end": each.end,
                    }
                    for each in made
                ]
                connection.execute(insert(INTERVAL), rows)
            if now > last[1]:
                connection.execute(update(WATCH).where(WATCH.c.id == last[0]).values(end=now))
        return True

    @staticmethod
    def _first_changes(events: Iterable[Event]) -> dict[tuple[Kind, str], Event]:
        """The event that ends whatever was open before, by subject."""
        first: dict[tuple[Kind, str], Event] = {}
        for event in events:
            first.setdefault((event.kind, event.subject), event)
        return first

    def _current(
        self, connection: Connection, cluster: int, keys: Sequence[tuple[Kind, int]]
    ) -> dict[tuple[Kind, int], tuple[int, int]]:
        """The open interval of each subject: its number and its beginning."""
        found: dict[tuple[Kind, int], tuple[int, int]] = {}
        columns = INTERVAL.c
        for kind in Kind:
            subjects = sorted({number for each, number in keys if each is kind})
            if not subjects:
                continue
            # Open ones are few beside those of a year; subjects are compared here, not by a list of thousands.
            asked = select(columns.id, columns.subject, columns.begin).where(
                columns.cluster == cluster, columns.kind == kind.value, columns.end.is_(None)
            )
            if len(subjects) <= _ASKED_AT_ONCE:
                asked = asked.where(columns.subject.in_(subjects))
            wanted = frozenset(subjects)
            found |= {
                (kind, row.subject): (row.id, row.begin) for row in connection.execute(asked) if row.subject in wanted
            }
        return found

    # What was the case, out

    def at(self, cluster: str, moment: int) -> list[Interval]:
        """What was the case at a moment, as intervals that hold then. Raises EvidenceError."""
        return self.between(cluster, moment, moment + 1)

    def between(self, cluster: str, begin: int, end: int, kinds: Iterable[Kind] = tuple(Kind)) -> list[Interval]:
        """All intervals of which some part lies in [begin, end), by kind, subject and beginning. Raises EvidenceError.

        Those without an end are not clipped: how far the bridge looked is said by `looks`.
        """
        subject, value, columns = TERM.alias(), TERM.alias(), INTERVAL.c
        with self._database.reading("reading intervals") as connection:
            cluster_of = select(TERM.c.id).where(TERM.c.digest == _digest(cluster)).scalar_subquery()
            found: list[Interval] = []
            for kind in kinds:
                wanted = columns.cluster == cluster_of, columns.kind == kind.value, columns.begin < end
                open_then = or_(columns.end > begin, columns.end.is_(None))
                asked = (
                    select(subject.c.content, value.c.content, columns.begin, columns.end)
                    .join_from(INTERVAL, subject, subject.c.id == columns.subject)
                    .join(value, value.c.id == columns.value)
                    .where(*wanted, open_then)
                )
                rows = connection.execute(asked)
                found += [Interval(kind, name, said, first, last) for name, said, first, last in rows]
        return sorted(found, key=lambda each: (each.kind, each.subject, each.begin))

    def looks(self, cluster: str, begin: int, end: int) -> list[tuple[int, int]]:
        """When the bridge looked, within [begin, end], the earliest first. Raises EvidenceError."""
        columns = WATCH.c
        with self._database.reading("reading when the bridge looked") as connection:
            asked = (
                select(columns.begin, columns.end)
                .where(columns.cluster == cluster, columns.begin <= end, columns.end >= begin)
                .order_by(columns.begin, columns.id)
            )
            return [(max(first, begin), min(last, end)) for first, last in connection.execute(asked)]

    def counts(self, cluster: str, begin: int, end: int) -> list[CellCount]:
        """Connections by cell, verdict and rule, of all days of which some part lies in [begin, end)."""
        key, day = SEEN_KEY.c, SEEN_DAY.c
        cell = key.from_zone, key.to_zone, key.verdict, key.rule_name
        with self._database.reading("reading counts by zone") as connection:
            asked = (
                select(*cell, func.sum(day.connections))
                .join(SEEN_DAY, day.key == key.id)
                .where(key.cluster == cluster, day.day >= begin // _DAY, day.day <= (end - 1) // _DAY)
                .group_by(*cell)
            )
            rows = [CellCount(*row[:4], int(row[4])) for row in connection.execute(asked)]
        return sorted(rows, key=lambda row: (row.from_zone, row.to_zone, row.verdict, row.rule))

    # Reviews

    def add_review(self, cluster: str, review: Review) -> None:
        """Raises EvidenceError."""
        with self._database.writing("recording a review") as connection:
            connection.execute(
                insert(REVIEW).values(
                    cluster=cluster,
                    at=review.at,
                    due=review.due,
                    reviewer=review.reviewer,
                    zones=",".join(review.zones),
                    note=review.note,
                    revision=review.revision,
                    digest=review.digest,
                )
            )

    def reviews(self, cluster: str, until: int) -> list[Review]:
        """All that were recorded up to a moment, the earliest first. Raises EvidenceError."""
        columns = REVIEW.c
        with self._database.reading("reading reviews") as connection:
            asked = select(REVIEW).where(columns.cluster == cluster, columns.at <= until)
            return [
                Review(
                    row.at,
                    row.due,
                    row.reviewer,
                    tuple(filter(None, row.zones.split(","))),
                    row.note,
                    row.revision,
                    row.digest,
                )
                for row in connection.execute(asked.order_by(columns.at, columns.id))
            ]

    # What is old, gone

    def prune(self, before: Mapping[Kind, int]) -> int:
        """Take away intervals that ended before a time, by kind, and texts that only they used. How many rows."""
        gone = 0
        for kind, time in before.items():
            old = INTERVAL.c.kind == kind.value, INTERVAL.c.end < time
            some = select(INTERVAL.c.id).where(*old).limit(_DELETED_AT_ONCE)
            while count := self._delete("taking away old intervals", delete(INTERVAL).where(INTERVAL.c.id.in_(some))):
                gone += count
        if gone:
            used = (INTERVAL.c.cluster, INTERVAL.c.subject, INTERVAL.c.value)
            live = select(used[0]).union(select(used[1]), select(used[2])).subquery()
            unused = ~exists().where(live.c[0] == TERM.c.id)
            gone += self._delete("taking away texts that no interval uses", delete(TERM).where(unused))
        self._terms.clear()
        return gone

    def _delete(self, what: str, statement: Delete) -> int:
        with self._database.writing(what) as connection:
            return connection.execute(statement).rowcount

    # Terms

    def _number(self, connection: Connection, text: str) -> int:
        return self._numbers(connection, [text])[text]

    def _numbers(self, connection: Connection, texts: Collection[str]) -> dict[str, int]:
        if len(self._terms) > _KNOWN_TERMS:
            self._terms.clear()
        found = {text: self._terms[text] for text in texts if text in self._terms}
        missing = {_digest(text): text for text in texts if text not in found}
        if missing:
            made = self._insert(TERM).on_conflict_do_nothing(index_elements=["digest"])
            connection.execute(made, [{"digest": key, "content": text} for key, text in sorted(missing.items())])
            digests = sorted(missing)
            for at in range(0, len(digests), _ASKED_AT_ONCE):
                asked = select(TERM.c.id, TERM.c.digest).where(TERM.c.digest.in_(digests[at : at + _ASKED_AT_ONCE]))
                found |= {missing[row.digest]: row.id for row in connection.execute(asked)}
        self._terms |= found
        return found

    @staticmethod
    def _last_look(connection: Connection, cluster: str) -> tuple[int, int] | None:
        """The number and the end of the last stretch of looking."""
        columns = WATCH.c
        asked = select(columns.id, columns.end).where(columns.cluster == cluster)
        row = connection.execute(asked.order_by(columns.begin.desc(), columns.id.desc()).limit(1)).first()
        return None if row is None else (row.id, row.end)

    @staticmethod
    def _open(connection: Connection, cluster: int) -> list[Interval]:
        subject, value, columns = TERM.alias(), TERM.alias(), INTERVAL.c
        asked = (
            select(columns.kind, subject.c.content, value.c.content, columns.begin)
            .join_from(INTERVAL, subject, subject.c.id == columns.subject)
            .join(value, value.c.id == columns.value)
            .where(columns.cluster == cluster, columns.end.is_(None))
        )
        return [Interval(Kind(kind), *rest) for kind, *rest in connection.execute(asked)]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_DIGITS // 2).hexdigest()
