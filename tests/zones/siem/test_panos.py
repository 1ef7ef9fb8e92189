"""PAN-OS lines as receivers of real firewalls' logs read them: by the position of each column.

The lists were written down from the vendor's documentation and the field lists of two log collectors (SC4S, Elastic).
"""

import csv
import io
import re
from datetime import datetime

import pytest
from hypothesis import given

from tests.zones.siem.cases import ALERTS, CASES, FLOWS, flow
from zones.siem.formats import panos
from zones.siem.formats.registry import FORMATS

HEAD = "future_use receive_time serial_number type log_subtype version generated_time".split()
TRAFFIC = [
    *HEAD,
    *(
        "src_ip dest_ip src_translated_ip dest_translated_ip rule src_user dest_user app vsys src_zone dest_zone "
        "src_interface dest_interface log_forwarding_profile future_use session_id repeat_count src_port dest_port "
        "src_translated_port dest_translated_port session_flags transport action bytes bytes_out bytes_in packets "
        "start_time duration http_category future_use sequence_number action_flags src_location dest_location future_use "
        "packets_out packets_in session_end_reason devicegroup_level1 devicegroup_level2 devicegroup_level3 "
        "devicegroup_level4 vsys_name dvc_name action_source src_vm_uuid dest_vm_uuid tunnel_id_imsi monitor_tag_imei "
        "parent_session_id parent_start_time tunnel_type sctp_assoc_id sctp_chunks sent received rule_uuid "
        "http2_connection app_flap_count policy_id link_switches sdwan_cluster device_type cluster_type site "
        "dyn_user_group_name xff src_device_category src_device_profile src_device_model src_device_vendor "
        "src_device_os_family src_device_os_version src_device_hostname src_device_mac dest_device_category "
        "dest_device_profile dest_device_model dest_device_vendor dest_device_os_family dest_device_os_version "
        "dest_device_hostname dest_device_mac container_id pod_namespace pod_name src_edl dest_edl host_id "
        "serial_number_dup src_dag dest_dag session_owner high_res_time a_slice_service_type a_slice_differentiator "
        "app_subcategory app_category app_technology app_risk app_characteristic app_container app_tunneled app_saas "
        "app_sanctioned offloaded"
    ).split(),
]
SYSTEM = [
    *HEAD,
    *(
        "vsys event_id object future_use future_use module severity description sequence action_flags dg1 dg2 dg3 dg4 "
        "vsys_name dvc_name future_use future_use high_res_time"
    ).split(),
]
CONFIG = [
    *HEAD,
    *(
        "host vsys command admin client result path sequence action_flags dg1 dg2 dg3 dg4 vsys_name dvc_name device_group "
        "audit_comment future_use high_res_time"
    ).split(),
]
# What readers know of each log, by the version that was read, and the format that is made for it. Their names for the
# columns are translated into those above; `detail` is one of a change's two.
CHANGE = "host vsys command admin client result path"
GROUPS = "dg1 dg2 dg3 dg4"
WITH_DETAILS = [
    *HEAD,
    *f"{CHANGE} detail detail sequence action_flags {GROUPS} vsys_name dvc_name device_group".split(),
]
READERS = {
    "Elastic panw 057f555": (
        "panos-elastic",
        {"TRAFFIC": TRAFFIC, "SYSTEM": SYSTEM, "CONFIG": [*WITH_DETAILS, "audit_comment"]},
    ),
    "Elastic panw 9b535f3, with details": (
        "panos-elastic",
        {
            "TRAFFIC": TRAFFIC,
            "SYSTEM": SYSTEM,
            "CONFIG": [*WITH_DETAILS, "audit_comment", "future_use", "high_res_time"],
        },
    ),
    "Elastic panw 9b535f3, without details": ("panos", {"TRAFFIC": TRAFFIC, "SYSTEM": SYSTEM, "CONFIG": CONFIG}),
    "Palo Alto Networks Add-on for Splunk 0486555": (
        "panos-splunk",
        {
            "TRAFFIC": TRAFFIC[: TRAFFIC.index("tunnel_type") + 1],
            "SYSTEM": SYSTEM[: SYSTEM.index("dvc_name") + 1],
            "CONFIG": [
                *HEAD,
                *f"{CHANGE} sequence action_flags detail audit_comment {GROUPS} vsys_name dvc_name".split(),
            ],
        },
    ),
    "SC4S 2d5f730": ("panos", {"TRAFFIC": TRAFFIC, "SYSTEM": SYSTEM, "CONFIG": CONFIG}),
    "SC4S 2d5f730 before that add-on": (
        "panos-splunk",
        {
            # It takes the host's name and the time; the rest is the add-on's, from the line itself.
            "TRAFFIC": TRAFFIC,
            "SYSTEM": SYSTEM,
            "CONFIG": [*HEAD, *("future_use " * 14).split(), "dvc_name", *("future_use " * 3).split(), "high_res_time"],
        },
    ),
}
LOGS = {"TRAFFIC": TRAFFIC, "SYSTEM": SYSTEM, "CONFIG": CONFIG}
# How Splunk's add-on and SC4S tell the logs apart.
SPLUNK = re.compile(r"^[^,]+,[^,]+,[^,]+,(TRAFFIC|SYSTEM|CONFIG),")
SC4S = re.compile(r"^1,[^,]+,[^,]+,[A-Z]+,")
NUMBERS = (
    "session_id repeat_count src_port dest_port src_translated_port dest_translated_port bytes bytes_out bytes_in packets "
    "packets_out packets_in duration sequence_number"
).split()
PICTURES = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
PICTURES |= dict.fromkeys(map(ord, "\x85\u2028\u2029"), 0x2424)


def shown(text):
    """What would end a column or the line is told in another way."""
    return text.translate(PICTURES).replace('"', "'")


def test_the_lists_have_as_many_columns_as_the_vendor_documents():
    assert [len(columns) for columns in LOGS.values()] == [115, 26, 26]


def parse(line):
    """Columns by name; those for future use are left out."""
    (row,) = csv.reader(io.StringIO(line, newline=""), strict=True)
    columns = LOGS[row[3]]
    assert len(row) == len(columns)
    return {name: value for name, value in zip(columns, row, strict=True) if name != "future_use"}


@given(FLOWS)
def test_any_flow_has_115_columns_in_their_places(record):
    line = panos.render(record)
    assert SC4S.match(line)
    found = parse(line)
    source, destination = record["source"], record["destination"]
    wanted = {
        "rule": record["rule"]["name"],
        "src_zone": source["zone"],
        "dest_zone": destination["zone"],
        "dvc_name": record["node"],
        "vsys_name": record["cluster"],
        "rule_uuid": record["rule"].get("uuid", ""),
        "log_forwarding_profile": record.get("logProfile", ""),
        "src_device_hostname": source.get("pod", source.get("node", "")),
        "dest_device_hostname": destination.get("pod", destination.get("node", "")),
        "src_device_category": source.get("namespace", ""),
        "src_ip": source["address"],
        "dest_ip": destination.get("natAddress", destination["address"]),
        "transport": record["protocol"],
        "xff": record.get("client", {}).get("address", ""),
    }
    for column, value in wanted.items():
        assert found[column] == shown(value), column
    for column in NUMBERS:
        assert found[column].isdigit(), column
    assert int(found["bytes"]) == record["bytes"]
    assert found["action"] in {"allow", "deny", "reset-both"}
    assert found["log_subtype"] in {"start", "end", "deny"}
    assert (found["action"] == "allow") == (found["log_subtype"] != "deny")


@given(ALERTS)
def test_any_alert_is_a_system_or_a_config_log(record):
    line = panos.render(record)
    assert SC4S.match(line)
    found = parse(line)
    told = found["description"] if found["type"] == "SYSTEM" else found["audit_comment"]
    message = shown(record["message"])
    assert message[:1900] in told
    assert found["dvc_name"] == shown(record["node"])
    subject = record.get("subject") or record["rule"]["name"]
    assert found["object" if found["type"] == "SYSTEM" else "path"] == shown(subject)
    if found["type"] == "SYSTEM":
        assert (found["event_id"], found["severity"]) == (record["alert"], record["severity"])
    else:
        assert found["admin"] == shown(record.get("actor", "unknown"))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reader", READERS)
def test_each_reader_finds_each_value_in_its_own_column(reader, case):
    """The values are those of PAN-OS's own columns."""
    name, logs = READERS[reader]
    record = CASES[case]
    (row,) = csv.reader(io.StringIO(FORMATS[name].text(record), newline=""), strict=True)
    right, columns = parse(panos.render(record)), logs[row[3]]
    assert len(row) >= len(columns)
    found = dict(zip(columns, row, strict=False))
    assert found.pop("detail", "") == ""
    for column, value in found.items():
        if column not in {"future_use", *GROUPS.split()}:
            assert value == right[column], column
    assert {"dvc_name", "receive_time"} <= found.keys()


@pytest.mark.parametrize(("name", "number"), [("panos", True), ("panos-elastic", False), ("panos-splunk", True)])
def test_elastic_tells_its_two_forms_apart_by_the_fifteenth_column(name, number):
    case = next(each for each in CASES.values() if panos.kind(each) == panos.CONFIG)
    assert FORMATS[name].text(case).split(",")[14].isdigit() == number


@pytest.mark.parametrize("case", CASES)
def test_collectors_tell_the_logs_apart(case):
    line = panos.render(CASES[case])
    wanted = {"traffic": "TRAFFIC", "system": "SYSTEM", "config": "CONFIG"}[panos.kind(CASES[case])]
    assert SPLUNK.match(line)[1] == wanted
    # Splunk's add-on takes the time from behind the sixth comma.
    at = re.match(r"^(?:[^,]*,){6}([^,]*)", line)[1]
    assert at == "2026/11/21 11:22:28"
    assert datetime.fromisoformat(parse(line)["high_res_time"]).isoformat() == "2026-11-21T11:22:28.123000+00:00"


def test_a_denied_flow():
    found = parse(panos.render(CASES["flow-denied"]))
    assert (found["log_subtype"], found["action"], found["session_end_reason"]) == ("deny", "deny", "policy-deny")
    assert (found["app"], found["src_zone"], found["dest_zone"], found["rule"]) == (
        "postgres",
        "web",
        "data",
        "web to data",
    )
    assert (found["action_source"], found["vsys"], found["repeat_count"]) == ("from-policy", "vsys1", "1")
    assert (found["pod_namespace"], found["pod_name"]) == ("db", "postgres-0")
    assert (found["src_translated_ip"], found["dest_translated_ip"]) == ("0.0.0.0", "0.0.0.0")


def test_an_ended_flow_with_both_directions_and_translation():
    found = parse(panos.render(CASES["flow-allowed-at-end"]))
    assert (found["log_subtype"], found["action"], found["session_end_reason"]) == ("end", "allow", "tcp-fin")
    assert (found["bytes"], found["bytes_out"], found["bytes_in"]) == ("2900", "900", "2000")
    assert (found["packets"], found["packets_out"], found["packets_in"]) == ("15", "8", "7")
    assert (found["dest_ip"], found["dest_port"]) == ("10.96.0.20", "5433")
    assert (found["dest_translated_ip"], found["dest_translated_port"]) == ("10.1.0.20", "5432")
    assert (found["src_translated_ip"], found["src_translated_port"], found["xff"]) == (
        "192.0.2.7",
        "61022",
        "203.0.113.9",
    )
    assert found["duration"] == "3"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("tcp-rst-from-server", "tcp-rst-from-server"), ("tcp-rst", "unknown"), ("policy-deny", "policy-deny")],
)
def test_a_reason_that_pan_os_has_no_word_for_is_unknown(reason, shown):
    found = parse(panos.render(CASES["flow-allowed-at-end"] | {"reason": reason}))
    assert (found["action"], found["session_end_reason"]) == ("allow", shown)


def test_what_is_only_watched_has_passed():
    found = parse(panos.render(CASES["flow-observed-icmp"]))
    assert (found["log_subtype"], found["action"], found["app"]) == ("start", "allow", "icmp")
    assert found["monitor_tag_imei"] == "observe"


def test_records_of_one_connection_have_one_session():
    sessions = {
        parse(panos.render(flow(number, moment=moment)))["session_id"] for number, moment in enumerate(("start", "end"))
    }
    assert len(sessions) == 1
    other = flow(source=flow()["source"] | {"port": 1})
    assert parse(panos.render(other))["session_id"] not in sessions


def test_each_node_is_a_device_of_its_own():
    found = {
        parse(panos.render(flow(cluster=cluster, node=node)))["serial_number"] for cluster, node in ("an", "bn", "bm")
    }
    assert len(found) == 3
    assert all(serial.startswith("zonebridge-") for serial in found)
