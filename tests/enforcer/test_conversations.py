"""Every kind of conversation that a node sees, as real connections: allowed, denied and reset, as `decide` says."""

import select
import socket
import time
from contextlib import ExitStack
from ipaddress import ip_address, ip_network

import pytest

from enforcer.netlink import nflog
from mocks.lab import Lab, Outcome, Probe, measure, unavailable
from tests.enforcer import packets
from tests.enforcer.kinds import KINDS, NETWORKS, NOBODY, Scene
from tests.enforcer.test_verdicts import flow_of, settled_for
from tests.enforcer.world import World
from zones.net import TCP
from zones.policy import Entry, Policy, Verdict, usual_infrastructure
from zones.rules import Log, Origin
from zones.verdict import decide
from zones.zone import Zoning

pytestmark = pytest.mark.kernel

ZONING = Zoning.of({zone: [ip_network(each) for each in held] for zone, held in NETWORKS.items()})


@pytest.fixture(scope="module", params=["routed", "bridged"])
def stage(request):
    """A scene, the agent on its node, and the kernel's log."""
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with ExitStack() as stack:
        world = World(stack.enter_context(Lab("talk")), bridge=request.param == "bridged")
        yield Scene(world), stack.enter_context(world.enforcing()), stack.enter_context(world.log())


def policy(pair, verdict, infrastructure=()):
    """One verdict for one pair of zones, another for all else; every decision is logged."""
    other = Verdict.DENY if verdict is Verdict.ALLOW else Verdict.ALLOW
    sides = {"from_zones": frozenset({pair[0]}), "to_zones": frozenset({pair[1]})}
    entries = (
        Entry(Origin("the pair", None, "pre", "dg"), verdict, **sides, log=Log(start=True)),
        Entry(Origin("the rest", None, "default", "Shared"), other, log=Log(start=True)),
    )
    return Policy(ZONING, infrastructure, entries)


def try_out(stage, kind, verdict, infrastructure=()):
    """What `decide` says of each probe, which is what became of it."""
    scene, node, log = stage
    probes, directory = scene.probes(kind), scene.world.directory(scene.inventory)
    ends = [directory.endpoint(ip_address(at), ZONING).zone for at in probes[0].seen[:2]]
    wanted = policy(ends, verdict, infrastructure)
    expected = {probe.key: decide(wanted, flow_of(probe, directory, wanted)) for probe in probes}
    applied = node.enforce(wanted, scene.inventory)
    settled = settled_for(expected, applied.ruleset.terminals, resets_arrive=scene.resets_arrive(kind))
    packets.run(probes, log, settled, seconds=30)
    return {decision.verdict for decision in expected.values()}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_conversation_comes_about_only_where_it_is_allowed(stage, kind):
    scene = stage[0]
    if kind.masqueraded:
        scene.world.n1.masquerade(*scene.lab.inside_prefixes)
    try:
        for verdict in Verdict:
            assert try_out(stage, kind, verdict) == {verdict}
    finally:
        scene.world.n1.masquerade()


def reach(source, address, port=80, seconds=20.0):
    """The outcomes over TCP and UDP, of both families."""
    tries = [Probe(source, ip, port, each) for each in ("tcp", "udp") for ip in (address.ip, address.ip6)]
    return set(measure(tries, seconds))


def test_each_connection_to_a_service_is_judged_by_who_answers_it(stage):
    """Of two pods behind one address, only one may be reached."""
    scene, node, log = stage
    machines = scene.machines
    service = scene.lab.service(80, [machines["p2"], machines["p1"]])
    try:
        node.enforce(policy(("web", "data"), Verdict.ALLOW), scene.inventory)
        client = machines["p0"]
        probes = [
            packets.Probe(
                client, getattr(client, family), getattr(service, family), TCP, 80, next(scene.world.source_ports)
            )
            for family in ("ip", "ip6")
            for _ in range(20)
        ]
        by_port = {}

        def settled(probe):
            if probe.outcome == "answered":
                by_port[probe.source_port] = "p2"
            return probe.source_port in by_port

        packets.run(probes, Noting(log, by_port, machines), settled, seconds=30)
        assert set(by_port.values()) == {"p1", "p2"}
    finally:
        scene.lab.withdraw(service)


class Noting:
    """The kernel's log, of which it notes whom a denied packet was for."""

    def __init__(self, log, by_port, machines):
        self._log, self._by_port = log, by_port
        self._names = {at: name for name, machine in machines.items() for at in (machine.ip, machine.ip6)}
        self.fileno = log.fileno

    def read(self):
        bodies = self._log.read()
        for packet in map(nflog.parse, bodies):
            if self._names.get(str(packet.destination)) == "p1":
                self._by_port[packet.source_port] = "p1"
        return bodies


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_a_probe_passes_whatever_the_rules_say_and_whoever_sends_it(stage, uid):
    scene, node, _ = stage
    pod = scene.machines["p0"]
    node.enforce(policy(("nodes", "web"), Verdict.DENY, usual_infrastructure(*[frozenset()] * 3)), scene.inventory)
    tries = [Probe(scene.world.n1, ip, 80, each, uid) for each in ("tcp", "udp") for ip in (pod.ip, pod.ip6)]
    assert set(measure(tries, 20)) == {Outcome.ALLOWED}
    assert reach(scene.world.n2, pod, seconds=0.4) == {Outcome.TIMEOUT}


@pytest.mark.parametrize("shown", [True, False])
def test_only_what_a_bridge_shows_is_enforced(stage, shown):
    """The known hole, for which `docs/conversations.md` says what to set on a node."""
    scene, node, _ = stage
    client, server, n1 = scene.machines["p0"], scene.machines["p2"], scene.world.n1
    node.enforce(policy(("web", "data"), Verdict.DENY), scene.inventory)
    n1.show_bridged(on=shown)
    try:
        seen = shown or n1.gateway is None
        assert reach(client, server, seconds=0.4 if seen else 20) == {Outcome.TIMEOUT if seen else Outcome.ALLOWED}
        assert reach(client, scene.machines["q1"], seconds=0.4) == {Outcome.TIMEOUT}
    finally:
        n1.show_bridged(on=True)


@pytest.mark.parametrize("tracked", [True, False])
def test_a_node_local_dns_is_reached_from_every_zone_and_answers(stage, tracked):
    """Kept out of conntrack by its own set-up or not; anything else of its node stays denied."""
    scene, node, _ = stage
    n1 = scene.world.n1
    place = n1.local_dns(tracked=tracked)
    usual = usual_infrastructure(*[frozenset()] * 3)
    try:
        node.enforce(policy(("web", "nodes"), Verdict.DENY, usual), scene.inventory)
        assert reach(scene.machines["p0"], place, 53) == {Outcome.ALLOWED}
        assert reach(scene.machines["p0"], place, 80, seconds=0.4) == {Outcome.TIMEOUT}
    finally:
        n1.local_dns(tracked=True)


def test_what_the_network_plug_in_drops_later_stays_dropped(stage):
    scene, node, _ = stage
    client, server, n1 = scene.machines["p0"], scene.machines["p2"], scene.world.n1
    node.enforce(policy(("web", "data"), Verdict.ALLOW), scene.inventory)
    n1.refuse("tcp dport 443")
    try:
        assert reach(client, server, 80) == {Outcome.ALLOWED}
        assert set(measure([Probe(client, ip, 443) for ip in (server.ip, server.ip6)], 0.4)) == {Outcome.TIMEOUT}
    finally:
        n1.refuse()


def test_packets_whose_answers_take_another_way_are_of_no_connection_and_told(stage):
    """From outside over this node to another node's pod, whose answers go straight back. A datagram passes."""
    scene, node, log = stage
    corp, n1, target = scene.machines["corp"], scene.world.n1, scene.machines["q0"]
    for name in ("all", "eth0"):
        n1.netns.write_sysctl(f"net/ipv4/conf/{name}/send_redirects", 0)
    directory = scene.world.directory(scene.inventory)
    ends = [directory.endpoint(ip_address(machine.ip), ZONING).zone for machine in (corp, target)]
    applied = node.enforce(policy(ends, Verdict.ALLOW), scene.inventory)
    way = [f"{target.ip}/32", "via", n1.ip, "dev", "eth0"]
    corp.netns.require(["ip", "route", "add", *way])
    try:
        log.read()
        assert measure([Probe(corp, target.ip, 80, "udp")], 20) == [Outcome.ALLOWED]
        assert measure([Probe(corp, target.ip, 80)], 20) == [Outcome.ALLOWED]
        said = conversation(corp, target.ip)
    finally:
        corp.netns.require(["ip", "route", "del", *way])
    assert said == "nothing"
    told, deadline = set(), time.monotonic() + 20
    while not {"the pair", "infrastructure/no-connection"} <= told:
        assert select.select([log.fileno()], [], [], deadline - time.monotonic())[0], told
        rules = {nflog.parse(body).prefix.split(":")[1] for body in log.read()}
        # What was logged by the rules before may come late.
        told |= {applied.ruleset.terminals[rule].origin.name for rule in rules & applied.ruleset.terminals.keys()}


def conversation(source, ip):
    """What comes back of what is said on a TCP connection."""
    with source.netns.inside():
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with made:
        made.settimeout(1)
        made.connect((ip, 80))
        try:
            made.sendall(b"hello")
            return made.recv(10).decode()
        except TimeoutError:
            return "nothing"
