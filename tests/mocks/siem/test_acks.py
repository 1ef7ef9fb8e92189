"""Indexer acknowledgement: ids per channel, late truth, forgotten truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from mocks.siem.collector import Collector
from tests.mocks.siem.conftest import ACK_TOKEN, CHANNEL, OTHER_CHANNEL, Clock, Send

ACK = "/services/collector/ack"
EVENT = '{"event":"x"}'
Poll = Callable[..., Any]


@pytest.fixture
def ack_of(send: Send) -> Poll:
    def post(body: str = EVENT, channel: str = CHANNEL) -> Any:
        return send(body, token=ACK_TOKEN, channel=channel).body

    return post


@pytest.fixture
def poll(send: Send) -> Poll:
    def ask(*numbers: int, channel: str = CHANNEL) -> list[bool]:
        reply = send({"acks": list(numbers)}, ACK, token=ACK_TOKEN, channel=channel)
        assert isinstance(reply.body, dict)
        return [reply.body["acks"][str(number)] for number in numbers]

    return ask


def test_ids_count_from_zero_in_each_channel(ack_of: Poll) -> None:
    assert [ack_of()["ackId"], ack_of()["ackId"], ack_of(channel=OTHER_CHANNEL)["ackId"]] == [0, 1, 0]


def test_a_channel_is_the_same_in_capitals(ack_of: Poll) -> None:
    upper = "ABCDEF01-2222-3333-4444-555555555555"
    assert (ack_of(channel=upper)["ackId"], ack_of(channel=upper.lower())["ackId"]) == (0, 1)


def test_true_comes_late_and_once(ack_of: Poll, poll: Poll, clock: Clock) -> None:
    ack_of()
    assert poll(0, 5) == [False, False]
    clock.now += 1.0
    assert poll(0, 5) == [True, False]
    assert poll(0) == [False]


def test_another_channel_knows_nothing(ack_of: Poll, poll: Poll, clock: Clock) -> None:
    ack_of()
    clock.now += 1.0
    assert poll(0, channel=OTHER_CHANNEL) == [False]
    assert poll(0) == [True]


def test_acks_are_held_back_and_let_go(collector: Collector, ack_of: Poll, poll: Poll, clock: Clock) -> None:
    collector.acks.delay = math.inf
    ack_of()
    clock.now += 3600
    assert poll(0) == [False]
    collector.acks.delay = 0
    assert poll(0) == [True]


def test_a_lost_batch_is_never_acknowledged(collector: Collector, ack_of: Poll, poll: Poll, clock: Clock) -> None:
    collector.lose()
    assert ack_of() == {"text": "Success", "code": 0, "ackId": 0}
    clock.now += 3600
    assert poll(0) == [False]
    assert collector.events == []


def test_a_refused_batch_has_no_id(ack_of: Poll) -> None:
    assert ack_of(EVENT + "{}") == {"text": "Event field is required", "code": 12, "invalid-event-number": 1}
    assert ack_of()["ackId"] == 0


def test_a_token_without_acks(send: Send) -> None:
    assert send({"acks": [0]}, ACK, channel=CHANNEL).body == {"text": "ACK is disabled", "code": 14}


@pytest.mark.parametrize(
    ("body", "channel", "code"),
    [
        ('{"acks":[0]}', "", 10),
        ('{"acks":[0]}', "seven", 11),
        ("", CHANNEL, 5),
        ("{", CHANNEL, 6),
        ("[0]", CHANNEL, 6),
        ('{"acks":["0"]}', CHANNEL, 6),
        ('{"acks":[true]}', CHANNEL, 6),
    ],
)
def test_bad_questions(send: Send, body: str, channel: str, code: int) -> None:
    assert send(body, ACK, token=ACK_TOKEN, channel=channel).code == code


def test_the_ack_service_can_fail_alone(collector: Collector, send: Send) -> None:
    collector.answer(27, kind="ack", retry_after=3)
    assert send(EVENT, token=ACK_TOKEN, channel=CHANNEL).status == 200
    reply = send({"acks": [0]}, ACK, token=ACK_TOKEN, channel=CHANNEL)
    assert (reply.status, reply.headers) == (429, {"Retry-After": "3"})
