"""LEEF 2.0: a reader written from IBM's description of the format finds every value again."""

import json
import re

import pytest
from hypothesis import given

from tests.zones.siem.cases import CASES, RECORDS
from zones.siem.formats import leef

PICTURES = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
PICTURES |= dict.fromkeys(map(ord, "\x85\u2028\u2029"), 0x2424)
# Attributes that QRadar knows by itself, and what may stand in them.
PREDEFINED = {
    "cat": r".+",
    "devTime": r"\d{13}",
    "proto": r"[a-z0-9]+",
    "sev": r"[1-9]|10",
    "src": r"[0-9a-f.:]+",
    "dst": r"[0-9a-f.:]+",
    "srcPort": r"\d{1,5}",
    "dstPort": r"\d{1,5}",
    "dstPreNAT": r"[0-9a-f.:]+",
    "dstPostNAT": r"[0-9a-f.:]+",
    "srcPostNAT": r"[0-9a-f.:]+",
    "srcPostNATPort": r"\d{1,5}",
    "dstPreNATPort": r"\d{1,5}",
    "srcBytes": r"\d+",
    "dstBytes": r"\d+",
    "srcPackets": r"\d+",
    "dstPackets": r"\d+",
    "totalPackets": r"\d+",
}


def parse(line):
    """Vendor, product, version and event, and the attributes; the header names what stands between them."""
    name, vendor, product, version, event, delimiter, rest = line.split("|", 6)
    if name != "LEEF:2.0":
        raise ValueError(name)
    between = chr(int(re.fullmatch(r"0?x([0-9A-Fa-f]{1,4})", delimiter)[1], 16)) if len(delimiter) > 1 else delimiter
    attributes = {}
    for pair in rest.split(between):
        key, equals, value = pair.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9]+", key) or key in attributes:
            raise ValueError(pair)
        attributes[key] = value
    return (vendor, product, version, event), attributes


def leaves(record, path=()):
    for key, value in record.items():
        if isinstance(value, dict) and key != "labels":
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


RENAMED = {
    "kind": "cat",
    "protocol": "proto",
    "actor": "usrName",
    "node": "resource",
    "rule.name": "policy",
    "packets": "totalPackets",
    "source.address": "src",
    "source.port": "srcPort",
    "source.natAddress": "srcPostNAT",
    "source.natPort": "srcPostNATPort",
    "destination.address": "dst",
    "destination.port": "dstPort",
    "destination.natAddress": "dstPreNAT",
    "destination.natPort": "dstPreNATPort",
    "sent.bytes": "srcBytes",
    "sent.packets": "srcPackets",
    "received.bytes": "dstBytes",
    "received.packets": "dstPackets",
}


@given(RECORDS)
def test_every_field_comes_back(record):
    header, attributes = parse(leef.render(record))
    assert header[:3] == ("zonebridge", "zone-enforcer", "1")
    assert header[3] == record.get("alert", f"flow-{record.get('verdict')}")
    for path, value in leaves(record):
        dotted = ".".join(path)
        if dotted in {"time", "alert", "severity"}:
            continue
        key = RENAMED.get(dotted) or path[0] + "".join(part[0].upper() + part[1:] for part in path[1:])
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        assert attributes[key] == text.translate(PICTURES)[:2000], key
    assert attributes["devTime"] == "1795260148123"


@given(RECORDS)
def test_predefined_attributes_are_of_their_type(record):
    _, attributes = parse(leef.render(record))
    for key, pattern in PREDEFINED.items():
        assert key not in attributes or re.fullmatch(pattern, attributes[key]), key


@pytest.mark.parametrize("case", CASES)
def test_each_has_a_severity_between_one_and_ten(case):
    _, attributes = parse(leef.render(CASES[case]))
    assert 1 <= int(attributes["sev"]) <= 10
