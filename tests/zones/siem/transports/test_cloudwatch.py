"""Records reach a strict log store, signed, in batches it takes; the stream is made; nothing is lost on the way."""

import asyncio
import json
import time
from datetime import UTC, datetime

import pytest

from mocks.serving import Fault
from mocks.siem import CloudWatch
from tests.enforcer.shipping.test_delivery import delivering, eventually, sent
from tests.zones.siem.cases import flow
from zones.siem.destinations import CloudWatchSettings
from zones.siem.formats.registry import FormatName

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "a secret/+="}
GROUP = "/zonebridge/prod"


@pytest.fixture
def store():
    with CloudWatch({KEYS["AWS_ACCESS_KEY_ID"]: KEYS["AWS_SECRET_ACCESS_KEY"]}, GROUP) as running:
        yield running


def settings(store, **more):
    given = {"region": store.region, "group": GROUP, "url": store.url, "ca_file": store.ca_file, "timeout_seconds": 20}
    return CloudWatchSettings(name="siem", type="cloudwatch", **given | more)


def records(first, count, *, age=0.0):
    at = datetime.fromtimestamp(time.time() - age, UTC).isoformat().replace("+00:00", "Z")
    return [flow(number, time=at, end=at) | {"sequence": number} for number in range(first, first + count)]


def stored(store):
    return [json.loads(event.message)["sequence"] for event in store.events]


def test_records_reach_the_nodes_own_stream_which_is_made(store, tmp_path):
    progress = sent(tmp_path, settings(store), records(0, 300), environment=KEYS)
    assert stored(store) == list(range(300))
    assert {event.stream for event in store.events} == {"n1"}
    assert (progress.sent, progress.refused) == (300, 0)


def test_lines_of_flows_in_a_named_stream(store, tmp_path):
    wanted = settings(store, stream="flows", format=FormatName.FLOWLINE, records="flows")
    sent(tmp_path, wanted, records(0, 3), environment=KEYS)
    assert [len(event.message.split(" ")) for event in store.events] == [24] * 3
    assert {event.stream for event in store.events} == {"flows"}


def test_what_is_too_old_is_set_aside_and_the_rest_arrives(store, tmp_path):
    wanted = [*records(0, 2, age=20 * 86_400), *records(2, 3)]
    progress = sent(tmp_path, settings(store), wanted, environment=KEYS)
    assert stored(store) == [2, 3, 4]
    assert (progress.sent, progress.refused) == (3, 2)
    aside = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert [each["record"]["sequence"] for each in aside] == [0, 1]


def test_throttling_and_broken_connections_are_waited_out(store, tmp_path):
    store.refuse("ThrottlingException", "Rate exceeded", times=2)
    store.refuse("ServiceUnavailableException", status=500)
    store.faults.add(Fault("reset"))
    sent(tmp_path, settings(store), records(0, 20), environment=KEYS)
    assert stored(store) == list(range(20))


def test_a_refused_batch_is_split(store, tmp_path):
    store.refuse("InvalidParameterException", "something in it")
    progress = sent(tmp_path, settings(store), records(0, 20), environment=KEYS)
    assert stored(store) == list(range(20))
    assert progress.refused == 0


@pytest.mark.parametrize(
    ("more", "environment", "why"),
    [
        ({"group": "/no/such"}, KEYS, "create it"),
        ({}, KEYS | {"AWS_SECRET_ACCESS_KEY": "wrong"}, "signature is refused"),
        ({}, KEYS | {"AWS_ACCESS_KEY_ID": "wrong"}, "not known"),
        ({"ca_file": None}, KEYS, "caFile"),
    ],
)
def test_what_an_administrator_must_put_right_holds_and_says_so(store, tmp_path, more, environment, why):
    async def run():
        async with delivering(tmp_path, settings(store, **more), environment) as (outbox, delivery):
            outbox.put(records(0, 3))
            await eventually(lambda: delivery.progress.on_hold)
            assert why in delivery.progress.trouble
            assert "a secret/+=" not in delivery.progress.trouble
            assert outbox.backlog("siem") == 3

    asyncio.run(run())
    assert store.events == []
