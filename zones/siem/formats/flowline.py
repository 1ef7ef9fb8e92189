"""Flows as lines of 24 words, the form that flow logs have in CloudWatch. Pure; alerts have no such line.

A word that has no value is `-`; what would end a word is percent-encoded. `docs/siem.md` has the order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from zones.siem.values import end, moment, passes, protocol_number, traffic, visible

Json = Mapping[str, Any]
_NONE, _LIMIT = "-", 1000
_USUAL = re.compile(r"[A-Za-z0-9._:/-]+")
_SAFE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "").replace("[", "").replace("]", "")


class _Ready(str):
    """A word that is encoded already."""

    __slots__ = ()


def render(record: Json) -> str:
    return " ".join(_word(word) for word in _words(record))


def _words(record: Json) -> Iterator[object]:
    source, destination, counts = end(record, "source"), end(record, "destination"), traffic(record)
    outwards = source.get("node") == record["node"]
    ended = record.get("moment") == "end"
    yield _seconds(record, "time")
    yield _seconds(record, "end") or _seconds(record, "time")
    for side in (source, destination):
        yield from (_type(side), side.get("namespace"), side.get("pod", side.get("node")), _labels(side))
    yield from (source.get("address"), destination.get("address"), protocol_number(record))
    yield from (source.get("port"), destination.get("port"))
    yield from (1, int(not ended), int(ended), "out" if outwards else "in")
    first, second = ("In", "Out") if outwards else ("Out", "In")
    yield from (counts.get(f"packets{first}"), counts.get(f"packets{second}"))
    yield from (counts.get(f"bytes{first}"), counts.get(f"bytes{second}"))
    yield "allow" if passes(record) else "deny"


def _type(side: Json) -> str | None:
    """A pod, a node, or the network outside."""
    if "address" not in side:
        return None
    return "wep" if "pod" in side else "hep" if "node" in side else "net"


def _labels(side: Json) -> _Ready | None:
    pairs = (f"{_safe(key, ',=')}={_safe(value, ',=')}" for key, value in side.get("labels", {}).items())
    return _Ready(f"[{','.join(pairs)}]"[:_LIMIT]) if side.get("labels") else None


def _seconds(record: Json, name: str) -> int | None:
    at = moment(record, name)
    return None if at is None else int(at.timestamp())


def _word(value: object) -> str:
    if value is None or value == "":
        return _NONE
    return value if isinstance(value, _Ready) else _safe(str(value))


def _safe(text: str, besides: str = "") -> str:
    if _USUAL.fullmatch(text):
        return text[:_LIMIT]
    safe = "".join(character for character in _SAFE if character not in besides)
    return quote(visible(text, _LIMIT), safe=safe)
