"""What is behind a link that is no uplink is a pod's: who is known there, who isn't, and who may only say what is his."""

import select
import socket
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import count

import pytest

from enforcer.netlink import nflog
from enforcer.rules import log_limits
from enforcer.rules.connmark import ConnmarkLayout
from enforcer.rules.ruleset import lockdown
from mocks.lab import Lab, Outcome, Probe, measure, unavailable
from tests.enforcer import frames
from tests.enforcer.frames import frame, ip, ip_kind, mac
from tests.enforcer.world import NOW, OPTIONS, WholeFeeds, World
from zones.addresses.inventory import Inventory
from zones.policy import Entry, Policy, Verdict, usual_infrastructure
from zones.rules import Log, Origin, RuleType
from zones.zone import Zoning

pytestmark = pytest.mark.kernel

ZONES = {"p0": "web", "p1": "app", "p2": "data", "q0": "web", "q1": "data"}
UNTRUST = {"corp": ["203.0.113.0/24"], "untrust": ["0.0.0.0/0", "::/0"]}
USUAL = usual_infrastructure(*[frozenset({"kube-system"})] * 2, frozenset({"coredns"}))
CLOSED, OPEN = {Outcome.TIMEOUT}, {Outcome.ALLOWED}
UNKNOWN = "infrastructure/unknown-pod"


@pytest.fixture(scope="module", params=["routed", "bridged"])
def stage(request):
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with ExitStack() as stack:
        world = World(stack.enter_context(Lab("links")), bridge=request.param == "bridged")
        yield world, stack.enter_context(world.log())


@pytest.fixture
def world(stage):
    return stage[0]


@pytest.fixture
def records(stage):
    """The rule, the ends and the port of each packet that has been logged since the last time."""
    log = stage[1]

    def records(applied):
        found = []
        while select.select([log], [], [], 0.2)[0]:  # the kernel keeps records for a twentieth of a second
            for packet in map(nflog.parse, log.read()):
                rule = applied.ruleset.terminals[packet.prefix.split(":")[1]].origin.name
                found.append((rule, str(packet.source), str(packet.destination), packet.destination_port))
        return found

    while select.select([log], [], [], 0.2)[0]:
        log.read()
    return records


@pytest.fixture
def told(records):
    """The rules and the ends of what has been logged since the last time."""
    return lambda applied: {each[:3] for each in records(applied)}


def policy(*pairs, networks=UNTRUST):
    """These pairs of zones may talk, and all within a zone; everything is logged."""
    zoning = Zoning.of({zone: [ip_network(each) for each in held] for zone, held in networks.items()})
    allowed = [
        Entry(Origin(f"{a} to {b}", None, "pre", "dg"), Verdict.ALLOW, RuleType.UNIVERSAL, frozenset({a}), frozenset({b}),
              log=Log(start=True))
        for a, b in pairs
    ]  # fmt: skip
    within = Entry(Origin("within", None, "default", "Shared"), Verdict.ALLOW, RuleType.INTRAZONE, log=Log(start=True))
    rest = Entry(Origin("rest", None, "default", "Shared"), Verdict.DENY, log=Log(start=True))
    return Policy(zoning, USUAL, (*allowed, within, rest))


def known(world, *names):
    return world.inventory(*(world.pod(name, ZONES[name]) for name in names or ZONES))


def tried(world, source, target, seconds=0.4):
    """The outcomes over both families and protocols."""
    at, to = world.machines[source], world.machines[target]
    return set(measure([Probe(at, ip_, 80, kind) for ip_ in (to.ip, to.ip6) for kind in ("tcp", "udp")], seconds))


def without_pod_cidrs(inventory):
    nodes = {name: replace(node, pod_cidrs=()) for name, node in inventory.nodes.items()}
    return Inventory(inventory.pods, nodes)


def with_pods_elsewhere(inventory):
    """Each Node tells a podCIDR, and the plug-in gives pods other addresses: Calico's own IPAM."""
    cidrs = ip_network("192.168.128.0/24"), ip_network("fd77::/64")
    nodes = inventory.nodes | {"n1": replace(inventory.nodes["n1"], pod_cidrs=cidrs)}
    return Inventory(inventory.pods, nodes)


OPEN_TO_UNTRUST = policy(("untrust", "web"), ("web", "untrust"), ("untrust", "nodes"))


@pytest.mark.parametrize("told_of", [without_pod_cidrs, with_pods_elsewhere])
def test_a_pod_that_nobody_knows_is_no_network_whatever_nodes_tell(world, told, told_of):
    inventory = told_of(known(world, "p0", "p2", "q0"))
    with world.enforcing() as node:
        applied = node.enforce(OPEN_TO_UNTRUST, inventory)
        for source, target in (("p4", "outside"), ("p4", "n1"), ("p4", "p2"), ("outside", "p4"), ("p4", "p3")):
            assert tried(world, source, target) == CLOSED
            found = told(applied)
            ends = {(getattr(world.machines[source], f), getattr(world.machines[target], f)) for f in ("ip", "ip6")}
            assert found == {(UNKNOWN, *each) for each in ends}, (source, target)
        if told_of is with_pods_elsewhere:  # these are known, and not trusted
            assert tried(world, "p0", "outside") == tried(world, "outside", "p2") == tried(world, "p0", "p2") == CLOSED
        else:
            assert tried(world, "p0", "outside", 20) == tried(world, "outside", "p0", 20) == OPEN
            assert tried(world, "p2", "outside") == tried(world, "outside", "p2") == CLOSED


@pytest.mark.parametrize("cidrs", [True, False])
def test_after_a_restart_of_the_node_its_pods_are_closed_with_or_without_pod_cidrs(world, told, tmp_path, cidrs):
    inventory = known(world) if cidrs else without_pod_cidrs(known(world))
    with world.inside():
        first = WholeFeeds("n1", OPTIONS, state_dir=tmp_path)
        first.apply(OPEN_TO_UNTRUST, inventory, NOW, revision=5)
        first.settle()
        first.stop()
    world.n1.nft("delete table inet zonebridge")
    with world.reconciler(state_dir=tmp_path) as again:
        applied = again.restore()
        told(applied)
        for source, target in (("p2", "outside"), ("p2", "p0"), ("outside", "p2"), ("p0", "n1")):
            assert tried(world, source, target) == CLOSED
            assert {rule for rule, *_ in told(applied)} == {UNKNOWN}


@pytest.mark.parametrize("marks", [OPTIONS.marks, ConnmarkLayout(0)], ids=["marked", "unmarked"])
@pytest.mark.parametrize("told_of", [lambda inventory: inventory, without_pod_cidrs])
def test_a_node_probes_the_pods_behind_its_links_before_anybody_knows_them(world, told, told_of, marks):
    """The kubelet probes a pod before its address has got to the API server."""
    inventory = told_of(known(world, "p0", "p2", "q0"))
    with world.enforcing(replace(OPTIONS, marks=marks)) as node:
        applied = node.enforce(policy(), inventory)
        assert tried(world, "n1", "p4", 20) == OPEN
        assert told(applied) == set()
        for source, target in (("p4", "n1"), ("n2", "p4"), ("p0", "p4")):
            assert tried(world, source, target) == CLOSED, (source, target)


def test_a_named_network_within_the_pods_network_keeps_its_zone(world):
    """Databases in the VPC of which the pods have their addresses."""
    wide = (ip_network("10.244.0.0/16"), ip_network("fd00:10:244::/48"), ip_network("203.0.112.0/20"))
    inventory = replace(without_pod_cidrs(known(world)), networks=wide)
    networks = {"corp": ["203.0.113.0/24", "2001:db8:c0::/48"], "untrust": ["0.0.0.0/0", "::/0"]}
    with world.enforcing() as node:
        node.enforce(policy(("web", "corp"), ("corp", "web"), networks=networks), inventory)
        assert tried(world, "p0", "corp", 20) == tried(world, "corp", "p0", 20) == OPEN
        assert tried(world, "p2", "corp") == tried(world, "corp", "p2") == CLOSED


def connected(source, target, scope, kind, seconds=0.4):
    with source.netns.inside():
        made = socket.socket(socket.AF_INET6, kind)
    with made:
        made.settimeout(seconds)
        try:
            made.connect((target, 80, 0, scope))
            made.send(b"hello")
            return made.recv(9) == b"hello"
        except OSError:
            return False


@pytest.mark.parametrize("rules", [policy(), lockdown()])
def test_no_pod_reaches_its_node_or_another_pod_by_link_local_addresses(world, told, rules):
    p0, p2 = world.machines["p0"], world.machines["p2"]
    link = "cni0" if world.n1.gateway else "pod1"
    with world.enforcing() as node:
        applied = node.enforce(rules, known(world))
        for machine, target in ((world.n1, frames.link_local(world.n1, link)), (p2, frames.link_local(p2))):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                assert not connected(p0, target, frames.index(p0), kind)
            if machine is world.n1 or world.n1.gateway:
                assert ("infrastructure/link-local", frames.link_local(p0), target) in told(applied)


def test_discovery_and_what_is_allowed_go_on(world):
    with world.enforcing() as node:
        node.enforce(policy(("web", "app"), ("web", "untrust")), known(world))
        for machine in (world.n1, world.machines["p0"], world.machines["p1"]):
            machine.run(["ip", "neigh", "flush", "all"])
        for source, target in (("p0", "p1"), ("p0", "q0"), ("p0", "outside"), ("n1", "p2")):
            assert tried(world, source, target, 20) == OPEN


def test_a_link_local_network_that_has_a_zone_is_reached_by_its_rules(world):
    """A cloud's metadata service, where an administrator names it."""
    at = "169.254.169.254"
    world.corp.run(["ip", "address", "add", f"{at}/32", "dev", "eth0"])
    world.n1.run(["ip", "route", "add", f"{at}/32", "dev", "eth0"])
    reached = [Probe(world.machines["p0"], at, 80, kind) for kind in ("tcp", "udp")]
    try:
        with world.enforcing() as node:
            node.enforce(policy(("web", "untrust"), ("web", "metadata")), known(world))
            assert set(measure(reached, 0.4)) == CLOSED
            named = UNTRUST | {"metadata": [f"{at}/32"]}
            node.enforce(policy(("web", "metadata"), networks=named), known(world))
            assert set(measure(reached, 20)) == OPEN
            node.enforce(policy(("data", "metadata"), networks=named), known(world))
            assert set(measure(reached, 0.4)) == CLOSED
    finally:
        world.n1.run(["ip", "route", "del", f"{at}/32"])
        world.corp.run(["ip", "address", "del", f"{at}/32", "dev", "eth0"])


def test_what_is_for_everybody_is_for_the_node_by_the_rules_of_its_zone(world, told):
    """By broadcast of its own network and by its anycast address too; where nodes are allowed, these are."""
    p0 = world.machines["p0"]
    targets = "192.168.50.255", "fd00:192:168:50::"
    with world.enforcing() as node:
        for pairs, rule in (
            ([("web", "untrust")], "rest"),
            ([("web", "untrust"), ("web", "nodes")], "web to nodes"),
        ):
            applied = node.enforce(policy(*pairs), known(world))
            for target in targets:
                family = socket.AF_INET6 if ":" in target else socket.AF_INET
                with p0.netns.inside(), socket.socket(family, socket.SOCK_DGRAM) as made:
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                    made.sendto(b"hello", (target, 80))
            found = told(applied)
            assert {(rule, p0.ip, targets[0]), (rule, p0.ip6, targets[1])} <= found
            assert {each[0] for each in found} == {rule}


def test_the_word_of_a_node_object_gives_nobody_the_rights_of_this_machine(world):
    """Its status may name an outside host; only what the kernel answers for is this machine's own."""
    inventory = known(world)
    n1 = inventory.nodes["n1"]
    claimed = inventory.with_node(
        replace(n1, addresses=(*n1.addresses, *map(ip_address, (world.corp.ip, world.corp.ip6))))
    )
    with world.enforcing() as node:
        node.enforce(policy(), claimed)
        assert tried(world, "corp", "p2") == CLOSED
        assert tried(world, "n1", "p2", 20) == OPEN


@pytest.fixture
def forger(world):
    """Sends packets of p0's own making: to its node, or on a bridge to p2 itself."""
    p0, p2, numbers = world.machines["p0"], world.machines["p2"], count(1)
    to = mac(p2) if world.n1.gateway else mac(world.n1, "pod1")
    with frames.line(p0) as line, frames.line(p2) as at_p2:

        def arrives(make):
            mark = b"<%06d>" % next(numbers)
            packet = make(mark)
            line.send(frame(to, mac(p0), ip_kind(packet), packet))
            return bool(frames.hears({"p2": at_p2}, mark))

        yield arrives


def test_an_error_comes_only_from_an_end_of_the_connection_that_it_is_about(world, told, forger):
    p0, p2, corp = (world.machines[name] for name in ("p0", "p2", "corp"))
    with world.enforcing() as node:
        applied = node.enforce(policy(("data", "corp"), ("web", "data")), known(world))
        with p2.netns.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
            talk.settimeout(5)
            talk.connect((corp.ip, 80))
            talk.send(b"hello")
            assert talk.recv(9) == b"hello"
            port = talk.getsockname()[1]
            assert {each[0] for each in told(applied)} == {"data to corp"}
            quoted = lambda mark: frames.datagram(p2.ip, corp.ip, mark, source_port=port, port=80)  # noqa: E731
            for kind, code in ((3, 3), (3, 4), (11, 0)):
                error = lambda mark, kind=kind, code=code: frames.icmp(kind, code, data=quoted(mark))  # noqa: E731
                assert not forger(lambda mark, error=error: ip(p0.ip, p2.ip, 1, error(mark)))
            assert told(applied) == {("infrastructure/icmp-error", p0.ip, p2.ip)}
        # An end may: nobody listens at this port of p2, and p0 hears that at once.
        with p0.netns.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
            ask.settimeout(5)
            ask.connect((p2.ip, 9))
            ask.send(b"hello")
            with pytest.raises(ConnectionRefusedError):
                ask.recv(9)


def test_a_flood_hides_only_the_denials_of_its_own_source(world, records):
    p0, p1, p2 = (world.machines[name] for name in ("p0", "p1", "p2"))
    few = replace(OPTIONS, log_rate=1, log_burst=20)
    with world.enforcing(few) as node:
        applied = node.enforce(policy(), known(world))
        flood = frames.datagram(p0.ip, p2.ip, b"flood")
        to = mac(p2) if world.n1.gateway else mac(world.n1, "pod1")
        with frames.line(p0) as line:
            for _ in range(2000):
                line.send(frame(to, mac(p0), ip_kind(flood), flood))
        ports = range(9000, 9015)
        with p1.netns.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as scan:
            for port in ports:
                scan.sendto(b"scan", (p2.ip, port))
        found = records(applied)
        assert {port for _, source, _, port in found if source == p1.ip} == set(ports)
        assert 20 <= len([source for _, source, *_ in found if source == p0.ip]) < 1000
        rule = next(key for key, each in applied.ruleset.terminals.items() if each.origin.name == "rest")
        with node.inside():
            assert node.reconciler.counters()[rule][0] == 2000 + len(ports)


def test_a_flood_from_forged_addresses_hides_only_what_else_is_forged_behind_its_link(world, records):
    """Each address of a neighbour would else bring a limit of its own: a hundred pods, a hundred times the log."""
    if world.n1.gateway:
        return  # on a bridge its neighbours' addresses are its own link's
    p0, p1, p2 = (world.machines[name] for name in ("p0", "p1", "p2"))
    others = [
        replace(world.pod("p1", "app"), uid=f"n{n}", name=f"n{n}", addresses=(ip_address(f"10.244.1.{n}"),))
        for n in range(100, 140)
    ]
    few = replace(OPTIONS, log_rate=1, log_burst=20)
    with world.enforcing(few) as node:
        pods = (world.pod(name, zone) for name, zone in ZONES.items())
        applied = node.enforce(policy(), world.inventory(*pods, *others))
        with frames.line(p0) as line:
            for pod in others * 5:
                packet = frames.datagram(str(pod.addresses[0]), p2.ip, b"forged")
                line.send(frame(mac(world.n1, "pod1"), mac(p0), ip_kind(packet), packet))
        with p1.netns.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as scan:
            scan.sendto(b"scan", (p2.ip, 9000))
        found = [each[:2] for each in records(applied)]
        assert ("rest", p1.ip) in found
        forged = [rule for rule, source in found if source != p1.ip]
        assert set(forged) == {"infrastructure/spoofed-address"}
        assert len(forged) < 40


def test_a_host_with_more_addresses_than_there_is_room_for_hides_nobody_else(world, records, monkeypatch):
    monkeypatch.setattr(log_limits, "_MANY_OTHERS", 32)
    p2, outside = world.machines["p2"], world.machines["outside"]
    with world.enforcing(replace(OPTIONS, log_rate=1, log_burst=50)) as node:
        applied = node.enforce(policy(), known(world))
        sources = [f"2001:db8:bad::{n:x}" for n in range(1, 200)]
        with frames.line(outside) as line:
            for source in (*sources, "2001:db8:900d::1"):
                packet = frames.datagram(source, p2.ip6, b"many")
                line.send(frame(mac(world.n1), mac(outside), ip_kind(packet), packet))
        heard = [source for _, source, *_ in records(applied)]
        assert "2001:db8:900d::1" in heard
        assert 32 <= len(heard) < 150  # room for some, and one limit for the rest of its network


def test_nobody_outside_is_this_machine_itself(world, told):
    """IPv6 forwards what comes in from an address of this very machine, and a node reaches its own pods."""
    p2, gateway = world.machines["p2"], world.n1.gateway
    with world.enforcing() as node:
        applied = node.enforce(policy(), known(world))
        for own in (world.n1, *([gateway] if gateway else [])):
            told(applied)
            packets = (
                frames.datagram(own.ip6, p2.ip6, b"<as node>"),
                ip(own.ip6, p2.ip6, 6, frames.tcp(own.ip6, p2.ip6, 4000, 80, frames.SYN, data=b"<as node>")),
            )
            with frames.line(world.corp) as line, frames.line(p2) as at_p2:
                for packet in packets:
                    line.send(frame(mac(world.n1), mac(world.corp), ip_kind(packet), packet))
                assert not frames.hears({"p2": at_p2}, b"<as node>")
            assert told(applied) == {("infrastructure/spoofed-address", own.ip6, p2.ip6)}
        assert tried(world, "n1", "p2", 20) == OPEN


def test_what_is_said_of_groups_is_said_to_groups(world, told):
    """With a hop limit of 1 it stays on a bridge, whose other ports it reaches; to ask for it is a router's."""
    p0, p2 = world.machines["p0"], world.machines["p2"]
    to = mac(p2) if world.n1.gateway else mac(world.n1, "pod1")
    target = p2 if world.n1.gateway else world.n1
    with world.enforcing() as node:
        applied = node.enforce(policy(), known(world))
        for kind, rule in ((131, None), (143, None), (130, "infrastructure/router-message")):
            told(applied)
            packet = ip(p0.ip6, target.ip6, 58, frames.icmp6(p0.ip6, target.ip6, kind, 0, data=b"<group>"), hops=1)
            with frames.line(p0) as line, frames.line(p2) as at_p2:
                line.send(frame(to, mac(p0), ip_kind(packet), packet))
                assert not frames.hears({"p2": at_p2}, b"<group>")
            found = {each for each, *_ in told(applied)}
            assert found == {rule} if rule else found, kind


def test_addresses_of_others_are_told_as_such_on_the_uplink_too(world, told):
    """Whoever is outside and claims to be a pod of this node."""
    p1, p2 = world.machines["p1"], world.machines["p2"]
    with world.enforcing() as node:
        applied = node.enforce(policy(("app", "data")), known(world))
        packet = frames.datagram(p1.ip, p2.ip, b"<uplink>")
        with frames.line(world.corp) as line, frames.line(p2) as at_p2:
            line.send(frame(mac(world.n1), mac(world.corp), ip_kind(packet), packet))
            assert not frames.hears({"p2": at_p2}, b"<uplink>")
        assert told(applied) == {("infrastructure/spoofed-address", p1.ip, p2.ip)}


@pytest.mark.parametrize("shown", [0, 1])
@pytest.mark.parametrize("tag", [frames.ETH_VLAN, frames.ETH_QINQ])
def test_a_tagged_frame_passes_by_no_rule_whether_the_bridge_shows_it_or_not(world, told, tag, shown):
    if not world.n1.gateway:
        return
    p0, p2 = world.machines["p0"], world.machines["p2"]
    world.n1.netns.write_sysctl("net/bridge/bridge-nf-filter-vlan-tagged", shown)
    try:
        with world.enforcing() as node, frames.line(p0) as line, frames.line(p2) as at_p2:
            applied = node.enforce(policy(), known(world))
            packet = frames.datagram(p0.ip, p2.ip, b"<tagged>")
            line.send(frame(mac(p2), mac(p0), ip_kind(packet), packet, [(tag, 0)]))
            heard = frames.hears({"p2": at_p2}, b"<tagged>")
            assert (heard, told(applied)) == (set(), {("infrastructure/foreign-frame", p0.ip, p2.ip)})
    finally:
        world.n1.netns.write_sysctl("net/bridge/bridge-nf-filter-vlan-tagged", 0)
