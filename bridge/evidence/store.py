"""What was seen, in the evidence database: records in, each counted once; what was seen out; what is old, gone.

It blocks: call it from a thread.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, exists, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from bridge.evidence.database import Database
from bridge.evidence.schema import DIGEST_DIGITS, NODE, RULE_EDIT, SEEN_DAY, SEEN_KEY, SEEN_LIVING
from bridge.evidence.seen import Evidence, continued
from zones import canonical
from zones.policy import Verdict
from zones.rules import Origin
from zones.seen import MOST_COUNT, Counting, SeenEnd, SeenFlow, SeenKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND, _DAY = timedelta(microseconds=1), 24 * 60 * 60 * 1_000_000
_ASKED_AT_ONCE = 500
_DELETED_AT_ONCE = 5_000
_KNOWN_KEYS = 200_000
_NOTHING_YET = -1
_MISSING = ("missed", "folded", "unattributed", "held_back")


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One record of a node. `sequence` rises from each of its records to the next."""

    node: str
    sequence: int
    content: SeenFlow | Counting


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of records: `repeated` ones had been taken before, and weren't counted again."""

    rows: int
    repeated: int


class Store:
    """`open` it first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = sqlite.insert if database.sqlite else postgresql.insert
        self._sum = func.total if database.sqlite else func.sum  # SQLite's own sum fails where it is too large
        self._keys: dict[tuple[str, SeenKey], int] = {}

    @property
    def where(self) -> str:
        """The database's address, without its password."""
        return self._database.where

    def open(self) -> None:
        """Bring the schema up to date. Raises EvidenceError."""
        self._database.migrate()

    def close(self) -> None:
        self._database.close()

    # Records in

    def take(self, cluster: str, records: Sequence[NodeRecord], now: datetime) -> Taken:
        """Count records of a cluster's nodes. When it returns, they are on the disk. Raises EvidenceError.

        A node's records must come in their order; one that isn't later than the latest is taken for a repetition.
        """
        self._forget_some_keys()
        try:
            with self._database.writing("taking what nodes saw") as connection:
                fresh, repeated = self._fresh(connection, cluster, records, now)
                self._count(connection, cluster, fresh)
        except BaseException:
            self._keys.clear()  # what was numbered in it isn't there
            raise
        return Taken(len(fresh), repeated)

    def _fresh(
        self, connection: Connection, cluster: str, incoming: Sequence[NodeRecord], now: datetime
    ) -> tuple[list[tuple[int, NodeRecord]], int]:
        """The records that were not taken before, with their node's number. Nodes stay locked until the end."""
        by_node: dict[str, list[NodeRecord]] = defaultdict(list)
        for record in incoming:
            by_node[record.node].append(record)
        nodes = self._nodes(connection, cluster, sorted(by_node))
        fresh: list[tuple[int, NodeRecord]] = []
        for name, records in sorted(by_node.items()):
            row = nodes[name]
            latest = row.sequence
            counted = _counting(row)
            for record in records:
                if record.sequence <= latest:
                    continue
                latest = record.sequence
                fresh.append((row.id, record))
                if isinstance(record.content, Counting):
                    counted = continued(counted, record.content)
            values = {"sequence": latest, "heard": micros(now), **_counting_values(counted)}
            connection.execute(update(NODE).where(NODE.c.id == row.id).values(values))
        return fresh, len(incoming) - len(fresh)

    def _nodes(self, connection: Connection, cluster: str, names: Sequence[str]) -> dict[str, Row[Any]]:
        known = self._locked(connection, cluster, names)
        missing = [name for name in names if name not in known]
        if missing:
            usual = dict.fromkeys(_MISSING, 0) | {"cluster": cluster, "sequence": _NOTHING_YET, "heard": 0}
            insertion = self._insert(NODE).on_conflict_do_nothing(index_elements=["cluster", "name"])
            connection.execute(insertion, [usual | {"name": name} for name in missing])
            known = self._locked(connection, cluster, names)
        return known

    def _locked(self, connection: Connection, cluster: str, names: Sequence[str]) -> dict[str, Row[Any]]:
        """In one order everywhere, so that two bridges never wait for each other."""
        rows: dict[str, Row[Any]] = {}
        for some in _in_parts(names):
            asked = select(NODE).where(NODE.c.cluster == cluster, NODE.c.name.in_(some))
            rows |= {row.name: row for row in connection.execute(asked.order_by(NODE.c.name).with_for_update())}
        return rows

    def _count(self, connection: Connection, cluster: str, fresh: Iterable[tuple[int, NodeRecord]]) -> None:
        flows = [(node, record.content) for node, record in fresh if isinstance(record.content, SeenFlow)]
        numbers = self._numbers(connection, cluster, {flow.key for _, flow in flows})
        days: dict[tuple[int, int], list[int]] = {}
        living: dict[tuple[int, int], dict[str, int]] = {}
        for node, flow in flows:
            key, first, last = numbers[flow.key], micros(flow.first), micros(flow.last)
            counted = days.setdefault((key, last // _DAY), [0, 0, first, last])
            counted[0] = min(counted[0] + flow.connections, MOST_COUNT)
            counted[1] = min(counted[1] + flow.octets, MOST_COUNT)
            counted[2], counted[3] = min(counted[2], first), max(counted[3], last)
            if flow.living:
                living[node, key] = {"node": node, "key": key, "at": last, "living": flow.living}
        self._add_days(connection, days)
        if living:
            insertion = self._insert(SEEN_LIVING)
            newest = insertion.excluded
            put = insertion.on_conflict_do_update(
                index_elements=["node", "key"], set_={"at": newest.at, "living": newest.living}
            )
            connection.execute(put, [living[record] for record in sorted(living)])

    def _add_days(self, connection: Connection, days: Mapping[tuple[int, int], Sequence[int]]) -> None:
        if not days:
            return
        insertion = self._insert(SEEN_DAY)
        new, stored = insertion.excluded, SEEN_DAY.c
        least, most = (func.min, func.max) if self._database.sqlite else (func.least, func.greatest)
        added = insertion.on_conflict_do_update(
            index_elements=["key", "day"],
            set_={
                "connections": least(stored.connections + new.connections, MOST_COUNT),
                "octets": least(stored.octets + new.octets, MOST_COUNT),
                "first": least(stored.first, new.first),
                "last": most(stored["last"], new["last"]),
            },
        )
        names = ("connections", "octets", "first", "last")
        connection.execute(
            added,
            [
                {"key": key, "day": day} | dict(zip(names, counted, strict=True))
                for (key, day), counted in sorted(days.items())
            ],
        )

    def _numbers(self, connection: Connection, cluster: str, keys: Iterable[SeenKey]) -> dict[SeenKey, int]:
        """Of keys that are new, too: they are made, in one order everywhere."""
        numbers: dict[SeenKey, int] = {}
        unknown: dict[str, SeenKey] = {}
        for key in keys:
            number = self._keys.get((cluster, key))
            if number is None:
                unknown[_digest(key)] = key
            else:
                numbers[key] = number
        if unknown:
            numbers |= self._look_up(connection, cluster, unknown)
        if missing := {digest: key for digest, key in unknown.items() if key not in numbers}:
            insertion = self._insert(SEEN_KEY).on_conflict_do_nothing(index_elements=["cluster", "digest"])
            connection.execute(
                insertion, [_key_values(cluster, digest, key) for digest, key in sorted(missing.items())]
            )
            numbers |= self._look_up(connection, cluster, missing)
        return numbers

    def _look_up(self, connection: Connection, cluster: str, keys: Mapping[str, SeenKey]) -> dict[SeenKey, int]:
        """A key that is pruned meanwhile fails the transaction; the node tells once more, and then it is made anew."""
        numbers: dict[SeenKey, int] = {}
        for some in _in_parts(sorted(keys)):
            asked = select(SEEN_KEY.c.id, SEEN_KEY.c.digest).where(
                SEEN_KEY.c.cluster == cluster, SEEN_KEY.c.digest.in_(some)
            )
            numbers |= {keys[row.digest]: row.id for row in connection.execute(asked)}
        self._keys |= {(cluster, key): number for key, number in numbers.items()}
        return numbers

    def _forget_some_keys(self) -> None:
        if len(self._keys) > _KNOWN_KEYS:
            self._keys.clear()

    # What was seen, out

    def seen(self, cluster: str, since: datetime | None = None) -> Evidence:
        """What was seen in a cluster, on the days from `since` on; of before nothing is said. Raises EvidenceError."""
        with self._database.reading("reading what was seen") as connection:
            nodes = {
                row.name: counting
                for row in connection.execute(select(NODE).where(NODE.c.cluster == cluster).order_by(NODE.c.name))
                if (counting := _counting(row)) is not None
            }
            days = SEEN_DAY.c
            wanted = select(
                days.key,
                self._sum(days.connections).label("connections"),
                self._sum(days.octets).label("octets"),
                func.min(days.first).label("first"),
                func.max(days["last"]).label("last"),
            ).group_by(days.key)
            if since is not None:
                wanted = wanted.where(days.day >= micros(since) // _DAY)
            counted = wanted.subquery()
            living = (
                select(SEEN_LIVING.c.key, self._sum(SEEN_LIVING.c.living).label("living"))
                .join(NODE, NODE.c.id == SEEN_LIVING.c.node)
                .where(SEEN_LIVING.c.at >= NODE.c.end, NODE.c.cluster == cluster)
                .group_by(SEEN_LIVING.c.key)
                .subquery()
            )
            columns = counted.c
            asked = (
                select(SEEN_KEY, columns.connections, columns.octets, columns.first, columns["last"], living.c.living)
                .join(counted, columns.key == SEEN_KEY.c.id)
                .outerjoin(living, living.c.key == SEEN_KEY.c.id)
                .where(SEEN_KEY.c.cluster == cluster)
                .order_by(SEEN_KEY.c.digest)
            )
            flows = tuple(_flow(row) for row in connection.execute(asked))
        if since is not None:
            nodes = {name: replace(node, since=max(node.since, since)) for name, node in nodes.items()}
        return Evidence(flows, nodes)

    # When rules were edited

    def note_rules(self, cluster: str, rules: Mapping[str, str], now: datetime) -> int:
        """What the rules say now, by what names them, as digests; how many say something new. Raises EvidenceError."""
        with self._database.writing("noting which rules were edited") as connection:
            known = self._latest_edits(connection, cluster)
            edited = [
                {"cluster": cluster, "rule": rule, "at": micros(now), "digest": digest[:DIGEST_DIGITS]}
                for rule, digest in sorted(rules.items())
                if rule not in known or known[rule][1] != digest[:DIGEST_DIGITS]
            ]
            if edited:
                insertion = self._insert(RULE_EDIT).on_conflict_do_nothing(index_elements=["cluster", "rule", "at"])
                connection.execute(insertion, edited)
        return len(edited)

    def edited(self, cluster: str) -> dict[str, datetime]:
        """When each rule last came to say what it says. Raises EvidenceError."""
        with self._database.reading("reading when rules were edited") as connection:
            return {rule: _at(at) for rule, (at, _) in self._latest_edits(connection, cluster).items()}

    def _latest_edits(self, connection: Connection, cluster: str) -> dict[str, tuple[int, str]]:
        edits = RULE_EDIT.c
        latest = select(edits.rule, func.max(edits.at)).where(edits.cluster == cluster).group_by(edits.rule)
        asked = select(edits.rule, edits.at, edits.digest).where(
            edits.cluster == cluster, tuple_(edits.rule, edits.at).in_(latest)
        )
        return {row.rule: (row.at, row.digest) for row in connection.execute(asked)}

    # What is old, gone

    def prune(self, before: datetime) -> int:
        """Take away the days before a time, and what only they needed. How many rows that was. Raises EvidenceError."""
        day, gone = micros(before) // _DAY, 0
        for table, old in (
            (SEEN_DAY, SEEN_DAY.c.day < day),
            (SEEN_LIVING, SEEN_LIVING.c.at < micros(before)),
        ):
            while count := self._delete_some(table, old):
                gone += count
        unused = ~exists().where(SEEN_DAY.c.key == SEEN_KEY.c.id)
        while count := self._delete_some(SEEN_KEY, unused):
            gone += count
        return gone

    def _delete_some(self, table: Table, old: Any) -> int:  # noqa: ANN401 - a condition, of any of its types
        """So few that who wants to write meanwhile doesn't wait for long."""
        identity = list(table.primary_key.columns)
        some = select(*identity).where(old).limit(_DELETED_AT_ONCE)
        with self._database.writing("taking away what is old") as connection:
            count = connection.execute(delete(table).where(tuple_(*identity).in_(some))).rowcount
        self._keys.clear()
        return count


def _digest(key: SeenKey) -> str:
    return hashlib.blake2b(canonical.text(key.json()).encode(), digest_size=DIGEST_DIGITS // 2).hexdigest()


def _key_values(cluster: str, digest: str, key: SeenKey) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "digest": digest,
        **_end_values("from", key.source),
        **_end_values("to", key.destination),
        "protocol": key.protocol,
        "port": key.port,
        "icmp_type": key.icmp_type,
        "verdict": key.verdict.value,
        "enforced": key.enforced,
        "rule_name": key.rule.name,
        "rule_uuid": key.rule.uuid,
        "rulebase": key.rule.rulebase,
        "device_group": key.rule.device_group,
    }


def _end_values(side: str, end: SeenEnd) -> dict[str, Any]:
    return {
        f"{side}_zone": end.zone,
        f"{side}_namespace": end.namespace,
        f"{side}_workload": end.workload,
        f"{side}_network": None if end.network is None else str(end.network),
    }


def _flow(row: Row[Any]) -> SeenFlow:
    key = SeenKey(
        _end(row.from_zone, row.from_namespace, row.from_workload, row.from_network),
        _end(row.to_zone, row.to_namespace, row.to_workload, row.to_network),
        row.protocol,
        row.port,
        Origin(row.rule_name, row.rule_uuid, row.rulebase, row.device_group),
        Verdict(row.verdict),
        row.enforced,
        row.icmp_type,
    )
    return SeenFlow(key, int(row.connections), int(row.octets), int(row.living or 0), _at(row.first), _at(row.last))


def _end(zone: str, namespace: str, workload: str, network: str | None) -> SeenEnd:
    return SeenEnd(zone, namespace, workload, None if network is None else ip_network(network))


def _counting_values(counted: Counting | None) -> dict[str, int]:
    if counted is None:
        return {}
    times = {name: micros(getattr(counted, name)) for name in ("since", "begin", "end")}
    return times | {name: min(getattr(counted, name), MOST_COUNT) for name in _MISSING}


def _counting(row: Row[Any]) -> Counting | None:
    if row.since is None or row.begin is None or row.end is None:
        return None
    return Counting(_at(row.since), _at(row.begin), _at(row.end), *(getattr(row, name) for name in _MISSING))


def micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _at(number: int) -> datetime:
    return _EPOCH + timedelta(microseconds=number)


def _in_parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(values), _ASKED_AT_ONCE):
        yield values[at : at + _ASKED_AT_ONCE]
