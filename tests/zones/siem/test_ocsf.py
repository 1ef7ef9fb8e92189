"""Every record is valid by the published schema of its OCSF version, and nothing of it is lost."""

from functools import cache

import jsonschema
import pytest
from hypothesis import given
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from tests.zones.siem.cases import CASES, CHECKPOINT, RECORDS, TEXT, flow
from zones.siem.formats import ocsf
from zones.siem.values import dedotted

PLACES = {
    "source.address": "src_endpoint.ip",
    "source.port": "src_endpoint.port",
    "source.zone": "src_endpoint.zone",
    "source.pod": "src_endpoint.name",
    "source.workload": "src_endpoint.svc_name",
    "source.natAddress": "src_endpoint.proxy_endpoint.ip",
    "destination.natPort": "dst_endpoint.proxy_endpoint.port",
    "destination.zone": "dst_endpoint.zone",
    "rule.name": "firewall_rule.name",
    "rule.uuid": "firewall_rule.uid",
    "rule.rulebase": "firewall_rule.category",
    "tier": "policy.name",
    "id": "metadata.uid",
    "sequence": "metadata.sequence",
    "time": "metadata.original_time",
    "cluster": "metadata.log_provider",
    "node": "device.hostname",
    "message": "message",
    "count": "count",
    "reason": "status_detail",
}


OLDER = ["1.1", "1.3", "1.5", "1.7"]


@cache
def schema(version):
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))


@cache
def validator(version, class_uid, *profiles):
    name = schema(version).lookup_class_name_from_uid(class_uid=class_uid)
    made = schema(version).get_class_schema(class_name=name, profiles=list(profiles))
    return jsonschema.Draft202012Validator(made)


def faults(event):
    check = validator(event["metadata"]["version"], event["class_uid"], *event["metadata"]["profiles"])
    return [f"{error.json_path}: {error.message}" for error in check.iter_errors(event)]


def at(tree, path):
    for part in path.split("."):
        tree = tree.get(part, {}) if isinstance(tree, dict) else {}
    return tree


@pytest.mark.parametrize("case", CASES)
def test_every_shape_is_valid(case):
    assert faults(ocsf.render(CASES[case])) == []


def test_a_checkpoint_is_valid_in_every_version():
    events = ocsf.render(CHECKPOINT), *(ocsf.render_as(version)(CHECKPOINT) for version in OLDER)
    assert [faults(event) for event in events] == [[]] * 5
    assert events[0]["unmapped"]["chain"] == CHECKPOINT["chain"]


@pytest.mark.parametrize("version", OLDER)
@given(record=RECORDS)
def test_any_record_is_valid_in_older_versions_too(version, record):
    """Before 1.5 a hostname must be one, as a node's name is."""
    event = ocsf.render_as(version)(record | {"node": "n1.example"})
    assert event["metadata"]["version"] == f"{version}.0"
    assert faults(event) == []


@pytest.mark.parametrize("version", OLDER)
def test_what_an_older_version_has_no_place_for_is_kept(version):
    flow_, observed = CASES["flow-allowed-at-end"], CASES["flow-observed-icmp"]
    event, newest = ocsf.render_as(version)(flow_), ocsf.render(flow_)
    total = event.get("cumulative_traffic") or event["traffic"]
    assert total == newest["cumulative_traffic"]
    assert (event.get("policy") or event["unmapped"]["policy"]) == newest["policy"]
    seen = ocsf.render_as(version)(observed)
    assert seen["action_id"] == 3 or (seen["action_id"], seen["action"]) == (99, "Observed")


@given(RECORDS)
def test_any_record_is_valid_and_whole(record):
    event = ocsf.render(record)
    assert faults(event) == []
    side = event if record["kind"] == "flow" else event.get("evidences", [{}])[0]
    for ours, theirs in PLACES.items():
        value = at(record, ours)
        if value not in ({}, ""):
            place = side if theirs.startswith(("src_", "dst_")) else event
            assert at(place, theirs) == value, theirs
    assert at(event, "unmapped.source.labels") == dedotted(at(record, "source.labels"))
    for path in ("destination.namespace", "logProfile", "icmpType", "client.address", "direction"):
        assert at(record, path) in ({}, at(event, f"unmapped.{path}"))


def test_the_schema_has_teeth():
    event = ocsf.render(CASES["flow-denied"])
    assert faults(event | {"colour": "red"})
    assert faults(event | {"activity_id": "Open"})
    assert faults({key: value for key, value in event.items() if key != "severity_id"})


@given(TEXT)
def test_what_is_not_known_yet_is_kept(text):
    assert ocsf.render(flow(new={"field": text or "x"}))["unmapped"]["new"]["field"] == (text or "x")


@pytest.mark.parametrize(
    ("more", "activity", "action", "disposition"),
    [
        ({"verdict": "deny"}, 5, 2, 6),
        ({"verdict": "reset"}, 3, 2, 25),
        ({"verdict": "allow"}, 1, 1, 1),
        ({"verdict": "allow", "moment": "end"}, 2, 1, 1),
        ({"verdict": "deny", "enforced": False}, 1, 3, 17),
    ],
)
def test_what_the_firewall_did(more, activity, action, disposition):
    event = ocsf.render(flow(**more))
    assert (event["activity_id"], event["action_id"], event["disposition_id"]) == (activity, action, disposition)
    assert event["type_uid"] == 4001 * 100 + activity


def test_a_finding_keeps_its_id_from_begin_to_end():
    raised = CASES["alert-denied-flow"]
    other_connection = raised | {
        "source": raised["source"] | {"pod": "web-7d4b9c6f5-other", "address": "10.1.9.9", "port": 1}
    }
    uids = {
        ocsf.render(record)["finding_info"]["uid"]
        for record in (raised, CASES["alert-denied-flow-counted"], other_connection)
    }
    assert len(uids) == 1
    states = [ocsf.render(CASES["alert-resolved"] | {"state": state}) for state in ("raised", "counted", "resolved")]
    assert [(event["activity_id"], event["status_id"]) for event in states] == [(1, 1), (2, 2), (3, 4)]
    assert len({event["finding_info"]["uid"] for event in states}) == 1
