"""Syslog frames hold exactly one message, whatever stands in a record; a strict reader finds every value again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocks.siem.framing import Framer
from mocks.siem.rfc5424 import parse
from tests.zones.siem.cases import CASES
from zones.siem.formats.registry import FORMATS, FormatName
from zones.siem.protocols import syslog
from zones.siem.protocols.syslog import Form, Framing

JSON = FORMATS[FormatName.JSON].text
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def record(**more):
    return {"kind": "flow", "time": "2026-11-21T11:22:28.123456Z", "node": "n1"} | more


@given(TEXT, TEXT)
def test_any_text_comes_back_as_message(node, note):
    given_record = record(node=node, note=note, nested={"a": [1, note]})
    frame = syslog.frame(given_record, Form(), JSON)
    length, _, rest = frame.partition(b" ")
    assert int(length) == len(rest)
    message = parse(rest)
    assert json.loads(message.msg) == given_record
    assert not message.bom


@given(st.lists(TEXT, min_size=1, max_size=5), st.booleans())
def test_a_reader_of_lines_gets_each_message_as_a_line(notes, structured):
    form = Form(framing=Framing.NEWLINE, structured_data=structured)
    given_records = [record(node=note, note=note) for note in notes]
    stream = b"".join(syslog.frame(each, form, JSON) for each in given_records)
    framer = Framer("newline")
    lines = list(framer.feed(stream))
    framer.finish()
    assert len(lines) == len(notes)
    if not structured:
        assert [json.loads(parse(line).msg) for line in lines] == given_records


@given(TEXT, st.dictionaries(st.sampled_from("abc"), TEXT))
def test_any_text_comes_back_as_structured_data(note, nested):
    message = parse(syslog.message(record(note=note, nested=nested, count=3), Form(structured_data=True), JSON))
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
    message = parse(syslog.message(record(**more), Form(facility=10), JSON))
    assert (message.facility, message.severity, message.msgid) == (10, severity, name)
    assert (message.host, message.app) == ("n1", "zone-enforcer")


def test_severities_are_the_administrators():
    given_record = record(kind="alert", alert="zone-unknown", severity="medium")
    message = parse(syslog.message(given_record, Form(severities={**syslog.SEVERITIES, "medium": 1}), JSON))
    assert message.severity == 1


def test_who_goes_by_the_first_words_gets_no_name_before_them():
    message = parse(syslog.message(CASES["flow-denied"], Form(program=None), FORMATS[FormatName.PANOS].text))
    assert (message.app, message.msgid) == ("", "")
    assert message.msg.startswith("1,2026/11/21 11:22:28,")
