"""Batches are within PutLogEvents' limits, and each of its answers means one thing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocks.siem.cloudwatch import check
from zones.siem.outcome import Delivered, Hold, Refused, Retry, Split
from zones.siem.protocols import cloudwatch
from zones.siem.protocols.cloudwatch import LogEvent

NOW = 1_795_260_148_123
DAY = 24 * 3600 * 1000


def events(count, *, size=10, step=1):
    return [LogEvent(at, NOW + at * step, "x" * size) for at in range(count)]


def meaning(status, code=None, *, count=5, **more):
    reply = {"__type": f"com.amazonaws.logs#{code}", "message": "…"} if code else more
    return cloudwatch.interpret(status, json.dumps(reply).encode(), events(count))


@given(
    st.lists(
        st.builds(LogEvent, st.just(0), st.integers(NOW - 3 * DAY, NOW), st.text("aü😀", max_size=9)),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from([1, 3_000, 60_000]),
)
def test_any_batch_is_one_that_the_service_takes(several, stretch):
    several = [LogEvent(at, event.timestamp, "m" + event.message * stretch) for at, event in enumerate(several)]
    count = cloudwatch.within(several)
    assert 1 <= count <= len(several)
    sent = cloudwatch.in_order(several[:count])
    assert sorted(event.index for event in sent) == list(range(count))
    told = json.loads(cloudwatch.put_events("g", "s", sent))["logEvents"]
    if count > 1 or len(told[0]["message"].encode()) <= 1_048_550:
        check(told)
    if count < len(several):
        with pytest.raises(Exception, match="Log events"):
            check(json.loads(cloudwatch.put_events("g", "s", cloudwatch.in_order(several[: count + 1])))["logEvents"])


def test_the_limits():
    assert cloudwatch.within(events(10_001)) == 10_000
    assert cloudwatch.within(events(20, size=1_048_576 // 10 - 26)) == 10
    assert cloudwatch.within(events(49, step=3_600_000)) == 25
    assert cloudwatch.within(events(1, size=2_000_000)) == 1


def test_taken():
    assert meaning(200, nextSequenceToken="1") == Delivered()
    assert meaning(400, "DataAlreadyAcceptedException") == Delivered()


@pytest.mark.parametrize("reply", [b"", b"<html>login</html>", b"[]", b"null", b"[" * 100_000])
def test_a_success_that_is_no_log_stores_is_none(reply):
    assert isinstance(cloudwatch.interpret(200, reply, events(5)), Retry)
    assert isinstance(cloudwatch.interpret(404, reply, events(5)), Hold)


@pytest.mark.parametrize("info", ["x", [], {"tooNewLogEventStartIndex": "x"}, {"tooOldLogEventEndIndex": -7}])
def test_nonsense_about_rejected_events_is_survived(info):
    assert isinstance(meaning(200, rejectedLogEventsInfo=info), Delivered)


def test_what_is_too_old_or_too_new_is_told_apart():
    assert meaning(200, rejectedLogEventsInfo={"tooOldLogEventEndIndex": 2}).refused.keys() == {0, 1}
    assert meaning(200, rejectedLogEventsInfo={"tooNewLogEventStartIndex": 4}).refused.keys() == {4}
    assert meaning(200, rejectedLogEventsInfo={"expiredLogEventEndIndex": 1}).refused.keys() == {0}
    assert meaning(200, rejectedLogEventsInfo={"tooOldLogEventEndIndex": 0}).refused.keys() == {0}
    assert meaning(200, rejectedLogEventsInfo=None).refused == {}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ThrottlingException"),
        (500, "ServiceUnavailableException"),
        (503, None),
        (400, "ExpiredTokenException"),
        (429, None),
    ],
)
def test_later(status, code):
    assert isinstance(meaning(status, code), Retry)


@pytest.mark.parametrize(
    "code",
    [
        "ResourceNotFoundException",
        "AccessDeniedException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "New",
    ],
)
def test_only_an_administrator_can_help(code):
    assert isinstance(meaning(400, code), Hold)


def test_a_bad_batch_is_split_until_the_bad_event_is_alone():
    assert isinstance(meaning(400, "InvalidParameterException"), Split)
    assert meaning(400, "InvalidParameterException", count=1).index == 0
    assert isinstance(meaning(413), Split)
    assert isinstance(meaning(413, count=1), Refused)


@pytest.mark.parametrize("reply", [b"", b"<html>", b"[]", b"null"])
def test_an_answer_that_is_none(reply):
    assert isinstance(cloudwatch.interpret(502, reply, events(2)), Retry)
    assert isinstance(cloudwatch.interpret(404, reply, events(2)), Hold)
