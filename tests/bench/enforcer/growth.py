"""The tables of packets in docs/performance.md, from what `make bench-enforcer` wrote.

`python -m tests.bench.enforcer.growth [FILE]` prints them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

RESULTS = Path("build/bench/enforcer.jsonl")
ROWS = (
    ("rules, spread over 40 zones", "first packet, {} rules", (10, 100, 1_000, 10_000)),
    ("rules, all in one pair of zones", "first packet, {} rules in one pair", (10, 100, 1_000, 10_000)),
    ("mixed rules, all in one pair", "first packet, {} mixed rules in one pair", (10, 100, 1_000, 10_000)),
    ("addresses", "first packet, {} addresses", (1_000, None, None, 150_000)),
    ("zones", "first packet, {} zones", (2, None, None, 200)),
)
SURE = (
    ("the first packet", "first packet, {}"),
    ("packets of connections that were accepted", "later packets, {}"),
    ("TCP throughput, one stream", "throughput, {}, streams: 1"),
    ("TCP throughput, four streams", "throughput, {}, streams: 4"),
)
COMPARED = ("10000 rules in one pair", "bare conntrack again")


def table(figures: Mapping[str, float]) -> Iterator[str]:
    yield "| growing | from … | | | … to | last to first |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for title, name, sizes in ROWS:
        values = [None if size is None else figures[name.format(size)] for size in sizes]
        cells = ["" if value is None else f"{size:,}: {value:.2f}" for size, value in zip(sizes, values, strict=True)]
        last, first = values[-1], values[0]
        yield f"| {title} | {' | '.join(cells)} | {last / first:.2f} |" if last and first else f"| {title} |"


def sure(figures: Mapping[str, float]) -> Iterator[str]:
    """With the interval that holds the median with 95 % certainty."""
    yield f"| against bare conntrack | {COMPARED[0]} | {COMPARED[1]} |"
    yield "| --- | --- | --- |"
    for title, name in SURE:
        cells = [
            f"{figures[each]:.3f} ({figures[f'{each}, from']:.3f} to {figures[f'{each}, to']:.3f})"
            for each in map(name.format, COMPARED)
        ]
        yield f"| {title} | {' | '.join(cells)} |"


def main(path: Path) -> None:
    lines = map(json.loads, path.read_text().splitlines())
    figures = {line["name"]: line["value"] for line in lines}
    print("\n".join((*table(figures), "", *sure(figures))))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else RESULTS)
