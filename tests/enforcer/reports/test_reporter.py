"""The whole of a reporter while the machine's time is set: the SIEM hears as much, and as soon."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from pydantic import ValidationError

from enforcer.flows.flow_table import FlowTable
from enforcer.kernel.reconcile import Applied, AppliedAction
from enforcer.reports.alert_table import AlertLimits, AlertTable
from enforcer.reports.reporter import Reporter
from enforcer.settings.models import EnforcerSettings
from enforcer.wiring import configuration
from tests.enforcer.clocks import Clock
from tests.enforcer.reports.test_flows import NAMES, TERMINALS, packet, stamp
from zones.siem.alerts import AlertKind

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


def applied(revision):
    return Applied(revision, AppliedAction.NONE, None)


def alerts(configuration):
    records = []
    table = AlertTable(AlertLimits(), Clock())
    reporter = Reporter(stamp(), FlowTable(5, 50_000, Clock()), table, records.extend, configuration=configuration)
    names = replace(NAMES, tier="panorama", revision=6)
    reporter.packets([packet()], TERMINALS, names, START)
    reporter.event(AlertKind.KERNEL_TAMPERED, "ruleset", "changed and put back", START)
    return [record for record in records if not isinstance(record, bytes) and record["kind"] == "alert"]


def test_each_alert_shows_the_configuration_of_its_moment():
    about = {"cluster": "c1", "nodeName": "n1", "alerts": {"link": "https://x.example/{cluster}/{revision}"}}
    settings = EnforcerSettings.model_validate(about)
    flow, tampered = alerts(lambda record: configuration(settings, record, applied(7)))
    assert (flow["tier"], flow["revision"], flow["configuration"]) == ("panorama", 6, "zonebridge show 6")
    assert flow["configurationUrl"] == "https://x.example/c1/6"
    assert (tampered["tier"], tampered["revision"], tampered["configuration"]) == ("panorama", 7, "zonebridge show 7")
    assert tampered["configurationUrl"] == "https://x.example/c1/7"
    bare = EnforcerSettings.model_validate({"cluster": "c1", "nodeName": "n1", "tier": "other"})
    _, tampered = alerts(lambda record: configuration(bare, record, applied(7)))
    assert (tampered["configuration"], "configurationUrl" in tampered) == ("zonebridge show 7 --tier other", False)
    _, tampered = alerts(lambda record: configuration(bare, record, None))
    assert "configuration" not in tampered


@pytest.mark.parametrize("link", ["ftp://x", "https://x/{node}", "https://x/{", "https://x/ {tier}"])
def test_a_link_that_is_none_is_refused(link):
    with pytest.raises(ValidationError, match="link"):
        EnforcerSettings.model_validate({"cluster": "c1", "nodeName": "n1", "alerts": {"link": link}})


@pytest.mark.parametrize("step", [-30.0, -3600.0, 3600.0])
def test_as_many_records_each_minute_however_the_time_was_set(step):
    told, held = played(step)
    as_ever, usually_held = played(0.0)
    assert told == as_ever
    assert held == usually_held < 20
    assert {minute for kind, minute in told if kind == "flow"} == set(range(7))
