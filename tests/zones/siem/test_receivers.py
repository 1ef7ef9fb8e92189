"""Real receivers over TLS, which ask for our certificate, understand every message of every format, field by field.

syslog-ng with its CSV, key-value, JSON and PAN-OS parsers; rsyslog with liblognorm's CEF, its JSON, fields and
structured data modules.
"""

import asyncio
import csv
import io
import json

import pytest

from tests.zones.siem.cases import CASES, flow
from tests.zones.siem.receivers.daemons import receiver
from tests.zones.siem.test_cef import parse as parse_cef
from tests.zones.siem.test_flowline import parse as parse_flowline
from tests.zones.siem.test_leef import parse as parse_leef
from tests.zones.siem.test_panos import LOGS
from zones.siem.destinations import SyslogSettings
from zones.siem.formats.registry import FORMATS, FormatName
from zones.siem.outcome import Accepted
from zones.siem.records import encoded
from zones.siem.transports.syslog import SyslogSender
from zones.siem.values import compact

STRUCTURED = "structured"
# Of a form that has variants, the usual one: a receiver takes them by the same rule.
KINDS = [*(name for name in FormatName if not name.startswith(("ocsf-", "panos-"))), STRUCTURED]
# Beside the records of all shapes: names that would break a parser if they could.
HOSTILE = flow(
    30,
    rule={"name": 'a "quoted" \\ pipe | bracket ] = ü %d', "uuid": "u", "rulebase": "pre"},
    logProfile="tab\there, line\nbreak",
)


def records(kind):
    alerts = kind == STRUCTURED or FORMATS[kind].alerts
    return [record for record in CASES.values() if alerts or record["kind"] == "flow"]


def settings(receiver, kind):
    files = {name: receiver.directory / file for name, file in FILES.items()}
    form = {"structured_data": True} if kind == STRUCTURED else {"format": kind, "records": "flows"}
    address = f"127.0.0.1:{receiver.port}"
    return SyslogSettings(name="siem", type="syslog", address=address, timeout_seconds=60, **files, **form)


FILES = {"ca_file": "ca.pem", "cert_file": "sender.pem", "key_file": "sender.key"}


async def send(receiver):
    for kind in KINDS:
        sender = SyslogSender(settings(receiver, kind))
        try:
            wanted = [*records(kind), HOSTILE]
            tried, outcome = await sender.send([encoded(each) for each in wanted])
            assert (tried, type(outcome)) == (len(wanted), Accepted)
        finally:
            await sender.close()


@pytest.fixture(scope="module", params=["rsyslog", "syslog-ng"])
def heard(request, tmp_path_factory):
    """A receiver that was sent everything."""
    with receiver(request.param, tmp_path_factory.mktemp(request.param)) as running:
        asyncio.run(send(running))
        yield running


def leaves(tree, path=""):
    """`a.b` and texts, so that what a daemon told as numbers, nested or flat, compares with what was sent."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(tree, list):
        yield path, compact(tree) if any(isinstance(each, dict) for each in tree) else ",".join(map(str, tree))
    else:
        yield path, tree if isinstance(tree, str) else json.dumps(tree)


def plain(text):
    """What both daemons make of a value: syslog-ng's key-value parser knows neither CEF's escapes nor leading quotes."""
    return text.replace("\\=", "=").replace("\\\\", "\\").replace("\\n", "\n")


@pytest.mark.parametrize("kind", KINDS)
def test_headers_say_where_and_how_bad(heard, kind):
    wanted = records(kind)
    severities = {"critical": "2", "high": "3", "medium": "4", "low": "5", "informational": "6", None: "5"}
    for got, record in zip(heard.understood(kind, len(wanted) + 1), wanted, strict=False):
        assert got["syslog"]["host"] == "n1"
        if "severity" not in got["syslog"]:
            continue
        allowed = record.get("verdict") == "allow"
        assert got["syslog"]["severity"] == ("6" if allowed else severities[record.get("severity")])
        assert got["syslog"]["facility"] == "16"
        if kind != FormatName.PANOS:
            assert got["syslog"]["program"] == "zone-enforcer"


@pytest.mark.parametrize("kind", [FormatName.JSON, FormatName.OCSF, FormatName.ECS])
def test_objects(heard, kind):
    wanted = [*records(kind), HOSTILE]
    for got, record in zip(heard.understood(kind, len(wanted)), wanted, strict=True):
        assert dict(leaves(got["fields"])) == dict(leaves(FORMATS[kind].render(record)))


def test_structured_data(heard):
    wanted = [*records(STRUCTURED), HOSTILE]
    for got, record in zip(heard.understood(STRUCTURED, len(wanted)), wanted, strict=True):
        fields = got["fields"].get("rfc5424-sd", {}).get("zonebridge@32473", got["fields"])
        told = dict(leaves(fields))
        for side in ("source", "destination"):
            labels = record.get(side, {}).get("labels")
            assert json.loads(told.pop(f"{side}.labels", "null")) == labels
        bare = {key: value for key, value in leaves(record) if ".labels." not in key}
        lists = {key: ",".join(json.loads(value)) for key, value in told.items() if key.startswith("blocklists.")}
        assert {key: value.replace("#012", "\n") for key, value in (told | lists).items()} == bare


def test_cef(heard):
    wanted = [*records(FormatName.CEF), HOSTILE]
    for got, record in zip(heard.understood("cef", len(wanted)), wanted, strict=True):
        header, fields = parse_cef(FORMATS[FormatName.CEF].text(record))
        if heard.name == "rsyslog":
            told = got["fields"]["cef"]
            names = ("DeviceVendor", "DeviceProduct", "DeviceVersion", "SignatureID", "Name", "Severity")
            extension = told["Extensions"]
            extension["rt"] = extension.pop("t")  # liblognorm takes the first letter for the space before
        else:
            told = extension = got["fields"]
            names = ("vendor", "product", "release", "class", "name", "severity")
        assert [told[name] for name in names] == header[1:]
        assert {key: plain(extension[key]) for key in fields} == fields


def test_leef(heard):
    wanted = [*records(FormatName.LEEF), HOSTILE]
    for got, record in zip(heard.understood("leef", len(wanted)), wanted, strict=True):
        header, attributes = parse_leef(FORMATS[FormatName.LEEF].text(record))
        told = got["fields"]
        if heard.name == "rsyslog":
            first, *rest = told["pairs"].values()
            *head, begin = first.split("|")
            told = dict(pair.split("=", 1) for pair in (begin, *rest))
            assert tuple(head[1:5]) == header
        else:
            assert (told["vendor"], told["product"], told["release"], told["event"]) == header
        assert {key: told[key] for key in attributes} == attributes


def test_flow_lines(heard):
    wanted = [*records(FormatName.FLOWLINE), HOSTILE]
    for got, record in zip(heard.understood("flowline", len(wanted)), wanted, strict=True):
        words = parse_flowline(FORMATS[FormatName.FLOWLINE].text(record))
        told = got["fields"].get("words") or [got["fields"][word] for word in words]
        assert list(told.values() if isinstance(told, dict) else told) == list(words.values())


# syslog-ng's own names for what is at these positions; it knows an older, shorter CONFIG line too.
NAMES = {
    "TRAFFIC": {
        "src": "src_ip", "dst": "dest_ip", "natsrc": "src_translated_ip", "natdst": "dest_translated_ip", "rule": "rule",
        "app": "app", "from": "src_zone", "to": "dest_zone", "sport": "src_port", "dport": "dest_port", "proto": "transport",
        "action": "action", "bytes": "bytes", "bytes_sent": "bytes_out", "bytes_received": "bytes_in", "packets": "packets",
        "pkts_sent": "packets_out", "pkts_received": "packets_in", "session_end_reason": "session_end_reason",
        "seqno": "sequence_number", "vsys_name": "vsys_name", "device_name": "dvc_name", "action_source": "action_source",
        "rule_uuid": "rule_uuid", "logset": "log_forwarding_profile", "sec": "duration", "start": "start_time",
        "sessionid": "session_id", "monitortag/imei": "monitor_tag_imei",
    },
    "SYSTEM": {
        "eventid": "event_id", "object": "object", "module": "module", "severity": "severity", "opaque": "description",
        "seqno": "sequence", "vsys_name": "vsys_name", "device_name": "dvc_name",
    },
    "CONFIG": {"host": "host", "vsys": "vsys", "cmd": "command", "admin": "admin", "client": "client", "result": "result", "path": "path"},
}  # fmt: skip


def test_pan_os_lines(heard):
    wanted = [*records(FormatName.PANOS), HOSTILE]
    for got, record in zip(heard.understood("panos", len(wanted)), wanted, strict=True):
        (row,) = csv.reader(io.StringIO(FORMATS[FormatName.PANOS].text(record), newline=""))
        columns = dict(zip(LOGS[row[3]], row, strict=True))
        told = got["fields"]
        if heard.name == "rsyslog":
            if record is not HOSTILE and '"' not in FORMATS[FormatName.PANOS].text(record):  # it splits at every comma
                assert list(told["columns"].values()) == row
            continue
        for theirs, ours in NAMES[row[3]].items():
            assert told[theirs] == columns[ours], theirs
        assert (told["serial"], told["type"], told["subtype"]) == (row[2], row[3], row[4])
