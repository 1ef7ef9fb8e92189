"""One nftables transaction as bytes: commands in order, each with the words that name it where it is refused. Pure.

The kernel takes all of it or nothing. `enforcer.netlink.sockets` sends it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from sys import byteorder

from enforcer.kernel import elements
from enforcer.netlink.assemble import content
from enforcer.netlink.datatypes import Layout, padded
from enforcer.netlink.messages import (
    APPEND,
    CREATE,
    INET,
    NFTABLES,
    REQUEST,
    attribute,
    header,
    nested,
    netfilter,
    number,
    text,
)
from enforcer.rules.table import Chain, NamedSet, Table

(
    _NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _DELETE_CHAIN, _NEW_RULE, _DELETE_RULE,
    _NEW_SET, _DELETE_SET, _NEW_ELEMENTS, _DELETE_ELEMENTS, _NEW_OBJECT,
) = (NFTABLES << 8 | kind for kind in (0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 18))  # fmt: skip
_BEGIN, _END = 16, 17
_HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3}
_MAP, _INTERVAL, _CONCATENATION, _DYNAMIC, _TIMEOUT = 8, 4, 0x80, 0x20, 0x10
_ACCEPT = 1
_FLAGS = 2  # NFTA_TABLE_FLAGS
DORMANT = 1
_COUNTER_OBJECT = 1
_VERDICTS = 0xFFFFFF00
_ROOM = 60_000  # bytes of elements in one message: an attribute holds no more than 65,535
_HOST_ORDER, _NETWORK_ORDER = 1, 2
_CONCATENATED = bytes([0, 4]) + (13).to_bytes(4, byteorder) + bytes([1, 0])

_START = netfilter(_BEGIN, REQUEST, 0, 0, NFTABLES)
_Doing = tuple[str, ...]


@dataclass(slots=True)
class Transaction:
    """Commands for one table, gathered. A later one may name what an earlier one makes.

    They are kept as bytes in one piece: hundreds of thousands of small objects would leave the memory in pieces.
    """

    table: str
    family: int = INET
    _data: bytearray = field(default_factory=lambda: bytearray(_START))
    _names: list[_Doing] = field(default_factory=list)
    _sequence: int = 0
    _table: bytes = b""

    def __post_init__(self) -> None:
        self._table = text(1, self.table)

    @classmethod
    def resumed(cls, table: str, commands: bytes, many: int) -> Transaction:
        """With so many commands from an earlier one's `commands`."""
        resumed = cls(table)
        resumed._data += commands
        resumed._names = [("loading what was saved",)] * many
        resumed._sequence = many
        return resumed

    def __bool__(self) -> bool:
        return self._sequence > 0

    def __len__(self) -> int:
        return self._sequence

    def commands(self) -> bytes:
        """Without what stands around them."""
        return bytes(self._data[len(_START) :])

    def data(self) -> bytes:
        return b"".join((self._data, netfilter(_END, REQUEST, self._sequence + 1, 0, NFTABLES)))

    def unended(self) -> bytes:
        """The kernel looks at it whole, and takes nothing."""
        return bytes(self._data)

    def named(self, sequence: int) -> str:
        """What the command with this number was to do."""
        return " ".join(self._names[sequence - 1]) if 0 < sequence <= len(self._names) else "changing our rules"

    # Tables, chains, rules

    def add_table(self) -> None:
        self._add(_NEW_TABLE, REQUEST | CREATE, ("adding the table", self.table))

    def put_to_sleep(self) -> None:
        """The table, made where there is none: packets don't come to it any more (nft's flag dormant)."""
        self._add(_NEW_TABLE, REQUEST | CREATE, ("putting the table to sleep", self.table), number(_FLAGS, DORMANT))

    def delete_table(self) -> None:
        self._add(_DELETE_TABLE, REQUEST, ("deleting the table", self.table))

    def add_chain(self, name: str, chain: Chain) -> None:
        more = _hook(chain.hook) if chain.hook else ()
        self._add(_NEW_CHAIN, REQUEST | CREATE, ("adding the chain", name), text(3, name), *more)

    def delete_chain(self, name: str) -> None:
        self._add(_DELETE_CHAIN, REQUEST, ("deleting the chain", name), text(3, name))

    def flush_chain(self, name: str) -> None:
        self._add(_DELETE_RULE, REQUEST, ("emptying the chain", name), text(2, name))

    def add_rules(self, name: str, chain: Chain) -> None:
        within, doing = text(2, name), ("adding rules to the chain", name)
        for rule in (*map(content, chain.rules), *(b"".join(raw.content()) for raw in chain.raw)):
            self._add(_NEW_RULE, REQUEST | CREATE | APPEND, doing, within, rule)

    def add_counter(self, name: str) -> None:
        kind = number(3, _COUNTER_OBJECT)
        self._add(_NEW_OBJECT, REQUEST | CREATE, ("adding the counter", name), text(2, name), kind, nested(4, ()))

    # Sets and elements

    def add_set(self, name: str, declared: NamedSet) -> None:
        """Its elements are added apart."""
        declaration = _declaration(declared)
        self._add(_NEW_SET, REQUEST | CREATE, ("adding the set", name), text(2, name), number(10, 1), *declaration)

    def delete_set(self, name: str) -> None:
        self._add(_DELETE_SET, REQUEST, ("deleting the set", name), text(2, name))

    def flush_set(self, name: str) -> None:
        self._add(_DELETE_ELEMENTS, REQUEST, ("emptying the set", name), text(2, name))

    def add_elements(self, name: str, records: Iterable[bytes]) -> None:
        self._elements(_NEW_ELEMENTS, REQUEST | CREATE, ("adding elements to", name), name, records)

    def delete_elements(self, name: str, records: Iterable[bytes]) -> None:
        self._elements(_DELETE_ELEMENTS, REQUEST, ("deleting elements from", name), name, records)

    def _elements(self, kind: int, flags: int, doing: _Doing, name: str, records: Iterable[bytes]) -> None:
        chosen = text(2, name)
        for some in _packed(records):
            self._add(kind, flags, doing, chosen, attribute(3, some))

    def _add(self, kind: int, flags: int, doing: _Doing, *attributes: bytes) -> None:
        self._sequence += 1
        self._names.append(doing)
        body = b"".join((self._table, *attributes))
        self._data += header(kind, flags, self._sequence, self.family, len(body))
        self._data += body


def _packed(records: Iterable[bytes]) -> Iterator[bytes]:
    """As many in one piece as there is room for."""
    encoded = list(records)
    ends = list(accumulate(map(len, encoded)))
    at = 0
    while at < len(encoded):
        end = bisect_right(ends, (ends[at - 1] if at else 0) + _ROOM)
        yield b"".join(encoded[at:end])
        at = end


def _hook(words: str) -> tuple[bytes, ...]:
    """Of `type filter hook forward priority -5; policy accept;`."""
    _, kind, _, name, _, priority, *_ = words.replace(";", "").split()
    place = nested(4, [number(1, _HOOKS[name]), number(2, int(priority) & 0xFFFFFFFF)])
    return place, number(5, _ACCEPT), text(7, kind)


def _declaration(declared: NamedSet) -> tuple[bytes, ...]:
    kind = elements.element_type(declared.type)
    flags, described = 0, b""
    if declared.interval:
        flags |= _INTERVAL
        if len(kind.key.fields) > 1:
            flags |= _CONCATENATION
            lengths = [nested(1, [number(1, len(padded(bytes(field_type.length))))]) for field_type in kind.key.fields]
            described = nested(2, lengths)
    described += number(1, declared.size) if declared.size else b""
    parts = [number(4, kind.key.number), number(5, kind.key.length)]
    if declared.keyword == "map":
        flags |= _MAP
        value = kind.value
        parts += [number(6, _VERDICTS if value is None else value.number), number(7, value.length if value else 0)]
    parts += [nested(9, [described])] if described else []
    if declared.forgets:
        flags |= _DYNAMIC | _TIMEOUT
        parts.append(attribute(11, (declared.forgets * 1000).to_bytes(8, "big")))
    return (number(3, flags), *parts, attribute(13, _userdata(declared, kind)))


def _userdata(declared: NamedSet, kind: elements.ElementType) -> bytes:
    """What nft wants to know again when it lists a set; to the kernel it means nothing."""
    parts = [_note(0, _order(kind.key))]
    if declared.keyword == "map":
        parts.append(_note(1, _order(kind.value)))
    parts += [_note(note, _CONCATENATED) for note, layout in ((3, kind.key), (4, kind.value)) if _concatenated(layout)]
    if declared.keyword == "map":
        parts.append(_note(6, bytes(4)))
    if declared.comment:
        parts.append(_note(7, declared.comment.encode() + b"\0"))
    return b"".join(parts)


def _note(kind: int, value: bytes) -> bytes:
    return bytes([kind, len(value)]) + value


def _concatenated(kind: Layout | None) -> bool:
    return kind is not None and len(kind.fields) > 1


def _order(kind: Layout | None) -> bytes:
    order = 0 if kind is None or _concatenated(kind) else _HOST_ORDER if kind.host_order else _NETWORK_ORDER
    return order.to_bytes(4, byteorder)


def fill(into: Transaction, name: str, declared: NamedSet) -> None:
    """The elements that a set has by itself."""
    into.add_elements(name, elements.records(declared.type, declared.elements, interval=declared.interval))


def own(table: Table) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The elements that sets have by themselves, as records."""
    for name, declared in table.sets.items():
        yield name, elements.records(declared.type, declared.elements, interval=declared.interval)


def write_all(
    into: Transaction,
    table: Table,
    filling: Iterable[tuple[str, Iterable[bytes]]],
    members: Iterable[tuple[str, Iterable[bytes]]],
) -> None:
    """Everything from nothing: sets, chains, elements, rules, and records by set: `filling` (of `own`) and `members`.

    These come last: for every rule that looks into a map the kernel walks through all that the map holds by then.
    """
    into.add_table()
    for name in table.counters:
        into.add_counter(name)
    for name, declared in table.sets.items():
        into.add_set(name, declared)
    for name, chain in table.chains.items():
        into.add_chain(name, chain)
    for name, records in filling:
        into.add_elements(name, records)
    for name, chain in table.chains.items():
        into.add_rules(name, chain)
    for name, records in members:
        into.add_elements(name, records)
