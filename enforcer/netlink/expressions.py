"""nftables' expressions as bytes: what a rule is made of in the kernel. Pure.

`enforcer.netlink.assemble` makes rules of them; nothing here knows the text of rules.
"""

from __future__ import annotations

from types import MappingProxyType

from enforcer.netlink.messages import attribute, expression, nested, number, text

DROP, ACCEPT, JUMP, GOTO, RETURN = 0, 1, -3, -4, -5
EQUAL, DIFFERENT, AT_LEAST, AT_MOST = 0, 1, 5, 3
_VERDICT_REGISTER, _FIRST_REGISTER, _FIRST_WORD = 0, 1, 8
_VALUE, _VERDICT = 1, 2
_REJECT_RESET, _REJECT_ICMPX = 1, 2
_ICMPX_CODES = MappingProxyType({"port-unreachable": 1, "admin-prohibited": 3})
_LINK_HEADER, _NETWORK_HEADER, _TRANSPORT_HEADER = 0, 1, 2


def register(word: int) -> int:
    """The register that begins at a word."""
    return _FIRST_REGISTER if word == 0 else _FIRST_WORD + word


def meta(key: int, word: int = 0) -> bytes:
    return expression("meta", number(1, register(word)), number(2, key))


def ct(key: int, word: int = 0, *, direction: int | None = None) -> bytes:
    side = [] if direction is None else [attribute(3, bytes([direction]))]
    return expression("ct", number(1, register(word)), number(2, key), *side)


def set_ct(key: int) -> bytes:
    return expression("ct", number(2, key), number(4, _FIRST_REGISTER))


def constant(value: bytes) -> bytes:
    """A value, into the first register."""
    return expression("immediate", number(1, _FIRST_REGISTER), nested(2, [attribute(_VALUE, value)]))


def link_header(offset: int, length: int, word: int = 0) -> bytes:
    return _payload(_LINK_HEADER, offset, length, word)


def network_header(offset: int, length: int, word: int = 0) -> bytes:
    return _payload(_NETWORK_HEADER, offset, length, word)


def transport_header(offset: int, length: int, word: int = 0) -> bytes:
    return _payload(_TRANSPORT_HEADER, offset, length, word)


def _payload(base: int, offset: int, length: int, word: int) -> bytes:
    return expression("payload", number(1, register(word)), number(2, base), number(3, offset), number(4, length))


def route_back(word: int = 0) -> bytes:
    """Whether the packet's source is reached through the interface that it came in by."""
    outgoing, source, incoming, presence = 1, 1, 8, 32
    return expression("fib", number(1, register(word)), number(2, outgoing), number(3, source | incoming | presence))


def compare(operator: int, value: bytes) -> bytes:
    return expression("cmp", number(1, _FIRST_REGISTER), number(2, operator), nested(3, [attribute(_VALUE, value)]))


def bits(mask: bytes, flipped: bytes) -> bytes:
    """The register's value with a mask, then exclusive-or."""
    return expression(
        "bitwise",
        number(1, _FIRST_REGISTER),
        number(2, _FIRST_REGISTER),
        number(3, len(mask)),
        nested(4, [attribute(_VALUE, mask)]),
        nested(5, [attribute(_VALUE, flipped)]),
    )


def in_set(name: str, *, inverted: bool = False) -> bytes:
    """Whether the register's value is in a set; `inverted`: whether it is in none of its elements."""
    flags = [number(5, 1)] if inverted else []
    return expression("lookup", text(1, name), number(2, _FIRST_REGISTER), *flags)


def verdict_of(name: str) -> bytes:
    return expression("lookup", text(1, name), number(2, _FIRST_REGISTER), number(3, _VERDICT_REGISTER))


def verdict(code: int, chain: str = "") -> bytes:
    """A verdict as it stands in rules and in elements."""
    return attribute(_VERDICT, number(1, code & 0xFFFFFFFF) + (text(2, chain) if chain else b""))


def conclude(code: int, chain: str = "") -> bytes:
    return expression("immediate", number(1, _VERDICT_REGISTER), attribute(2, verdict(code, chain)))


def counter() -> bytes:
    return expression("counter")


def named_counter(name: str) -> bytes:
    kind = 1
    return expression("objref", number(1, kind), text(2, name))


def update(name: str, *state: bytes) -> bytes:
    """Have the register's value in a set, with a state of its own: beyond a limit, a packet goes no further."""
    update_ = 1
    return expression("dynset", text(1, name), number(3, update_), number(4, _FIRST_REGISTER), *state)


def limit(rate: int, burst: int) -> bytes:
    return expression("limit", *_limit(rate, burst))


def state_of_limit(rate: int, burst: int) -> bytes:
    """A limit as the state of a set's elements."""
    return nested(7, [text(1, "limit"), nested(2, _limit(rate, burst))])


def _limit(rate: int, burst: int) -> tuple[bytes, ...]:
    seconds, packets = 1, 0
    return (
        attribute(1, rate.to_bytes(8, "big")),
        attribute(2, seconds.to_bytes(8, "big")),
        number(3, burst),
        number(4, packets),
    )


def log(group: int, snap: int, prefix: str) -> bytes:
    return expression("log", attribute(1, group.to_bytes(2, "big")), text(2, prefix), number(3, snap))


def reject_with_reset() -> bytes:
    return expression("reject", number(1, _REJECT_RESET))


def reject_by_icmp(code: str) -> bytes:
    """As nft names the code, which is the same for both IP versions."""
    return expression("reject", number(1, _REJECT_ICMPX), attribute(2, bytes([_ICMPX_CODES[code]])))
