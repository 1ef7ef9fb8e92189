"""Every format, every shape of record: what comes out for people to read, in `golden/<format>/`, and what holds for all.

UPDATE_GOLDEN=1 writes what comes out anew: read the difference.
"""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.zones.siem import cases
from tests.zones.siem.cases import FLOWS, RECORDS, alert, flow
from zones.siem.alerts import AlertKind
from zones.siem.destinations import FileSettings
from zones.siem.formats.registry import FORMATS, FormatName, fitting, formats_of
from zones.siem.protocols import hec

CASES = cases.CASES | {"checkpoint": cases.CHECKPOINT}
GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[3] / "docs"
PANOS = (FormatName.PANOS, FormatName.PANOS_ELASTIC, FormatName.PANOS_SPLUNK)
LINES = (FormatName.CEF, FormatName.LEEF, *PANOS, FormatName.FLOWLINE)
LINE_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\0"


def carried(name):
    return [case for case, record in CASES.items() if FORMATS[name].alerts or record["kind"] == "flow"]


def golden(name, case):
    return GOLDEN / name.value / f"{case}.{'txt' if name in LINES else 'json'}"


PAIRS = [(name, case) for name in FormatName for case in carried(name)]


@pytest.mark.parametrize(("name", "case"), PAIRS)
def test_what_comes_out_is_what_was_read_and_agreed(name, case):
    rendered = FORMATS[name].render(CASES[case])
    made = (rendered if isinstance(rendered, str) else json.dumps(rendered, indent=2, ensure_ascii=False)) + "\n"
    path = golden(name, case)
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == made, f"{path}: if that is meant, UPDATE_GOLDEN=1"


def test_there_is_no_golden_file_of_nothing():
    there = {path for path in GOLDEN.rglob("*") if path.is_file() and path.parent.name != "hec"}
    assert there == {golden(name, case) for name, case in PAIRS}


@pytest.mark.parametrize("name", [name for name in FormatName if not name.startswith("ocsf-")])
def test_the_documents_example_is_what_comes_out(name):
    document = (DOCS / ("records.md" if name is FormatName.JSON else "siem.md")).read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:json|text)\n(.*?)```", document, re.DOTALL)
    if name in LINES:
        shown = golden(name, "flow-denied").read_text(encoding="utf-8")
        assert shown in blocks
    else:
        rendered = FORMATS[name].render(CASES["flow-denied"])
        assert rendered in [json.loads(block) for block in blocks if block.startswith("{")]


@pytest.mark.parametrize("name", [name for name in FormatName if name is not FormatName.FLOWLINE])
@given(RECORDS)
def test_any_record_is_one_line_of_bounded_size(name, record):
    holds_for_a_line(name, record)


@given(FLOWS)
def test_any_flow_is_one_flow_line(record):
    holds_for_a_line(FormatName.FLOWLINE, record)


def holds_for_a_line(name, record):
    text = FORMATS[name].text(record)
    plain = len(json.dumps(record, ensure_ascii=False).encode())
    if name in LINES:
        assert not set(text) & set(LINE_BREAKS)
    assert not set(text) & {"\n", "\r", "\0"}
    assert len(text.encode()) < 4 * plain + 6000


@pytest.mark.parametrize("name", FormatName)
@given(RECORDS, st.data())
def test_a_damaged_record_is_refused_alone(name, record, data):
    """Whatever is missing or of another kind: it may still fit, or is told not to; nothing else happens."""
    hurt = data.draw(st.sampled_from(sorted(record)))
    damaged = {key: value for key, value in record.items() if key != hurt}
    if data.draw(st.booleans()):
        damaged[hurt] = data.draw(st.sampled_from([None, 7, "x", ["x"], {"x": 1}]))
    lines, unfit = fitting([CASES["flow-denied"], damaged, CASES["flow-denied"]], FORMATS[name].text)
    assert len(lines) == (3 if not unfit.why else 1)


@pytest.mark.parametrize("case", ["flow-denied", "alert-tier-tampered"])
def test_events_for_the_collector(case):
    record = CASES[case]
    made = json.loads(hec.render(record, record, hec.Envelope(index="netfw")))
    path = GOLDEN / "hec" / f"{case}.json"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == made


@pytest.mark.parametrize("name", LINES)
def test_a_text_without_end_is_cut(name):
    record = CASES["flow-denied"] | {
        "rule": {"name": "x" * 100_000},
        "reason": "ü" * 100_000,
        "logProfile": "y" * 100_000,
    }
    assert len(FORMATS[name].text(record).encode()) < 20_000


@pytest.mark.parametrize("name", FormatName)
def test_the_source_type_says_what_it_is(name):
    found = {FORMATS[name].sourcetype(CASES[case]) for case in carried(name)}
    if name in PANOS:
        assert found == {"pan:traffic", "pan:system", "pan:config"}
    elif name is FormatName.CEF:
        assert found == {"cef"}
    else:
        assert all(each.startswith("zonebridge:") for each in found)


@pytest.mark.parametrize("name", FormatName)
@pytest.mark.parametrize("kind", ["flow", "checkpoint", *AlertKind])
def test_every_kind_of_record_is_rendered_by_every_format_that_carries_it(name, kind):
    record = flow() if kind == "flow" else CASES["checkpoint"] if kind == "checkpoint" else alert(kind, "high")
    if kind != "flow" and not FORMATS[name].alerts:
        with pytest.raises(ValidationError, match="flows only"):
            FileSettings(name="f", type="file", path="-", format=name)
        return
    ((text,), refused) = fitting([record], FORMATS[name].text)
    assert (refused.why, kind.replace("flow", "") in text.lower()) == ("", True)


@pytest.mark.parametrize("name", [name for name in FormatName if name is not FormatName.JSON])
def test_what_was_seen_is_carried_as_json_alone(name):
    with pytest.raises(ValidationError, match="what was seen is in the format json alone"):
        FileSettings(name="f", type="file", path="-", format=name, records="seen")


@pytest.mark.parametrize(
    "name", [FormatName.OCSF, FormatName.OCSF_1_1, FormatName.ECS, FormatName.CEF, FormatName.LEEF]
)
@pytest.mark.parametrize("case", ["checkpoint", "alert-tier-tampered"])
def test_the_product_is_the_program_whose_record_it_is(name, case):
    own, bridge = (formats_of(product)[name].text(CASES[case]) for product in ("zone-enforcer", "zonebridge"))
    assert own != bridge
    assert "zone-enforcer" in own
    assert "zone-enforcer" not in bridge
