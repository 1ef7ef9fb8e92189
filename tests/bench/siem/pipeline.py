"""Denied connections from the kernel to acknowledged delivery: at a rate, all at once, and more than can be kept up with.

The agent is the whole process on one core, as `zone-enforcer run` starts it; the collector is a process that counts.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.siem import flood
from tests.bench.siem.stage import PORT, Stage, take_place

RATE, SECONDS = 20_000, int(os.environ.get("SECONDS", "60"))
BURST = 100_000
TOO_MUCH, TOO_LONG = 120_000, 15
_PAIRS, _MOST_PAIRS = 25, 50
_QUIET = 10.0


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as directory, Stage(Path(directory)) as stage:
        take_place(stage.other_core)
        yield from _sustained(stage)
        yield from _at_once(stage)
        yield from _too_much(stage)


@dataclass(frozen=True, slots=True)
class Run:
    """`told_lost` is what the agent's own status says was lost; `settling`: seconds from the last packet to the end."""

    denied: int
    delivered: int
    told_lost: int
    duplicates: int
    sending: float
    settling: float
    used: float


def _sustained(stage: Stage) -> Iterator[Figure]:
    run = _run(stage, RATE * SECONDS, RATE)
    yield Figure("siem.sustained.seconds", round(run.sending, 1), "s")
    yield from _outcome("siem.sustained", run)
    now, most = stage.memory()
    yield Figure("siem.sustained.rss", round(now, 1), "MB")
    yield Figure("siem.sustained.rss_peak", round(most, 1), "MB")


def _at_once(stage: Stage) -> Iterator[Figure]:
    yield from _outcome("siem.burst", _run(stage, BURST, None))


def _too_much(stage: Stage) -> Iterator[Figure]:
    yield from _outcome("siem.too_much", _run(stage, TOO_MUCH * TOO_LONG, TOO_MUCH))
    yield Figure("siem.too_much.rss_peak", round(stage.memory()[1], 1), "MB")


def _outcome(name: str, run: Run) -> Iterator[Figure]:
    yield Figure(f"{name}.rate", round(run.denied / run.sending), "denied connections/s")
    yield Figure(f"{name}.denied", run.denied, "connections, by the kernel's counter")
    yield Figure(f"{name}.delivered", run.delivered, "connections, acknowledged")
    yield Figure(f"{name}.lost", run.denied - run.delivered, "connections")
    yield Figure(f"{name}.lost_by_status", run.told_lost, "connections, as the agent tells")
    yield Figure(f"{name}.duplicates", run.duplicates, "records")
    yield Figure(f"{name}.last_acknowledged", round(run.settling, 1), "s after the last packet, 5 s window included")
    yield Figure(f"{name}.processor", round(1e6 * run.used / run.delivered, 2), "us of the agent for each delivered")


def _run(stage: Stage, many: int, rate: int | None) -> Run:
    burst = flood.connections(many, stage.pairs(_MOST_PAIRS if rate and rate > RATE else _PAIRS), PORT)
    denied, told, lost, used = stage.denied(), stage.told(), _lost(stage), stage.used()
    began = time.monotonic()
    if rate is None:
        flood.send(stage.line, burst, 0, many)
    else:
        flood.at_a_rate(stage.line, burst, rate)
    sending = time.monotonic() - began
    settling = _settled(stage)
    after = stage.told()
    return Run(
        stage.denied() - denied,
        after["packets"] - told["packets"],
        _lost(stage) - lost,
        after["events"] - after["ids"] - (told["events"] - told["ids"]),
        sending,
        settling,
        stage.used() - used,
    )


def _lost(stage: Stage) -> int:
    return sum(stage.status()["lost"].values())


def _settled(stage: Stage) -> float:
    """Until nothing comes any more: how long that took."""
    began = last = time.monotonic()
    before = -1
    while time.monotonic() - last < _QUIET:
        now = stage.told()["packets"]
        backlog = stage.status()["destinations"][0]["backlog"]
        if now != before or backlog:
            before, last = now, time.monotonic()
        time.sleep(0.5)
    return last - began
