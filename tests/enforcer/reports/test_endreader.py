"""When the agent listens to connections, what it does when it can't, and what it misses."""

import asyncio
import json
import os
from contextlib import asynccontextmanager, suppress
from functools import wraps

import pytest

from enforcer.errors import KernelError
from enforcer.flows.connections import Connections
from enforcer.flows.end_reader import EndReader
from tests.enforcer.reports.test_connections import MARKS, NAMES, QUIET, RULE, STAMP, begun, ended
from tests.enforcer.smallcluster import eventually

WANTED, UNWANTED = {RULE.id: RULE, QUIET.id: QUIET}, {QUIET.id: QUIET}
ALL = {"acct": True, "timestamp": True, "events": True, "labels": True}


def in_a_loop(test):
    """A test that is a coroutine."""

    @wraps(test)
    def run(*given, **named):
        asyncio.run(test(*given, **named))

    return run


class Source:
    def __init__(self):
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self.waiting, self.dropped, self.closed = [], 0, False

    def put(self, *told):
        self.waiting += told
        os.write(self._write, b"x")

    def fileno(self):
        return self._read

    def read(self):
        with suppress(BlockingIOError):
            os.read(self._read, 4096)
        found, self.waiting = self.waiting, []
        for each in found:
            if isinstance(each, Exception):
                raise each
            yield each

    def close(self):
        self.closed = True
        os.close(self._read)
        os.close(self._write)


class Kernel:
    def __init__(self):
        self.can, self.living, self.sources, self.refusal, self.asked = dict(ALL), [], [], None, 0

    def open(self):
        if self.refusal:
            raise self.refusal
        self.sources.append(Source())
        return self.sources[-1]

    def alive(self):
        self.asked += 1
        yield from self.living

    def account(self):
        return self.can

    def remembered(self):
        return {}


class Stage:
    def __init__(self):
        self.kernel, self.terminals, self.records = Kernel(), WANTED, []
        self.unattributed = 0
        self.reader = EndReader(self.kernel, Connections(MARKS), STAMP, lambda: self.terminals, self.put, tick=0.01)

    def put(self, records, unattributed):
        self.records += records
        self.unattributed += unattributed

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.reader.run(lambda: NAMES))
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def told(self):
        return [json.loads(each)["source"]["port"] for each in self.records]

    def listens(self):
        return self.kernel.asked and self.kernel.sources and not self.kernel.sources[-1].closed


@pytest.fixture
def stage():
    return Stage()


@in_a_loop
async def test_it_listens_only_while_a_rule_wants_ends(stage):
    stage.terminals = UNWANTED
    async with stage.running():
        await asyncio.sleep(0)
        assert not stage.kernel.sources
        stage.terminals = WANTED
        await eventually(stage.listens)
        stage.kernel.sources[-1].put(begun(1), ended(1))
        await eventually(lambda: stage.told() == [1])
        stage.kernel.sources[-1].put(begun(2, "aaaaaaaaaaaa"), ended(2))
        await eventually(lambda: stage.unattributed == 1)
        stage.terminals = UNWANTED
        await eventually(lambda: stage.kernel.sources[-1].closed)
    assert len(stage.kernel.sources) == 1


@in_a_loop
async def test_who_lived_before_is_asked_for(stage):
    stage.kernel.living = [begun(5)]
    async with stage.running():
        await eventually(lambda: len(stage.reader.connections) == 1)
        stage.kernel.sources[-1].put(ended(5))
        await eventually(lambda: stage.told() == [5])
    assert stage.reader.lost == 0


@in_a_loop
async def test_what_was_dropped_is_counted_and_who_lives_asked_for_again(stage):
    async with stage.running():
        await eventually(stage.listens)
        source = stage.kernel.sources[-1]
        source.put(begun(1))
        await eventually(lambda: len(stage.reader.connections) == 1)
        stage.kernel.living, source.dropped = [begun(2)], 3
        await eventually(lambda: stage.kernel.asked == 2)
        await eventually(lambda: stage.reader.lost == 3)
        source.put(ended(1), ended(2))
        await eventually(lambda: stage.told() == [2])


@in_a_loop
async def test_what_came_before_the_end_is_told(stage):
    async with stage.running():
        await eventually(stage.listens)
        stage.kernel.sources[-1].waiting += [begun(1), ended(1)]
    assert stage.told() == [1]
    assert stage.kernel.sources[-1].closed


@pytest.mark.parametrize(
    ("lacking", "words", "opened"),
    [
        ("labels", "no labels", False),
        ("events", "nf_conntrack_events", True),
        ("acct", "nf_conntrack_acct", True),
        ("timestamp", "", True),
    ],
)
@in_a_loop
async def test_what_the_kernel_doesnt_do_is_a_problem_as_long_as_ends_are_wanted(stage, lacking, words, opened):
    stage.kernel.can[lacking] = False
    async with stage.running():
        await eventually(lambda: stage.listens() if opened else stage.reader.problem)
        assert words in stage.reader.problem
        assert bool(words) == bool(stage.reader.problem)
        assert stage.reader.connections.timed == (lacking != "timestamp")
        stage.terminals = UNWANTED
        await eventually(lambda: not stage.reader.problem)


@in_a_loop
async def test_a_kernel_that_refuses_is_asked_again(stage):
    stage.kernel.refusal = KernelError("hearing of connections that end: not permitted")
    async with stage.running():
        await eventually(lambda: "not permitted" in stage.reader.problem)
        stage.kernel.refusal = None
        await eventually(stage.listens)
        assert not stage.reader.problem


@in_a_loop
async def test_a_reading_that_fails_ends_the_task_and_leaves_nothing_open(stage):
    task = asyncio.create_task(stage.reader.run(lambda: NAMES))
    await eventually(stage.listens)
    stage.kernel.sources[-1].put(KernelError("gone"))
    with pytest.raises(KernelError, match="gone"):
        await task
    assert stage.kernel.sources[-1].closed
