"""Values as text: whatever others wrote, nothing of it steers a terminal, and programs read what it was."""

import json

from hypothesis import given
from hypothesis import strategies as st

from zones.runtime.findings import Finding, FindingStatus, text
from zones.runtime.output import json_text, lines_text

NASTY = "\x1b[2J \x9b31m \u202e \u2028 \U000e0001"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
)


@given(VALUES)
def test_json_says_the_same_and_is_printable(value):
    for indent in (None, 2):
        shown = json_text(value, indent=indent)
        assert json.loads(shown) == value
        assert shown.replace("\n", "").isprintable()


def test_what_others_say_in_findings_and_lines_is_escaped():
    finding = Finding("SIEM", FindingStatus.FAILED, f"it answered {NASTY}", f"ask {NASTY}")
    for shown in (text([finding]), lines_text([NASTY, "b"])):
        assert shown.replace("\n", "").isprintable()
        assert "\\x9b31m" in shown
