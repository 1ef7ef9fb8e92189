"""The chains around the rules: where packets come in, and what is settled before any zone is looked up. Pure.

The same for every policy, but for its infrastructure rules. `enforcer.rules.ruleset` puts them into its table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from enforcer.netlink.assemble import assemble
from enforcer.netlink.messages import RawRule
from enforcer.rules import log_limits, match
from enforcer.rules.chains import link_checks, zone_pair_lookup
from enforcer.rules.chains.link_checks import FROM_POD, TO_POD, UNKNOWN
from enforcer.rules.chains.verdict_chains import (
    ACCEPTED,
    ISOLATED_END,
    LIVE,
    LOCAL_DNS,
    NO_CONNECTION,
    QUARANTINED_END,
    SERVICE_END,
    STAMP,
    TUNNEL_END,
    UNJUDGED_END,
    UNKNOWN_END,
    UNTRACKED,
    VerdictChains,
    stamping,
)
from enforcer.rules.connmark import PHASES, STALE, UNJUDGED, ConnmarkLayout
from enforcer.rules.family import Family, span_texts
from enforcer.rules.match import Sets
from enforcer.rules.members.set_membership import HERE, ISOLATED_SET, LOCAL, QUARANTINED_SET, SERVICES, SPECIAL, UPLINKS
from enforcer.rules.options import RulesetOptions
from enforcer.rules.table import Chain, NamedSet
from zones.net import AddressSet
from zones.policy import ANY_TRAFFIC, ANYONE, TUNNELLED, InfrastructureRule, Verdict

# Before the hooks that network plug-ins filter in (0), after destination NAT (-100). On input after IPVS (98), which
# takes Service traffic away there before its real end is known.
_BEFORE_PLUGINS, _AFTER_IPVS = -5, 99
TO_NODE, BY_ADDRESS = "to-node", "by-address"
_WHOEVER = ANYONE, ANY_TRAFFIC
_LIVE_SIZE = 4  # a fixed size makes the kernel take its quickest kind of set
HOOKED = "forward", "input", "output"
_NO_CHAIN = Chain()
OLD_NUMBERS = b"other numbers than the one in force are taken away"
_COMMENT_OF_OLD = f' comment "{OLD_NUMBERS.decode()}"'


def raw_chains() -> dict[str, tuple[RawRule, ...]]:
    """The chains whose rules nft's language can't say."""
    by_connection = {family.named("dispatch"): zone_pair_lookup.by_connection(family) for family in Family}
    return by_connection | {family.named("stateless"): zone_pair_lookup.by_packet(family) for family in Family}


def chains(
    options: RulesetOptions, infrastructure: Sequence[InfrastructureRule], sets_: Sets, terminals: VerdictChains
) -> dict[str, Chain]:
    """Forwarded, to this node, from this node: each packet passes one of the three, after destination NAT."""
    known, whose = tuple(_known(options.marks)), tuple(link_checks.whose(terminals))
    by_packet = tuple(f"meta nfproto {f.value.protocol} jump {f.named('stateless')}" for f in Family)
    quick = tuple(zone_pair_lookup.between_pods(family) for family in Family) if _known_by_ends(infrastructure) else ()
    services = tuple(said(rule) for rule in _untranslated(options, terminals))
    from_pod, to_pod = f"iifname != @{UPLINKS} jump {FROM_POD}", f"oifname != @{UPLINKS} jump {TO_POD}"
    to_own_pods, their_answers = _probes(infrastructure, terminals)
    base = {
        "forward": Chain(
            (*known, *whose, *link_checks.ahead(), PICKED_UP, *_by_address(infrastructure, sets_, BY_ADDRESS)),
            (*quick, said(from_pod), said(to_pod), *services, *_others()),
            hook=_hook("forward"),
        ),
        "input": Chain(
            (
                'iif "lo" accept',
                *known,
                *link_checks.DISCOVERY_OF_ADDRESSES,
                *whose,
                from_pod,
                *their_answers,
                "ct state untracked jump local-dns",
                *_by_another_address(),
                "goto police",
            ),
            hook=_hook("input", _AFTER_IPVS),
        ),
        "output": Chain(
            (
                'oif "lo" accept',
                *known,
                # What the rules' own rejects send belongs to the connection that was rejected.
                "tcp flags & rst == rst accept",
                "icmp type destination-unreachable accept",
                "icmpv6 type destination-unreachable accept",
                *to_own_pods,
                "ct state untracked jump local-dns-answers",
                "goto police",
            ),
            hook=_hook("output"),
        ),
        "local-dns": Chain((*_unless_closed(), *_dns("dport", terminals))),
        "local-dns-answers": Chain(tuple(_dns("sport", terminals))),
        "police": Chain((PICKED_UP, *_by_address(infrastructure, sets_, "infrastructure")), (*quick, *_others())),
        "apart": Chain(
            (
                "icmpv6 type 133-137 ip6 hoplimit 255 accept",  # neighbour discovery, never from beyond the link
                "ct state untracked goto untracked",
                "goto no-connection",
            )
        ),
        "picked-up": Chain(("goto no-connection", *(f"goto {family.named('infrastructure')}" for family in Family))),
        "no-connection": Chain((*by_packet, f"goto {terminals.chain(NO_CONNECTION)}")),
        "untracked": Chain((*by_packet, f"goto {terminals.chain(UNTRACKED)}")),
        "unjudged": Chain((f"goto {terminals.chain(UNJUDGED_END)}",)),
        ACCEPTED: Chain((f"jump {STAMP}", "accept")),
        STAMP: Chain((stamping(options.marks, options.marks.first(PHASES[0])),) if options.marks.mask else ()),
    }
    for family in Family:
        base[family.named(BY_ADDRESS)] = Chain((from_pod, to_pod, f"goto {family.named('infrastructure')}"))
    return base | link_checks.chains(terminals) | {name: Chain(raw=rules) for name, rules in raw_chains().items()}


# A connection picked up in the middle would have its ends the wrong way round.
PICKED_UP = "tcp flags & (fin | syn | rst | ack) != syn ct state new goto picked-up"


def _others() -> Iterator[RawRule]:
    """Most packets that come so far begin a connection between two pods: what is asked of others comes after that.

    But for what infrastructure rules know by address alone, whoever has it. Without a connection there are no ends to
    look up, so these come further too.
    """
    yield said("ct state invalid,untracked goto apart")
    for family in Family:
        yield said(f"meta nfproto {family.value.protocol} goto {family.named('police')}")


def _by_address(infrastructure: Sequence[InfrastructureRule], sets_: Sets, chain: str) -> Iterator[str]:
    for family in Family:
        for rule in infrastructure:
            for condition in match.by_address_alone(rule, family, sets_):
                yield f"{condition} goto {family.named(chain)}"


def _probes(
    infrastructure: Iterable[InfrastructureRule], terminals: VerdictChains
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What this node begins towards a pod's link, and the answers, by the rule that lets a node reach its own pods.

    The kubelet probes a pod before the API server, and so anybody else, knows its address: only its link tells.
    """
    rules = [rule for rule in infrastructure if rule.serves_isolated and (rule.destination, rule.traffic) == _WHOEVER]
    chosen = [terminals.chain((rule.origin, Verdict.ALLOW, rule.log)) for rule in rules[:1]]
    return (
        tuple(f"oifname != @{UPLINKS} ct direction original goto {chain}" for chain in chosen),
        tuple(f"iifname != @{UPLINKS} ct direction reply goto {chain}" for chain in chosen),
    )


def _untranslated(options: RulesetOptions, terminals: VerdictChains) -> Iterator[str]:
    """Whoever translates Services has come before `forward`: what a pod still sends to one is answered by nobody.

    kube-proxy's refusal, where it comes later, would never be heard: between zones the packet would be dropped first.
    """
    for family in Family:
        if _service_networks(options, family):
            services = f"{family.value.header} daddr @{family.named(SERVICES)}"
            to_services = f"iifname != @{UPLINKS} {services} ct direction original"
            yield f"{to_services} goto {terminals.chain(SERVICE_END)}"


def _by_another_address() -> Iterator[str]:
    """What comes in is for this node, also by broadcast, group or anycast; replies aside, whose server is elsewhere."""
    for family in Family:
        server = f"ct reply {family.value.header} saddr"
        yield f"ct direction original {server} != @{family.named(HERE)} goto {family.named(TO_NODE)}"


def _known_by_ends(infrastructure: Iterable[InfrastructureRule]) -> bool:
    """Whether infrastructure rules can only concern ends that are special, or that have certain addresses."""
    return all(
        rule.source.names_holders
        or rule.destination.names_holders
        or (not rule.own_node and (rule.source, rule.destination) != (ANYONE, ANYONE))
        for rule in infrastructure
    )


def said(rule: str) -> RawRule:
    """A rule that stands behind raw ones; its text is its comment."""
    return replace(assemble(rule), comment=rule)


def sets(options: RulesetOptions) -> dict[str, NamedSet]:
    """Those that stand in every table, empty ones; and the Services' prefixes, where they are known."""
    base = {LIVE: NamedSet("mark", {}, size=_LIVE_SIZE)} | log_limits.sets()
    for family in Family:
        for name in (ISOLATED_SET, QUARANTINED_SET, LOCAL, SPECIAL):
            base[family.named(name)] = NamedSet(family.value.address_type, {})
        if spans := _service_networks(options, family):
            base[family.named(SERVICES)] = NamedSet(family.value.address_type, spans, interval=True)
    return base


def _service_networks(options: RulesetOptions, family: Family) -> dict[str, str]:
    return dict.fromkeys(span_texts(family, family.spans(AddressSet.parse(options.services))), "")


def _known(marks: ConnmarkLayout) -> Iterator[str]:
    """Accepted connections pass, both ways; what they bring about is looked at.

    A number that isn't the one in force is taken away first: whoever still has one then is accepted.
    """
    if marks.mask:
        yield old_numbers(marks, marks.first(PHASES[0]))
        yield f"ct mark & {marks.phase_bits:#010x} != {UNJUDGED:#010x} ct state new,established accept"


def old_numbers(marks: ConnmarkLayout, number: int | None) -> str:
    """The rule that takes every other number away.

    It compares, since looking the number up in a set costs each packet more. It doesn't say what becomes of the packet:
    a rule that does, the kernel takes only after it has walked through the whole table.
    """
    other = "" if number is None else f"ct mark & {marks.mask:#010x} != {marks.bits(number):#010x} "
    return f"{other}ct mark & {marks.phase_bits:#010x} != {UNJUDGED:#010x} {stamping(marks, STALE)}{_COMMENT_OF_OLD}"


def _takes_numbers_away(rule: str) -> bool:
    """Whether it is the rule that holds the number in force, of which each chain that packets come to first has one."""
    return rule.endswith(_COMMENT_OF_OLD)


def numbered(chains_: Mapping[str, Chain], marks: ConnmarkLayout, number: int | None) -> dict[str, Chain]:
    """Of these chains, those that hold the number of accepted connections, with this one.

    Without a number every packet is judged. `stamp` makes an accepted connection known as such.
    """
    stamp = () if number is None or not marks.mask else (stamping(marks, number),)
    with_number: dict[str, Chain] = {STAMP: Chain(stamp)}
    for name in HOOKED:
        chain = chains_.get(name, _NO_CHAIN)
        if any(map(_takes_numbers_away, chain.rules)):
            rules = (old_numbers(marks, number) if _takes_numbers_away(rule) else rule for rule in chain.rules)
            with_number[name] = replace(chain, rules=tuple(rules))
    return with_number


def live(marks: ConnmarkLayout, number: int | None) -> dict[str, str]:
    """The number again, as an element: for an agent that comes after this one, and for people. No rule looks here."""
    return {} if number is None or not marks.mask else {f"{marks.bits(number):#010x}": ""}


def _unless_closed() -> Iterator[str]:
    for family in Family:
        for name in (ISOLATED_SET, QUARANTINED_SET):
            yield f"{family.value.header} saddr @{family.named(name)} return"


def _dns(port: str, terminals: VerdictChains) -> Iterator[str]:
    """A node-local DNS has itself kept out of conntrack: nothing tells its answers from questions but the port."""
    for protocol in ("udp", "tcp"):
        yield f"{protocol} {port} 53 goto {terminals.chain(LOCAL_DNS)}"


def police(
    family: Family, infrastructure: Iterable[InfrastructureRule], sets_: Sets, terminals: VerdictChains
) -> Mapping[str, Chain]:
    """Where an end is special, infrastructure comes first; then, for all, the pair of zones.

    An unknown pod has what infrastructure allows, and no more. A pod in quarantine has its node, and the pair of zones.
    """
    isolated, special, by_infrastructure = map(family.named, (ISOLATED_SET, SPECIAL, "infrastructure"))
    rules = tuple(infrastructure)
    own = tuple(_allowed(family, (rule for rule in rules if rule.serves_isolated), sets_, terminals))
    by_pair = f"jump {family.named('dispatch')}", "goto unjudged"
    everything = _before_zones(family, rules, sets_, terminals, _in_quarantine(family, own, by_pair))
    from_unknown = _before_zones(family, rules, sets_, terminals, _quarantine_closed(family, terminals))
    first = _either(family, special, by_infrastructure) if _known_by_ends(rules) else (f"goto {by_infrastructure}",)
    return {
        isolated: Chain((*own, f"goto {terminals.chain(ISOLATED_END)}")),
        by_infrastructure: Chain((*everything, *by_pair)),
        family.named("police"): Chain((*first, *by_pair)),
        family.named(UNKNOWN): Chain((*from_unknown, f"goto {terminals.chain(UNKNOWN_END)}")),
    }


def to_node(
    family: Family, infrastructure: Iterable[InfrastructureRule], sets_: Sets, terminals: VerdictChains, nodes: str
) -> Chain:
    """By an address that is none of its own, a node is reached as a node. `nodes`: the id of their zone."""
    closed = _quarantine_closed(family, terminals)
    first = PICKED_UP, *_before_zones(family, tuple(infrastructure), sets_, terminals, closed)
    return Chain(first, (*zone_pair_lookup.to_zone(family, nodes), said("goto unjudged")))


def _before_zones(
    family: Family,
    infrastructure: Iterable[InfrastructureRule],
    sets_: Sets,
    terminals: VerdictChains,
    quarantine: Iterable[str],
) -> tuple[str, ...]:
    """`quarantine`: the rules for what a pod in quarantine sends or gets."""
    isolated = family.named(ISOLATED_SET)
    closed = (*_tunnelled(family, sets_, terminals), *_either(family, isolated, isolated), *quarantine)
    return (*closed, *_allowed(family, infrastructure, sets_, terminals))


def _tunnelled(family: Family, sets_: Sets, terminals: VerdictChains) -> Iterator[str]:
    """Asked of what a pod sends to another node, which is no frequent thing: nodes are special."""
    for condition in match.of_infrastructure(TUNNELLED, family, sets_):
        yield f"{condition} iifname != @{UPLINKS} oifname @{UPLINKS} goto {terminals.chain(TUNNEL_END)}"


def _in_quarantine(family: Family, own: Iterable[str], by_pair: Iterable[str]) -> Iterator[str]:
    """What the pod's own node begins; then the pair of zones.

    In this chain and not in one of its own: the kernel allows 16 on the whole way, and trees need what is left.
    """
    ends = [f"ct {side} {family.value.header} saddr @{family.named(QUARANTINED_SET)}" for side in ("original", "reply")]
    for condition in own:
        yield f"{ends[1]} {condition}"
    for end in ends:
        yield from (f"{end} {condition}" for condition in by_pair)


def _quarantine_closed(family: Family, terminals: VerdictChains) -> Iterator[str]:
    return _either(family, family.named(QUARANTINED_SET), terminals.chain(QUARANTINED_END))


def _either(family: Family, among: str, chain: str) -> Iterator[str]:
    """If client or server is in a set."""
    for side in ("original", "reply"):
        yield f"ct {side} {family.value.header} saddr @{among} goto {chain}"


def _allowed(
    family: Family, infrastructure: Iterable[InfrastructureRule], sets_: Sets, terminals: VerdictChains
) -> Iterator[str]:
    for rule in infrastructure:
        for condition in match.of_infrastructure(rule, family, sets_):
            target = terminals.chain((rule.origin, Verdict.ALLOW, rule.log))
            yield f"{condition} goto {target}" if condition else f"goto {target}"


def _hook(name: str, priority: int = _BEFORE_PLUGINS) -> str:
    return f"type filter hook {name} priority {priority}; policy accept;"
