"""Connections as a node counted them: who spoke to whom, by which rule, how often. Pure.

A node counts for a window and then says so in records (`docs/usage.md`): one `seen` for each row, and one `counting`
that says of which time they are and what may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from zones.canonical import origin_json, origin_of
from zones.net import ARP, ETHERTYPES, IPNetwork, protocol_name, protocol_number
from zones.policy import Verdict
from zones.rules import Origin

Json = dict[str, Any]
SEEN, COUNTING = "seen", "counting"
MOST_COUNT = 2**53
"""So many octets no cluster sends in a thousand years, and a thousand times as many a database can still add up."""
_MOST_TEXT, _MOST_PORT, _MOST_ICMP_TYPE, _MOST_PROTOCOL = 512, 65535, 255, 1 << 17
_YEARS = range(2000, 3000)  # in any time zone a time that can be reckoned with


class SeenRecordError(ValueError):
    """A record that isn't one of those that nodes write. The message is a clause."""


@dataclass(frozen=True, slots=True)
class SeenEnd:
    """One end of what was seen. A pod has a namespace and a workload; what is no pod has a network.

    `network`: the address alone (/32, /128), or the /24 or /64 that it is in, where there were too many of them. None
    for a pod and a node, and where even the networks were too many.
    """

    zone: str
    namespace: str = ""
    workload: str = ""
    network: IPNetwork | None = None

    def json(self) -> Json:
        network = None if self.network is None else str(self.network)
        fields = {"zone": self.zone, "namespace": self.namespace, "workload": self.workload, "network": network}
        return {name: value for name, value in fields.items() if value}


@dataclass(frozen=True, slots=True)
class SeenKey:
    """What is counted as one. `port`: the server's, None of protocols without ports and of what is counted together.

    `enforced`: False for a denial that only `observe` says, so that the connection passed.
    """

    source: SeenEnd
    destination: SeenEnd
    protocol: int
    port: int | None
    rule: Origin
    verdict: Verdict
    enforced: bool = True
    icmp_type: int | None = None

    def json(self) -> Json:
        fields = {"port": self.port, "icmpType": self.icmp_type}
        return {
            "source": self.source.json(),
            "destination": self.destination.json(),
            "protocol": protocol_name(self.protocol),
            **{name: value for name, value in fields.items() if value is not None},
            "verdict": self.verdict.value,
            "enforced": self.enforced,
            "rule": origin_json(self.rule),
        }


@dataclass(frozen=True, slots=True)
class SeenFlow:
    """How often one kind of connection was seen. Times are aware.

    `connections` counts those that began (of denials: attempts), each once. `octets`: of IP packets in both directions,
    of connections that ended. `living`: how many there were at the end of the window; not to be summed over windows.
    """

    key: SeenKey
    connections: int
    octets: int
    living: int
    first: datetime
    last: datetime

    def json(self) -> Json:
        """What a record says besides who wrote it and when."""
        return self.key.json() | {
            "connections": self.connections,
            "bytes": self.octets,
            "living": self.living,
            "first": _text(self.first),
            "last": _text(self.last),
        }


@dataclass(frozen=True, slots=True)
class Counting:
    """Which time a node's rows are of, and what may be missing in them.

    `since`: from when on it has been counting without a break. `missed`: connections whose end the kernel could not
    tell. `folded`: those that were counted by their networks or zones alone, as there were too many kinds.
    `unattributed`: those whose rule isn't known. `held_back`: denied packets that were not logged one by one, so that
    they are in no row.
    """

    since: datetime
    begin: datetime
    end: datetime
    missed: int = 0
    folded: int = 0
    unattributed: int = 0
    held_back: int = 0

    def json(self) -> Json:
        return {
            "since": _text(self.since),
            "begin": _text(self.begin),
            "end": _text(self.end),
            "missed": self.missed,
            "folded": self.folded,
            "unattributed": self.unattributed,
            "heldBack": self.held_back,
        }


def seen_of(record: Mapping[str, Any]) -> SeenFlow:
    """A `seen` record's content. Raises SeenRecordError."""
    try:
        key = SeenKey(
            _end(record, "source"),
            _end(record, "destination"),
            _protocol(record),
            _optional(record, "port", _MOST_PORT),
            _rule(record),
            Verdict(_short(record, "verdict")),
            _flag(record, "enforced"),
            _optional(record, "icmpType", _MOST_ICMP_TYPE),
        )
        connections, octets, living = (_count(record, name) for name in ("connections", "bytes", "living"))
        first, last = _time(record, "first"), _time(record, "last")
    except SeenRecordError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SeenRecordError(_why(error)) from error
    if last < first:
        raise SeenRecordError("last is before first")
    return SeenFlow(key, connections, octets, living, first, last)


def counting_of(record: Mapping[str, Any]) -> Counting:
    """A `counting` record's content. Raises SeenRecordError."""
    try:
        since, begin, end = (_time(record, name) for name in ("since", "begin", "end"))
        counts = [_count(record, name) for name in ("missed", "folded", "unattributed", "heldBack")]
        return Counting(since, begin, end, *counts)
    except SeenRecordError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise SeenRecordError(_why(error)) from error


def _why(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def _end(record: Mapping[str, Any], name: str) -> SeenEnd:
    end = record[name]
    network = end.get("network")
    return SeenEnd(
        _short(end, "zone"),
        _short(end, "namespace", ""),
        _short(end, "workload", ""),
        None if network is None else ip_network(_checked("network", network)),
    )


def _rule(record: Mapping[str, Any]) -> Origin:
    rule = record["rule"]
    for name in ("name", "rulebase"):
        _short(rule, name)
    for name in ("uuid", "deviceGroup"):
        _short(rule, name, "")
    return origin_of(rule)


def _short(record: Mapping[str, Any], name: str, default: str | None = None) -> str:
    return _checked(name, record[name] if default is None else record.get(name, default))


def _checked(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _MOST_TEXT or "\0" in value:
        raise SeenRecordError(f"{name} must be a text of at most {_MOST_TEXT} characters")
    if not is_text(value):
        raise SeenRecordError(f"{name} has half a character in it, which is no text")
    return value


def is_text(value: str) -> bool:
    """Whether it can be written down: JSON lets halves of surrogate pairs stand alone, and no database does."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _count(record: Mapping[str, Any], name: str, most: int = MOST_COUNT) -> int:
    value = record[name]
    if type(value) is not int or not 0 <= value <= most:
        raise SeenRecordError(f"{name} must be an integer from 0 to {most}")
    return value


def _optional(record: Mapping[str, Any], name: str, most: int) -> int | None:
    return None if record.get(name) is None else _count(record, name, most)


def _protocol(record: Mapping[str, Any]) -> int:
    name = _short(record, "protocol")
    if name == protocol_name(ARP):
        return ARP
    number = ETHERTYPES + int(name, 16) if name.startswith("0x") else protocol_number(name)
    if not 0 <= number < _MOST_PROTOCOL:
        raise SeenRecordError(f"'{name}' is no protocol")
    return number


def _flag(record: Mapping[str, Any], name: str) -> bool:
    value = record[name]
    if not isinstance(value, bool):
        raise SeenRecordError(f"{name} must be true or false")
    return value


def _time(record: Mapping[str, Any], name: str) -> datetime:
    at = datetime.fromisoformat(_short(record, name))
    if at.tzinfo is None:
        raise SeenRecordError(f"{name} must say its time zone")
    if at.year not in _YEARS:
        raise SeenRecordError(f"{name} must be a time from the year {_YEARS[0]} to {_YEARS[-1]}")
    return at


def _text(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
