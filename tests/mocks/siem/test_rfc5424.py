"""The strict parser: what RFC 5424 allows, and each thing that it forbids."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocks.siem import SyslogError
from mocks.siem.rfc5424 import parse

WHOLE = (
    b"<165>1 2026-10-11T22:14:15.003Z node-1.example.com enforcer 4711 DENY "
    b'[flow@32473 src="10.0.0.1" why="a \\"b\\" \\\\ \\]"][origin ip="192.0.2.1" ip="2001:db8::1"] '
    b"\xef\xbb\xbfDen\xc3\xada"
)


def test_a_whole_message() -> None:
    message = parse(WHOLE, "peer")
    assert (message.facility, message.severity) == (20, 5)
    assert message.timestamp == datetime(2026, 10, 11, 22, 14, 15, 3000, tzinfo=UTC)
    assert (message.host, message.app, message.procid, message.msgid) == (
        "node-1.example.com",
        "enforcer",
        "4711",
        "DENY",
    )
    assert message.param("flow@32473", "why") == 'a "b" \\ ]'
    assert message.structured_data["origin"] == (("ip", "192.0.2.1"), ("ip", "2001:db8::1"))
    assert (message.msg, message.bom, message.peer) == ("Denía", True, "peer")
    assert message.raw == WHOLE
    assert message.line()["severity"] == "notice"


def test_nothing_but_nil() -> None:
    message = parse(b"<0>1 - - - - - -")
    assert (message.timestamp, message.host, message.structured_data, message.msg) == (None, "", {}, "")


def test_an_offset_and_an_element_without_params() -> None:
    message = parse(b"<34>1 2026-10-11T22:14:15.000003-07:00 h a - - [exampleSDID@32473] x")
    assert message.timestamp == datetime(2026, 10, 11, 22, 14, 15, 3, tzinfo=timezone(timedelta(hours=-7)))
    assert message.structured_data == {"exampleSDID@32473": ()}


def test_an_escape_that_is_none_stays_as_it_is() -> None:
    assert parse(b'<34>1 - - - - - [a@1 p="C:\\temp"]').param("a@1", "p") == "C:\\temp"


def test_octets_without_a_bom_may_be_anything() -> None:
    message = parse(b"<34>1 - - - - - - caf\xe9\n")
    assert (message.msg, message.bom) == ("caf\udce9\n", False)


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "no PRI"),
        (b"hello", "no PRI"),
        (b"<192>1 - - - - - -", "above 191"),
        (b"<01>1 - - - - - -", "no PRI"),
        (b"<>1 - - - - - -", "no PRI"),
        (b"<34>Oct 11 22:14:15 host su: old", "no VERSION"),
        (b"<34>2 - - - - - -", "only 1 exists"),
        (b"<34>1 2026-10-11 22:14:15Z h - - - -", "TIMESTAMP"),
        (b"<34>1 2026-10-11T22:14:15 h - - - -", "TIMESTAMP"),
        (b"<34>1 2026-10-11t22:14:15z h - - - -", "TIMESTAMP"),
        (b"<34>1 2026-10-11T22:14:15.0000001Z h - - - -", "TIMESTAMP"),
        (b"<34>1 2026-10-11T22:14:60Z h - - - -", "TIMESTAMP"),
        (b"<34>1 2026-02-30T22:14:15Z h - - - -", "day"),
        (b"<34>1 -  - - - - -", "no HOSTNAME"),
        (b"<34>1 - h\xc3\xa9 - - - -", "must follow the field before APP-NAME"),
        (b"<34>1 - " + b"h" * 256 + b" - - - -", "255 are allowed"),
        (b"<34>1 - - " + b"a" * 49 + b" - - -", "48 are allowed"),
        (b"<34>1 - - - " + b"p" * 129 + b" - -", "128 are allowed"),
        (b"<34>1 - - - - " + b"m" * 33 + b" -", "32 are allowed"),
        (b"<34>1 - - - - -", "must follow MSGID"),
        (b"<34>1 - - - - - hello", "neither - nor ["),
        (b"<34>1 - - - - - -hello", "must follow STRUCTURED-DATA"),
        (b'<34>1 - - - - - [a@1 p="v"]hello', "must follow STRUCTURED-DATA"),
        (b'<34>1 - - - - - [a@1 p="v"] [b@1]', ""),
        (b"<34>1 - - - - - []", "no SD-ID"),
        (b'<34>1 - - - - - [mine p="v"]', "neither registered"),
        (b'<34>1 - - - - - [mine@me p="v"]', "neither registered"),
        (b"<34>1 - - - - - [a@1][a@1]", "stands twice"),
        (b"<34>1 - - - - - [a@1 p=v]", "must follow PARAM-NAME"),
        (b'<34>1 - - - - - [a@1 p="v]"]', "must follow the value of p"),
        (b'<34>1 - - - - - [a@1 p="v', "must follow the value of p"),
        (b'<34>1 - - - - - [a@1  p="v"]', "no PARAM-NAME"),
        (b"<34>1 - - - - - [a@1 " + b"p" * 33 + b'="v"]', "must follow PARAM-NAME"),
        (b'<34>1 - - - - - [a@1 p="\xe9"]', "no UTF-8"),
        (b"<34>1 - - - - - - \xef\xbb\xbfcaf\xe9", "BOM but is no UTF-8"),
    ],
)
def test_what_is_forbidden(octets: bytes, why: str) -> None:
    if not why:
        assert parse(octets).msg == "[b@1]"
        return
    with pytest.raises(SyslogError) as caught:
        parse(octets)
    assert why in str(caught.value)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_escaped_comes_back(value: str, msg: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
    message = parse(f'<34>1 - - - - - [a@1 p="{escaped}"] \ufeff{msg}'.encode())
    assert (message.param("a@1", "p"), message.msg) == (value, msg)


@given(st.binary())
def test_any_octets_are_a_message_or_a_syslog_error(octets: bytes) -> None:
    for prefix in (b"", b"<34>1 ", b"<34>1 - - - - - [a@1 "):
        with suppress(SyslogError):
            assert parse(prefix + octets).raw == prefix + octets
