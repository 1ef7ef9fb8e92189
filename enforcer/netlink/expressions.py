"""nftables' expressions as bytes: what a rule is made of in the kernel. Pure.

`enforcer.netlink.assemble` makes rules of them; nothing here knows the text of rules.
"""

from __future__ import annotations

from types import MappingProxyType

from enforcer.netlink.constants import (
    NFT_DYNSET_OP_UPDATE,
    NFT_OBJECT_COUNTER,
    NFT_REJECT_ICMPX_UNREACH,
    NFT_REJECT_TCP_RST,
    NFTA_BITWISE_DREG,
    NFTA_BITWISE_LEN,
    NFTA_BITWISE_MASK,
    NFTA_BITWISE_SREG,
    NFTA_BITWISE_XOR,
    NFTA_CMP_DATA,
    NFTA_CMP_OP,
    NFTA_CMP_SREG,
    NFTA_CT_DIRECTION,
    NFTA_CT_DREG,
    NFTA_CT_KEY,
    NFTA_CT_SREG,
    NFTA_DATA_VALUE,
    NFTA_DATA_VERDICT,
    NFTA_DYNSET_EXPR,
    NFTA_DYNSET_OP,
    NFTA_DYNSET_SET_NAME,
    NFTA_DYNSET_SREG_KEY,
    NFTA_EXPR_DATA,
    NFTA_EXPR_NAME,
    NFTA_FIB_DREG,
    NFTA_FIB_FLAGS,
    NFTA_FIB_RESULT,
    NFTA_IMMEDIATE_DATA,
    NFTA_IMMEDIATE_DREG,
    NFTA_LIMIT_BURST,
    NFTA_LIMIT_RATE,
    NFTA_LIMIT_TYPE,
    NFTA_LIMIT_UNIT,
    NFTA_LOG_GROUP,
    NFTA_LOG_PREFIX,
    NFTA_LOG_SNAPLEN,
    NFTA_LOOKUP_DREG,
    NFTA_LOOKUP_FLAGS,
    NFTA_LOOKUP_SET,
    NFTA_LOOKUP_SREG,
    NFTA_META_DREG,
    NFTA_META_KEY,
    NFTA_OBJREF_IMM_NAME,
    NFTA_OBJREF_IMM_TYPE,
    NFTA_PAYLOAD_BASE,
    NFTA_PAYLOAD_DREG,
    NFTA_PAYLOAD_LEN,
    NFTA_PAYLOAD_OFFSET,
    NFTA_REJECT_ICMP_CODE,
    NFTA_REJECT_TYPE,
    NFTA_VERDICT_CHAIN,
    NFTA_VERDICT_CODE,
)
from enforcer.netlink.messages import attribute, expression, nested, number, text

DROP, ACCEPT, JUMP, GOTO, RETURN = 0, 1, -3, -4, -5
EQUAL, DIFFERENT, AT_LEAST, AT_MOST = 0, 1, 5, 3
_VERDICT_REGISTER, _FIRST_REGISTER, _FIRST_WORD = 0, 1, 8
_ICMPX_CODES = MappingProxyType({"port-unreachable": 1, "admin-prohibited": 3})
_LINK_HEADER, _NETWORK_HEADER, _TRANSPORT_HEADER = 0, 1, 2


def register(word: int) -> int:
    """The register that begins at a word."""
    return _FIRST_REGISTER if word == 0 else _FIRST_WORD + word


def meta(key: int, word: int = 0) -> bytes:
    return expression("meta", number(NFTA_META_DREG, register(word)), number(NFTA_META_KEY, key))


def ct(key: int, word: int = 0, *, direction: int | None = None) -> bytes:
    side = [] if direction is None else [attribute(NFTA_CT_DIRECTION, bytes([direction]))]
    return expression("ct", number(NFTA_CT_DREG, register(word)), number(NFTA_CT_KEY, key), *side)


def set_ct(key: int) -> bytes:
    return expression("ct", number(NFTA_CT_KEY, key), number(NFTA_CT_SREG, _FIRST_REGISTER))


def constant(value: bytes) -> bytes:
    """A value, into the first register."""
    return expression(
        "immediate",
        number(NFTA_IMMEDIATE_DREG, _FIRST_REGISTER),
        nested(NFTA_IMMEDIATE_DATA, [attribute(NFTA_DATA_VALUE, value)]),
    )


def link_header(offset: int, length: int, word: int = 0) -> bytes:
    return _payload(_LINK_HEADER, offset, length, word)


def network_header(offset: int, length: int, word: int = 0) -> bytes:
    return _payload(_NETWORK_HEADER, offset, length, word)


def transport_header(offset: int, length: int, word: int = 0) -> bytes:
    return _payload(_TRANSPORT_HEADER, offset, length, word)


def _payload(base: int, offset: int, length: int, word: int) -> bytes:
    return expression(
        "payload",
        number(NFTA_PAYLOAD_DREG, register(word)),
        number(NFTA_PAYLOAD_BASE, base),
        number(NFTA_PAYLOAD_OFFSET, offset),
        number(NFTA_PAYLOAD_LEN, length),
    )


def route_back(word: int = 0) -> bytes:
    """Whether the packet's source is reached through the interface that it came in by."""
    outgoing, source, incoming, presence = 1, 1, 8, 32
    return expression(
        "fib",
        number(NFTA_FIB_DREG, register(word)),
        number(NFTA_FIB_RESULT, outgoing),
        number(NFTA_FIB_FLAGS, source | incoming | presence),
    )


def compare(operator: int, value: bytes) -> bytes:
    return expression(
        "cmp",
        number(NFTA_CMP_SREG, _FIRST_REGISTER),
        number(NFTA_CMP_OP, operator),
        nested(NFTA_CMP_DATA, [attribute(NFTA_DATA_VALUE, value)]),
    )


def bits(mask: bytes, flipped: bytes) -> bytes:
    """The register's value with a mask, then exclusive-or."""
    return expression(
        "bitwise",
        number(NFTA_BITWISE_SREG, _FIRST_REGISTER),
        number(NFTA_BITWISE_DREG, _FIRST_REGISTER),
        number(NFTA_BITWISE_LEN, len(mask)),
        nested(NFTA_BITWISE_MASK, [attribute(NFTA_DATA_VALUE, mask)]),
        nested(NFTA_BITWISE_XOR, [attribute(NFTA_DATA_VALUE, flipped)]),
    )


def in_set(name: str, *, inverted: bool = False) -> bytes:
    """Whether the register's value is in a set; `inverted`: whether it is in none of its elements."""
    flags = [number(NFTA_LOOKUP_FLAGS, 1)] if inverted else []
    return expression("lookup", text(NFTA_LOOKUP_SET, name), number(NFTA_LOOKUP_SREG, _FIRST_REGISTER), *flags)


def verdict_of(name: str) -> bytes:
    return expression(
        "lookup",
        text(NFTA_LOOKUP_SET, name),
        number(NFTA_LOOKUP_SREG, _FIRST_REGISTER),
        number(NFTA_LOOKUP_DREG, _VERDICT_REGISTER),
    )


def verdict(code: int, chain: str = "") -> bytes:
    """A verdict as it stands in rules and in elements."""
    return attribute(
        NFTA_DATA_VERDICT,
        number(NFTA_VERDICT_CODE, code & 0xFFFFFFFF) + (text(NFTA_VERDICT_CHAIN, chain) if chain else b""),
    )


def conclude(code: int, chain: str = "") -> bytes:
    return expression(
        "immediate",
        number(NFTA_IMMEDIATE_DREG, _VERDICT_REGISTER),
        attribute(NFTA_IMMEDIATE_DATA, verdict(code, chain)),
    )


def counter() -> bytes:
    return expression("counter")


def named_counter(name: str) -> bytes:
    return expression("objref", number(NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER), text(NFTA_OBJREF_IMM_NAME, name))


def update(name: str, *state: bytes) -> bytes:
    """Have the register's value in a set, with a state of its own: beyond a limit, a packet goes no further."""
    return expression(
        "dynset",
        text(NFTA_DYNSET_SET_NAME, name),
        number(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE),
        number(NFTA_DYNSET_SREG_KEY, _FIRST_REGISTER),
        *state,
    )


def limit(rate: int, burst: int) -> bytes:
    return expression("limit", *_limit(rate, burst))


def state_of_limit(rate: int, burst: int) -> bytes:
    """A limit as the state of a set's elements."""
    return nested(NFTA_DYNSET_EXPR, [text(NFTA_EXPR_NAME, "limit"), nested(NFTA_EXPR_DATA, _limit(rate, burst))])


def _limit(rate: int, burst: int) -> tuple[bytes, ...]:
    seconds, packets = 1, 0
    return (
        attribute(NFTA_LIMIT_RATE, rate.to_bytes(8, "big")),
        attribute(NFTA_LIMIT_UNIT, seconds.to_bytes(8, "big")),
        number(NFTA_LIMIT_BURST, burst),
        number(NFTA_LIMIT_TYPE, packets),
    )


def log(group: int, snap: int, prefix: str) -> bytes:
    return expression(
        "log",
        attribute(NFTA_LOG_GROUP, group.to_bytes(2, "big")),
        text(NFTA_LOG_PREFIX, prefix),
        number(NFTA_LOG_SNAPLEN, snap),
    )


def reject_with_reset() -> bytes:
    return expression("reject", number(NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST))


def reject_by_icmp(code: str) -> bytes:
    """As nft names the code, which is the same for both IP versions."""
    return expression(
        "reject",
        number(NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH),
        attribute(NFTA_REJECT_ICMP_CODE, bytes([_ICMPX_CODES[code]])),
    )
