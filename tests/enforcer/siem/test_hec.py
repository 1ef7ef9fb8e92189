"""What each of the collector's answers means, and how events look."""

import gzip
import json

import pytest

from enforcer.siem import hec
from enforcer.siem.outcome import Delivered, Hold, Refused, Retry, Split

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
    assert hec.within([b"x" * 10] * 5, 30) == 3
    assert hec.within([b"x" * 100], 30) == 1
    assert gzip.decompress(hec.body([b"a", b"b"])) == b"ab"


def test_acknowledgement():
    assert hec.ack_id(b'{"text":"Success","code":0,"ackId":0}') == 0
    assert hec.ack_id(b'{"text":"Success","code":0}') is None
    assert hec.acknowledged(b'{"acks":{"7":true,"8":true,"9":false}}', {7, 9, 10}) == {7}
    assert hec.acknowledged(b'{"acks":[7]}', {7}) == set()
    assert hec.acknowledged(b"<html>", {7}) == set()
