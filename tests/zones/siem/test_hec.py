"""What each of the collector's answers means, and how events look."""

import gzip
import json

import pytest

from tests.zones.siem.cases import CASES
from zones.siem.formats.registry import fitting
from zones.siem.outcome import Delivered, Hold, Refused, Retry, Split
from zones.siem.protocols import hec
from zones.siem.records import encoded

RECORD = {"kind": "alert", "id": "x", "time": "2026-11-21T11:22:28.5Z", "cluster": "c", "node": "n", "text": "ü\n"}


def meaning(status, code=None, count=5, **more):
    reply = {"text": "…", **more} | ({} if code is None else {"code": code})
    return hec.interpret(status, json.dumps(reply).encode(), None, count)


@pytest.mark.parametrize(("status", "code"), [(200, 0)])
def test_success(status, code):
    assert meaning(status, code) == Delivered()


@pytest.mark.parametrize("code", [24, 25])
def test_near_its_limit_it_has_taken_the_batch(code):
    assert meaning(200, code) == Delivered(slow_down=True)


@pytest.mark.parametrize(
    ("status", "code"), [(500, 8), (503, 9), (503, 18), (503, 19), (503, 20), (503, 23), (429, 26), (429, 27)]
)
def test_later(status, code):
    assert isinstance(meaning(status, code), Retry)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, 1),
        (401, 2),
        (401, 3),
        (403, 4),
        (400, 7),
        (400, 10),
        (400, 11),
        (400, 14),
        (400, 16),
        (400, 21),
        (400, 28),
    ],
)
def test_only_an_administrator_can_help(status, code):
    assert isinstance(meaning(status, code), Hold)


@pytest.mark.parametrize(
    ("number", "arrived"), [(1, 0), (4, 3), (5, 4), (0, 0), (99, 0), ("3", 0), (True, 0), (None, 0)]
)
def test_before_an_event_for_a_wrong_index_all_have_arrived(number, arrived):
    """That code alone counts from one."""
    found = meaning(400, 7, **{"invalid-event-number": number})
    assert isinstance(found, Hold)
    assert found.arrived == arrived


@pytest.mark.parametrize("code", [6, 12, 13, 15])
def test_a_bad_event_is_named(code):
    found = meaning(400, code, **{"invalid-event-number": 3})
    assert isinstance(found, Refused)
    assert found.index == 3


@pytest.mark.parametrize("number", [0, 5, 99, -1, "3", None])
def test_where_the_number_does_not_tell_smaller_batches_do(number):
    assert isinstance(meaning(400, 6, **{"invalid-event-number": number}), Split)
    assert isinstance(meaning(400, 6, count=1, **{"invalid-event-number": number}), Refused)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_proxy_that_says_later(status):
    assert isinstance(hec.interpret(status, b"<html>", "7", 5), Retry)
    assert hec.interpret(status, b"<html>", "7", 5).after == 7.0
    assert hec.interpret(status, b"<html>", "Wed, 21 Oct 2026 07:28:00 GMT", 5).after is None


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 407, 415])
def test_a_wrong_address_or_right(status):
    assert isinstance(hec.interpret(status, b"<html>", None, 5), Hold)


@pytest.mark.parametrize("reply", [b"", b"<html>", b'{"code":{}}', b'{"code":99}', b'{"text":' * 10_000])
def test_a_400_that_is_no_collectors_refuses_no_event(reply):
    assert isinstance(hec.interpret(400, reply, None, 1), Hold)


def test_what_is_said_is_short_and_one_line():
    assert "\n" not in meaning(403, 4, text="x\n" * 10_000).why
    assert len(meaning(403, 4, text="x\n" * 10_000).why) < 300


def test_too_big():
    assert isinstance(hec.interpret(413, b"", None, 5), Split)
    assert isinstance(hec.interpret(413, b"", None, 1), Refused)


@pytest.mark.parametrize("reply", [b"", b"<html>login</html>", b"[]", b"{}", b"null", b'{"code": "0"}'])
def test_a_success_that_is_no_collectors_is_none(reply):
    assert isinstance(hec.interpret(200, reply, None, 5), Retry)


def test_an_event():
    event = json.loads(hec.render(RECORD, RECORD, hec.Envelope("src", "idx", "st")))
    assert event == {
        "time": 1795260148.5,
        "host": "n",
        "source": "src",
        "sourcetype": "st",
        "index": "idx",
        "event": RECORD,
        "fields": {"id": "x", "cluster": "c"},
    }
    assert "index" not in json.loads(hec.render(RECORD, RECORD, hec.Envelope()))
    assert json.loads(hec.render(RECORD, "a line", hec.Envelope()))["event"] == "a line"


def test_batches():
    assert len(fitting([b"x" * 10] * 5, bytes, hec.Room(30))[0]) == 3
    assert len(fitting([b"x" * 100] * 2, bytes, hec.Room(30))[0]) == 1
    assert gzip.decompress(hec.body([b"a", b"b"])) == b"ab"


def test_acknowledgement():
    assert hec.ack_id(b'{"text":"Success","code":0,"ackId":0}') == 0
    assert hec.ack_id(b'{"text":"Success","code":0}') is None
    assert hec.acknowledged(b'{"acks":{"7":true,"8":true,"9":false}}', {7, 9, 10}) == {7}
    assert hec.acknowledged(b'{"acks":[7]}', {7}) == set()
    assert hec.acknowledged(b"<html>", {7}) == set()


ENVELOPES = [hec.Envelope(), hec.Envelope('s"ource', "netfw", "mine"), hec.Envelope(sourcetype="zonebridge:flow")]


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["kind"] == "flow"])
def test_an_envelope_around_the_spools_bytes_is_the_one_that_is_rendered(name, envelope):
    record = CASES[name]
    wrapped = hec.Wrapper(envelope).wrapped(encoded(record))
    assert json.loads(wrapped) == json.loads(hec.render(record, record, envelope))


def test_what_does_not_begin_as_our_flows_do_is_not_wrapped_unread():
    wrapper = hec.Wrapper(hec.Envelope())
    assert wrapper.wrapped(encoded(CASES["alert-tier-tampered"])) is None
    assert wrapper.wrapped(encoded(CASES["flow-denied"] | {"cluster": 'a"b'})) is None
    assert wrapper.wrapped(encoded(dict(reversed(CASES["flow-denied"].items())))) is None
