"""A file of records: every row counts once, what isn't a record is told with its line."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bridge.evidence.seen_file import read_seen
from zones.policy import Verdict
from zones.rules import Origin
from zones.runtime.errors import InputError
from zones.seen import Counting, SeenEnd, SeenFlow, SeenKey

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
RULE = Origin("web to data", "11111111-0000-0000-0000-000000000001", "pre", "k8s")
WEB, DATA = SeenEnd("web", "shop", "front"), SeenEnd("data", "shop", "db")
FLOW = SeenFlow(SeenKey(WEB, DATA, 6, 5432, RULE, Verdict.ALLOW), 3, 900, 2, NOON, LATER)
COUNTING = Counting(NOON, NOON, LATER, missed=1)


def line(kind, content, node="n1", identity=None, cluster="prod"):
    who = {
        "kind": kind,
        "id": identity or f"{kind}-{node}-{content['last' if kind == 'seen' else 'end']}",
        "node": node,
    }
    return json.dumps(who | {"cluster": cluster} | content)


def written(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_of_nodes_and_windows_are_summed_and_repeated_records_count_once(tmp_path):
    next_window = replace(FLOW, connections=1, octets=100, living=1, last=LATER + timedelta(minutes=5))
    first, second = line("seen", FLOW.json()), line("seen", next_window.json())
    other = line("seen", FLOW.json(), node="n2")
    counted = [
        line("counting", COUNTING.json()),
        line("counting", replace(COUNTING, begin=LATER, end=LATER + timedelta(minutes=5)).json()),
        line("counting", replace(COUNTING, since=NOON + timedelta(minutes=1)).json(), node="n2"),
    ]
    seen = read_seen(written(tmp_path / "f", first, second, first, other, *counted, '{"kind": "flow"}'))
    (flow,) = seen.flows
    assert (flow.connections, flow.octets, flow.living) == (7, 1900, 3)
    assert (flow.first, flow.last) == (NOON, LATER + timedelta(minutes=5))
    assert seen.since == NOON + timedelta(minutes=1)
    assert seen.until == LATER
    assert seen.nodes["n1"].missed == 2


def test_events_as_a_collector_gets_them_are_read_too(tmp_path):
    event = json.dumps({"time": 1, "event": json.loads(line("seen", FLOW.json()))})
    assert read_seen(written(tmp_path / "f", event)).flows == (replace(FLOW, living=2),)


def test_other_clusters_are_left_out(tmp_path):
    path = written(tmp_path / "f", line("seen", FLOW.json()), line("seen", FLOW.json(), "n9", cluster="test"))
    assert read_seen(path, "prod").flows[0].connections == 3
    with pytest.raises(InputError, match="no records of what was seen of cluster 'stage' \\(2 others\\)"):
        read_seen(path, "stage")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "line 1: is not JSON"),
        ("[" * 5000, "line 1: is not JSON"),
        ("[]", "line 1: is not a JSON object"),
        ("x" * 70_000, "line 1: is longer than any record"),
        ('{"kind": "seen"}', "line 1: source is missing"),
        ('{"kind": "flow"}', "has no records of what was seen \\(1 others\\)"),
        ("", "has no records of what was seen"),
    ],
)
def test_what_cant_be_read_is_told_with_its_place(tmp_path, text, why):
    with pytest.raises(InputError, match=why):
        read_seen(written(tmp_path / "f", text))


def test_a_file_that_isnt_there_and_one_that_is_no_text_are_told(tmp_path):
    with pytest.raises(InputError, match="can't be read: No such file"):
        read_seen(tmp_path / "none")
    (tmp_path / "f").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8"):
        read_seen(tmp_path / "f")
