"""How many log records one source may have: whoever floods hides only what is its own. Pure.

A source is a pod of this node as it comes by its link; what comes by such a link from other addresses, or from another
pod's, counts as the link's; all others are told apart by address, and have a limit together besides. Whoever comes from
so many addresses that there is no room for more is told apart by network, so that he takes room from nobody else.
`enforcer.rules.chains.verdict_chains` asks each packet that would be logged, of whatever rule.
"""

from __future__ import annotations

from collections.abc import Iterator

from enforcer.rules.family import Family
from enforcer.rules.members.set_membership import LOCAL, UPLINKS
from enforcer.rules.options import RulesetOptions
from enforcer.rules.table import NamedSet

_PODS, _LINKS, _OTHERS, _NETWORKS = "log-pods", "log-links", "log-others", "log-networks"
_FORGET = 60  # seconds after the last packet
_MANY_PODS, _MANY_LINKS, _MANY_OTHERS = 16_384, 4_096, 65_536
# What one host may well have for itself: a subnet, or a provider's smallest block of public addresses.
_PREFIX = {Family.V4: "255.255.255.0", Family.V6: "ffff:ffff:ffff:ffff::"}
_TOGETHER = 10  # times the limit of one: what all from afar may have, since one may forge any number of addresses


def sets() -> dict[str, NamedSet]:
    """Which sources have been logged of late, and how much each has left: the packets' own."""
    declared = {_LINKS: NamedSet("ifname", {}, size=_MANY_LINKS, forgets=_FORGET)}
    for family in Family:
        type_ = family.value.address_type
        declared[family.named(_PODS)] = NamedSet(f"ifname . {type_}", {}, size=_MANY_PODS, forgets=_FORGET)
        for name in (_OTHERS, _NETWORKS):
            declared[family.named(name)] = NamedSet(type_, {}, size=_MANY_OTHERS, forgets=_FORGET)
    return declared


def sets_of_ports() -> dict[str, NamedSet]:
    """The same for a table that sees frames: each port is a source."""
    return {_LINKS: NamedSet("ifname", {}, size=_MANY_LINKS, forgets=_FORGET)}


def of_port(options: RulesetOptions, *, forged: bool = False) -> Iterator[str]:
    """`rules` of such a table, where forged sources are no others."""
    del forged
    limit = f"limit rate {options.log_rate}/second burst {options.log_burst} packets"
    yield f"update @{_LINKS} {{ iifname {limit} }} return"


def rules(options: RulesetOptions, *, forged: bool = False) -> Iterator[str]:
    """These return within the limit; what becomes of a packet that is not logged comes behind.

    `forged`: an address of a pod of this node is not that pod's.
    """
    one = f"limit rate {options.log_rate}/second burst {options.log_burst} packets"
    all_ = f"limit rate {options.log_rate * _TOGETHER}/second burst {options.log_burst * _TOGETHER} packets"
    from_pod, from_afar = f"iifname != @{UPLINKS}", f"iifname @{UPLINKS}"
    if forged:
        yield f"{from_pod} update @{_LINKS} {{ iifname {one} }} return"
    for family in Family:
        saddr, local = f"{family.value.header} saddr", family.named(LOCAL)
        network = f"{saddr} & {_PREFIX[family]}"
        pods, others, networks = map(family.named, (_PODS, _OTHERS, _NETWORKS))
        if not forged:
            yield f"{saddr} @{local} update @{pods} {{ iifname . {saddr} {one} }} return"
            yield f"{from_pod} {saddr} != @{local} update @{_LINKS} {{ iifname {one} }} return"
        strangers = from_afar if forged else f"{from_afar} {saddr} != @{local}"
        yield f"{strangers} update @{others} {{ {saddr} {one} }} {all_} return"
        yield f"{strangers} {saddr} != @{others} update @{networks} {{ {network} {one} }} {all_} return"
