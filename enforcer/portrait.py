"""What our table looks like in the kernel's dumps, so that a foreign change is seen, and where. Pure.

Digests only: of objects as a fresh dump after our own change has them, of elements as we sent them. Counters and what
else moves by itself is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from enforcer.messages import attributes

_GENERIC = 4  # family and version of a message, before its attributes
_NAME = {"chain": 3, "set": 2, "counter": 2, "flowtable": 2}
_STABLE = {
    "chain": (4, 5, 7, 10),  # hook, policy, type, flags
    "set": (3, 4, 5, 6, 7, 9, 11, 12),  # flags, types, lengths, description, timeouts
    "counter": (3,),
    "flowtable": (3,),
}
_MAP_FLAG = 8
_COUNTER = b"\x0c\x00\x01\x00counter\x00"
_WORD = 4


@dataclass(frozen=True, slots=True)
class Portrait:
    """`objects`: by keyword and name. `rules`: by chain. `elements`: count and sum of digests, by set."""

    objects: Mapping[tuple[str, str], int] = field(hash=False)
    rules: Mapping[str, int] = field(hash=False)
    elements: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)


@dataclass(slots=True)
class Tally:
    """The elements of sets, as count and sum of their records' digests, kept up to date change by change."""

    sums: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, name: str, records: Iterable[bytes]) -> None:
        count, total = self.sums.get(name, (0, 0))
        for each in records:
            count, total = count + 1, total + hash(each)
        self.sums[name] = count, total

    def remove(self, name: str, records: Iterable[bytes]) -> None:
        count, total = self.sums.get(name, (0, 0))
        for each in records:
            count, total = count - 1, total - hash(each)
        self.sums[name] = count, total


def objects(table: str, flags: int, dumps: Mapping[str, Iterable[bytes]]) -> dict[tuple[str, str], int]:
    """From the bodies of messages by kind: the table's flags, and all objects but rules and elements."""
    found: dict[tuple[str, str], int] = {("table", table): hash(flags)}
    own = table.encode() + b"\0"
    for kind, bodies in dumps.items():
        for held in map(attributes, bodies):
            if held.get(1) == own:
                name = _keyword(kind, held), _text(held[_NAME[kind]])
                found[name] = hash(tuple(held.get(at) for at in _STABLE[kind]))
    return found


def rules_digests(bodies: Iterable[bytes], table: str) -> dict[str, int]:
    """The rules in the bodies of a dump, in order, by chain."""
    found: dict[str, int] = {}
    for chain, rule in rules(bodies, table):
        found[chain] = hash((found.get(chain), _still(rule)))
    return found


def _keyword(kind: str, held: Mapping[int, bytes]) -> str:
    if kind != "set":
        return kind
    return "map" if int.from_bytes(held.get(3, b""), "big") & _MAP_FLAG else "set"


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")


def rules(bodies: Iterable[bytes], table: str) -> Iterator[tuple[str, bytes]]:
    """The chain and the rest of each rule in the bodies of a dump, in order."""
    own = table.encode() + b"\0"
    first = _GENERIC + _WORD
    start = first + len(own) + -len(own) % _WORD
    for body in bodies:
        if body[first : first + len(own)] == own:
            length = int.from_bytes(body[start : start + 2], "little")
            yield _text(body[start + _WORD : start + length]), body[start + length + -length % _WORD :]


def counted(rule: bytes) -> Iterator[tuple[int, int]]:
    """Packets and bytes of a rule's counters."""
    at = rule.find(_COUNTER)
    while at >= 0:
        values = at + len(_COUNTER)
        length = int.from_bytes(rule[values : values + 2], "little")
        held = attributes(rule[values : values + length])
        yield int.from_bytes(held.get(2, b""), "big"), int.from_bytes(held.get(1, b""), "big")
        at = rule.find(_COUNTER, values + length)


def _still(rule: bytes) -> bytes:
    """Without the values of counters."""
    at = rule.find(_COUNTER)
    while at >= 0:
        values = at + len(_COUNTER)
        length = int.from_bytes(rule[values : values + 2], "little")
        rule = rule[:values] + bytes(length) + rule[values + length :]
        at = rule.find(_COUNTER, values + length)
    return rule


def tally(bodies: Iterable[bytes]) -> tuple[int, int]:
    """Count and sum of the elements in messages of a dump of one set."""
    count = total = 0
    for each in records(bodies):
        count, total = count + 1, total + hash(each)
    return count, total


def records(bodies: Iterable[bytes]) -> Iterator[bytes]:
    """The elements of a dump, one by one."""
    for body in bodies:
        held = attributes(body).get(3, b"")
        at, end = 0, len(held)
        while at + _WORD <= end:
            length = int.from_bytes(held[at : at + 2], "little")
            if not _WORD <= length <= end - at:
                break
            size = (length + 3) & ~3
            yield held[at : at + size]
            at += size


ELEMENTS, RULES = "elements", "rules"
Key = tuple[str, str]


def differences(expected: Portrait, found: Portrait | None) -> list[Key]:
    """What somebody else changed: objects by keyword and name; rules and elements of those that are as they were."""
    if found is None:
        return [("table", "")]
    changed = _unequal(expected.objects, found.objects)
    there = {name for keyword, name in expected.objects.keys() & found.objects.keys() if keyword == "chain"}
    changed |= {(RULES, name) for name in _unequal(expected.rules, found.rules) & there}
    both = found.elements.keys() & expected.elements.keys()
    changed |= {(ELEMENTS, name) for name in both if expected.elements[name] != found.elements[name]}
    return sorted(changed)


def told(key: Key) -> str:
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


def _unequal(one: Mapping[_Key, int], other: Mapping[_Key, int]) -> set[_Key]:
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
