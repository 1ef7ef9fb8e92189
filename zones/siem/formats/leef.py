"""IBM's Log Event Extended Format 2.0 for QRadar: one line a record, tabs between fields. Pure.

`docs/siem.md` has the mapping. LEEF can't escape: what would end a field or the line is shown as a picture of itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zones.siem.values import (
    PRODUCT,
    VENDOR,
    VERSION,
    camel,
    end,
    event_name,
    flat,
    millis,
    plain,
    severity,
    traffic,
    visible,
)

Json = Mapping[str, Any]
_SEVERITIES = {"informational": 2, "low": 4, "medium": 6, "high": 8, "critical": 10}
_LIMIT, _EVENT_LIMIT = 2000, 255
# Predefined attributes, by their path in the record.
_MAPPED = {
    "kind": "cat",
    "protocol": "proto",
    "actor": "usrName",
    "source.address": "src",
    "source.port": "srcPort",
    "source.natAddress": "srcPostNAT",
    "source.natPort": "srcPostNATPort",
    "destination.address": "dst",
    "destination.port": "dstPort",
    "destination.natAddress": "dstPreNAT",
    "destination.natPort": "dstPreNATPort",
    "node": "resource",
    "rule.name": "policy",
    "packets": "totalPackets",
}
_TOLD = frozenset({"time", "alert", "severity", "sent.bytes", "sent.packets", "received.bytes", "received.packets"})


def render(record: Json, product: str = PRODUCT) -> str:
    event = visible(event_name(record), _EVENT_LIMIT).replace("|", "¦")
    header = f"LEEF:2.0|{VENDOR}|{product}|{VERSION}|{event}|x09"
    return f"{header}|" + "\t".join(f"{key}={_value(value)}" for key, value in _fields(record))


def _fields(record: Json) -> Iterator[tuple[str, Any]]:
    """Predefined attributes first; the rest by their path: `source.zone` as `sourceZone`."""
    counts = traffic(record)
    yield "devTime", millis(record)
    yield "sev", _SEVERITIES[severity(record)]
    fields = dict(flat(record))
    for path, key in _MAPPED.items():
        if path in fields:
            yield key, fields[path]
    for key, count in (("srcBytes", "bytesOut"), ("dstBytes", "bytesIn")):
        if count in counts:
            yield key, counts[count]
    for key, count in (("srcPackets", "packetsOut"), ("dstPackets", "packetsIn")):
        if count in counts:
            yield key, counts[count]
    if "destination.natAddress" in fields and "destination.address" in fields:
        yield "dstPostNAT", end(record, "destination")["address"]
    for path, value in fields.items():
        if path not in _MAPPED and path not in _TOLD:
            yield camel(path), value


def _value(value: object) -> str:
    return visible(plain(value), _LIMIT)
