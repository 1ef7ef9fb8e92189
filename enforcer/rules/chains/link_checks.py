"""What is settled by the link that a packet comes in by or goes out by, whatever the rules say. Pure.

What is behind a link that is no uplink is a pod's: its source must be an address of a pod that is routed there, some
destinations are never for it, and an address that no trusted pod has reaches nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from enforcer.rules.chains.verdict_chains import (
    BROADCAST_END,
    ICMP_ERROR,
    LINK_LOCAL_END,
    ROUTER_MESSAGE,
    SPOOFED,
    VerdictChains,
)
from enforcer.rules.family import Family, span_texts
from enforcer.rules.members.set_membership import HERE, LOCAL, SELVES, UPLINKS
from enforcer.rules.table import Chain, NamedSet
from zones.net import AddressSet

FROM_POD, TO_POD, UNKNOWN = "from-pod", "to-pod", "unknown"
NAMED_LINK_LOCAL = "link-local"
_FROM_AFAR = "from-afar"
_SIDES = "original", "reply"


@dataclass(frozen=True, slots=True)
class _Words:
    """Of a family: its ICMP, and the addresses that are never a pod's or for one."""

    icmp: str
    groups: tuple[str, ...]
    link_local: str
    loopback: str


_WORDS: Mapping[Family, _Words] = MappingProxyType(
    {
        Family.V4: _Words("icmp", ("224.0.0.0/4", "255.255.255.255"), "169.254.0.0/16", "127.0.0.0/8"),
        Family.V6: _Words("icmpv6", ("ff00::/8",), "fe80::/10", "::1"),
    }
)

# A request for an address of one's own is no conversation: it goes to the node, and no further.
DISCOVERY_OF_ADDRESSES = (
    f"iifname != @{UPLINKS} udp sport 68 udp dport 67 ip daddr 255.255.255.255 accept",
    f"iifname != @{UPLINKS} udp sport 546 udp dport 547 ip6 daddr ff02::1:2 accept",
)
# With this hop limit they come from the link itself. The answers that a host gives, never those that a router gives.
_NEIGHBOURS = tuple(f"icmpv6 type {types} ip6 hoplimit 255 accept" for types in ("133", "135-136"))
# What a host says of the groups that it is in, to those groups; only a router asks (130).
_GROUP_MEMBERSHIP = tuple(
    f"icmpv6 type {types} ip6 hoplimit 1 ip6 daddr ff00::/8 accept" for types in ("131-132", "143")
)


def sets(uplinks: Iterable[str], link_local: AddressSet) -> dict[str, NamedSet]:
    """`link_local`: the link-local addresses that have a zone of their own."""
    names = dict.fromkeys((f'"{name}"' for name in ("lo", *uplinks)), "")
    declared = {UPLINKS: NamedSet("ifname", names, comment="no pods are behind these")}
    for family in Family:
        type_, spans = family.value.address_type, dict.fromkeys(span_texts(family, family.spans(link_local)), "")
        declared[family.named(NAMED_LINK_LOCAL)] = NamedSet(type_, spans, interval=True)
        declared[family.named(SELVES)] = NamedSet(
            f"{type_} . {type_}", {}, comment="each pod of this node beside itself"
        )
        declared[family.named(HERE)] = NamedSet(type_, {}, comment="this machine's own addresses")
    return declared


def whose(terminals: VerdictChains) -> Iterator[str]:
    """The address of a pod of this node comes from where that pod is, by whatever link."""
    for family in Family:
        saddr, local = f"{family.value.header} saddr", family.named(LOCAL)
        yield f"{saddr} @{local} fib saddr . iif oif missing goto {terminals.chain(SPOOFED)}"


def ahead() -> Iterator[str]:
    """What must be asked before two known ends are enough: a source that is none of a pod's here, and errors.

    A pod of this node, from which most first packets are, is asked for once.
    """
    for family in Family:
        saddr, local, icmp = f"{family.value.header} saddr", family.named(LOCAL), _WORDS[family].icmp
        yield f"{saddr} != @{local} jump {family.named(_FROM_AFAR)}"
        yield f"meta l4proto {icmp} iifname != @{UPLINKS} jump {family.named('icmp-of-pod')}"


def chains(terminals: VerdictChains) -> dict[str, Chain]:
    """`from-pod` and `to-pod` are jumped to, and come back where nothing speaks against the packet."""
    known = (f"{f.value.header} daddr @{f.named(LOCAL)} return" for f in Family)
    unknown = (f"meta nfproto {f.value.protocol} goto {f.named(UNKNOWN)}" for f in Family)
    inet = {
        FROM_POD: Chain(tuple(f"meta nfproto {f.value.protocol} goto {f.named(FROM_POD)}" for f in Family)),
        TO_POD: Chain((*known, *unknown)),
    }
    for family in Family:
        inet |= _chains(family, _WORDS[family], terminals)
    return inet


def _chains(family: Family, words: _Words, terminals: VerdictChains) -> dict[str, Chain]:
    header, link_local = family.value.header, terminals.chain(LINK_LOCAL_END)
    near, icmp, strange, error = map(family.named, ("near", "icmp-of-pod", "strange-source", "foreign-error"))
    from_pod = (
        f"meta l4proto {words.icmp} jump {icmp}",
        *(f"{header} daddr {group} goto {terminals.chain(BROADCAST_END)}" for group in words.groups),
        f"{header} daddr {words.link_local} jump {near}",
        f"{header} daddr {words.loopback} goto {link_local}",
        f"{header} saddr {words.link_local} goto {link_local}",
        f"{header} saddr @{family.named(LOCAL)} return",  # from where that pod is, as `whose` has seen
        f"fib saddr . iif oif missing goto {terminals.chain(SPOOFED)}",
        f"goto {strange}",
    )
    # What this machine began is answered, also while its uplinks are not known rightly.
    answer = f"ct direction reply {header} daddr @{family.named(HERE)} return"
    spared = (HERE, NAMED_LINK_LOCAL) if family is Family.V4 else (NAMED_LINK_LOCAL,)
    one_of_the_ends = (f"ct {s} {header} saddr . {header} saddr @{family.named(SELVES)} return" for s in _SIDES)
    # What this machine sends itself is not forwarded, by whatever link it comes. IPv4 drops that before, IPv6 doesn't.
    own = f"{header} saddr @{family.named(HERE)} goto {terminals.chain(SPOOFED)}"
    return {
        family.named(_FROM_AFAR): Chain((own, f"iifname != @{UPLINKS} goto {family.named(FROM_POD)}")),
        family.named(FROM_POD): Chain(from_pod),
        strange: Chain((answer, f"goto {family.named(UNKNOWN)}")),
        near: Chain((*(f"{header} daddr @{family.named(name)} return" for name in spared), f"goto {link_local}")),
        icmp: Chain((*_of_icmp(family, terminals), f"ct state related goto {error}")),
        error: Chain((*one_of_the_ends, f"goto {terminals.chain(ICMP_ERROR)}")),
    }


def _of_icmp(family: Family, terminals: VerdictChains) -> Iterator[str]:
    """Discovery passes; what only routers send doesn't."""
    router = f"goto {terminals.chain(ROUTER_MESSAGE)}"
    if family is Family.V4:
        yield f"icmp type redirect {router}"
    else:
        yield from (*_NEIGHBOURS, *_GROUP_MEMBERSHIP)
        yield from (f"icmpv6 type {type_} {router}" for type_ in (130, 134, 137))
