"""Every kind of alert of the bridge as a record: its name and severity are those of the documentation."""

import re
from pathlib import Path

import pytest

from bridge.alerts import Alert, AlertKind
from bridge.nodes.enforcement import Fault, Late, about_json, text
from bridge.siem import Records
from bridge.siem.record import name, severity

DOCS = Path(__file__).parents[3] / "docs" / "records.md"


def documented():
    section = DOCS.read_text(encoding="utf-8").split("The bridge tells of")[1]
    return dict(re.findall(r"^\| `([a-z-]+)` \| (low|medium|high|critical)\b", section, re.MULTILINE))


@pytest.mark.parametrize("kind", AlertKind)
def test_a_kind_is_documented_with_its_severity(kind):
    assert documented()[name(kind)] == severity(Alert(kind, "c1", "panorama", "why"))


def test_no_other_is_documented():
    assert documented().keys() == {*map(name, AlertKind), "log-loss"}


def test_nodes_out_of_sync_are_named():
    late = [Late("n2", Fault.BEHIND, 6)]
    alert = Alert(AlertKind.NODE_OUT_OF_SYNC, "c1", "panorama", text(late, 7), about=about_json(late, 7))
    record = Records("bridge", 1).of(alert, 10.0, 5.0)
    assert (record["alert"], record["severity"], record["state"]) == ("node-out-of-sync", "high", "raised")
    assert record["message"] == "revision 7 is not in force everywhere: n2 is at revision 6"
    assert record["about"]["nodes"] == [{"node": "n2", "fault": "behind", "revision": 6}]
