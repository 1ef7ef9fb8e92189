"""Syslog frames hold exactly one message, whatever stands in a record; a strict reader finds every value again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.siem import jsonlines, syslog
from enforcer.siem.syslog import Form
from mocks.siem.rfc5424 import parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def record(**more):
    return {"kind": "flow", "time": "2026-11-21T11:22:28.123456Z", "node": "n1"} | more


@given(TEXT, TEXT)
def test_any_text_comes_back_as_message(node, note):
    given_record = record(node=node, note=note, nested={"a": [1, note]})
    frame = syslog.frame(given_record, Form())
    length, _, rest = frame.partition(b" ")
    assert int(length) == len(rest)
    message = parse(rest)
    assert json.loads(message.msg) == given_record
    assert not message.bom


@given(TEXT, st.dictionaries(st.sampled_from("abc"), TEXT))
def test_any_text_comes_back_as_structured_data(note, nested):
    message = parse(syslog.message(record(note=note, nested=nested, count=3), Form(structured_data=True)))
    assert message.param("zonebridge@32473", "note") == note
    assert message.param("zonebridge@32473", "count") == "3"
    for key, value in nested.items():
        assert message.param("zonebridge@32473", f"nested.{key}") == value


@pytest.mark.parametrize(
    ("more", "severity", "name"),
    [
        ({"verdict": "allow"}, 6, "flow"),
        ({"verdict": "deny"}, 5, "flow"),
        ({"kind": "alert", "alert": "denied-flow", "severity": "medium"}, 4, "denied-flow"),
        ({"kind": "alert", "alert": "tier-tampered", "severity": "critical"}, 2, "tier-tampered"),
        ({"kind": "alert", "alert": "zone-unknown", "severity": "informational"}, 6, "zone-unknown"),
    ],
)
def test_the_header_says_how_bad_it_is_and_what(more, severity, name):
    message = parse(syslog.message(record(**more), Form(facility=10)))
    assert (message.facility, message.severity, message.msgid) == (10, severity, name)
    assert (message.host, message.app) == ("n1", "zone-enforcer")


@given(TEXT)
def test_a_line_is_one_line(note):
    line = jsonlines.line(record(note=note))
    assert line.count(b"\n") == 1
    assert json.loads(line)["note"] == note
