"""Thirteen months of a cluster's intervals: how large the database is, and how long a report of them takes.

    python -m tests.bench.intervals [NODES] [WORKLOADS]

Made in one go: each pod lives for some days, each node reports a new revision with every publish and is silent now and
then. Written with bulk inserts, which a bridge never does; read as `zonebridge report` reads.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, text

from bridge.evidence.database import Database
from bridge.evidence.schema import INTERVAL, TERM, WATCH
from bridge.evidence.store import micros
from bridge.intervals.fold import IntervalKind
from bridge.intervals.store import IntervalStore, digest_of
from bridge.reports.build import report_of
from bridge.reports.controls import frameworks
from bridge.reports.forms import report_json
from bridge.reports.model import ReportEvidence, ReportPeriod, ReportScope
from zones import canonical

END = datetime(2026, 11, 1, tzinfo=UTC)
DAYS, POD_DAYS, DAY = 400, 90, 24 * 3600 * 1_000_000
PODS_OF_WORKLOAD, LIVES_DAYS, REVISIONS_A_DAY = 3, 4, 5
_AT_ONCE = 20_000


class Texts:
    """Terms by number, and those that aren't written yet."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.new: list[dict[str, object]] = []

    def number(self, content: str) -> int:
        if content not in self.numbers:
            self.numbers[content] = len(self.numbers) + 1
            self.new.append({"id": self.numbers[content], "digest": digest_of(content), "content": content})
        return self.numbers[content]


def rows(texts: Texts, nodes: int, workloads: int) -> Iterator[dict[str, object]]:
    chance, end = random.Random(17), micros(END)
    begin = end - DAYS * DAY
    cluster = texts.number("prod")

    def row(kind: IntervalKind, subject: str, value: dict[str, object], first: int, last: int) -> dict[str, object]:
        numbers = {"subject": texts.number(subject), "value": texts.number(canonical.text(value))}
        closed = last if last < end else None
        return {"cluster": cluster, "kind": kind.value, "begin": first, "end": closed} | numbers

    for number in range(workloads):
        zone, name = f"zone-{number % 40}", f"ns-{number % 100}/workload-{number}"
        at = begin
        while at < end:
            last = at + int(chance.expovariate(1 / (30 * DAY)))
            yield row(IntervalKind.WORKLOAD, name, {"zones": [zone]}, at, last)
            at = last + 3600 * 1_000_000
        for replica in range(PODS_OF_WORKLOAD):
            at, uid = end - POD_DAYS * DAY, 0
            while at < end:
                last = at + int(chance.expovariate(1 / (LIVES_DAYS * DAY)))
                about = {"namespace": f"ns-{number % 100}", "workload": f"workload-{number}", "zone": zone}
                about |= {"name": f"w{number}-{uid}", "node": f"n{uid % nodes}", "addresses": [f"10.{uid % 250}.1.2"]}
                yield row(IntervalKind.POD, f"{number}-{replica}-{uid}", about, at, last)
                at, uid = last, uid + 1
    step = DAY // REVISIONS_A_DAY
    for number in range(DAYS * REVISIONS_A_DAY):
        first = begin + number * step
        about = {"revision": number + 1, "digest": f"{number:064}"}
        yield row(IntervalKind.TIER, "panorama", about, first, first + step)
        for node in range(nodes):
            shift = chance.randrange(2_000_000)
            yield row(
                IntervalKind.NODE,
                f"n{node}",
                {"mode": "enforce", "revision": number + 1},
                first + shift,
                first + step + 1,
            )


def main() -> None:
    nodes, workloads = (int(each) for each in (*sys.argv[1:3], *("500", "5000")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "evidence.db")
        database = Database(f"sqlite:///{path}")
        database.migrate()
        texts, some, count = Texts(), list[dict[str, object]](), 0
        with database.writing("making a year") as connection:
            connection.execute(text("PRAGMA defer_foreign_keys=ON"))
            for each in rows(texts, nodes, workloads):
                some.append(each)
                if len(some) >= _AT_ONCE:
                    connection.execute(insert(TERM), texts.new)
                    connection.execute(insert(INTERVAL), some)
                    count += len(some)
                    texts.new, some = [], []
            connection.execute(insert(TERM), texts.new)
            connection.execute(insert(INTERVAL), some)
            watch = {"cluster": "prod", "begin": micros(END) - DAYS * DAY, "end": micros(END)}
            connection.execute(insert(WATCH).values(**watch))
        size = sum(each.stat().st_size for each in Path(folder).iterdir())
        print(f"{nodes} nodes, {workloads} workloads: {count + len(some):,} intervals, {size / 2**20:.0f} MiB")
        store = IntervalStore(database)
        quarter = END - timedelta(days=90)
        old = micros(END - timedelta(days=300))
        for name, period in (
            ("a quarter", ReportPeriod(micros(quarter), micros(END))),
            ("a quarter of last year", ReportPeriod(old - 90 * DAY, old)),
            ("an instant of last week", ReportPeriod(micros(END) - 7 * DAY, micros(END) - 7 * DAY + 1)),
            ("an instant of 300 days ago", ReportPeriod(old, old + 1)),
        ):
            started = time.perf_counter(), time.process_time()
            found = store.between("prod", period.begin, period.end)
            looks = store.looks("prod", period.begin, period.end)
            scope = ReportScope("prod", frozenset({"zone-1"}))
            made = report_of(ReportEvidence(found, looks, micros(END)), period, scope, frameworks())
            report_json(made)
            wall, spent = time.perf_counter() - started[0], time.process_time() - started[1]
            print(f"{name}: {len(found):,} intervals read, {wall:.1f} s, {spent:.1f} s of processor")
        database.close()


if __name__ == "__main__":
    main()
