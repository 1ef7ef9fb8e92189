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
from enforcer.netlink.constants import (
    NFT_DATA_VERDICT,
    NFT_MSG_DELCHAIN,
    NFT_MSG_DELRULE,
    NFT_MSG_DELSET,
    NFT_MSG_DELSETELEM,
    NFT_MSG_DELTABLE,
    NFT_MSG_NEWCHAIN,
    NFT_MSG_NEWOBJ,
    NFT_MSG_NEWRULE,
    NFT_MSG_NEWSET,
    NFT_MSG_NEWSETELEM,
    NFT_MSG_NEWTABLE,
    NFT_OBJECT_COUNTER,
    NFT_SET_CONCAT,
    NFT_SET_EVAL,
    NFT_SET_INTERVAL,
    NFT_SET_MAP,
    NFT_SET_TIMEOUT,
    NFTA_CHAIN_HOOK,
    NFTA_CHAIN_NAME,
    NFTA_CHAIN_POLICY,
    NFTA_CHAIN_TYPE,
    NFTA_HOOK_HOOKNUM,
    NFTA_HOOK_PRIORITY,
    NFTA_LIST_ELEM,
    NFTA_OBJ_DATA,
    NFTA_OBJ_NAME,
    NFTA_OBJ_TYPE,
    NFTA_RULE_CHAIN,
    NFTA_RULE_HANDLE,
    NFTA_SET_DATA_LEN,
    NFTA_SET_DATA_TYPE,
    NFTA_SET_DESC,
    NFTA_SET_DESC_CONCAT,
    NFTA_SET_DESC_SIZE,
    NFTA_SET_ELEM_LIST_ELEMENTS,
    NFTA_SET_ELEM_LIST_SET,
    NFTA_SET_FIELD_LEN,
    NFTA_SET_FLAGS,
    NFTA_SET_ID,
    NFTA_SET_KEY_LEN,
    NFTA_SET_KEY_TYPE,
    NFTA_SET_NAME,
    NFTA_SET_TIMEOUT,
    NFTA_SET_USERDATA,
    NFTA_TABLE_FLAGS,
    NFTA_TABLE_NAME,
)
from enforcer.netlink.datatypes import Layout, padded
from enforcer.netlink.messages import (
    APPEND,
    CREATE,
    INET,
    NFTABLES,
    REPLACE,
    REQUEST,
    attribute,
    header,
    nested,
    netfilter,
    number,
    text,
)
from enforcer.rules.table import Chain, NamedSet, Table

_BEGIN, _END = 16, 17
_HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3}
_ACCEPT = 1
DORMANT = 1
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
        self._table = text(NFTA_TABLE_NAME, self.table)  # which is 1 for chains, rules, sets and objects, too

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
        self._add(NFT_MSG_NEWTABLE, REQUEST | CREATE, ("adding the table", self.table))

    def put_to_sleep(self) -> None:
        """The table, made where there is none: packets don't come to it any more (nft's flag dormant)."""
        self._add(
            NFT_MSG_NEWTABLE,
            REQUEST | CREATE,
            ("putting the table to sleep", self.table),
            number(NFTA_TABLE_FLAGS, DORMANT),
        )

    def delete_table(self) -> None:
        self._add(NFT_MSG_DELTABLE, REQUEST, ("deleting the table", self.table))

    def add_chain(self, name: str, chain: Chain) -> None:
        more = _hook(chain.hook) if chain.hook else ()
        self._add(NFT_MSG_NEWCHAIN, REQUEST | CREATE, ("adding the chain", name), text(NFTA_CHAIN_NAME, name), *more)

    def delete_chain(self, name: str) -> None:
        self._add(NFT_MSG_DELCHAIN, REQUEST, ("deleting the chain", name), text(NFTA_CHAIN_NAME, name))

    def flush_chain(self, name: str) -> None:
        self._add(NFT_MSG_DELRULE, REQUEST, ("emptying the chain", name), text(NFTA_RULE_CHAIN, name))

    def add_rules(self, name: str, chain: Chain) -> None:
        within, doing = text(NFTA_RULE_CHAIN, name), ("adding rules to the chain", name)
        for rule in (*map(content, chain.rules), *(b"".join(raw.content()) for raw in chain.raw)):
            self._add(NFT_MSG_NEWRULE, REQUEST | CREATE | APPEND, doing, within, rule)

    def replace_rule(self, name: str, handle: int, rule: str) -> None:
        """`handle`: what the kernel calls the rule that is there, of the chain of this name."""
        which = text(NFTA_RULE_CHAIN, name), attribute(NFTA_RULE_HANDLE, handle.to_bytes(8, "big"))
        self._add(NFT_MSG_NEWRULE, REQUEST | REPLACE, ("replacing a rule of the chain", name), *which, content(rule))

    def delete_rule(self, name: str, handle: int) -> None:
        which = text(NFTA_RULE_CHAIN, name), attribute(NFTA_RULE_HANDLE, handle.to_bytes(8, "big"))
        self._add(NFT_MSG_DELRULE, REQUEST, ("deleting a rule of the chain", name), *which)

    def add_counter(self, name: str) -> None:
        kind, data = number(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER), nested(NFTA_OBJ_DATA, ())
        doing = "adding the counter", name
        self._add(NFT_MSG_NEWOBJ, REQUEST | CREATE, doing, text(NFTA_OBJ_NAME, name), kind, data)

    # Sets and elements

    def add_set(self, name: str, declared: NamedSet) -> None:
        """Its elements are added apart."""
        names = text(NFTA_SET_NAME, name), number(NFTA_SET_ID, 1)
        self._add(NFT_MSG_NEWSET, REQUEST | CREATE, ("adding the set", name), *names, *_declaration(declared))

    def delete_set(self, name: str) -> None:
        self._add(NFT_MSG_DELSET, REQUEST, ("deleting the set", name), text(NFTA_SET_NAME, name))

    def flush_set(self, name: str) -> None:
        self._add(NFT_MSG_DELSETELEM, REQUEST, ("emptying the set", name), text(NFTA_SET_ELEM_LIST_SET, name))

    def add_elements(self, name: str, records: Iterable[bytes]) -> None:
        self._elements(NFT_MSG_NEWSETELEM, REQUEST | CREATE, ("adding elements to", name), name, records)

    def delete_elements(self, name: str, records: Iterable[bytes]) -> None:
        self._elements(NFT_MSG_DELSETELEM, REQUEST, ("deleting elements from", name), name, records)

    def _elements(self, kind: int, flags: int, doing: _Doing, name: str, records: Iterable[bytes]) -> None:
        chosen = text(NFTA_SET_ELEM_LIST_SET, name)
        for some in _packed(records):
            self._add(kind, flags, doing, chosen, attribute(NFTA_SET_ELEM_LIST_ELEMENTS, some))

    def _add(self, kind: int, flags: int, doing: _Doing, *attributes: bytes) -> None:
        self._sequence += 1
        self._names.append(doing)
        body = b"".join((self._table, *attributes))
        self._data += header(NFTABLES << 8 | kind, flags, self._sequence, self.family, len(body))
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
    place = [number(NFTA_HOOK_HOOKNUM, _HOOKS[name]), number(NFTA_HOOK_PRIORITY, int(priority) & 0xFFFFFFFF)]
    return nested(NFTA_CHAIN_HOOK, place), number(NFTA_CHAIN_POLICY, _ACCEPT), text(NFTA_CHAIN_TYPE, kind)


def _declaration(declared: NamedSet) -> tuple[bytes, ...]:
    kind = elements.element_type(declared.type)
    flags, described = 0, b""
    if declared.interval:
        flags |= NFT_SET_INTERVAL
        if len(kind.key.fields) > 1:
            flags |= NFT_SET_CONCAT
            lengths = [len(padded(bytes(field_type.length))) for field_type in kind.key.fields]
            fields = [nested(NFTA_LIST_ELEM, [number(NFTA_SET_FIELD_LEN, length)]) for length in lengths]
            described = nested(NFTA_SET_DESC_CONCAT, fields)
    described += number(NFTA_SET_DESC_SIZE, declared.size) if declared.size else b""
    parts = [number(NFTA_SET_KEY_TYPE, kind.key.number), number(NFTA_SET_KEY_LEN, kind.key.length)]
    if declared.keyword == "map":
        flags |= NFT_SET_MAP
        value = kind.value
        parts.append(number(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT if value is None else value.number))
        parts.append(number(NFTA_SET_DATA_LEN, value.length if value else 0))
    parts += [nested(NFTA_SET_DESC, [described])] if described else []
    if declared.forgets:
        flags |= NFT_SET_EVAL | NFT_SET_TIMEOUT
        parts.append(attribute(NFTA_SET_TIMEOUT, (declared.forgets * 1000).to_bytes(8, "big")))
    return (number(NFTA_SET_FLAGS, flags), *parts, attribute(NFTA_SET_USERDATA, _userdata(declared, kind)))


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
