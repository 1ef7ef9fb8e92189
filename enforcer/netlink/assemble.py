"""A rule's text, as `nft` would read it, to the kernel's expressions. Pure.

It knows what our rules say and no more; anything else raises ValueError. Tests hold it to nft's own reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import byteorder

from enforcer.netlink import expressions
from enforcer.netlink.datatypes import TYPES, Datatype, padded
from enforcer.netlink.messages import RawRule

_TOKENS = re.compile(r'"[^"]*"|\([^)]*\)|\S+')
_PARTS = re.compile(r"(?<!\.)(?<!set) (?=(?:ct|meta|limit|log|counter|goto|jump) )(?![^{]*\})")
_COMMENT, _LABEL = ' comment "', "ct label set "
_FAMILIES = {"ip": bytes([2]), "ip6": bytes([10])}
_DIRECTIONS = {"original": 0, "reply": 1}
_BITMASKS = frozenset({"ct_state", "ct_status"})
_NFPROTO, _L4PROTO = 15, 16
_MARK, _LABELS, _LABEL_BYTES = 3, 13, 16
_WORD = 4


@dataclass(frozen=True, slots=True)
class _Selector:
    """What loads a value into a register, and what must be known before it can: each a load and its value.

    `family`: the same, where the table sees packets of several families.
    """

    type: str
    load: Callable[[int], bytes]
    needs: tuple[bytes, ...] = ()
    family: tuple[bytes, ...] = ()


def _needs(key: int, value: bytes) -> tuple[bytes, ...]:
    return expressions.meta(key), expressions.compare(expressions.EQUAL, value)


def _meta(kind: str, key: int) -> _Selector:
    return _Selector(kind, lambda word: expressions.meta(key, word))


def _ct(kind: str, key: int, direction: int | None = None) -> _Selector:
    return _Selector(kind, lambda word: expressions.ct(key, word, direction=direction))


def _network(kind: str, family: str, offset: int) -> _Selector:
    length = TYPES[kind].length
    load = lambda word: expressions.network_header(offset, length, word)  # noqa: E731 - a field's value
    return _Selector(kind, load, family=_needs(_NFPROTO, _FAMILIES[family]))


def _link_layer(kind: str, offset: int) -> _Selector:
    length = TYPES[kind].length
    return _Selector(kind, lambda word: expressions.link_header(offset, length, word))


def _of_arp(kind: str, offset: int) -> _Selector:
    length = TYPES[kind].length
    return _Selector(kind, lambda word: expressions.network_header(offset, length, word))


def _of_discovery(kind: str, offset: int) -> _Selector:
    length = TYPES[kind].length
    return _Selector(kind, lambda word: expressions.transport_header(offset, length, word))


def _transport(kind: str, offset: int, protocol: int, family: str = "") -> _Selector:
    length = TYPES[kind].length
    above = _needs(_NFPROTO, _FAMILIES[family]) if family else ()
    load = lambda word: expressions.transport_header(offset, length, word)  # noqa: E731 - a field's value
    return _Selector(kind, load, _needs(_L4PROTO, bytes([protocol])), above)


_SELECTORS: dict[tuple[str, ...], _Selector] = {
    ("ct", "state"): _ct("ct_state", 0),
    ("ct", "direction"): _ct("ct_dir", 1),
    ("ct", "status"): _ct("ct_status", 2),
    ("ct", "mark"): _ct("mark", _MARK),
    ("meta", "nfproto"): _meta("nf_proto", _NFPROTO),
    ("meta", "l4proto"): _meta("inet_proto", _L4PROTO),
    ("iif",): _meta("iface_index", 4),
    ("oif",): _meta("iface_index", 5),
    ("iifname",): _meta("ifname", 6),
    ("oifname",): _meta("ifname", 7),
    ("ip", "saddr"): _network("ipv4_addr", "ip", 12),
    ("ip", "daddr"): _network("ipv4_addr", "ip", 16),
    ("ip6", "saddr"): _network("ipv6_addr", "ip6", 8),
    ("ip6", "daddr"): _network("ipv6_addr", "ip6", 24),
    ("ip6", "hoplimit"): _network("integer8", "ip6", 7),
    ("tcp", "flags"): _transport("tcp_flag", 13, 6),
    ("tcp", "sport"): _transport("inet_service", 0, 6),
    ("tcp", "dport"): _transport("inet_service", 2, 6),
    ("udp", "sport"): _transport("inet_service", 0, 17),
    ("udp", "dport"): _transport("inet_service", 2, 17),
    ("icmp", "type"): _transport("icmp_type", 0, 1, "ip"),
    ("icmpv6", "type"): _transport("icmpv6_type", 0, 58),
    ("ether", "type"): _link_layer("ether_type", 12),
    ("ether", "saddr"): _link_layer("ether_addr", 6),
    ("ether", "daddr"): _link_layer("ether_addr", 0),
    ("arp", "head"): _of_arp("arp_head", 0),
    # What no message of IPv4 over Ethernet reaches to, with the padding of the shortest frame: a load that fails.
    ("arp", "behind"): _of_arp("integer8", 46),
    ("arp", "saddr", "ether"): _of_arp("ether_addr", 8),
    ("arp", "saddr", "ip"): _of_arp("ipv4_addr", 14),
    ("ip6", "length"): _of_arp("inet_service", 4),
    ("nd", "target"): _of_discovery("ipv6_addr", 8),
    ("nd", "first", "ether"): _of_discovery("ether_addr", 26),
    ("nd", "second", "ether"): _of_discovery("ether_addr", 34),
} | {
    ("ct", side, *words): _ct(kind, key, number)
    for side, number in _DIRECTIONS.items()
    for words, kind, key in (
        (("protocol",), "inet_proto", 10),
        (("proto-src",), "inet_service", 11),
        (("proto-dst",), "inet_service", 12),
        (("packets",), "integer64", 14),
        (("ip", "saddr"), "ipv4_addr", 19),
        (("ip", "daddr"), "ipv4_addr", 20),
        (("ip6", "saddr"), "ipv6_addr", 21),
        (("ip6", "daddr"), "ipv6_addr", 22),
    )
}
_LONGEST = max(map(len, _SELECTORS))


def assemble(rule: str, *, bridge: bool = False) -> RawRule:
    """The rule's expressions, and its comment. Rules have most of their parts in common, which are read once.

    `bridge`: for a table of that family, where the rule, or the one that leads there, says itself of which kind frames
    are. `nd` is neighbour discovery's message: its target, and the address in its first or second option.
    """
    said, _, comment = rule.partition(_COMMENT)
    read = _part_of_bridge if bridge else _part
    return RawRule(tuple(map(read, _PARTS.split(said))), comment.removesuffix('"'))


@lru_cache(4096)
def content(rule: str) -> bytes:
    """What makes the rule in a transaction; many chains end alike."""
    return b"".join(assemble(rule).content())


def forget() -> None:
    """What was read, to save memory."""
    content.cache_clear()
    _part.cache_clear()


@lru_cache(256)
def _part_of_bridge(text: str) -> bytes:
    return b"".join(_statements(_Reader(text, _TOKENS.findall(text), bridge=True)))


@lru_cache(65_536)
def _part(text: str) -> bytes:
    if text.startswith(_LABEL):
        return _set_label(text.removeprefix(_LABEL))
    return b"".join(_statements(_Reader(text, _TOKENS.findall(text))))


@dataclass(slots=True)
class _Reader:
    """The tokens of one rule; `rule` is for complaints."""

    rule: str
    tokens: list[str]
    at: int = 0
    bridge: bool = False

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def take(self) -> str:
        if self.at >= len(self.tokens):
            raise ValueError(f"the rule '{self.rule}' ends too early")
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, *words: str) -> None:
        for word in words:
            if self.take() != word:
                raise ValueError(f"the rule '{self.rule}' should say '{word}' at word {self.at}")


def _statements(reader: _Reader) -> Iterator[bytes]:
    while word := reader.peek():
        if word in _STATEMENTS:
            reader.take()
            yield from _STATEMENTS[word](reader)
        elif (word, reader.peek(1), reader.peek(2)) == ("ct", "mark", "set"):
            yield from _set_mark(reader)
        else:
            yield from _match(reader)


def _goto(reader: _Reader) -> Iterator[bytes]:
    yield expressions.conclude(expressions.GOTO, reader.take())


def _jump(reader: _Reader) -> Iterator[bytes]:
    yield expressions.conclude(expressions.JUMP, reader.take())


def _ending(code: int) -> Callable[[_Reader], Iterator[bytes]]:
    return lambda _: iter((expressions.conclude(code),))


def _counter(reader: _Reader) -> Iterator[bytes]:
    if reader.peek() != "name":
        yield expressions.counter()
        return
    reader.expect("name")
    yield expressions.named_counter(reader.take().strip('"'))


def _limit(reader: _Reader) -> Iterator[bytes]:
    yield expressions.limit(*_rate(reader))


def _rate(reader: _Reader) -> tuple[int, int]:
    reader.expect("rate")
    rate, _, unit = reader.take().partition("/")
    reader.expect("burst")
    burst = int(reader.take())
    reader.expect("packets")
    if unit != "second":
        raise ValueError(f"the rule '{reader.rule}' should limit by the second")
    return int(rate), burst


def _update(reader: _Reader) -> Iterator[bytes]:
    """`update @SET { KEY limit rate R/second burst B packets }`: within the limit of this key, or of `KEY & MASK`."""
    name = reader.take().removeprefix("@")
    reader.expect("{")
    selectors = _selectors(reader)
    yield from _loaded(reader, selectors)
    if reader.peek() == "&":
        reader.take()
        kind = TYPES[selectors[0].type]
        yield expressions.bits(kind.encode(reader.take()), bytes(kind.length))
    reader.expect("limit")
    yield expressions.update(name, expressions.state_of_limit(*_rate(reader)))
    reader.expect("}")


def _log(reader: _Reader) -> Iterator[bytes]:
    reader.expect("group")
    group = int(reader.take())
    reader.expect("snaplen")
    snap = int(reader.take())
    reader.expect("prefix")
    yield expressions.log(group, snap, reader.take().strip('"'))


def _reject(reader: _Reader) -> Iterator[bytes]:
    reader.expect("with")
    if reader.take() == "tcp":
        reader.expect("reset")
        yield expressions.reject_with_reset()
    else:
        yield expressions.reject_by_icmp(reader.take())


def _route_back(reader: _Reader) -> Iterator[bytes]:
    reader.expect("saddr", ".", "iif", "oif", "missing")
    yield expressions.route_back()
    yield expressions.compare(expressions.EQUAL, bytes(4))


_STATEMENTS: Mapping[str, Callable[[_Reader], Iterator[bytes]]] = {
    "goto": _goto,
    "jump": _jump,
    "accept": _ending(expressions.ACCEPT),
    "drop": _ending(expressions.DROP),
    "return": _ending(expressions.RETURN),
    "counter": _counter,
    "limit": _limit,
    "update": _update,
    "log": _log,
    "reject": _reject,
    "fib": _route_back,
}


def _set_mark(reader: _Reader) -> Iterator[bytes]:
    """`ct mark set ct mark & MASK | VALUE`: the other bits stay."""
    reader.expect("ct", "mark", "set", "ct", "mark", "&")
    kept = TYPES["mark"].encode(reader.take())
    reader.expect("|")
    yield expressions.ct(_MARK)
    yield expressions.bits(kept, TYPES["mark"].encode(reader.take()))
    yield expressions.set_ct(_MARK)


def _set_label(bits: str) -> bytes:
    """`ct label set BIT | BIT ...`: others stay."""
    label = sum(1 << int(bit) for bit in bits.split(" | "))
    return expressions.constant(label.to_bytes(_LABEL_BYTES, byteorder)) + expressions.set_ct(_LABELS)


def _match(reader: _Reader) -> Iterator[bytes]:
    """Selectors, and what they must be."""
    selectors = _selectors(reader)
    yield from _loaded(reader, selectors)
    yield from _condition(reader, TYPES[selectors[0].type], bitmask=selectors[0].type in _BITMASKS)


def _selectors(reader: _Reader) -> list[_Selector]:
    selectors = [_selector(reader)]
    while reader.peek() == ".":
        reader.take()
        selectors.append(_selector(reader))
    return selectors


def _loaded(reader: _Reader, selectors: list[_Selector]) -> Iterator[bytes]:
    """Side by side in the registers, each from a word of its own on."""
    word = 0
    for selector in selectors:
        if not reader.bridge:
            yield from selector.family
        yield from selector.needs
    for selector in selectors:
        yield selector.load(word)
        word += len(padded(bytes(TYPES[selector.type].length))) // _WORD


def _selector(reader: _Reader) -> _Selector:
    for length in range(_LONGEST, 0, -1):
        words = tuple(reader.peek(ahead) for ahead in range(length))
        if words in _SELECTORS:
            reader.at += length
            return _SELECTORS[words]
    raise ValueError(
        f"the rule '{reader.rule}' says '{reader.peek()}' at word {reader.at + 1}, which is not known here"
    )


def _condition(reader: _Reader, kind: Datatype, *, bitmask: bool) -> Iterator[bytes]:
    word = reader.take()
    if word == "&":
        yield expressions.bits(_bits(kind, reader.take()), bytes(kind.length))
        word = reader.take()
    if word == "vmap":
        yield expressions.verdict_of(reader.take().removeprefix("@"))
    elif word.startswith("@"):
        yield expressions.in_set(word[1:])
    elif word == "!=" and reader.peek().startswith("@"):
        yield expressions.in_set(reader.take()[1:], inverted=True)
    elif word in {"==", "!="}:
        yield expressions.compare(
            expressions.EQUAL if word == "==" else expressions.DIFFERENT, _bits(kind, reader.take())
        )
    elif bitmask:
        yield expressions.bits(_bits(kind, word), bytes(kind.length))
        yield expressions.compare(expressions.DIFFERENT, bytes(kind.length))
    else:
        yield from _within(kind, word)


def _bits(kind: Datatype, text: str) -> bytes:
    """A value, or several of which the bits are taken together: `(fin | syn)`, `new,established`."""
    value = bytes(kind.length)
    for word in re.split(r"[,|]", text.strip("()")):
        value = bytes(a | b for a, b in zip(value, kind.encode(word.strip()), strict=True))
    return value


@lru_cache(4096)
def _within(kind: Datatype, text: str) -> tuple[bytes, ...]:
    """A value, a prefix, or a range."""
    if kind.prefix_bits and "/" in text:
        return _in_prefix(kind, text)
    ranges = kind.prefix_bits or text[:1].isdigit()
    first, _, last = text.partition("-") if ranges else (text, "", "")
    if not last:
        return (expressions.compare(expressions.EQUAL, kind.encode(text)),)
    return (
        expressions.compare(expressions.AT_LEAST, kind.encode(first)),
        expressions.compare(expressions.AT_MOST, kind.encode(last)),
    )


def _in_prefix(kind: Datatype, text: str) -> tuple[bytes, ...]:
    address, _, length = text.partition("/")
    all_ones = (1 << kind.prefix_bits) - 1
    mask = (all_ones ^ all_ones >> int(length)).to_bytes(kind.length, "big")
    return (
        expressions.bits(mask, bytes(kind.length)),
        expressions.compare(expressions.EQUAL, kind.encode(address)),
    )
