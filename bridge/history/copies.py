"""Copies of a cluster's Revisions and their parts in the evidence database: what the cluster lets go of stays here.

A part is kept once, however many revisions, tiers and clusters are made of it. It blocks: call it from a thread.
`Store.open` brings the schema up to date first.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bridge.evidence.database import Database
from bridge.evidence.schema import PART, REVISION, REVISION_PART
from bridge.evidence.store import micros
from bridge.history import revision
from bridge.history.revision import object_name, part_names
from bridge.history.verification import Break, part_break, record_breaks
from zones import canonical
from zones.tiers.native import API_VERSION, TIER_LABEL

Json = dict[str, Any]
_ASKED_AT_ONCE = 500
# No object in etcd is larger than 1.5 MiB: what unpacks to more was not written by us.
_MOST_BYTES = 4 * 1024 * 1024


class RevisionCopies:
    """One tier's, of one cluster."""

    def __init__(self, database: Database, cluster: str, tier: str) -> None:
        self._database = database
        self._insert = sqlite.insert if database.sqlite else postgresql.insert
        self._cluster = cluster
        self._tier = tier
        self._ours = REVISION.c.cluster == cluster, REVISION.c.tier == tier

    # In

    def chains(self) -> dict[str, bool]:
        """The chain digests of the revisions that are here, and whether what each changed is too."""
        columns = REVISION.c
        with self._database.reading("reading which revisions are copied") as connection:
            asked = select(columns.chain, columns.status.is_not(None)).where(*self._ours)
            return {chain: bool(known) for chain, known in connection.execute(asked)}

    def missing_parts(self, names: Collection[str]) -> set[str]:
        """Those of these parts that are not here."""
        with self._database.reading("reading which parts are copied") as connection:
            known = self._part_numbers(connection, names)
        return {name for name in names if _digest(name) not in known}

    def add(self, raw: Json, parts: Mapping[str, Json]) -> None:
        """Copy a Revision, whole and once, with those of its parts that were missing_parts. Raises EvidenceError."""
        spec = raw["spec"]
        names = part_names(spec)
        new = [
            {"digest": _digest(name), "kind": parts[name]["kind"], "spec": _packed(parts[name]["spec"])}
            for name in sorted(names & parts.keys())
        ]
        values = {
            "cluster": self._cluster,
            "tier": self._tier,
            "number": spec["revision"],
            "chain": spec["chain"],
            "replaces": spec["replaces"],
            "recorded": _recorded(spec),
            "spec": _packed(spec),
        }
        with self._database.writing("copying a revision") as connection:
            if new:
                connection.execute(self._insert(PART).on_conflict_do_nothing(index_elements=["digest"]), new)
            unique = ["cluster", "tier", "chain"]
            insertion = self._insert(REVISION).values(**values).on_conflict_do_nothing(index_elements=unique)
            number = connection.execute(insertion.returning(REVISION.c.id)).scalar()
            if number is None:
                return  # another bridge has copied it meanwhile
            numbers = self._part_numbers(connection, names)
            links = [{"revision": number, "part": numbers[_digest(name)]} for name in sorted(names)]
            if links:
                connection.execute(self._insert(REVISION_PART), links)

    def add_status(self, raw: Json) -> None:
        """What a revision changed, which is worked out later. Raises EvidenceError."""
        with self._database.writing("copying what a revision changed") as connection:
            which = *self._ours, REVISION.c.chain == raw["spec"]["chain"]
            connection.execute(update(REVISION).where(*which).values(status=_packed(raw["status"])))

    # Out

    def raws(self) -> list[Json]:
        """All of them as objects, by number; one that can't be unpacked has nothing but its number."""
        with self._database.reading("reading copied revisions") as connection:
            return [self._object(row) for row in self._rows(connection)]

    def parts(self, names: Collection[str]) -> dict[str, Json]:
        """Those of these parts that are here, as objects, by name."""
        by_digest = {_digest(name): name for name in names}
        digests, parts = sorted(by_digest), dict[str, Json]()
        with self._database.reading("reading copied parts") as connection:
            for at in range(0, len(digests), _ASKED_AT_ONCE):
                asked = select(PART).where(PART.c.digest.in_(digests[at : at + _ASKED_AT_ONCE]))
                for row in connection.execute(asked):
                    parts[by_digest[row.digest]] = _part(by_digest[row.digest], row)
        return parts

    def breaks(self) -> list[Break]:
        """Where the copies aren't what was copied. Raises EvidenceError."""
        with self._database.reading("verifying copied revisions") as connection:
            rows = self._rows(connection)
            parts_of: dict[int, set[int]] = {row.id: set() for row in rows}
            links = select(REVISION_PART).join(REVISION, REVISION.c.id == REVISION_PART.c.revision)
            for link in connection.execute(links.where(*self._ours)):
                parts_of[link.revision].add(link.part)
            names, wrong = dict[int, str](), dict[int, str]()
            used = select(REVISION_PART.c.part).join(REVISION, REVISION.c.id == REVISION_PART.c.revision)
            for row in connection.execute(select(PART).where(PART.c.id.in_(used.where(*self._ours)))):
                names[row.id] = f"{self._tier}-{row.digest}"
                wrong[row.id] = part_break(names[row.id], _part(names[row.id], row))
        raws = {row.id: self._object(row) for row in rows}
        broken = []
        for row in rows:
            problems = [wrong[part] for part in sorted(parts_of[row.id]) if wrong[part]]
            problems += _of_record(row, raws[row.id], {names[part] for part in parts_of[row.id]})
            broken += [Break(row.number, what) for what in problems]
        return [*broken, *_of_chain([raws[row.id]["spec"] for row in sorted(rows, key=lambda row: row.recorded)])]

    def _rows(self, connection: Connection) -> list[Row[Any]]:
        return list(connection.execute(select(REVISION).where(*self._ours).order_by(REVISION.c.number, REVISION.c.id)))

    def _object(self, row: Row[Any]) -> Json:
        spec = _unpacked(row.spec) or {"tier": row.tier, "revision": row.number}
        metadata = {"name": object_name(row.tier, row.number), "labels": {TIER_LABEL: row.tier}}
        raw = {"apiVersion": API_VERSION, "kind": revision.REVISION, "metadata": metadata, "spec": spec}
        return raw if row.status is None else raw | {"status": _unpacked(row.status) or {"seal": "unreadable"}}

    @staticmethod
    def _part_numbers(connection: Connection, names: Collection[str]) -> dict[str, int]:
        """By digest."""
        digests, numbers = sorted(map(_digest, names)), dict[str, int]()
        for at in range(0, len(digests), _ASKED_AT_ONCE):
            asked = select(PART.c.digest, PART.c.id).where(PART.c.digest.in_(digests[at : at + _ASKED_AT_ONCE]))
            numbers |= {row.digest: row.id for row in connection.execute(asked)}
        return numbers


def prune(database: Database, before: int) -> int:
    """Take away the revisions that were replaced before a time, and parts that only they were made of. How many rows.

    What was in force then stays. Raises EvidenceError.
    """
    columns = REVISION.c
    with database.writing("taking away old revisions") as connection:
        by_tier: dict[tuple[str, str], list[Row[Any]]] = {}
        wanted: Select[Any] = select(
            columns.id, columns.cluster, columns.tier, columns.number, columns.replaces, columns.recorded
        )
        for row in connection.execute(wanted.order_by(columns.recorded, columns.id)):
            by_tier.setdefault((row.cluster, row.tier), []).append(row)
        old = [row.id for rows in by_tier.values() for row in _old(rows, before)]
        for at in range(0, len(old), _ASKED_AT_ONCE):
            connection.execute(delete(REVISION).where(columns.id.in_(old[at : at + _ASKED_AT_ONCE])))
        if not old:
            return 0
        unused = ~exists().where(REVISION_PART.c.part == PART.c.id)
        return len(old) + connection.execute(delete(PART).where(unused)).rowcount


def _old(rows: list[Row[Any]], before: int) -> list[Row[Any]]:
    """The beginning of one tier's, up to the first that is young or that a young one, or the last one, replaced."""
    young = [row for row in rows if row.recorded > before] or rows[-1:]
    replaced = {row.replaces for row in young}
    first = next(at for at, row in enumerate(rows) if row is young[0] or row.number in replaced)
    return rows[:first]


def _of_record(row: Row[Any], raw: Json, parts: set[str]) -> Iterator[str]:
    """What is wrong with one copy, and with which parts it is said to be made of."""
    spec = raw["spec"]
    try:
        yield from record_breaks(raw)
        if (row.chain, row.replaces, row.recorded) != (spec["chain"], spec["replaces"], _recorded(spec)):
            yield "its row isn't what its record says: it was changed"
        named = part_names(spec)
        yield from (f"part '{name}' is missing" for name in sorted(named - parts))
        yield from (f"part '{name}' is none of its own" for name in sorted(parts - named))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        yield f"its record can't be read: {error!r}"


def _of_chain(specs: list[Json]) -> Iterator[Break]:
    """Gaps, forks, second beginnings. `specs`: the oldest first, of which the first may follow one that isn't kept."""
    known = {spec.get("chain") for spec in specs}
    followed = Counter[str]()
    for place, spec in enumerate(specs):
        previous = spec.get("previous")
        if not isinstance(previous, dict):
            if place:
                what = "a second beginning: it follows none; the cluster was made anew, or its history was deleted"
                yield Break(int(spec.get("revision", 0)), what)
            continue
        number, chain = int(spec.get("revision", 0)), str(previous.get("chain"))
        if chain not in known and place:
            yield Break(number, f"a gap: it follows revision {previous.get('revision')}, which isn't there")
        followed[chain] += 1
        if followed[chain] == 2:  # noqa: PLR2004 - two of one
            yield Break(number, "a fork: another one follows the same revision; the cluster or the chain was set back")


def _packed(value: Json) -> bytes:
    return zlib.compress(canonical.text(value).encode(), 9)


def _unpacked(packed: bytes) -> Json:
    """Empty where these are no bytes that `_packed` has made."""
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(packed, _MOST_BYTES)
        value = json.loads(text)
    except (zlib.error, ValueError, RecursionError):
        return {}
    complete = unpacking.eof and not unpacking.unused_data and isinstance(value, dict)
    return value if complete else {}


def _part(name: str, row: Row[Any]) -> Json:
    return {
        "apiVersion": API_VERSION,
        "kind": row.kind,
        "metadata": {"name": name},
        "spec": _unpacked(row.spec),
    }


def _digest(name: str) -> str:
    """A part's name is its tier's and the digest of what it holds."""
    return name.rpartition("-")[2]


def _recorded(spec: Json) -> int:
    return micros(datetime.fromisoformat(spec["recorded"]))
