"""The /raw endpoint: lines, the query's metadata, the merging of lines without a timestamp."""

from __future__ import annotations

import pytest

from mocks.siem.collector import Collector
from tests.mocks.siem.conftest import ACK_TOKEN, CHANNEL, Send

RAW = "/services/collector/raw"


@pytest.mark.parametrize("path", [RAW, RAW + "/1.0"])
def test_lines_become_events_with_the_querys_metadata(collector: Collector, send: Send, path: str) -> None:
    reply = send("1,a\r\n\n1,b\n", path, sourcetype="pan:log", host="fw", source="s", index="net")
    assert reply.body == {"text": "Success", "code": 0}
    assert [event.event for event in collector.events] == ["1,a", "1,b"]
    first = collector.events[0]
    assert (first.host, first.source, first.sourcetype, first.index) == ("fw", "s", "pan:log", "net")


def test_a_line_without_a_timestamp_sticks_to_the_one_before(collector: Collector, send: Send) -> None:
    send("2026-01-02 03:04:05 one\n  at two\n2026-01-02 03:04:06 three", RAW, sourcetype="custom")
    assert [event.event for event in collector.events] == [
        "2026-01-02 03:04:05 one\n  at two",
        "2026-01-02 03:04:06 three",
    ]


@pytest.mark.parametrize(("body", "query", "code"), [("", {}, 5), (" \n", {}, 5), ("x", {"index": "secret"}, 7)])
def test_refusals(send: Send, body: str, query: dict[str, str], code: int) -> None:
    assert send(body, RAW, **query).code == code


def test_octets_that_are_no_utf8(send: Send) -> None:
    assert send(b"\xff\xfe", RAW).code == 6


def test_the_channel_is_asked_for_where_acks_are_or_where_told(collector: Collector, send: Send) -> None:
    assert send("x", RAW).code == 0
    assert send("x", RAW, token=ACK_TOKEN).code == 10
    assert send("x", RAW, token=ACK_TOKEN, channel=CHANNEL).body == {"text": "Success", "code": 0, "ackId": 0}
    collector.raw_needs_channel = True
    assert send("x", RAW).code == 10
