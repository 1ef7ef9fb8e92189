"""Whatever is changed, by whom, however often: nothing denied ever passes, nothing allowed is ever lost."""

import json
import random
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from hypothesis import settings

from mocks.lab import Lab, unavailable
from tests.enforcer.churner import PORT, described
from tests.enforcer.stream import Stream
from tests.enforcer.world import World

pytestmark = pytest.mark.kernel

LONG = settings.default.max_examples > 100
SECONDS, PASSES, DEATHS = (600, 2000, 200) if LONG else (6, 30, 3)
LATEST = 10 * SECONDS + 60
TURN = 0.004
ALLOWED, DENIED = {"same", "away", "in"}, {"barred", "barred-away"}


class Agents:
    """One after the other, each killed in the middle of whatever it does."""

    def __init__(self, world, directory, chance):
        self._world, self._directory, self._chance = world, directory, chance
        self._told = json.dumps(described(world))
        self._made = []
        self._until = 0.0
        self._running = None

    def start(self):
        log = self._directory / f"agent-{len(self._made)}"
        call = [sys.executable, "-m", "tests.enforcer.churner", str(self._chance.randint(0, 2**32))]
        with log.open("w") as out:
            self._running = subprocess.Popen(
                self._world.n1.command(call), stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, text=True
            )
        with self._running.stdin as ear:
            ear.write(self._told)
        self._made.append(log)
        self._until = 0.0

    def watch(self):
        """Replace the one that runs when its time has come: a while after its first pass."""
        assert self._running.poll() is None, self._made[-1].read_text()[-3000:]
        if not self._until and self._made[-1].stat().st_size:
            self._until = time.monotonic() + self._chance.uniform(0.05, 1.0)
        if self._until and time.monotonic() > self._until:
            self.kill()
            self.start()

    def kill(self):
        self._running.kill()
        self._running.wait()

    @property
    def passes(self):
        return [line for log in self._made for line in log.read_text().splitlines()]

    @property
    def deaths(self):
        return len(self._made) - 1


@pytest.mark.timeout(LATEST + 120)
def test_a_probe_stream_sees_no_gap(tmp_path, capsys, record_property):
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with ExitStack() as stack:
        world = World(stack.enter_context(Lab("churn")))
        at = world.machines
        stream = Stream(
            [
                ("same", at["p0"], at["p2"]),
                ("away", at["p0"], at["q1"]),
                ("in", at["q0"], at["p2"]),
                ("barred", at["p1"], at["p2"]),
                ("barred-away", at["p1"], at["q1"]),
            ],
            PORT,
        )
        stack.callback(stream.close)
        agents = Agents(world, tmp_path, random.Random())
        agents.start()
        stack.callback(agents.kill)
        first = time.monotonic()
        while not agents.passes:
            assert time.monotonic() < first + 60
            time.sleep(0.02)
        run(stream, agents)
        stream.settle(ALLOWED, 30)
        passes, deaths = len(agents.passes), agents.deaths
        allowed, denied = stream.of(ALLOWED), stream.of(DENIED)
        sent = sum(len(way.sent) for way in stream.ways)
        record_property("packets", sent)
        with capsys.disabled():
            print(f"\n{sent} packets during {passes} passes of {deaths + 1} agents, all but the last killed")
        assert {way.name: len(way.arrived) for way in denied if way.arrived} == {}
        assert {way.name: sorted(way.sent - way.arrived) for way in allowed if way.sent != way.arrived} == {}


def run(stream, agents):
    """At least so long, so many passes and deaths."""
    began = time.monotonic()
    while True:
        took = time.monotonic() - began
        enough = took > SECONDS and agents.deaths >= DEATHS and len(agents.passes) >= PASSES
        if enough:
            return
        assert took < LATEST, f"{agents.deaths} deaths and {len(agents.passes)} passes are too few"
        for _ in range(50):
            stream.turn()
            time.sleep(TURN)
        agents.watch()
