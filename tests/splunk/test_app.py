"""The Splunk app: each field that it uses is sent, each that the CIM requires is there, and the package is as Splunk wants it."""

import json
import re
import tarfile
from io import BytesIO
from xml.etree import ElementTree as ET

import pytest

from bridge.alerts import Checkpoint, TierAlert
from bridge.siem.record import RecordStamp
from tests.splunk import searchtime
from tests.splunk.commands import read
from tests.splunk.searchtime import EVENTTYPES, MACROS, PROPS, SAVED, TAGS, TRANSFORMS, searched, tags
from tests.zones.siem.cases import CASES, flow
from tools import release, splunk, splunkviews, version
from zones.siem.alerts import AlertKind
from zones.siem.formats.registry import FORMATS, FormatName

JSON, LINE = FORMATS[FormatName.JSON], FORMATS[FormatName.PANOS_SPLUNK]
# Required by the CIM 6 of its models, with the values that it prescribes.
TRAFFIC = {
    "action": {"allowed", "blocked"}, "app": None, "dest": None, "dvc": None, "src": None, "vendor_product": None,
    "transport": {"tcp", "udp", "icmp"},
}  # fmt: skip
ALERTS = {
    "app": None, "description": None, "dest": None, "id": None, "signature": None, "signature_id": None, "src": None,
    "severity": {"critical", "high", "medium", "low", "informational"}, "user": None,
    "type": {"alarm", "alert", "event", "task", "warning"},
}  # fmt: skip
CHANGE = dict.fromkeys(
    "action change_type command dest dvc object object_attrs object_category object_id src user vendor_product".split()
) | {"status": {"success", "failure"}}
MODELS = {("network", "communicate"): TRAFFIC, ("alert",): ALERTS, ("change",): CHANGE}


def of_the_bridge(kind, over=False):
    alert = TierAlert(kind, "prod", "panorama", "something happened", revision=7, over=over, about={"nodes": ["n2"]})
    return RecordStamp("bridge-0", 1_800_000_000_000_000, "https://example.com/{cluster}/{tier}/{revision}").of(
        alert, 1_800_000_000.0, 1_800_000_000.0
    )


CHECKPOINT = RecordStamp("bridge-0", 1).checkpoint(
    "prod", "panorama", Checkpoint(7, "d" * 64, "c" * 64, 9, 9, 1), 1_800_000_000.0
)
RECORDS = [
    *CASES.values(),
    flow(protocol="icmp6", icmpType=128),
    flow(blocklists={"sources": ["bad-ips"]}),
    *(of_the_bridge(kind) for kind in AlertKind),
    of_the_bridge(AlertKind.SYNC_STALE, over=True),
    CASES["alert-blocklist-hit"] | {"blocklists": {"sources": ["bad-ips"]}},
]


def events():
    """Each record as Splunk finds it, in both formats."""
    for record in RECORDS:
        yield record, searched(f"zonebridge:{record['kind']}", JSON.text(record))
        yield record, searched(LINE.sourcetype(record), LINE.text(record))
    # The bridge has one source type for all that it sends.
    yield CHECKPOINT, searched("zonebridge:alert", JSON.text(CHECKPOINT))
    yield CHECKPOINT, searched(LINE.sourcetype(CHECKPOINT), LINE.text(CHECKPOINT))


EVENTS = list(events())
PAN = [(record, event) for record, event in EVENTS if event["sourcetype"].startswith("pan:")]


def of_type(sourcetypes):
    return [event for _, event in EVENTS if event["sourcetype"] in sourcetypes]


@pytest.mark.parametrize("model", MODELS, ids="-".join)
def test_each_event_of_a_model_has_what_the_model_requires(model):
    seen = set()
    for record, event in EVENTS:
        if not set(model) <= tags(event)[0]:
            continue
        seen.add(event["sourcetype"])
        for field, values in MODELS[model].items():
            if field == "id" and event["sourcetype"] == "pan:system":
                field = "sequence"  # noqa: PLW2901 - a line has no id
            assert event.get(field) not in (None, ""), f"{event['sourcetype']}: no {field} for {record}"
            assert values is None or event[field] in values, f"{field} = {event[field]} for {record}"
    assert any(name.startswith("zonebridge:") for name in seen)
    assert any(name.startswith("pan:") for name in seen)


def test_both_formats_say_the_same_of_a_flow():
    same = (
        "src src_ip src_zone dest dest_ip dest_zone dest_translated_ip src_translated_ip dest_translated_port rule "
        "rule_id action app transport protocol bytes bytes_in bytes_out packets packets_in packets_out dvc cluster sequence "
        "src_namespace src_workload src_pod dest_namespace dest_workload src_blocklist dest_blocklist src_port dest_port"
    ).split()
    flows = [record for record in RECORDS if record["kind"] == "flow"]
    assert len(flows) > 4
    for record in flows:
        one = searched("zonebridge:flow", JSON.text(record))
        other = searched("pan:traffic", LINE.text(record))
        for field in same:
            left, right = (
                value[0] if isinstance(value, list) else value for value in (one.get(field), other.get(field))
            )
            assert str(left) == str(right), f"{field} of {record}"


def test_flows_mean_what_their_records_say():
    denied = searched("zonebridge:flow", JSON.text(CASES["flow-denied"]))
    assert (denied["action"], denied["observed"], denied["protocol"], denied["duration"]) == (
        "blocked",
        "false",
        "ip",
        3.5,
    )
    assert (denied["id"], denied["bytes_out"], denied["bytes_in"]) == (CASES["flow-denied"]["id"], 300, 0)
    ended = searched("zonebridge:flow", JSON.text(CASES["flow-allowed-at-end"]))
    assert (ended["dest_ip"], ended["dest_port"]) == ("10.96.0.20", 5433)
    assert (ended["dest_translated_ip"], ended["dest_translated_port"]) == ("10.1.0.20", 5432)
    assert ended["bytes"] == ended["bytes_in"] + ended["bytes_out"] == 2900
    observed = searched("zonebridge:flow", JSON.text(CASES["flow-observed-icmp"]))
    assert (observed["action"], observed["observed"], observed["protocol"]) == ("allowed", "true", "icmp")
    assert (observed["packets_in"], observed["packets_out"]) == (5, 0)
    line = searched("pan:traffic", LINE.text(CASES["flow-observed-icmp"]))
    assert (line["action"], line["observed"]) == ("allowed", "true")


def test_lines_of_other_firewalls_are_left_alone():
    for record in RECORDS:
        line = LINE.text(record).replace("zonebridge-prod-", "0110010", 1).replace("zonebridge-prod-", "")
        assert not searchtime.extracted(LINE.sourcetype(record), line)


@pytest.mark.parametrize("name", ["a, b", "x (resolved),1,0x0,", "(counted, 12 times)", "tcp,deny,1"])
def test_names_with_commas_shift_no_column(name):
    record = flow(rule={"name": name, "uuid": "u-1"})
    event = searched("pan:traffic", LINE.text(record))
    assert (event["rule"], event["rule_id"], event["dvc"], event["action"]) == (name, "u-1", "n1", "blocked")
    alert = CASES["alert-blocklist-hit"] | {"message": f"about {name} and more", "subject": name}
    event = searched("pan:system", LINE.text(alert))
    assert (event["subject"], event["state"], event["count"], event["dvc"]) == (name, "raised", "1", "n1")
    change = CASES["alert-tier-tampered"] | {"subject": name}
    event = searched("pan:config", LINE.text(change))
    assert (event["object"], event["object_id"], event["cluster"]) == (name, name, "prod")


@pytest.mark.parametrize("case", [case for case, record in CASES.items() if record["kind"] == "alert"])
def test_alerts_in_lines_have_their_state_and_count(case):
    record = CASES[case]
    event = searched(LINE.sourcetype(record), LINE.text(record))
    if event["sourcetype"] == "pan:config":
        assert event["status"] == "failure"
        assert (event["object_category"] == "kernel") == (record["alert"] == "kernel-tampered")
        return
    assert (event["signature_id"], event["severity"]) == (record["alert"], record["severity"])
    assert (event["state"], event["count"]) == (record["state"], str(record["count"]))


def test_columns_are_the_same_for_the_usual_reader_of_lines():
    for record in RECORDS:
        usual = FORMATS[FormatName.PANOS]
        sourcetype = usual.sourcetype(record)
        assert searched(sourcetype, usual.text(record)) == searched(sourcetype, LINE.text(record))


def test_which_events_have_which_tags():
    for record, event in EVENTS:
        found, types = tags(event)
        assert types, f"no event type takes {record}"
        flowing, alerting = record["kind"] == "flow", record["kind"] == "alert"
        assert ({"network", "communicate"} <= found) == flowing
        if "alert" in found:
            assert alerting
            assert record["state"] == "raised"
    running = set(re.findall(r'"([a-z-]+)"', EVENTTYPES["zonebridge_security_alert"]["search"]))
    changing = set(re.findall(r'"([a-z-]+)"', EVENTTYPES["zonebridge_change"]["search"]))
    assert running | changing <= set(AlertKind)
    assert running == set(re.findall(r'"([a-z-]+)"', EVENTTYPES["zonebridge_pan_security_alert"]["search"]))
    told = {record["alert"] for record, event in EVENTS if "alert" in tags(event)[0]}
    assert told == set(AlertKind) - running


def test_all_that_is_read_from_an_event_is_sent():
    for sourcetype in ("zonebridge:flow", "zonebridge:alert"):
        sent = {
            name
            for record, event in EVENTS
            if event["sourcetype"] == sourcetype
            for name, _ in searchtime.flattened(record)
        }
        assert set(searchtime.aliases(sourcetype).values()) <= sent
        for name, expression in searchtime.calculated(sourcetype).items():
            assert expression.fields <= sent, f"{sourcetype}: {name} reads {expression.fields - sent}"
    for name, stanza in EVENTTYPES.items():
        (sourcetype,) = re.findall(r"sourcetype=(\S+)", stanza["search"])
        known = {field for event in of_type([sourcetype]) for field in event}
        assert read(stanza["search"]) <= known, name


def searches():
    for name, stanza in SAVED.items():
        yield name, stanza["search"]
    for view in splunkviews.VIEWS:
        tree = ET.fromstring(splunkviews.text(view))
        for query in tree.iter("query"):
            yield view, query.text


# What a search begins with, and what its events then are.
SCOPES = {
    "`zonebridge_flows`": {"zonebridge:flow", "pan:traffic"},
    "`zonebridge_alerts`": {"zonebridge:alert", "pan:system"},
    "`zonebridge_changes`": {"zonebridge:alert", "pan:config"},
    "`zonebridge_checkpoints`": {"zonebridge:alert"},
    "`zonebridge_index`": {"zonebridge:flow", "zonebridge:alert", "pan:traffic", "pan:system"},
}
# In JSON alone; a panel is empty of lines then, or the events of lines pass by.
IN_JSON_ALONE = {"direction", "revision", "tier"}


@pytest.mark.parametrize(("name", "search"), list(searches()))
def test_each_field_of_a_search_comes_from_each_format(name, search):
    scope = next(types for macro, types in SCOPES.items() if search.startswith(macro))
    for sourcetype in scope:
        known = {field for event in of_type([sourcetype]) for field in event}
        missing = read(search) - known - (IN_JSON_ALONE if sourcetype.startswith("pan:") else set())
        assert not missing, f"{name}: {sourcetype} has no {missing}: {search}"


def test_a_field_that_nobody_sends_is_noticed():
    search = "`zonebridge_flows` srczone=web | eval a = zone_of_src | stats sum(octets) AS b BY a, sender | table a b c"
    known = {field for event in of_type(["zonebridge:flow"]) for field in event}
    assert read(search) - known == {"srczone", "zone_of_src", "octets", "sender", "c"}


def test_saved_searches_have_no_schedule_and_macros_exist():
    assert all(stanza["enableSched"] == "0" for stanza in SAVED.values())
    used = {macro for _, search in searches() for macro in re.findall(r"`(\w+)`", search)}
    assert used <= MACROS.keys()
    assert {key.removeprefix("eventtype=") for key in TAGS} <= EVENTTYPES.keys()
    named = {
        name
        for stanza in PROPS.values()
        for key, value in stanza.items()
        if key.startswith("REPORT-")
        for name in value.split(", ")
    }
    assert named == TRANSFORMS.keys()


def test_what_is_made_is_in_the_tree_as_it_would_be_made():
    assert splunk.TRANSFORMS.read_text() == splunk.transforms(), "run make generate"
    assert {path.stem for path in splunk.VIEWS.iterdir()} == splunkviews.VIEWS.keys()
    for name in splunkviews.VIEWS:
        assert (splunk.VIEWS / f"{name}.xml").read_text() == splunkviews.text(name), "run make generate"


def test_the_package_is_the_same_each_time_and_as_splunk_wants_it(tmp_path, monkeypatch):
    packed = splunk.package(1_700_000_000)
    assert packed == splunk.package(1_700_000_000)
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        entries = {each.name: each for each in archive}
        conf = archive.extractfile("zonebridge/default/app.conf").read().decode()
    assert {name.split("/")[0] for name in entries} == {"zonebridge"}
    assert {"zonebridge/default/app.conf", "zonebridge/metadata/default.meta"} <= entries.keys()
    assert not any(part.startswith(".") or part == "local" for name in entries for part in name.split("/"))
    assert {each.mode for each in entries.values()} == {0o644, 0o755}
    assert f"version = {version.version()}\n" in conf
    views = set(
        re.findall(r'view name="(zonebridge_\w+)"', (splunk.APP / "default/data/ui/nav/default.xml").read_text())
    )
    assert views == splunkviews.VIEWS.keys()
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["release", "splunk"])
    monkeypatch.setattr(release, "_epoch", lambda: 1_700_000_000)
    assert release.main() == 0
    assert (tmp_path / "dist" / splunk.package_name()).read_bytes() == packed


def test_a_record_of_any_kind_is_json_that_splunk_reads_whole():
    limit = int(PROPS["zonebridge:flow"]["TRUNCATE"])
    assert all(len(json.dumps(record)) < limit for record in RECORDS)
    assert searchtime.matches("kind=checkpoint", dict(searchtime.flattened(CHECKPOINT)))
