"""`make bench-evidence`: 5,000 nodes tell 500 rows each five minutes; how many a second are taken, and what they take.

JSON lines {"name", "value", "unit"}, also in build/bench/evidence.jsonl. Some of the nodes' requests go through the
collector's own reading and then into both databases, as many at once as it takes at once. PostgreSQL needs root.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import text

from bridge.evidence.collector import records_of
from bridge.evidence.database import Database
from bridge.evidence.store import NodeRecord, Store
from tests.bench.figures import BUILD, Figure
from tests.postgresql import Postgresql
from zones.policy import Verdict
from zones.rules import Origin
from zones.seen import Counting, SeenEnd, SeenFlow, SeenKey
from zones.siem.records import Stamp

NODES, ROWS, WINDOW = 5_000, 500, timedelta(minutes=5)
WORKLOADS, PEERS, RULES = 5_000, 10, 2_000
SOME_NODES, AT_ONCE, DAYS = 400, 20, 3
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def kinds(chance: random.Random) -> list[SeenKey]:
    """Each workload speaks to some others."""
    ends = [SeenEnd(f"zone-{number % 40}", f"team-{number % 200}", f"workload-{number}") for number in range(WORKLOADS)]
    rules = [Origin(f"rule {number}", f"{number:032x}", "pre", "k8s") for number in range(RULES)]
    return [
        SeenKey(
            end, chance.choice(ends), 6, chance.choice([443, 5432, 8080, 9092]), chance.choice(rules), Verdict.ALLOW
        )
        for end in ends
        for _ in range(PEERS)
    ]


def window(keys: list[SeenKey], chance: random.Random, at: datetime) -> Iterator[SeenFlow | Counting]:
    """What a node tells."""
    for key in chance.sample(keys, ROWS):
        yield SeenFlow(key, chance.randrange(1, 50), chance.randrange(10**6), chance.randrange(3), at - WINDOW, at)
    yield Counting(NOW - WINDOW, at - WINDOW, at)


def request(node: str, told: Iterator[SeenFlow | Counting]) -> bytes:
    stamp = Stamp("prod", node, "boot", 1)
    kind = {SeenFlow: "seen", Counting: "counting"}
    events = ({"event": stamp.record(kind[type(each)], NOW.timestamp()) | each.json()} for each in told)
    return "".join(map(json.dumps, events)).encode()


def figures() -> Iterator[Figure]:
    chance = random.Random(1)
    keys = kinds(chance)
    wanted = NODES * ROWS / WINDOW.total_seconds()
    yield Figure("rows a second of 5,000 nodes with 500 rows each 5 minutes", round(wanted), "rows/s")
    bodies = [request(f"node-{number}", window(keys, chance, NOW)) for number in range(SOME_NODES)]
    yield Figure("a node's request", round(len(bodies[0]) / 1024), "KiB, before gzip")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "evidence.db"
        yield from _of(
            "SQLite",
            f"sqlite:///{file}",
            bodies,
            keys,
            lambda _: sum(each.stat().st_size for each in file.parent.iterdir()),
        )
    server = Postgresql.start()
    try:
        yield from _of("PostgreSQL", server.url(), bodies, keys, _postgresql_size)
    finally:
        server.close()


def _of(
    name: str, url: str, bodies: list[bytes], keys: list[SeenKey], size: Callable[[Database], int]
) -> Iterator[Figure]:
    database = Database(url)
    store = Store(database)
    store.open()
    _day(store, keys, 0)  # what is measured is what comes once all kinds are known
    known = size(database)
    wall, processor, rows = time.monotonic(), time.process_time(), 0
    for at in range(0, len(bodies), AT_ONCE):
        told = [each for body in bodies[at : at + AT_ONCE] for each in records_of(body, {"prod"})["prod"]]
        rows += store.take("prod", told, NOW).rows
    yield Figure(f"{name}: rows taken a second", round(rows / (time.monotonic() - wall)), "rows/s")
    used = 1e6 * (time.process_time() - processor) / rows
    yield Figure(f"{name}: of which the bridge's processor", round(used, 1), "us/row")
    before = size(database)
    for day in range(1, DAYS + 1):
        _day(store, keys, day)
    grown = (size(database) - before) / DAYS
    yield Figure(f"{name}: {len(keys)} kinds of connections, and one day of each", round(known / 2**20), "MiB")
    yield Figure(f"{name}: a month more of each of them each day", round(30 * grown / 2**20), "MiB")
    started = time.monotonic()
    seen = store.seen("prod")
    yield Figure(
        f"{name}: reading {len(seen.flows)} kinds over {DAYS + 1} days", round(time.monotonic() - started, 2), "s"
    )
    started = time.monotonic()
    gone = store.prune(NOW + timedelta(days=DAYS))
    yield Figure(f"{name}: rows pruned a second", round(gone / (time.monotonic() - started)), "rows/s")
    store.close()


def _day(store: Store, keys: list[SeenKey], day: int) -> None:
    """One row for each kind."""
    at = NOW + timedelta(days=day)
    whole = [NodeRecord("one", day * 10**6 + n, SeenFlow(key, 9, 999, 0, at, at)) for n, key in enumerate(keys)]
    store.take("prod", whole, at)


def _postgresql_size(database: Database) -> int:
    with database.reading("its size") as connection:
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


if __name__ == "__main__":
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "evidence.jsonl").open("w") as out:
        for figure in figures():
            line = json.dumps(asdict(figure))
            print(line, flush=True)
            out.write(line + "\n")
