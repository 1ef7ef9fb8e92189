"""The chains around the rules: where packets come in, and what is settled before any zone is looked up. Pure.

The same for every policy, but for its infrastructure rules. `enforcer.ruleset` puts them into its table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from enforcer import dispatch, matching
from enforcer.family import Family
from enforcer.generations import PHASES, Marks
from enforcer.matching import Sets
from enforcer.members import ISOLATED_SET, LOCAL
from enforcer.messages import RawRule
from enforcer.options import Mode, Options
from enforcer.table import Chain, NamedSet
from enforcer.terminals import ACCEPTED, ISOLATED_END, LIVE, SPOOFED, STAMP, UNTRACKED, Terminals
from zones.policy import InfrastructureRule, Verdict
from zones.rules import NO_LOG

# Before the hooks that network plug-ins filter in (0), after destination NAT (-100). On input after IPVS (98), which
# takes Service traffic away there before its real end is known.
_BEFORE_PLUGINS, _AFTER_IPVS = -5, 99
_LOCAL_DNS = 'counter accept comment "infrastructure/local-dns"'
_LIVE_SIZE = 4  # a fixed size makes the kernel take its quickest kind of set


def raw_chains() -> dict[str, tuple[RawRule, ...]]:
    """The chains whose rules nft's language can't say."""
    by_connection = {family.named("dispatch"): dispatch.by_connection(family) for family in Family}
    return by_connection | {family.named("stateless"): dispatch.by_packet(family) for family in Family}


def chains(options: Options, terminals: Terminals) -> dict[str, Chain]:
    """Forwarded, to this node, from this node: each packet passes one of the three, after destination NAT."""
    known = _known(options.marks)
    verdict = "drop" if options.mode is Mode.ENFORCE else "accept"
    by_packet = tuple(f"meta nfproto {f.value.protocol} jump {f.named('stateless')}" for f in Family)
    made = {
        "forward": Chain((*known, "jump sources", "goto police"), hook=_hook("forward", _BEFORE_PLUGINS)),
        "input": Chain(
            ('iifname "lo" accept', *known, "jump sources", "ct state untracked jump local-dns", "goto police"),
            hook=_hook("input", _AFTER_IPVS),
        ),
        "output": Chain(
            (
                'oifname "lo" accept',
                *known,
                # What the rules' own rejects send belongs to the connection that was rejected.
                "tcp flags & rst == rst accept",
                "icmp type destination-unreachable accept",
                "icmpv6 type destination-unreachable accept",
                "ct state untracked jump local-dns-answers",
                "goto police",
            ),
            hook=_hook("output", _BEFORE_PLUGINS),
        ),
        "sources": Chain(tuple(_sources(terminals))),
        "local-dns": Chain(tuple(_local_dns())),
        "local-dns-answers": Chain(tuple(f"{each} sport 53 {_LOCAL_DNS}" for each in ("udp", "tcp"))),
        "police": Chain(
            (
                "icmpv6 type 133-137 ip6 hoplimit 255 accept",  # neighbour discovery, never from beyond the link
                "ct state untracked goto untracked",
                "ct state invalid goto no-connection",
                # A connection picked up in the middle would have its ends the wrong way round.
                "ct state new tcp flags & (fin | syn | rst | ack) != syn goto no-connection",
                *(f"meta nfproto {family.value.protocol} goto {family.named('police')}" for family in Family),
            )
        ),
        "no-connection": Chain((*by_packet, f'counter {verdict} comment "no connection"')),
        "untracked": Chain((*by_packet, f"goto {terminals.chain(UNTRACKED)}")),
        "unjudged": Chain((f'counter {verdict} comment "never reached while the table is whole"',)),
        ACCEPTED: Chain((f"jump {STAMP}", "accept")),
        STAMP: Chain(stamp(options.marks, options.marks.first(PHASES[0]))),
    }
    return made | {name: Chain(raw=rules) for name, rules in raw_chains().items()}


def sets() -> dict[str, NamedSet]:
    """Those that stand in every table, empty ones."""
    made = {LIVE: NamedSet("mark", {}, size=_LIVE_SIZE)}
    for family in Family:
        for name in (ISOLATED_SET, LOCAL):
            made[family.named(name)] = NamedSet(family.value.address_type, {})
    return made


def _known(marks: Marks) -> tuple[str, ...]:
    """Connections that were accepted under these rules pass, both ways; what they bring about is looked at."""
    return (f"ct mark & {marks.mask:#010x} @{LIVE} ct state new,established accept",) if marks.mask else ()


def stamp(marks: Marks, number: int) -> tuple[str, ...]:
    """What makes an accepted connection known as such; bits that aren't ours stay."""
    if not marks.mask:
        return ()
    return (f"ct mark set ct mark & {marks.others:#010x} | {marks.bits(number):#010x}",)


def live(marks: Marks, number: int | None) -> dict[str, str]:
    """The elements of the set of live numbers; without one, every packet is judged."""
    return {} if number is None or not marks.mask else {f"{marks.bits(number):#010x}": ""}


def _sources(terminals: Terminals) -> Iterator[str]:
    """The address of a pod on this node comes from where the pod is, and from nowhere else."""
    for family in Family:
        header, local = family.value.header, family.named(LOCAL)
        yield f"{header} saddr @{local} fib saddr . iif oif missing goto {terminals.chain(SPOOFED)}"


def _local_dns() -> Iterator[str]:
    """A node-local DNS has itself kept out of conntrack: nothing tells its answers from questions but the port."""
    for family in Family:
        yield f"{family.value.header} saddr @{family.named(ISOLATED_SET)} return"
    for each in ("udp", "tcp"):
        yield f"{each} dport 53 {_LOCAL_DNS}"


def police(
    family: Family, infrastructure: Iterable[InfrastructureRule], sets_: Sets, terminals: Terminals
) -> Mapping[str, Chain]:
    """Infrastructure first, then the pair of zones."""
    apart = family.named(ISOLATED_SET)
    ends = [f"ct {side} {family.value.header} saddr @{apart} goto {apart}" for side in ("original", "reply")]
    rules = tuple(infrastructure)
    own = _allowed(family, (rule for rule in rules if rule.own_node), sets_, terminals)
    everything = (*ends, *_allowed(family, rules, sets_, terminals))
    return {
        apart: Chain((*own, f"goto {terminals.chain(ISOLATED_END)}")),
        family.named("police"): Chain((*everything, f"jump {family.named('dispatch')}", "goto unjudged")),
    }


def _allowed(
    family: Family, infrastructure: Iterable[InfrastructureRule], sets_: Sets, terminals: Terminals
) -> Iterator[str]:
    for rule in infrastructure:
        for condition in matching.of_infrastructure(rule, family, sets_):
            target = terminals.chain((rule.origin, Verdict.ALLOW, NO_LOG))
            yield f"{condition} goto {target}" if condition else f"goto {target}"


def _hook(name: str, priority: int) -> str:
    return f"type filter hook {name} priority {priority}; policy accept;"
