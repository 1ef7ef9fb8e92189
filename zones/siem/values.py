"""How every format reads a record: times, numbers, severities, names; and text made fit for one line. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from zones.net import PROTOCOL_NUMBERS

Json = Mapping[str, Any]
# `VERSION` is that of the mapping: it rises when a field that receivers know changes its place or meaning.
VENDOR, PRODUCT, VERSION = "zonebridge", "zone-enforcer", "1"
# Those that are about somebody's change of what is enforced, rather than about the state of the system.
CONFIGURATION = frozenset({"tier-tampered", "tier-refused", "kernel-tampered"})

_NO_WORD = re.compile(r"[^A-Za-z0-9]+")
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_LINE_BREAKS = "\x85\u2028\u2029"
# Control characters as the pictures that Unicode has of them, so that they can neither end a line nor hide.
_PICTURES = (
    {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421} | dict.fromkeys(map(ord, _LINE_BREAKS), 0x2424)
)


def visible(text: str, limit: int) -> str:
    """Text for one line: control characters as pictures, and no longer than `limit` characters."""
    shown = text if text.isprintable() else text.translate(_PICTURES)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def compact(value: object) -> str:
    """JSON without spaces, in UTF-8's own letters."""
    return _ENCODER.encode(value)


def plain(value: object) -> str:
    """A value as text; what is neither text nor number as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        return compact(value)
    return str(value)


def moment(record: Json, name: str = "time") -> datetime | None:
    """A time of the record."""
    return datetime.fromisoformat(record[name]) if name in record else None


def millis(record: Json, name: str = "time") -> int | None:
    """Milliseconds of the epoch, exactly: a float would round some of them away."""
    at = moment(record, name)
    return None if at is None else int(at.timestamp()) * 1000 + at.microsecond // 1000


def duration(record: Json) -> float | None:
    """Seconds from the flow's first packet to its last."""
    begin, end = moment(record), moment(record, "end")
    return None if begin is None or end is None else max(0.0, (end - begin).total_seconds())


def severity(record: Json) -> str:
    """An alert's own; a denied flow is low, any other informational."""
    word: str = record.get("severity") or ("low" if record.get("verdict", "allow") != "allow" else "informational")
    return word


def event_name(record: Json) -> str:
    """What happened, in a word: `tier-tampered`, `flow-deny`, `checkpoint`."""
    if record["kind"] == "flow":
        return f"flow-{record['verdict']}"
    name: str = record.get("alert", record["kind"])
    return name


def passes(record: Json) -> bool:
    """Whether the packets went through: allowed, or in a mode that only watches."""
    return record.get("verdict") == "allow" or not record.get("enforced", True)


def end(record: Json, side: str) -> Json:
    """One end of the flow; empty where the record has none."""
    part: Json = record.get(side, {})
    return part


def protocol_number(record: Json) -> int | None:
    name = record.get("protocol", "")
    return PROTOCOL_NUMBERS.get(name) or (int(name) if name.isascii() and name.isdigit() else None)


def is_v6(address: str) -> bool:
    return ":" in address


def workload(side: Json) -> str:
    """`namespace/workload`, as people name it."""
    return "/".join(side[part] for part in ("namespace", "workload") if side.get(part))


def traffic(record: Json) -> Mapping[str, int]:
    """`bytes`, `bytesOut`, `bytesIn` and the same of packets: out is from source to destination.

    Where the two directions were not counted apart, all that was logged went the way that `direction` says.
    """
    counts: dict[str, int] = {}
    outwards = record.get("direction", "original") == "original"
    for unit in ("bytes", "packets"):
        if unit in record:
            counts[unit] = record[unit]
            counts[f"{unit}Out"] = record.get("sent", {}).get(unit, record[unit] if outwards else 0)
            counts[f"{unit}In"] = record.get("received", {}).get(unit, 0 if outwards else record[unit])
    return counts


def flat(record: Json, path: str = "") -> Iterator[tuple[str, Any]]:
    """`source.zone` and the like; labels stay together, since their keys are anybody's."""
    for key, value in record.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, Mapping) and key != "labels":
            yield from flat(value, name)
        else:
            yield name, value


def dedotted(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Labels for receivers to whom a dot is an object within an object: `app.kubernetes.io/name` hides `app`.

    As Beats and Fluent Bit do, it becomes `app_kubernetes_io/name`; where that label is there as well, one more
    underscore tells them apart.
    """
    shown = {key: value for key, value in labels.items() if "." not in key}
    for key in labels:
        if "." in key:
            name = key.replace(".", "_")
            while name in shown:
                name += "_"
            shown[name] = labels[key]
    return shown


@lru_cache(maxsize=1024)
def camel(path: str, prefix: str = "") -> str:
    """`source.zone` as `sourceZone`, or with a prefix as `zonebridgeSourceZone`; letters and digits only."""
    words = [word for word in _NO_WORD.split(path) if word]
    if not prefix and words:
        prefix = words.pop(0)
    return prefix + "".join(word[0].upper() + word[1:] for word in words)


@lru_cache(maxsize=4096)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as objects within objects; a field without a value is left out."""
    tree: dict[str, Any] = {}
    for path, value in fields.items():
        if value is None or value in ("", {}, []):
            continue
        *parents, name = _parts(path)
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return tree
