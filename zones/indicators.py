"""Feeds of bad addresses in the forms they come in: text, JSON lines, CSV and STIX 2.1. Pure.

Only addresses and prefixes are of use here; whatever else a feed says is counted as not usable, and never guessed at.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_network
from typing import Any

from zones.net import IPAddress, IPNetwork

_LONGEST = 200
_SHORTEST_PREFIX = {4: 8, 6: 16}


class IndicatorFeedError(ValueError):
    """The text is no feed of its form, or a larger one than is taken. The last good content stays."""


class FeedForm(StrEnum):
    """How a feed is written. TEXT: one entry a line; JSON_LINES and CSV: a field of each; STIX: a bundle."""

    TEXT = "text"
    JSON_LINES = "jsonl"
    CSV = "csv"
    STIX = "stix"


@dataclass(frozen=True, slots=True)
class Indicator:
    """One address or prefix. `confidence`: 0 to 100, None where the feed has none. `until`: when it ends."""

    network: IPNetwork
    feed: str = ""
    name: str = ""
    confidence: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    labels: tuple[str, ...] = ()

    def holds(self, at: datetime) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class FeedFields:
    """Which field or column has what, of JSON lines and CSV."""

    address: str = "ip"
    name: str = ""
    confidence: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class IndicatorFeed:
    """What a feed holds; `unusable` counts what it says beyond addresses, and what can't be read."""

    indicators: tuple[Indicator, ...]
    unusable: int


def parse_feed(
    text: str, form: FeedForm, feed: str = "", fields: FeedFields | None = None, most: int = 500_000
) -> IndicatorFeed:
    """Raises IndicatorFeedError."""
    fields = fields or FeedFields()
    readers: Mapping[FeedForm, Callable[[], Iterator[Indicator | None]]] = {
        FeedForm.TEXT: lambda: _text_lines(text),
        FeedForm.JSON_LINES: lambda: _json_lines(text, fields),
        FeedForm.CSV: lambda: _csv_rows(text, fields),
        FeedForm.STIX: lambda: _stix_objects(text),
    }
    indicators: dict[Indicator, None] = {}
    unusable = 0
    for indicator in readers[form]():
        if indicator is None:
            unusable += 1
        elif len(indicators) >= most:
            raise IndicatorFeedError(f"it has more than {most} indicators")
        else:
            indicators[replace(indicator, feed=feed)] = None
    if not indicators and unusable:
        raise IndicatorFeedError(
            f"none of its {unusable} entries is an address or a prefix: it is no feed of the form {form}"
        )
    return IndicatorFeed(tuple(indicators), unusable)


def _text_lines(text: str) -> Iterator[Indicator | None]:
    for line in text.splitlines():
        words = re.split(r"[#;]|//", line, maxsplit=1)[0].split()
        if words:
            yield _of_address(words[0])


def _json_lines(text: str, fields: FeedFields) -> Iterator[Indicator | None]:
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        yield _of_fields(value, fields) if isinstance(value, dict) else None


def _csv_rows(text: str, fields: FeedFields) -> Iterator[Indicator | None]:
    lines = (line for line in io.StringIO(text) if line.strip() and not line.startswith("#"))
    try:
        rows = csv.DictReader(lines)
        if fields.address not in (rows.fieldnames or ()):
            raise IndicatorFeedError(f"it has no column '{fields.address}'")
        yield from (_of_fields(row, fields) for row in rows)
    except csv.Error as error:
        raise IndicatorFeedError(f"it is no CSV: {error}") from error


def _of_fields(value: Mapping[str, Any], fields: FeedFields) -> Indicator | None:
    indicator = _of_address(value.get(fields.address))
    if indicator is None:
        return None
    return replace(
        indicator,
        name=_short(value.get(fields.name)) if fields.name else "",
        confidence=_confidence(value.get(fields.confidence)) if fields.confidence else None,
        until=_time(value.get(fields.until)) if fields.until else None,
    )


# STIX 2.1: `[ipv4-addr:value = '192.0.2.1' OR ipv4-addr:value ISSUBSET '198.51.100.0/24']`, and several of these by OR
_COMPARISON = r"(?:ipv4-addr|ipv6-addr):value\s*(?:=|ISSUBSET)\s*'([^'\\]*)'"
_OBSERVATION = rf"\[\s*(?:{_COMPARISON})(?:\s+OR\s+(?:{_COMPARISON}))*\s*\]"
_PATTERN = re.compile(rf"\s*{_OBSERVATION}(?:\s+OR\s+{_OBSERVATION})*\s*")
_VALUE = re.compile(_COMPARISON)
_LONGEST_PATTERN = 20_000


def _stix_objects(text: str) -> Iterator[Indicator | None]:
    """What is no indicator (identities, relationships) counts as nothing."""
    try:
        bundle = json.loads(text)
    except (ValueError, RecursionError):
        raise IndicatorFeedError("it is no JSON") from None
    objects = bundle.get("objects") if isinstance(bundle, dict) else None
    if not isinstance(objects, list):
        raise IndicatorFeedError("it has no list of objects: it is no bundle of STIX 2.1")
    for value in objects:
        if isinstance(value, dict) and value.get("type") == "indicator" and value.get("revoked") is not True:
            yield from _of_stix(value)


def _of_stix(value: Mapping[str, Any]) -> Iterator[Indicator | None]:
    networks = list(stix_networks(value.get("pattern"))) if value.get("pattern_type", "stix") == "stix" else []
    if not networks:
        yield None
    labels = value.get("indicator_types")
    phases = value.get("kill_chain_phases")
    names = [*(labels if isinstance(labels, list) else ()), *_phases(phases if isinstance(phases, list) else ())]
    for network in networks:
        yield Indicator(
            network,
            name=_short(value.get("name") or value.get("id")),
            confidence=_confidence(value.get("confidence")),
            since=_time(value.get("valid_from")),
            until=_time(value.get("valid_until")),
            labels=tuple(_short(label) for label in names[:10]),
        )


def _phases(phases: Iterable[object]) -> Iterator[str]:
    for phase in phases:
        if isinstance(phase, dict):
            yield f"{phase.get('kill_chain_name', '')}:{phase.get('phase_name', '')}"


def stix_networks(pattern: object) -> Iterator[IPNetwork]:
    """Of a pattern that says addresses alone; none of any other, and none where one of them can't be read."""
    if not isinstance(pattern, str) or len(pattern) > _LONGEST_PATTERN or not _PATTERN.fullmatch(pattern):
        return
    indicators = [_of_address(value) for value in _VALUE.findall(pattern)]
    if all(indicator is not None for indicator in indicators):
        yield from (indicator.network for indicator in indicators if indicator is not None)


def _of_address(value: object) -> Indicator | None:
    """None also of prefixes that are half the world: a feed with 0.0.0.0/0 is broken, or hostile."""
    if not isinstance(value, str):
        return None
    try:
        network = ip_network(value.strip(), strict=False)
    except ValueError:
        return None
    return None if network.prefixlen < _SHORTEST_PREFIX[network.version] else Indicator(network)


def _confidence(value: object) -> int | None:
    try:
        number = round(float(value)) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None
    return number if number is not None and 0 <= number <= 100 else None  # noqa: PLR2004 - STIX's scale


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if time is None:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(letter if letter.isprintable() else "_" for letter in text)[:_LONGEST]


class IndicatorIndex:
    """All of some feeds, looked up by address: one look for each length of prefix that there is."""

    def __init__(self, indicators: Iterable[Indicator] = ()) -> None:
        by_length: dict[tuple[int, int], dict[int, list[Indicator]]] = {}
        self._count = 0
        for indicator in indicators:
            network = indicator.network
            bits = network.max_prefixlen - network.prefixlen
            numbers = by_length.setdefault((network.version, bits), {})
            numbers.setdefault(int(network.network_address) >> bits, []).append(indicator)
            self._count += 1
        self._lookups = [(*family, by_length[family]) for family in sorted(by_length)]

    def __len__(self) -> int:
        return self._count

    def at(self, address: IPAddress, when: datetime) -> Indicator | None:
        """The one that says most of an address: the longest prefix, and of these the most confident one."""
        for version, bits, numbers in self._lookups:
            if version != address.version:
                continue
            holding = [indicator for indicator in numbers.get(int(address) >> bits, ()) if indicator.holds(when)]
            if holding:
                return max(holding, key=lambda indicator: indicator.confidence or 0)
        return None
