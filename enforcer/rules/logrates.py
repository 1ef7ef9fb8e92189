"""How many log records one source may have: whoever floods hides only what is its own. Pure.

A source is a pod of this node as it comes by its link; what comes by such a link from other addresses counts as the
link's; all others are told apart by address, as long as there are not too many, and have a limit together besides.
`enforcer.rules.terminals` asks each packet that would be logged, of whatever rule.
"""

from __future__ import annotations

from collections.abc import Iterator

from enforcer.rules.family import Family
from enforcer.rules.members import LOCAL, UPLINKS
from enforcer.rules.options import Options
from enforcer.rules.table import NamedSet

_PODS, _LINKS, _OTHERS = "log-pods", "log-links", "log-others"
_FORGET = 60  # seconds after the last packet
_MANY_PODS, _MANY_LINKS, _MANY_OTHERS = 16_384, 4_096, 65_536
_TOGETHER = 10  # times the limit of one: what all from afar may have, since one may forge any number of addresses


def sets() -> dict[str, NamedSet]:
    """Which sources have been logged of late, and how much each has left: the packets' own."""
    made = {_LINKS: NamedSet("ifname", {}, size=_MANY_LINKS, forgets=_FORGET)}
    for family in Family:
        type_ = family.value.address_type
        made[family.named(_PODS)] = NamedSet(f"ifname . {type_}", {}, size=_MANY_PODS, forgets=_FORGET)
        made[family.named(_OTHERS)] = NamedSet(type_, {}, size=_MANY_OTHERS, forgets=_FORGET)
    return made


def rules(options: Options) -> Iterator[str]:
    """These return within the limit; what becomes of a packet that is not logged comes behind."""
    one = f"limit rate {options.log_rate}/second burst {options.log_burst} packets"
    all_ = f"limit rate {options.log_rate * _TOGETHER}/second burst {options.log_burst * _TOGETHER} packets"
    for family in Family:
        saddr, local = f"{family.value.header} saddr", family.named(LOCAL)
        pods, others = family.named(_PODS), family.named(_OTHERS)
        yield f"{saddr} @{local} update @{pods} {{ iifname . {saddr} {one} }} return"
        yield f"iifname != @{UPLINKS} {saddr} != @{local} update @{_LINKS} {{ iifname {one} }} return"
        yield f"iifname @{UPLINKS} {saddr} != @{local} update @{others} {{ {saddr} {one} }} {all_} return"
