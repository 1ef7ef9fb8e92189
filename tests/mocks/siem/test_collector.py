"""The code table, authentication, the partial batch, encodings, caps and scripts: requests in, replies out."""

from __future__ import annotations

import base64
import gzip
import json
import zlib

import pytest

from mocks.siem.codes import CODES
from mocks.siem.collector import Collector
from mocks.siem.replies import Request
from tests.mocks.siem.conftest import ACK_TOKEN, CHANNEL, TOKEN, Clock, Send

EVENT = '{"event":"x"}'
EVENT_PATHS = ["/services/collector", "/services/collector/event", "/services/collector/event/1.0"]


@pytest.mark.parametrize("path", EVENT_PATHS)
def test_an_event_is_kept_with_its_envelope(collector: Collector, send: Send, path: str) -> None:
    reply = send(
        '{"time":1700000000.123456,"host":"h","source":"s","sourcetype":"t","index":"net",'
        '"event":{"a":[1]},"fields":{"id":"7"}}',
        path,
    )
    assert (reply.status, reply.body) == (200, {"text": "Success", "code": 0})
    (event,) = collector.events
    assert (event.time, event.host, event.source, event.sourcetype, event.index) == (
        1700000000.123456,
        "h",
        "s",
        "t",
        "net",
    )
    assert event.event == {"a": [1]}
    assert event.fields == {"id": "7"}


def test_what_an_envelope_leaves_out_comes_from_the_token_and_not_from_its_neighbour(
    collector: Collector, send: Send, clock: Clock
) -> None:
    send('{"host":"h","index":"net","time":5,"event":1}\n\n {"event":2}')
    second = collector.events[1]
    assert (second.host, second.index, second.sourcetype) == ("127.0.0.1:8088", "main", "json")
    assert second.time == clock.now


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1700000000", 1700000000.0),
        ("1700000000.1234567", 1700000000.123457),
        ('"1700000000.5"', 1700000000.5),
        ("1700000000500", 1700000000.5),
        ('"1700000000500"', 1700000000.5),
        ("1700000000123456789", 1700000000.123457),
    ],
)
def test_time_is_read_by_its_magnitude(collector: Collector, send: Send, text: str, seconds: float) -> None:
    assert send(f'{{"time":{text},"event":1}}').status == 200
    assert collector.events[0].time == seconds


@pytest.mark.parametrize("event", ["{}", "[]", "0", "true", '"x"', '{"deep":{"er":[{}]}}'])
def test_events_of_any_shape(send: Send, event: str) -> None:
    assert send(f'{{"event":{event}}}').code == 0


REFUSED_OBJECTS = [
    ("{}", 12),
    ('{"time":1}', 12),
    ('{"event":""}', 13),
    ('{"event":" \\t"}', 13),
    ('{"event":null}', 6),
    ('{"event":false}', 6),
    ('{"event":1', 6),
    (',{"event":1}', 6),
    ('[{"event":1}]', 6),
    ("17", 6),
    ('{"event":NaN}', 6),
    ('{"event":1,"time":true}', 6),
    ('{"event":1,"time":"soon"}', 6),
    ('{"event":1,"time":"1_0"}', 6),
    ('{"event":1,"host":7}', 6),
    ('{"event":1,"fields":{"a":{"b":1}}}', 15),
    ('{"event":1,"fields":{"a":[{"b":1}]}}', 15),
    ('{"event":1,"fields":["a"]}', 15),
    ("[" * 20000, 6),
]


@pytest.mark.parametrize(("bad", "code"), REFUSED_OBJECTS)
def test_a_bad_object_is_named_and_those_before_it_are_indexed(
    collector: Collector, send: Send, bad: str, code: int
) -> None:
    reply = send(f'{{"event":"a"}}{{"event":"b"}}{bad}{{"event":"late"}}')
    assert reply.status == 400
    assert reply.body == {"text": CODES[code][1], "code": code, "invalid-event-number": 2}
    assert [event.event for event in collector.events] == ["a", "b"]


def test_an_index_outside_the_list_is_counted_from_one(collector: Collector, send: Send) -> None:
    reply = send('{"event":"a"}{"event":"b","index":"secret"}')
    assert reply.body == {"text": "Incorrect index", "code": 7, "invalid-event-number": 2}
    assert len(collector.events) == 1


def test_an_event_that_it_is_told_to_refuse_is_named(collector: Collector, send: Send) -> None:
    collector.refuses = lambda event: event == "bad"
    reply = send('{"event":"good"}{"event":"bad"}{"event":"never read"}')
    assert (reply.status, reply.code) == (400, 6)
    assert isinstance(reply.body, dict)
    assert reply.body["invalid-event-number"] == 1
    assert [event.event for event in collector.events] == ["good"]


def test_octets_that_are_no_utf8_spoil_their_object_only(collector: Collector, send: Send) -> None:
    reply = send(b'{"event":"caf\xc3\xa9"}{"event":"caf\xe9"}')
    assert reply.body == {"text": "Invalid data format", "code": 6, "invalid-event-number": 1}
    assert [event.event for event in collector.events] == ["café"]


def test_an_unknown_key_loses_the_rest_behind_a_success(collector: Collector, send: Send) -> None:
    reply = send('{"event":0}{"event":1,"severity":"high"}{"event":2}')
    assert (reply.status, reply.code) == (200, 0)
    assert [event.event for event in collector.events] == [0]
    assert collector.lost_to_unknown_keys == ["severity"]


def test_fields_may_have_several_values(collector: Collector, send: Send) -> None:
    assert send('{"event":1,"fields":{"a":["x","y"],"b":2}}').code == 0
    assert collector.events[0].fields == {"a": ["x", "y"], "b": 2}


@pytest.mark.parametrize("body", ["", "  \n"])
def test_no_data(send: Send, body: str) -> None:
    assert send(body).body == {"text": "No data", "code": 5}


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, 2),
        ({"Authorization": TOKEN}, 401, 3),
        ({"Authorization": "Splunk "}, 401, 3),
        ({"Authorization": f"Bearer {TOKEN}"}, 401, 3),
        ({"Authorization": "Basic !!"}, 401, 3),
        ({"Authorization": "Splunk nobody"}, 403, 4),
        ({"Authorization": "Basic " + base64.b64encode(f"x:{TOKEN}".encode()).decode()}, 200, 0),
    ],
)
def test_who_may_send(send: Send, headers: dict[str, str], status: int, code: int) -> None:
    reply = send(EVENT, token=None, headers=headers)
    assert (reply.status, reply.code) == (status, code)


def test_a_token_in_the_query_must_be_allowed(collector: Collector) -> None:
    assert collector.handle(request_with_query(TOKEN)).code == 16
    collector.tokens[TOKEN].query_authorization = True
    assert collector.handle(request_with_query(TOKEN)).code == 0
    assert collector.handle(request_with_query("nobody")).code == 4


def test_a_token_is_disabled_enabled_and_removed_at_run_time(collector: Collector, send: Send) -> None:
    collector.disable(TOKEN)
    assert (send(EVENT).status, send(EVENT).code) == (403, 1)
    collector.enable(TOKEN)
    assert send(EVENT).code == 0
    collector.remove(TOKEN)
    assert (send(EVENT).status, send(EVENT).code) == (403, 4)


def test_channels(send: Send) -> None:
    assert send(EVENT, token=ACK_TOKEN).code == 10
    assert send(EVENT, token=ACK_TOKEN, channel="seven").code == 11
    assert send(EVENT, token=ACK_TOKEN, channel=CHANNEL).code == 0
    assert send(EVENT, token=ACK_TOKEN, headers={"X-Splunk-Request-Channel": CHANNEL}).code == 0
    assert send(EVENT).code == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/services/collector/nothing", 404),
        ("POST", "/services/collector/", 404),
        ("POST", "/", 404),
        ("GET", "/services/collector/event", 405),
        ("PUT", "/services/collector", 405),
        ("POST", "/services/collector/health", 405),
    ],
)
def test_paths_and_methods_that_are_not_there(send: Send, method: str, path: str, status: int) -> None:
    reply = send(EVENT, path, method=method)
    assert (reply.status, reply.body) == (
        status,
        {"text": "The requested URL was not found on this server.", "code": 404},
    )


@pytest.mark.parametrize("path", ["/services/collector/health", "/services/collector/health/1.0"])
def test_health_asks_for_no_token_and_can_be_bad(collector: Collector, send: Send, path: str) -> None:
    assert send(path=path, method="GET", token=None).body == {"text": "HEC is healthy", "code": 17}
    for code in (18, 19, 20, 23):
        collector.answer(code, kind="health")
        assert (send(path=path, method="GET").status, send(path=path, method="GET").status) == (503, 200)


def test_gzip_is_read_whole_in_parts_and_refused_when_broken(collector: Collector, send: Send) -> None:
    packed = gzip.compress(EVENT.encode())
    zipped = {"Content-Encoding": "gzip"}
    assert send(packed, headers=zipped).code == 0
    assert send(packed + packed, headers=zipped).events == 2
    assert send(packed[:-9], headers=zipped).code == 6
    assert send(EVENT, headers=zipped).code == 6
    assert len(collector.events) == 3
    assert collector.calls[0].encoding == "gzip"


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd"])
def test_other_encodings_are_415_and_html(send: Send, encoding: str) -> None:
    reply = send(zlib.compress(EVENT.encode()), headers={"Content-Encoding": encoding})
    assert reply.status == 415
    assert isinstance(reply.body, str)
    assert reply.body.startswith("<html>")


def body_of(size: int) -> str:
    return '{"event":"' + "x" * (size - 12) + '"}'


def test_the_cap_is_413_like_enterprise(collector: Collector, send: Send) -> None:
    collector.max_content_length = 1000
    assert send(body_of(1000)).status == 200
    assert send(body_of(1001)).status == 413
    assert len(collector.events) == 1


def test_the_cap_is_400_code_6_like_cloud_and_counts_what_gzip_hides(collector: Collector, send: Send) -> None:
    collector.max_content_length, collector.oversize = 1000, "400"
    too_much = {"text": "Invalid data format", "code": 6, "invalid-event-number": 0}
    assert send(body_of(1001)).body == too_much
    bomb = gzip.compress(b" " * 50_000_000)
    assert send(bomb, headers={"Content-Encoding": "gzip"}).body == too_much
    assert collector.events == []


@pytest.mark.parametrize("code", sorted(set(CODES) - {0, 17}))
def test_every_code_can_be_scripted(collector: Collector, send: Send, code: int) -> None:
    status, text = CODES[code]
    collector.answer(code, retry_after=7)
    reply = send(EVENT)
    assert (reply.status, reply.body) == (status, {"text": text, "code": code})
    assert reply.headers == {"Retry-After": "7"}
    # 24 and 25 are successes with a warning: the events are in
    assert len(collector.events) == (1 if status == 200 else 0)
    assert send(EVENT).code == 0


def test_busy_for_a_while(collector: Collector, send: Send) -> None:
    collector.answer(9, times=3)
    assert [send(EVENT).code for _ in range(4)] == [9, 9, 9, 0]
    assert collector.codes == {9: 3, 0: 1}


def test_an_error_may_come_after_the_commit(collector: Collector, send: Send) -> None:
    collector.answer(8, committed=True)
    assert send(EVENT).status == 500
    assert len(collector.events) == 1


def test_a_lost_batch_is_accepted_and_not_indexed(collector: Collector, send: Send) -> None:
    collector.lose()
    assert send(EVENT).code == 0
    assert collector.events == []


def test_counters(collector: Collector, send: Send) -> None:
    send(EVENT)
    send("{}", headers={"User-Agent": "probe/1"})
    assert collector.requests == 2
    assert collector.wire_bytes == len(EVENT) + 2
    assert collector.codes == {0: 1, 12: 1}
    assert [(call.status, call.code, call.events) for call in collector.calls] == [(200, 0, 1), (400, 12, 0)]
    assert collector.calls[1].user_agent == "probe/1"


def test_events_have_a_line(collector: Collector, send: Send) -> None:
    send('{"event":{"a":1},"time":5}')
    assert json.loads(json.dumps(collector.events[0].line()))["event"] == {"a": 1}


def request_with_query(token: str) -> Request:
    return Request("POST", "/services/collector/event", {}, {"token": token}, EVENT.encode())
