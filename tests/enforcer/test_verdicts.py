"""The kernel gives real packets the verdicts, by the rules, that `zones.verdict.decide` gives their flows."""

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, time
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.enforcer import packets
from tests.enforcer import world as worlds
from zones.addresses.inventory import UnownedAddress
from zones.net import ALL_PORTS, ANY_ADDRESS, ICMP, ICMP6, SCTP, TCP, UDP, AddressSet, Ranges
from zones.policy import ANYONE, Entry, InfrastructureRule, Peer, Policy, Traffic, Verdict, usual_infrastructure
from zones.rules import Log, Origin, RuleType
from zones.schedule import Absolute, Schedule, Weekly
from zones.verdict import Flow, decide
from zones.zone import ANY_ZONE, Entitlement, Zoning

pytestmark = pytest.mark.kernel

ZONES = ("web", "data", "default", "nodes", "outside", "corp")
WORKLOADS = ("p0", "p1", "p2", "p3", "p4", "q0", "q1", "nobody", "shop/p0", "kube-system/p0", "shop/p1", "bank/p2")
PREFIXES = ("10.244.0.0/16", "10.244.1.2/31", "192.168.50.0/24", "198.51.100.10/32", "0.0.0.0/0", "::/0", "fd00::/8",
            "fd00:10:244:1::2/127", "203.0.113.0/24", "2001:db8::/32")  # fmt: skip
# Packets that must have been judged by the end of a run, how many a ruleset gets, and how many rulesets an example has.
GOAL = 3_000 if settings.default.max_examples <= 100 else 100_000
PROBES, STEPS = 50, 2
EXAMPLES = settings(
    deadline=None,
    max_examples=GOAL // (PROBES * STEPS) + 1,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

address_sets = st.one_of(
    st.just(ANY_ADDRESS),
    st.lists(st.sampled_from(PREFIXES).map(ip_network), min_size=1, max_size=3).map(AddressSet.of),
    st.lists(st.sampled_from(PREFIXES).map(ip_network), min_size=1, max_size=2).map(lambda s: AddressSet.of(s).complement()),
)  # fmt: skip
NO_PORTS = Ranges(())
ports = st.sampled_from(
    [ALL_PORTS, ALL_PORTS, Ranges(((80, 80),)), Ranges(((0, 100), (443, 443))), Ranges(((81, 65535),)), NO_PORTS]
)
source_ports = st.sampled_from(
    [ALL_PORTS] * 3 + [Ranges(((0, 29_999),)), Ranges(((20_000, 20_100), (40_000, 65_535))), NO_PORTS]
)
workloads = st.one_of(st.none(), st.none(), st.sampled_from(WORKLOADS))
zone_sets = st.one_of(st.none(), st.frozensets(st.sampled_from(ZONES), min_size=1, max_size=3))
ALWAYS = Schedule("always", tuple(Weekly(day, time(0), time(0)) for day in range(7)))
SPRING = Schedule("past", (Absolute(datetime(2026, 1, 1), datetime(2026, 3, 2, 12)),))


@st.composite
def traffics(draw):
    protocol = draw(st.sampled_from([None, None, TCP, UDP, ICMP, ICMP6, SCTP]))
    bare = protocol in {ICMP, ICMP6}
    return Traffic(
        protocol,
        ALL_PORTS if bare else draw(ports),
        ALL_PORTS if bare else draw(source_ports),
        draw(st.sampled_from([None, 8, 128])) if bare else None,
        draw(workloads),
        draw(workloads),
    )


@st.composite
def entries(draw, n):
    return Entry(
        Origin(f'rule {n} "quoted"\n{{}}', None, "pre", "dg"),
        draw(st.sampled_from(Verdict)),
        draw(st.sampled_from(RuleType)),
        draw(zone_sets),
        draw(zone_sets),
        draw(address_sets),
        draw(address_sets),
        tuple(draw(st.lists(traffics(), min_size=1, max_size=2))),
        draw(st.sampled_from([None, None, None, ALWAYS, SPRING])),
        Log(start=True),
    )


# Few rules are a list to the kernel, many a tree.
lengths = st.one_of(*[st.integers(0, 8)] * 6, st.integers(16, 30))


def default(name, pairing, draw):
    verdict = draw(st.sampled_from(Verdict))
    return Entry(Origin(name, None, "default", "Shared"), verdict, pairing, log=Log(start=True))


USUAL = usual_infrastructure(frozenset({"kube-system"}), frozenset({"kube-system"}), frozenset({"p1"}))
ODD = (
    InfrastructureRule("neighbours", own_node=True, traffic=(Traffic(UDP),)),
    InfrastructureRule(
        "p0", destination=Peer(workloads=frozenset({"p0"})), traffic=(Traffic(TCP, Ranges(((80, 80),))),)
    ),
)

PORT_80 = Traffic(TCP, Ranges(((80, 80),)))
# By address, whoever has it: ends outside, nodes, pods that nothing else makes special; one family alone too.
ADDRESSED = (
    InfrastructureRule("corp", destination=Peer(addresses=AddressSet.parse(["203.0.113.10", "2001:db8:c0::/48"]))),
    InfrastructureRule(
        "from-corp", source=Peer(addresses=AddressSet.parse(["203.0.113.10"])), traffic=(PORT_80,), log=Log(start=True)
    ),
    InfrastructureRule(
        "to-some",
        source=Peer(workloads=frozenset({"p0", "p1"})),
        destination=Peer(addresses=AddressSet.parse(["10.244.0.0/16", "fd00::/8"])),
        traffic=(Traffic(UDP),),
    ),
    InfrastructureRule("from-n2", source=Peer(nodes=True, node_names=frozenset({"n2"})), traffic=(PORT_80,)),
    InfrastructureRule("pods", destination=Peer(addresses=AddressSet.parse(["10.244.1.3", "10.244.1.5"]))),
)


@st.composite
def policies(draw):
    rules = [draw(entries(n)) for n in range(draw(lengths))]
    defaults = default("intrazone", RuleType.INTRAZONE, draw), default("interzone", RuleType.UNIVERSAL, draw)
    networks = draw(st.sampled_from([{}, {"corp": ["203.0.113.0/24", "2001:db8:c0::/48"]}, {"web": ["0.0.0.0/0"]}]))
    held = {zone: [ip_network(each) for each in prefixes] for zone, prefixes in networks.items()}
    zoning = Zoning.of(held, draw(st.sampled_from(Entitlement)))
    return Policy(zoning, draw(st.sampled_from([(), USUAL, ODD, ADDRESSED])), (*rules, *defaults))


zones = st.sampled_from([None, "web", "data", "unheard-of", 'a "zone" with spaces, and more'])
states = st.sampled_from(["known"] * 5 + ["unknown", "finished", "disputed", "system"])
# What its namespace may use: everything, nothing said (isolated where it claims a zone, if that is strict), one zone, none.
entitlements = st.sampled_from([frozenset({ANY_ZONE})] * 4 + [None, frozenset({"web"}), frozenset()])


@st.composite
def inventories(draw, world):
    pods = []
    for name in ("p0", "p1", "p2", "p3", "p4", "q0", "q1"):
        zone, state, allowed = draw(zones), draw(states), draw(entitlements)
        if state == "finished":
            pods.append(world.pod(name, zone, phase="Succeeded"))
        elif state != "unknown":
            namespace = "kube-system" if state == "system" else "shop"
            pods.append(world.pod(name, zone, namespace=namespace, allowed=allowed))
        if state == "disputed":
            pods.append(world.pod(name, "web", uid=f"{name}-again"))
    return world.inventory(*pods)


def flow_of(probe, directory, policy):
    _, source_ip, ip, _, port = probe.key
    source, destination = (end_of(ip_address(at), directory, policy.zoning) for at in (source_ip, ip))
    if source.node == "n1" and source.is_node:
        # What the node itself sends isn't judged by link, but for whom it probes: those are this node's by their link.
        probes = any(rule.serves_isolated and rule.destination == ANYONE for rule in policy.infrastructure)
        node = "n1" if destination.unknown and probes else destination.node
        destination = replace(destination, unknown=False, node=node)
    kind = packets.ECHO.get(probe.protocol)
    return Flow(source, destination, probe.protocol, port, probe.source_port or None, kind, worlds.NOW)


def end_of(address, directory, zoning):
    """What is behind a link to a pod of the node under test is closed, unless a trusted pod has it."""
    end = directory.endpoint(address, zoning)
    own = any(address in ip_network(each) for each in ("10.244.1.0/24", "fd00:10:244:1::/64"))
    return replace(end, unknown=own and isinstance(directory.holder(address), UnownedAddress))


def attempts(world, chance, many):
    """Probes that pass through the node under test, each told apart from all others."""
    made = {}
    while len(made) < many:
        source, target = chance.sample(sorted(world.machines), 2)
        if not {source, target} & {"p0", "p1", "p2", "p3", "p4"}:
            continue
        at, to = world.machines[source], world.machines[target]
        v6 = chance.random() < 0.5
        protocol = chance.choice([TCP, TCP, UDP, ICMP6 if v6 else ICMP])
        probe = packets.Probe(at, at.ip6 if v6 else at.ip, to.ip6 if v6 else to.ip, protocol)
        if protocol in {TCP, UDP}:
            probe.port = chance.choice(worlds.PORTS)
            probe.source_port = 20_000 + next(world.source_ports) % 40_000
        made[probe.key] = probe
    return list(made.values())


def settled_for(expected, terminals, *, resets_arrive=True):
    """A probe is settled by its outcome and by the log record of the rule that decided: all say the same."""

    def settled(probe):
        decision = expected[probe.key]
        rules = {terminals[packet.prefix.split(":")[1]] for packet in probe.logged}
        assert {(rule.origin, rule.verdict) for rule in rules} <= {(decision.origin, decision.verdict)}, (
            probe,
            decision,
        )
        silent = decision.origin.rulebase == "infrastructure" and decision.verdict is Verdict.ALLOW
        told = bool(rules) or silent
        match decision.verdict:
            case Verdict.ALLOW:
                assert probe.outcome in {None, "answered"}, (probe, decision)
                return told and probe.outcome is not None
            case Verdict.RESET:
                assert probe.outcome in {None, "refused"}, (probe, decision)
                return told and (probe.outcome is not None or probe.protocol in packets.ECHO or not resets_arrive)
            case _:
                assert probe.outcome is None, (probe, decision)
                return told

    return settled


@dataclass
class Tally:
    """How many packets were judged, by verdict, and how many of them for what reason."""

    verdicts: Counter = field(default_factory=Counter)
    rules: Counter = field(default_factory=Counter)

    def add(self, decisions):
        self.verdicts.update(decision.verdict for decision in decisions)
        self.rules.update(
            decision.origin.name for decision in decisions if decision.origin.rulebase == "infrastructure"
        )

    def __str__(self):
        told = ", ".join(f"{verdict} {count}" for verdict, count in sorted(self.verdicts.items()))
        return f"{self.verdicts.total()} packets judged as decide() says: {told}; by rule {dict(self.rules)}"


@pytest.mark.timeout(300 if GOAL < 100_000 else 7200)
def test_real_packets_get_the_verdict_of_decide(world, record_property, capsys):
    """Random policies, random pods, and a second of each on top of the first, often an edited one."""
    tally = Tally()

    @EXAMPLES
    @given(st.data())
    def judged(data):
        chance = random.Random(data.draw(st.integers(0, 2**32)))
        with world.enforcing() as node, world.log() as log:
            policy = data.draw(policies())
            for _ in range(STEPS):
                judge(policy, data.draw(inventories(world)), node, log, chance)
                policy = next_of(policy, data.draw(policies()), chance)

    def next_of(policy, other, chance):
        """Another policy, or the same with some rules less and some more: the agent works out what that changes."""
        if chance.random() < 0.3:
            return other
        rules = [each for each in policy.entries[:-2] if chance.random() < 0.7]
        for each in other.entries[:-2]:
            rules.insert(chance.randint(0, len(rules)), each)
        return replace(policy, entries=(*rules, *policy.entries[-2:]))

    def judge(policy, inventory, node, log, chance):
        probes = attempts(world, chance, PROBES)
        directory = inventory.directory()
        expected = {probe.key: decide(policy, flow_of(probe, directory, policy)) for probe in probes}
        applied = node.enforce(policy, inventory)
        packets.run(probes, log, settled_for(expected, applied.ruleset.terminals), seconds=30)
        tally.add(expected.values())

    judged()
    record_property("packets", tally.verdicts.total())
    with capsys.disabled():
        print(f"\n{tally}")
    assert tally.verdicts.total() >= GOAL
    assert tally.verdicts.keys() == set(Verdict)
