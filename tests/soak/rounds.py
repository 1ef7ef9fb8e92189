"""Rounds of trouble, each with a quiet moment after it; the figures of a whole soak."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.demo.company import NODES
from tests.soak.faults import STEADY, Faults
from tests.soak.stage import Stage
from tests.soak.truth import BrokenError, Steady, Watch, differences, undelivered, unwell

ROUND_SECONDS = (15.0, 45.0)
# A connection that fell silent is given up after 90 s, a bridge's lease passes on after ten, a part that is fought over
# is put back after half a minute; and this machine has other things to do.
QUIET_SECONDS = 420.0
# A node is cut off from the API server for longer than it may keep silent about, once in so many rounds.
CUT_OFF_EVERY = 8
TOLD_SECONDS = 60.0


class Soak:
    """One run. `say` is called with the figures of each round."""

    def __init__(self, stage: Stage, chance: random.Random, say: Callable[..., None]) -> None:
        self._stage, self._chance, self._say = stage, chance, say
        self._steady = Steady(stage, STEADY, chance)
        self._faults = Faults(stage, chance, self._steady.holds)
        self._watch = Watch(stage, self._steady)
        self._right_after: list[float] = []
        self._rounds = self._measured = 0

    def run(self, seconds: float) -> None:
        """Raises BrokenError at the first thing that must not be."""
        ends = time.monotonic() + seconds
        with self._watch:
            self._quiet()
            while time.monotonic() < ends:
                self._rounds += 1
                if self._rounds % CUT_OFF_EVERY == 0:
                    self._cut_off()
                else:
                    self._faults.trouble(min(self._chance.uniform(*ROUND_SECONDS), max(ends - time.monotonic(), 1)))
                self._quiet()

    def last(self) -> list[str]:
        """What was done last."""
        return self._faults.history

    def _cut_off(self) -> None:
        """A node that hears nothing says so, as soon as it can."""
        ledger = self._stage.receivers.ledger
        before = ledger.alerts["sync-stale"]
        node = self._faults.cut_off()
        self._until(
            lambda: [] if ledger.alerts["sync-stale"] > before else [f"{node} was cut off and has not told"],
            TOLD_SECONDS,
        )

    def _quiet(self) -> None:
        """All comes to rest: what is measured, what is said, and what has arrived."""
        self._faults.calm_collectors()
        began = time.monotonic()
        self._until(self._wrong, QUIET_SECONDS)
        right = time.monotonic() - began
        looked, written = time.time(), dict[str, int]()
        self._until(lambda: [*undelivered(self._stage, looked, written), *unwell(self._stage)], QUIET_SECONDS)
        self._faults.clear()
        self._watch.require()
        self._right_after.append(right)
        ledger = self._stage.receivers.ledger
        self._say(
            round=self._rounds,
            right_after=round(right, 1),
            delivered_after=round(time.monotonic() - began, 1),
            records={node: ledger.received(node) for node in NODES},
            clocks={name: round(clock.ahead, 1) for name, clock in self._stage.clocks.items()},
        )

    def _wrong(self) -> list[str]:
        """What is said first: it costs less to look at."""
        faults = unwell(self._stage)
        if faults:
            return faults
        self._measured += 1
        return differences(self._stage)

    def _until(self, faults: Callable[[], list[str]], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = faults()
            except httpx.TransportError as error:
                found = [f"the API server doesn't answer: {error}"]
            self._watch.require()
            if not found:
                return
            if time.monotonic() > deadline:
                raise BrokenError(f"after {seconds:.0f} s of quiet, {len(found)} things: " + "; ".join(found[:12]))
            time.sleep(0.5)

    def figures(self) -> dict[str, Any]:
        stage, ledger = self._stage, self._stage.receivers.ledger
        after = sorted(self._right_after) or [0.0]
        return {
            "rounds": self._rounds,
            "done": dict(sorted(self._faults.done.items())),
            "starts": dict(stage.starts),
            "matrices measured": self._measured,
            "seconds from quiet to right, median": round(after[len(after) // 2], 1),
            "seconds from quiet to right, longest": round(after[-1], 1),
            "watched": dict(self._watch.seen),
            "mixtures": len(self._watch.broken),
            "records": {node: ledger.received(node) for node in NODES},
            "acknowledged, by the nodes' word": stage.count_sent(),
            "indexed again": dict(ledger.repeated),
            "missing": {node: len(ledger.gaps(node)) for node in NODES},
            "told as lost": sum(alert["count"] for alert in ledger.losses),
            "alerts": dict(ledger.alerts),
            "requests by collector": {
                f"{number} {path}": n for (number, path), n in stage.receivers.balancer.seen.items()
            },
        }
