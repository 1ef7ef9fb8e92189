"""What was seen, told window by window: as records, with what was missed; and when the kernel can't tell."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import pytest

from enforcer.errors import KernelError
from enforcer.flows.seen_reader import SeenReader
from enforcer.flows.seen_table import SeenTable
from tests.enforcer.reports.test_connections import MARKS, NAMES, STAMP
from tests.enforcer.reports.test_endreader import Kernel, in_a_loop
from tests.enforcer.reports.test_seentable import POLICY, alive, denied, over
from tests.enforcer.smallcluster import eventually
from zones.seen import counting_of, seen_of
from zones.siem.records import encoded


class SeenKernel(Kernel):
    def open_ends(self):
        return self.open()

    def all_alive(self):
        return self.alive()


class Stage:
    def __init__(self):
        self.kernel, self.records, self.held_back = SeenKernel(), [], 5
        self.reader = SeenReader(
            self.kernel,
            SeenTable("n1", MARKS),
            STAMP,
            lambda: POLICY,
            self.put,
            lambda: self.held_back,
            window=0.02,
            tick=0.01,
        )

    def put(self, records):
        self.records += [json.loads(encoded(each)) for each in records]

    def of(self, kind):
        return [each for each in self.records if each["kind"] == kind]

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.reader.run(lambda: NAMES))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def stage():
    return Stage()


@in_a_loop
async def test_each_window_tells_its_rows_and_then_what_may_be_missing(stage):
    async with stage.running():
        await eventually(lambda: stage.kernel.asked)
        stage.kernel.sources[-1].put(over(1), over(2))
        stage.kernel.sources[-1].dropped = 4
        stage.held_back = 7
        await eventually(lambda: stage.of("seen") and len(stage.of("counting")) > 1)
    assert stage.kernel.sources[-1].closed
    (row,) = stage.of("seen")
    assert seen_of(row).connections == 2
    assert (row["cluster"], row["node"]) == ("prod", "n1")
    counted = [counting_of(each) for each in stage.of("counting")]
    assert (sum(each.missed for each in counted), sum(each.held_back for each in counted)) == (4, 2)
    assert stage.records[-1]["kind"] == "counting"
    numbers = [each["sequence"] for each in stage.records]
    assert numbers == sorted(set(numbers))


@in_a_loop
async def test_who_lives_is_asked_for_each_window(stage):
    async with stage.running():
        await eventually(lambda: stage.kernel.asked)
        stage.kernel.living = [alive(1), alive(2)]
        await eventually(lambda: len(stage.of("seen")) > 1)
    assert [each["living"] for each in stage.of("seen")][:2] == [2, 2]
    assert sum(each["connections"] for each in stage.of("seen")) == 2


@in_a_loop
async def test_a_kernel_that_cant_tell_is_a_problem_and_denials_are_counted_all_the_same(stage):
    stage.kernel.can["events"] = False
    async with stage.running():
        await eventually(lambda: stage.of("counting"))
        stage.reader.table.denied(denied("203.0.113.7"))
        await eventually(lambda: stage.of("seen"))
    assert "accepted connections are not counted; set" in stage.reader.problem
    assert stage.of("seen")[0]["verdict"] == "deny"


@in_a_loop
async def test_a_door_that_fails_is_a_problem(stage):
    stage.kernel.refusal = KernelError("no right")
    async with stage.running():
        await eventually(lambda: stage.of("counting"))
    assert stage.reader.problem == "accepted connections are not counted: no right"


@in_a_loop
async def test_without_counters_of_bytes_connections_are_counted_and_that_is_told(stage):
    stage.kernel.can["acct"] = False
    async with stage.running():
        await eventually(lambda: stage.of("counting"))
    assert "without bytes" in stage.reader.problem
