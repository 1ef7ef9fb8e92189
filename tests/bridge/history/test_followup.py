"""After a publish: what it changed is written down, each revision and each day has a checkpoint, damage is an alert."""

import asyncio
import json
import re
from dataclasses import replace

import pytest
from pydantic import ValidationError

from bridge.alerts import Alerts
from bridge.history.followup import FollowUp
from bridge.settings.models import HistorySettings
from bridge.siem import PROGRAM, RecordStamp
from tests.bridge.world import World, rule
from zones.rules import Action
from zones.siem.protocols.hec import Envelope, render
from zones.siem.protocols.syslog import Form, frame
from zones.siem.values import compact

OTHER = rule("a", from_zones=frozenset({"mail"}))
TO_DB = rule("web to db", from_zones=frozenset({"web"}), to_zones=frozenset({"db"}))


@pytest.fixture
def world():
    return World(OTHER, TO_DB)


def follow_up(world):
    alerts = Alerts("c1", "panorama", [world.sink])
    return FollowUp(world.cluster, "panorama", world.sync.history, alerts, world.clock)


def once(world):
    return asyncio.run(world.sync.once())


def changes(world):
    return [raw.get("status", {}).get("changes") for raw in world.cluster.recorded.values()]


def test_what_each_revision_changed_is_written_down_once(world):
    once(world)
    following = follow_up(world)
    asyncio.run(following.look())
    world.manager.commit(OTHER)
    once(world)
    asyncio.run(following.look())
    first, second = changes(world)
    assert first == {"notComputed": "it is the first"}
    assert (second["pairsOpened"], second["pairsClosed"], second["rulesRemoved"]) == (0, 1, 1)
    assert second["lines"] == ["web to db, any to any, any: allow (web to db) becomes deny (interzone-default)"]
    world.cluster.calls.clear()
    asyncio.run(following.look())
    assert not [call for call in world.cluster.calls if call.startswith("status")]


def test_a_successor_works_out_what_was_left_undone_from_the_parts(world):
    once(world)
    world.manager.commit(OTHER)
    once(world)
    once(world)
    world.restart()
    once(world)
    asyncio.run(follow_up(world).look())
    assert changes(world)[1]["pairsClosed"] == 1


def test_each_revision_and_each_day_has_a_checkpoint(world):
    once(world)
    following = follow_up(world)
    for _ in range(2):
        asyncio.run(following.look())
    world.manager.commit(OTHER)
    once(world)
    asyncio.run(following.look())
    world.clock.forward(days=1)
    asyncio.run(following.look())
    told = world.sink.checkpoints
    assert [each.revision for each in told] == [1, 2, 2]
    spec = world.cluster.recorded["panorama-2"]["spec"]
    assert (told[1].chain, told[1].digest, told[1].position, told[1].kept, told[1].first) == (
        spec["chain"],
        spec["digest"],
        2,
        2,
        1,
    )


def test_a_damaged_history_is_an_alert_until_it_is_whole_again(world):
    once(world)
    following = follow_up(world)
    asyncio.run(following.look())
    record = world.cluster.recorded["panorama-1"]["spec"]
    record["recorded"] = "2025-01-01T00:00:00Z"
    world.clock.forward(days=1)
    asyncio.run(following.look())
    assert world.sink.told[-1] == ("HistoryTampered", False)
    assert "revision 1: what it says isn't what its chain digest stands for" in world.sink.alerts[-1].message
    record["recorded"] = "2026-01-01T12:00:00Z"
    world.clock.forward(days=1)
    asyncio.run(following.look())
    assert world.sink.told[-1] == ("HistoryTampered", True)


def test_a_damaged_status_is_worked_out_again(world):
    once(world)
    following = follow_up(world)
    asyncio.run(following.look())
    world.cluster.recorded["panorama-1"]["status"]["changes"] = {"pairsOpened": 0}
    asyncio.run(following.look())
    assert changes(world) == [{"notComputed": "it is the first"}]


def test_a_checkpoint_is_a_record_in_every_format(world):
    once(world)
    asyncio.run(follow_up(world).look())
    record = RecordStamp("bridge", 1).checkpoint("c1", "panorama", world.sink.checkpoints[0], 10.0)
    assert (record["kind"], record["severity"], record["revision"]) == ("checkpoint", "informational", 1)
    assert json.loads(render(record, record, Envelope()))["event"] == record
    line = frame(record, Form(program=PROGRAM), compact).decode()
    assert " zonebridge - checkpoint - {" in line
    assert json.loads(line[line.index("{") :]) == record


def test_an_alert_carries_what_shows_the_configuration_of_its_moment(world):
    once(world)
    world.manager.commit(rule("a", conditions=("a user",), action=Action.DENY))
    once(world)
    (refused,) = [alert for alert in world.sink.alerts if alert.kind.reason == "RevisionRefused"]
    record = RecordStamp("bridge", 1).of(refused, 10.0, 5.0)
    assert (record["revision"], record["configuration"]) == (1, "zonebridge show 1")
    assert "configurationUrl" not in record
    linked = RecordStamp("bridge", 1, "https://example.com/{cluster}/{tier}?revision={revision}")
    elsewhere = replace(refused, tier="other tier", cluster="a/b")
    assert linked.of(elsewhere, 10.0, 5.0)["configurationUrl"] == "https://example.com/a%2Fb/other%20tier?revision=1"
    assert linked.of(elsewhere, 10.0, 5.0)["configuration"] == "zonebridge show 1 --tier other tier"
    assert "configuration" not in RecordStamp("bridge", 1).of(replace(refused, revision=0), 10.0, 5.0)


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("example.com/{revision}", "must be an address"),
        ("https://example.com/{revision", "must be an address"),
        ("https://example.com/{node}", "'{node}' is no place"),
        ("https://example.com/{revision.__class__}", "is no place"),
    ],
)
def test_a_link_that_is_none_is_refused(link, says):
    with pytest.raises(ValidationError, match=re.escape(says)):
        HistorySettings(link=link)
    assert HistorySettings(link="https://example.com/{cluster}/{revision}").link
