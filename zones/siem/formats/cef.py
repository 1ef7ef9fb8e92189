"""ArcSight Common Event Format, version 0: one line a record. Pure; `docs/siem.md` has the mapping.

Fields of CEF's dictionary where there are any; the rest as extensions of our own, `zonebridge…`: nothing is lost.
"""

from __future__ import annotations

import re
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
    is_v6,
    millis,
    passes,
    plain,
    severity,
    traffic,
    visible,
    workload,
)

Json = Mapping[str, Any]
OWN = "zonebridge"
_SEVERITIES = {"informational": 3, "low": 4, "medium": 6, "high": 8, "critical": 10}
_NAMES = {"allow": "Flow allowed", "deny": "Flow denied", "reset": "Flow reset"}
_LIMITS = {
    "act": 63,
    "outcome": 63,
    "proto": 31,
    "externalId": 40,
    "dvchost": 100,
    "deviceExternalId": 255,
    "cat": 1023,
}
_CUSTOM_LIMIT, _OWN_LIMIT, _LIMIT = 4000, 1023, 1023
_CLASS_LIMIT, _NAME_LIMIT = 1023, 512
_SPACE = "\u2420"
_UNFIT = re.compile(r"[\\=\x00-\x1f\x7f\x85\u2028\u2029]|^ +| +\Z")
_ESCAPES = {"\\": "\\\\", "=": "\\=", "\n": "\\n", "\r": "\\r"}
_LABELS = {
    "cs1": "Rule",
    "cs2": "Source Zone",
    "cs3": "Destination Zone",
    "cs4": "Source Workload",
    "cs5": "Destination Workload",
    "cs6": "Rule UUID",
    "cn1": "Tier Revision",
    "cn2": "Packets",
    "c6a2": "Source IPv6 Address",
    "c6a3": "Destination IPv6 Address",
}
# What the fields of the dictionary tell already.
_TOLD = frozenset(
    "kind id time cluster node verdict protocol alert severity message count reason actor end revision packets bytes "
    "sent.bytes received.bytes rule.name rule.uuid "
    "source.address source.port source.zone source.namespace source.workload source.pod "
    "destination.address destination.port destination.zone destination.namespace destination.workload "
    "destination.pod source.natAddress source.natPort destination.natAddress destination.natPort".split()
)


def render(record: Json, product: str = PRODUCT) -> str:
    event_class = event_name(record)
    name = _NAMES[record["verdict"]] if record["kind"] == "flow" else event_class.replace("-", " ").capitalize()
    header = (VENDOR, product, VERSION, visible(event_class, _CLASS_LIMIT), visible(name, _NAME_LIMIT))
    level = _SEVERITIES[severity(record)]
    fields = " ".join(f"{key}={_value(key, value)}" for key, value in _fields(record))
    return f"CEF:0|{'|'.join(map(_header, header))}|{level}|{fields}"


def _fields(record: Json) -> Iterator[tuple[str, Any]]:
    """Keys and values in a fixed order, those without a value left out."""
    known = _event(record) | _ends(record) | _custom(record)
    for key, value in known.items():
        if value is not None and value != "":
            yield key, value
            if key in _LABELS:
                yield f"{key}Label", _LABELS[key]
    for path, value in flat(record):
        if path not in _TOLD:
            yield camel(path, OWN), value


def _event(record: Json) -> dict[str, Any]:
    counts = traffic(record)
    return {
        "rt": millis(record),
        "start": millis(record, "since" if "since" in record else "time"),
        "end": millis(record, "end"),
        "externalId": record["id"],
        "deviceExternalId": record["cluster"],
        "dvchost": record["node"],
        "cat": record["kind"],
        "act": record.get("verdict"),
        "outcome": ("success" if passes(record) else "failure") if "verdict" in record else None,
        "proto": record.get("protocol", "").upper(),
        "cnt": record.get("count"),
        "in": counts.get("bytesOut"),  # the dictionary's `in` is what flows from source to destination
        "out": counts.get("bytesIn"),
        "reason": record.get("reason"),
        "msg": record.get("message"),
        "suser": record.get("actor"),
    }


def _ends(record: Json) -> dict[str, Any]:
    """`dst` is what was dialled, as on a firewall. The dictionary's addresses are IPv4; IPv6 has its own fields."""
    source, destination = end(record, "source"), end(record, "destination")
    translated = "natAddress" in destination
    fields = {
        "spt": source.get("port"),
        "shost": source.get("pod"),
        "dpt": destination.get("natPort" if translated else "port"),
        "dhost": destination.get("pod"),
        "sourceTranslatedPort": source.get("natPort"),
        "destinationTranslatedPort": destination.get("port") if translated else None,
    }
    fields |= _address("src", "c6a2", source.get("address"))
    fields |= _address("dst", "c6a3", destination.get("natAddress" if translated else "address"))
    fields |= _address("sourceTranslatedAddress", f"{OWN}SourceNatAddress", source.get("natAddress"))
    if translated:
        fields |= _address(
            "destinationTranslatedAddress", f"{OWN}DestinationTranslatedAddress", destination.get("address")
        )
    return fields


def _address(v4: str, v6: str, address: str | None) -> dict[str, Any]:
    return {} if address is None else {v6 if is_v6(address) else v4: address}


def _custom(record: Json) -> dict[str, Any]:
    return {
        "cs1": record.get("rule", {}).get("name"),
        "cs2": end(record, "source").get("zone"),
        "cs3": end(record, "destination").get("zone"),
        "cs4": workload(end(record, "source")),
        "cs5": workload(end(record, "destination")),
        "cs6": record.get("rule", {}).get("uuid"),
        "cn1": record.get("revision"),
        "cn2": record.get("packets"),
    }


def _header(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _value(key: str, value: object) -> str:
    limit = _CUSTOM_LIMIT if key.startswith("cs") else _LIMITS.get(key, _LIMIT)
    text = plain(value)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return _UNFIT.sub(_escaped, text) if _UNFIT.search(text) else text


def _escaped(match: re.Match[str]) -> str:
    """Spaces at the ends would be taken for the gap between two fields, so they are shown as pictures too."""
    unfit = match[0]
    return _ESCAPES.get(unfit) or (_SPACE * len(unfit) if unfit.startswith(" ") else visible(unfit, 1))
