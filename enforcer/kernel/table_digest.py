"""What our table looks like in the kernel's dumps, so that a foreign change is seen, and where. Pure.

Digests only: of objects as a fresh dump after our own change has them, of elements as we sent them. Counters and what
else moves by itself is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from enforcer.netlink.constants import (
    NFT_OBJECT_COUNTER,
    NFT_SET_MAP,
    NFTA_CHAIN_FLAGS,
    NFTA_CHAIN_HOOK,
    NFTA_CHAIN_NAME,
    NFTA_CHAIN_POLICY,
    NFTA_CHAIN_TABLE,
    NFTA_CHAIN_TYPE,
    NFTA_COUNTER_BYTES,
    NFTA_COUNTER_PACKETS,
    NFTA_EXPR_NAME,
    NFTA_FLOWTABLE_HOOK,
    NFTA_FLOWTABLE_NAME,
    NFTA_FLOWTABLE_TABLE,
    NFTA_OBJ_DATA,
    NFTA_OBJ_NAME,
    NFTA_OBJ_TABLE,
    NFTA_OBJ_TYPE,
    NFTA_RULE_HANDLE,
    NFTA_RULE_USERDATA,
    NFTA_SET_DATA_LEN,
    NFTA_SET_DATA_TYPE,
    NFTA_SET_DESC,
    NFTA_SET_ELEM_LIST_ELEMENTS,
    NFTA_SET_FLAGS,
    NFTA_SET_GC_INTERVAL,
    NFTA_SET_KEY_LEN,
    NFTA_SET_KEY_TYPE,
    NFTA_SET_NAME,
    NFTA_SET_TABLE,
    NFTA_SET_TIMEOUT,
)
from enforcer.netlink.messages import attribute, attributes

_GENERIC = 4  # family and version of a message, before its attributes
_TABLE = {
    "chain": NFTA_CHAIN_TABLE,
    "set": NFTA_SET_TABLE,
    "counter": NFTA_OBJ_TABLE,
    "flowtable": NFTA_FLOWTABLE_TABLE,
}
_NAME = {"chain": NFTA_CHAIN_NAME, "set": NFTA_SET_NAME, "counter": NFTA_OBJ_NAME, "flowtable": NFTA_FLOWTABLE_NAME}
_STABLE = {
    "chain": (NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE, NFTA_CHAIN_FLAGS),
    "set": (
        *(NFTA_SET_FLAGS, NFTA_SET_KEY_TYPE, NFTA_SET_KEY_LEN, NFTA_SET_DATA_TYPE, NFTA_SET_DATA_LEN),
        *(NFTA_SET_DESC, NFTA_SET_TIMEOUT, NFTA_SET_GC_INTERVAL),
    ),
    "counter": (NFTA_OBJ_TYPE,),
    "flowtable": (NFTA_FLOWTABLE_HOOK,),
}
_COUNTER = attribute(NFTA_EXPR_NAME, b"counter\0")
_IS_COUNTER = NFT_OBJECT_COUNTER.to_bytes(4, "big")
_WORD = 4
_NOTE = 2  # bytes before a comment in what nft keeps beside a rule

ELEMENTS, RULES = "elements", "rules"
SETS = frozenset({"set", "map"})
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class TableDigest:
    """`objects`: by keyword and name. `rules`: by chain. `elements`: count and sum of digests, by set."""

    objects: Mapping[tuple[str, str], int] = field(hash=False)
    rules: Mapping[str, int] = field(hash=False)
    elements: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)


@dataclass(slots=True)
class Tally:
    """The elements of sets, as count and sum of their records' digests, kept up to date change by change."""

    sums: dict[str, tuple[int, int]] = field(default_factory=dict)

    def counted(self, sets: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[tuple[str, list[bytes]]]:
        """The same records by set, added as they pass."""
        for name, records in sets:
            counted_records = list(records)
            self.add(name, counted_records)
            yield name, counted_records

    def add(self, name: str, records: Iterable[bytes]) -> None:
        count, total = self.sums.get(name, (0, 0))
        digests = list(map(hash, records))
        self.sums[name] = count + len(digests), total + sum(digests)

    def remove(self, name: str, records: Iterable[bytes]) -> None:
        count, total = self.sums.get(name, (0, 0))
        digests = list(map(hash, records))
        self.sums[name] = count - len(digests), total - sum(digests)


def objects(table: str, flags: int | None, dumps: Mapping[str, Iterable[bytes]]) -> dict[Key, int]:
    """From the bodies of messages by kind: the table's flags, if given, and all objects but rules and elements."""
    digests: dict[Key, int] = {} if flags is None else {("table", table): hash(flags)}
    own = table.encode() + b"\0"
    for kind, bodies in dumps.items():
        for fields in map(attributes, bodies):
            if fields.get(_TABLE[kind]) == own:
                name = _keyword(kind, fields), _text(fields[_NAME[kind]])
                digests[name] = hash(tuple(fields.get(at) for at in _STABLE[kind]))
    return digests


def rules_digests(bodies: Iterable[bytes], table: str) -> dict[str, int]:
    """The rules in the bodies of a dump, in order, by chain."""
    digests: dict[str, int] = {}
    for chain, rule in rules(bodies, table):
        digests[chain] = hash((digests.get(chain), _still(rule)))
    return digests


def _keyword(kind: str, fields: Mapping[int, bytes]) -> str:
    if kind != "set":
        return kind
    return "map" if int.from_bytes(fields.get(NFTA_SET_FLAGS, b""), "big") & NFT_SET_MAP else "set"


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")


def rules(bodies: Iterable[bytes], table: str) -> Iterator[tuple[str, bytes]]:
    """The chain and the rest of each rule in the bodies of a dump, in order."""
    own = table.encode() + b"\0"
    first = _GENERIC + _WORD
    start = first + len(own) + -len(own) % _WORD
    for body in bodies:
        if body[first : first + len(own)] == own:
            length = int.from_bytes(body[start : start + 2], sys.byteorder)
            yield _text(body[start + _WORD : start + length]), body[start + length + -length % _WORD :]


def handles(bodies: Iterable[bytes], table: str) -> Iterator[tuple[int, bytes]]:
    """What the kernel calls each rule of a dump, in order, and the comment that it has."""
    for _, rule in rules(bodies, table):
        fields = attributes(rule, 0)
        comment = fields.get(NFTA_RULE_USERDATA, b"")[_NOTE:].rstrip(b"\0")
        yield int.from_bytes(fields.get(NFTA_RULE_HANDLE, b""), "big"), comment


def counted(rule: bytes) -> Iterator[tuple[int, int]]:
    """Packets and bytes of a rule's counters."""
    at = rule.find(_COUNTER)
    while at >= 0:
        values = at + len(_COUNTER)
        length = int.from_bytes(rule[values : values + 2], sys.byteorder)
        yield _packets_and_bytes(attributes(rule[values : values + length]))
        at = rule.find(_COUNTER, values + length)


def named_counters(bodies: Iterable[bytes]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Packets and bytes of the counters in a dump of objects, by name."""
    for fields in map(attributes, bodies):
        if fields.get(NFTA_OBJ_TYPE) == _IS_COUNTER:
            counters = attributes(fields.get(NFTA_OBJ_DATA, b""), 0)
            yield _text(fields.get(NFTA_OBJ_NAME, b"")), _packets_and_bytes(counters)


def _packets_and_bytes(fields: Mapping[int, bytes]) -> tuple[int, int]:
    packets, octets = fields.get(NFTA_COUNTER_PACKETS, b""), fields.get(NFTA_COUNTER_BYTES, b"")
    return int.from_bytes(packets, "big"), int.from_bytes(octets, "big")


def _still(rule: bytes) -> bytes:
    """Without the values of counters."""
    at = rule.find(_COUNTER)
    while at >= 0:
        values = at + len(_COUNTER)
        length = int.from_bytes(rule[values : values + 2], sys.byteorder)
        rule = rule[:values] + bytes(length) + rule[values + length :]
        at = rule.find(_COUNTER, values + length)
    return rule


def tally(bodies: Iterable[bytes]) -> tuple[int, int]:
    """Count and sum of the elements in messages of a dump of one set."""
    digests = list(map(hash, records(bodies)))
    return len(digests), sum(digests)


def records(bodies: Iterable[bytes]) -> Iterator[bytes]:
    """The elements of a dump, one by one."""
    for body in bodies:
        data = attributes(body).get(NFTA_SET_ELEM_LIST_ELEMENTS, b"")
        at, end = 0, len(data)
        while at + _WORD <= end:
            length = int.from_bytes(data[at : at + 2], sys.byteorder)
            if not _WORD <= length <= end - at:
                break
            size = (length + 3) & ~3
            yield data[at : at + size]
            at += size


def differences(expected: TableDigest, current: TableDigest | None) -> list[Key]:
    """What somebody else changed: objects by keyword and name; rules and elements of those that are as they were."""
    if current is None:
        return [("table", "")]
    changed = unequal(expected.objects, current.objects)
    chains = {name for keyword, name in expected.objects.keys() & current.objects.keys() if keyword == "chain"}
    changed |= {(RULES, name) for name in unequal(expected.rules, current.rules) & chains}
    both = current.elements.keys() & expected.elements.keys()
    changed |= {(ELEMENTS, name) for name in both if expected.elements[name] != current.elements[name]}
    return sorted(changed)


def describe(key: Key) -> str:
    """In nft's words."""
    match key:
        case ("table", ""):
            return "the table was deleted"
        case (word, name) if word == ELEMENTS:
            return f"the elements of {name}"
        case (word, name) if word == RULES:
            return f"chain {name}"
        case (word, name):
            return f"{word} {name}"


_Key = TypeVar("_Key")


def unequal(one: Mapping[_Key, int], other: Mapping[_Key, int]) -> set[_Key]:
    """What is in only one of them, or another in either."""
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
