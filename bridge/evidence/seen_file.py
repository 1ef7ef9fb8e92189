"""Reads a file of the records in which nodes say what they saw: JSON lines, as a destination `records: seen` writes.

Records of other kinds are passed over; a record that comes twice, as deliveries may, counts once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridge.evidence.seen import Evidence, continued, together
from zones.runtime.errors import InputError
from zones.seen import COUNTING, SEEN, Counting, SeenFlow, SeenRecordError, counting_of, seen_of

Json = dict[str, Any]
_MOST_LINE = 1 << 16


def read_seen(path: Path, cluster: str | None = None) -> Evidence:
    """What the nodes of a cluster saw, or those of all clusters in the file. Raises InputError."""
    try:
        with path.open(encoding="utf-8") as file:
            return seen_of_records(_records(path, file), cluster, str(path))
    except OSError as error:
        raise InputError(f"--seen {path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--seen {path}: is not UTF-8 text") from error


def seen_of_records(records: Iterable[tuple[str, Json]], cluster: str | None, where: str) -> Evidence:
    """Of records, each with its place. Raises InputError."""
    ids: set[str] = set()
    rows: list[tuple[str, SeenFlow]] = []
    nodes: dict[str, Counting] = {}
    others = 0
    for place, record in records:
        kind = record.get("kind")
        if kind not in {SEEN, COUNTING} or (cluster is not None and record.get("cluster") != cluster):
            others += 1
            continue
        node, identity = str(record.get("node", "")), str(record.get("id", place))
        if identity in ids:
            continue
        ids.add(identity)
        try:
            if kind == SEEN:
                rows.append((node, seen_of(record)))
            else:
                nodes[node] = continued(nodes.get(node), counting_of(record))
        except SeenRecordError as error:
            raise InputError(f"{place}: {error}") from error
    if not rows and not nodes:
        of = "" if cluster is None else f" of cluster '{cluster}'"
        raise InputError(
            f"{where}: has no records of what was seen{of} ({others} others); nodes write them to a "
            "destination with records: seen"
        )
    return Evidence(together(_living_now(rows, nodes)), nodes)


def _living_now(rows: Iterable[tuple[str, SeenFlow]], nodes: dict[str, Counting]) -> Iterator[SeenFlow]:
    """Who lived at the end of an earlier window than a node's last one may be gone."""
    for node, row in rows:
        latest = node not in nodes or row.last >= nodes[node].end
        yield row if latest else replace(row, living=0)


def _records(path: Path, lines: Iterable[str]) -> Iterator[tuple[str, Json]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"--seen {path}, line {number}"
        if len(line) > _MOST_LINE:
            raise InputError(f"{place}: is longer than any record")
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{place}: is not JSON") from error
        record = record.get("event", record) if isinstance(record, dict) else record
        if not isinstance(record, dict):
            raise InputError(f"{place}: is not a JSON object")
        yield place, record
