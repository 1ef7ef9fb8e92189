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
from bridge.intervals.fold import Interval, IntervalEvent, IntervalKind, intervals_of

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


@dataclass(frozen=True, slots=True)
class _OpenInterval:
    """A row without an end. `id`: its number."""

    id: int
    kind: IntervalKind
    subject: str
    value: str
    begin: int


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

    def resume(self, cluster: str, now: int) -> dict[tuple[IntervalKind, str], str]:
        """Begin to look, or go on: what is known to be the case. After a gap that is nothing. Raises EvidenceError."""
        with self._writing("going on with intervals") as connection:
            number = self._number(connection, cluster)
            last = self._last_look(connection, cluster)
            if last is not None and now - last[1] <= GAP:
                return {
                    (interval.kind, interval.subject): interval.value for interval in self._open(connection, number)
                }
            if last is not None:
                still = INTERVAL.c.cluster == number, INTERVAL.c.end.is_(None)
                # What began with the last look that was noted is not known to have lasted at all.
                connection.execute(delete(INTERVAL).where(*still, INTERVAL.c.begin >= last[1]))
                connection.execute(update(INTERVAL).where(*still).values(end=last[1]))
            connection.execute(insert(WATCH).values(cluster=cluster, begin=now, end=now))
            return {}

    def record(self, cluster: str, events: Sequence[IntervalEvent], now: int) -> bool:
        """Take in events, in their order, and note that the bridge looked until now. Raises EvidenceError.

        False: it had not looked for so long that it has to `resume`; nothing is recorded then.
        """
        with self._writing("recording intervals") as connection:
            last = self._last_look(connection, cluster)
            if last is None or now - last[1] > GAP:
                return False
            if events:
                self._fold(connection, self._number(connection, cluster), events)
            if now > last[1]:
                connection.execute(update(WATCH).where(WATCH.c.id == last[0]).values(end=now))
        return True

    def _fold(self, connection: Connection, cluster: int, events: Sequence[IntervalEvent]) -> None:
        """What the events make of the open intervals of their subjects, as `intervals_of` says it."""
        keys = dict.fromkeys((event.kind, event.subject) for event in events)
        values = {event.value for event in events if event.value is not None}
        terms = self._numbers(connection, {subject for _, subject in keys} | values)
        current = self._current(connection, cluster, {(kind, terms[subject]): subject for kind, subject in keys})
        before = [
            IntervalEvent(open_interval.begin, open_interval.kind, open_interval.subject, open_interval.value)
            for open_interval in current.values()
        ]
        new = []
        for interval in intervals_of([*before, *events]):
            key = interval.kind, terms[interval.subject]
            row = current.get(key)
            if row is not None and (row.begin, row.value) == (interval.begin, interval.value):
                del current[key]
                if interval.end is not None:
                    connection.execute(update(INTERVAL).where(INTERVAL.c.id == row.id).values(end=interval.end))
                continue
            new.append(
                {
                    "cluster": cluster,
                    "kind": interval.kind.value,
                    "subject": terms[interval.subject],
                    "value": terms[interval.value],
                    "begin": interval.begin,
                    "end": interval.end,
                }
            )
        for row in current.values():  # it lasted for no time at all
            connection.execute(delete(INTERVAL).where(INTERVAL.c.id == row.id))
        if new:
            connection.execute(insert(INTERVAL), new)

    @staticmethod
    def _current(
        connection: Connection, cluster: int, subjects: Mapping[tuple[IntervalKind, int], str]
    ) -> dict[tuple[IntervalKind, int], _OpenInterval]:
        """The open interval of each subject that has one."""
        current_: dict[tuple[IntervalKind, int], _OpenInterval] = {}
        columns, value = INTERVAL.c, TERM.alias()
        for kind in IntervalKind:
            numbers = sorted(number for kind_, number in subjects if kind_ is kind)
            asked = (
                select(columns.id, columns.subject, columns.begin, value.c.content)
                .join(value, value.c.id == columns.value)
                .where(columns.cluster == cluster, columns.kind == kind.value, columns.end.is_(None))
            )
            # Of thousands of subjects, all that are open are read: there are few beside those of a year.
            if len(numbers) <= _ASKED_AT_ONCE:
                asked = asked.where(columns.subject.in_(numbers))
            for row in connection.execute(asked) if numbers else ():
                key = kind, row.subject
                if key in subjects:
                    current_[key] = _OpenInterval(row.id, kind, subjects[key], row.content, row.begin)
        return current_

    # What was the case, out

    def at(self, cluster: str, moment: int) -> list[Interval]:
        """What was the case at a moment, as intervals that hold then. Raises EvidenceError."""
        return self.between(cluster, moment, moment + 1)

    def between(
        self, cluster: str, begin: int, end: int, kinds: Iterable[IntervalKind] = tuple(IntervalKind)
    ) -> list[Interval]:
        """All intervals of which some part lies in [begin, end), by kind, subject and beginning. Raises EvidenceError.

        Those without an end are not clipped: how far the bridge looked is said by `looks`.
        """
        subject, value, columns = TERM.alias(), TERM.alias(), INTERVAL.c
        with self._database.reading("reading intervals") as connection:
            cluster_of = select(TERM.c.id).where(TERM.c.digest == digest_of(cluster)).scalar_subquery()
            intervals: list[Interval] = []
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
                intervals += [Interval(IntervalKind(kind), name, said, first, last) for name, said, first, last in rows]
        return sorted(set(intervals), key=lambda interval: (interval.kind, interval.subject, interval.begin))

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
        """Connections by cell, verdict and rule, of the whole days that lie in [begin, end)."""
        key, day = SEEN_KEY.c, SEEN_DAY.c
        cell = key.from_zone, key.to_zone, key.verdict, key.rule_name
        with self._database.reading("reading counts by zone") as connection:
            asked = (
                select(*cell, func.sum(day.connections))
                .join(SEEN_DAY, day.key == key.id)
                .where(key.cluster == cluster, day.day >= -(-begin // _DAY), day.day < end // _DAY)
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

    def prune(self, before: Mapping[IntervalKind, int]) -> int:
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
        numbers = {text: self._terms[text] for text in texts if text in self._terms}
        missing = {digest_of(text): text for text in texts if text not in numbers}
        if missing:
            insertion = self._insert(TERM).on_conflict_do_nothing(index_elements=["digest"])
            connection.execute(insertion, [{"digest": key, "content": text} for key, text in sorted(missing.items())])
            digests = sorted(missing)
            for at in range(0, len(digests), _ASKED_AT_ONCE):
                asked = select(TERM.c.id, TERM.c.digest).where(TERM.c.digest.in_(digests[at : at + _ASKED_AT_ONCE]))
                numbers |= {missing[row.digest]: row.id for row in connection.execute(asked)}
        self._terms |= numbers
        return numbers

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
        return [Interval(IntervalKind(kind), *rest) for kind, *rest in connection.execute(asked)]


def digest_of(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_DIGITS // 2).hexdigest()
