"""CEF that strict readers understand: every value comes back, whatever stands in it; keys are the dictionary's.

Oracles: a reader written here from ArcSight's implementation standard, the dictionary in the package `cefevent`, and
the parser `pycef`, which knows no escapes and so reads only what needs none.
"""

import json
import re

import pycef
import pytest
from cefevent.extensions import extension_dictionary
from hypothesis import given

from tests.zones.siem.cases import CASES, RECORDS
from zones.siem.formats import cef

# The package's dictionary is the format's first; this key came in since.
DICTIONARY = extension_dictionary | {"outcome": {"data_type": ["String"], "length": 63}}
PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\r\n"} | {0x7F: 0x2421}
PICTURES |= dict.fromkeys(map(ord, "\x85\u2028\u2029"), 0x2424)


def shown(text):
    """How a text that fits is told: what would break a line is a picture, and so are spaces at the ends."""
    text = text.translate(PICTURES)
    head, tail = len(text) - len(text.lstrip(" ")), len(text) - len(text.rstrip(" "))
    if head == len(text):
        return "\u2420" * head
    return "\u2420" * head + text[head : len(text) - tail] + "\u2420" * tail


def parse(line):
    """The seven header fields, and the extension as a mapping; ValueError where the line isn't CEF."""
    header, at = [], line.index("CEF:") + 4
    field = ""
    while len(header) < 7:
        char = line[at]
        if char == "\\":
            if line[at + 1] not in "\\|":
                raise ValueError(line)
            field, at = field + line[at + 1], at + 2
        elif char == "|":
            header.append(field)
            field, at = "", at + 1
        else:
            field, at = field + char, at + 1
    return header, dict(pairs(line[at:]))


def pairs(text):
    """A key is a word before an equals sign that no backslash precedes; its value goes on to the next such key."""
    found = list(re.finditer(r"(?:^|(?<= ))([A-Za-z0-9_.]+)=", text))
    for this, following in zip(found, [*found[1:], None], strict=True):
        raw = text[this.end() : following.start() - 1 if following else len(text)]
        if re.search(r"(?<!\\)(?:\\\\)*=", raw):
            raise ValueError(f"unescaped '=' in {raw!r}")
        yield this[1], unescape(raw)


def unescape(raw):
    def meant(match):
        return {"n": "\n", "r": "\r", "\\": "\\", "=": "="}[match[1]]

    return re.sub(r"\\(.)", meant, raw, flags=re.DOTALL)


def expect(fields, key, value):
    """Texts up to the dictionary's length come back whole."""
    if value in (None, ""):
        assert key not in fields, key
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        limit = DICTIONARY.get(key, {}).get("length") or 1023
        told = shown(text)
        assert fields[key] == (told if len(text) <= limit else shown(text[: limit - 1] + "…")), key


@given(RECORDS)
def test_every_field_comes_back(record):
    header, fields = parse(cef.render(record))
    assert header[:4] == ["0", "zonebridge", "zone-enforcer", "1"]
    assert header[4] == record.get("alert", f"flow-{record.get('verdict')}")
    source, destination = record.get("source", {}), record.get("destination", {})
    expect(fields, "externalId", record["id"])
    expect(fields, "deviceExternalId", record["cluster"])
    expect(fields, "dvchost", record["node"])
    expect(fields, "cs1", record.get("rule", {}).get("name"))
    expect(fields, "cs6", record.get("rule", {}).get("uuid"))
    expect(fields, "cs2", source.get("zone"))
    expect(fields, "cs3", destination.get("zone"))
    expect(fields, "shost", source.get("pod"))
    expect(fields, "dhost", destination.get("pod"))
    expect(fields, "msg", record.get("message"))
    expect(fields, "reason", record.get("reason"))
    expect(fields, "suser", record.get("actor"))
    expect(fields, "act", record.get("verdict"))
    expect(fields, "cnt", record.get("count"))
    expect(fields, "zonebridgeSourceLabels", source.get("labels"))
    expect(fields, "zonebridgeTier", record.get("tier"))
    expect(fields, "zonebridgeSubject", record.get("subject"))
    expect(fields, "zonebridgeSequence", record["sequence"])
    expect(fields, "zonebridgeRuleDeviceGroup", record.get("rule", {}).get("deviceGroup"))
    addresses = [fields.get(key) for key in ("src", "c6a2", "zonebridgeSourceNatAddress", "sourceTranslatedAddress")]
    assert {source.get("address"), source.get("natAddress")} - {None} == set(addresses) - {None}


@given(RECORDS)
def test_keys_are_the_dictionarys_or_say_whose_they_are(record):
    _, fields = parse(cef.render(record))
    for key, value in fields.items():
        if key.startswith("zonebridge"):
            assert key.isalnum()
            continue
        known = DICTIONARY[key]
        assert not known["length"] or len(value) <= known["length"], key
        if known["data_type"][0] in {"Integer", "Long"}:
            assert int(value) >= 0
        if "IPv4 Address" in known["data_type"]:
            assert re.fullmatch(r"\d+(\.\d+){3}", value)
        if "IPv6 Address" in known["data_type"]:
            assert ":" in value


@pytest.mark.parametrize("case", CASES)
def test_a_foreign_parser_reads_the_same(case):
    line = cef.render(CASES[case])
    header, fields = parse(line)
    found = pycef.parse(line)
    names = ("CEFVersion", "DeviceVendor", "DeviceProduct", "DeviceVersion", "DeviceEventClassID", "Name", "Severity")
    assert [found[name] for name in names] == header
    for key, value in fields.items():
        if key.endswith("Label"):
            assert found[value] == fields[key.removesuffix("Label")]
        elif f"{key}Label" not in fields:
            assert found[key] == value


@pytest.mark.parametrize(
    ("severity", "level"), [("informational", 3), ("low", 4), ("medium", 6), ("high", 8), ("critical", 10)]
)
def test_severities(severity, level):
    header, _ = parse(cef.render(CASES["alert-resolved"] | {"severity": severity}))
    assert header[6] == str(level)


def test_on_a_firewall_the_destination_is_what_was_dialled():
    _, fields = parse(cef.render(CASES["flow-allowed-at-end"]))
    assert (fields["dst"], fields["dpt"]) == ("10.96.0.20", "5433")
    assert (fields["destinationTranslatedAddress"], fields["destinationTranslatedPort"]) == ("10.1.0.20", "5432")
    assert (fields["sourceTranslatedAddress"], fields["in"], fields["out"]) == ("192.0.2.7", "900", "2000")
