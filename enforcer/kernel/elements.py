"""The elements of sets and maps as bytes, as the kernel takes them and tells them. Pure.

A record is one element as it stands in a netlink message; `enforcer.kernel.transaction` packs records into messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import byteorder

from enforcer.netlink import expressions
from enforcer.netlink.constants import (
    NFT_SET_ELEM_CATCHALL,
    NFT_SET_ELEM_INTERVAL_END,
    NFTA_DATA_VALUE,
    NFTA_LIST_ELEM,
    NFTA_SET_ELEM_DATA,
    NFTA_SET_ELEM_FLAGS,
    NFTA_SET_ELEM_KEY,
    NFTA_SET_ELEM_KEY_END,
    NFTA_SET_ELEM_USERDATA,
)
from enforcer.netlink.datatypes import VERDICT, Layout, layout
from enforcer.netlink.messages import ATTRIBUTE, attribute, attributes, number

_INTERVAL_END = number(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END)
_CATCH_ALL = number(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_CATCHALL)
_OPEN_END = attribute(NFTA_SET_ELEM_USERDATA, bytes([1, 4]) + (1).to_bytes(4, byteorder))
_TAIL = re.compile(r'(?: comment "(?P<comment>[^"]*)")?(?: : (?P<value>.*))?')
_CODES = {"accept": expressions.ACCEPT, "drop": expressions.DROP, "return": expressions.RETURN}
_WAYS = {"goto": expressions.GOTO, "jump": expressions.JUMP}


@dataclass(frozen=True, slots=True)
class ElementType:
    """What a set's type says of its elements: `ipv4_addr`, or of a map `ipv4_addr : mark . ifname`."""

    key: Layout
    value: Layout | None
    verdicts: bool

    def tail(self, text: str) -> bytes:
        """What follows the key: ` comment "..." : value`, either or both of them missing."""
        match = _TAIL.fullmatch(text)
        if match is None:
            raise ValueError(f"'{text}' is not what may follow an element's key")
        value, comment = match["value"], match["comment"]
        data = b"" if value is None else attribute(NFTA_SET_ELEM_DATA, self._data(value))
        return data + (b"" if comment is None else attribute(NFTA_SET_ELEM_USERDATA, remark(comment)))

    def _data(self, text: str) -> bytes:
        if self.verdicts:
            return _verdict(text)
        if self.value is None:
            raise ValueError(f"'{text}' can't be an element's value: it is no map")
        return attribute(NFTA_DATA_VALUE, self.value.encode(text))


@lru_cache(256)
def element_type(text: str) -> ElementType:
    key, _, value = text.partition(" : ")
    verdicts = value == VERDICT
    return ElementType(layout(key), layout(value) if value and not verdicts else None, verdicts)


@lru_cache(4096)
def _verdict(text: str) -> bytes:
    word, _, chain = text.partition(" ")
    return expressions.verdict(_CODES[word]) if word in _CODES else expressions.verdict(_WAYS[word], chain)


def remark(text: str) -> bytes:
    """A comment, as nft keeps it beside rules and elements."""
    content = text.encode()[:127] + b"\0"
    return bytes([0, len(content)]) + content


def key(value: bytes) -> bytes:
    return attribute(NFTA_SET_ELEM_KEY, attribute(NFTA_DATA_VALUE, value))


def key_of(record: bytes) -> bytes:
    """The key's value; nothing for the element that stands for all others."""
    element_key = attributes(record, start=4).get(NFTA_SET_ELEM_KEY, b"")
    return attributes(element_key, start=0).get(NFTA_DATA_VALUE, b"")


def record(*parts: bytes) -> bytes:
    return attribute(NFTA_LIST_ELEM, b"".join(parts))


def records(type_: str, elements: Mapping[str, str], *, interval: bool) -> Iterator[bytes]:
    """The records of a whole set, in the order in which the kernel takes them."""
    kind = element_type(type_)
    if not interval:
        yield from (_single(kind, text, kind.tail(tail)) for text, tail in elements.items())
    elif len(kind.key.fields) > 1:
        yield from (_box(kind, text, tail) for text, tail in elements.items())
    else:
        yield from _intervals(kind, elements)


def _single(kind: ElementType, text: str, tail: bytes) -> bytes:
    if text == "*":
        return record(tail, _CATCH_ALL)
    value = kind.key.encode(text)
    before, behind = _around(len(value), len(tail))
    return before + value + behind + tail


@lru_cache(1024)
def _around(length: int, more: int) -> tuple[bytes, bytes]:
    """What stands before and behind a key of this length in a record; `more` bytes follow the key."""
    behind = bytes(-length % 4)
    encoded = key(bytes(length))
    head = ATTRIBUTE.pack(ATTRIBUTE.size + len(encoded) + more, NFTA_LIST_ELEM)
    return head + encoded[: len(encoded) - length - len(behind)], behind


def _box(kind: ElementType, text: str, tail: str) -> bytes:
    first, last = kind.key.span(text)
    return record(key(first), attribute(NFTA_SET_ELEM_KEY_END, attribute(NFTA_DATA_VALUE, last)), kind.tail(tail))


def _intervals(kind: ElementType, elements: Mapping[str, str]) -> Iterator[bytes]:
    """Begins and ends; what lies below the first one is an end too."""
    last_of_all = b"\xff" * kind.key.length
    spans = sorted((*kind.key.span(text), tail) for text, tail in elements.items() if text != "*")
    if spans and any(spans[0][0]):
        yield record(key(bytes(kind.key.length)), _INTERVAL_END)
    for first, last, tail in spans:
        if last == last_of_all:
            yield record(key(first), kind.tail(tail), b"" if tail else _OPEN_END)
        else:
            yield record(key(first), kind.tail(tail))
            after = int.from_bytes(last, "big") + 1
            yield record(key(after.to_bytes(kind.key.length, "big")), _INTERVAL_END)
    if "*" in elements:
        yield record(kind.tail(elements["*"]), _CATCH_ALL)


def bounds(type_: str, keys: Iterable[str]) -> Iterator[bytes]:
    """What begins and ends ranges that come to others or go from them; for a set that isn't a map."""
    kind = element_type(type_)
    last_of_all = b"\xff" * kind.key.length
    for first, last in map(kind.key.span, keys):
        yield record(key(first), _OPEN_END if last == last_of_all else b"")
        if last != last_of_all:
            after = int.from_bytes(last, "big") + 1
            yield record(key(after.to_bytes(kind.key.length, "big")), _INTERVAL_END)


def keyed(keys: Iterable[bytes], key_length: int, tail: bytes) -> list[bytes]:
    """Many records of one tail."""
    before, behind = _around(key_length, len(tail))
    end = behind + tail
    return [before + key_ + end for key_ in keys]
