"""The whole of a reporter while the machine's time is set: the SIEM hears as much, and as soon."""

import json
from collections import Counter

import pytest

from enforcer.flows.flow_table import FlowTable
from enforcer.reports.alert_table import AlertLimits, AlertTable
from enforcer.reports.reporter import Reporter
from tests.enforcer.clocks import Clock
from tests.enforcer.reports.test_flows import NAMES, TERMINALS, packet, stamp

START, STEP_AT, END = 1_800_000_000.0, 60, 400


def played(step):
    """Two denied connections a second, one to a new port each time; how many records of each kind each minute brings."""
    clock, told, second = Clock(), Counter(), 0

    def put(records):
        for record in records:
            kind = (json.loads(record) if isinstance(record, bytes) else record)["kind"]
            told[kind, second // 60] += 1

    reporter = Reporter(stamp(), FlowTable(5, 50_000, clock), AlertTable(AlertLimits(), clock), put)
    for second in range(END):
        clock.now = float(second)
        wall = START + second + (step if second >= STEP_AT else 0.0)
        for each in (packet(sport=20_000 + second), packet(sport=1, dport=10_000 + second)):
            reporter.packets([each._replace(timestamp=wall)], TERMINALS, NAMES, wall)
        reporter.tick(wall)
    return told, len(reporter.flows)


@pytest.mark.parametrize("step", [-30.0, -3600.0, 3600.0])
def test_as_many_records_each_minute_however_the_time_was_set(step):
    told, held = played(step)
    as_ever, usually_held = played(0.0)
    assert told == as_ever
    assert held == usually_held < 20
    assert {minute for kind, minute in told if kind == "flow"} == set(range(7))
