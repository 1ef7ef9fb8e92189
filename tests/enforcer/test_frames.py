"""Frames between pods of one bridge: whoever lies about who he is reaches nobody, and is told; all others go on."""

import json
import select
import socket
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest

from enforcer.flows.log_counters import LogCounters
from enforcer.netlink import nflog
from enforcer.netlink.messages import BRIDGE
from enforcer.node.bridge_ports import BridgePorts, matched
from enforcer.rules.options import Mode
from mocks.lab import Lab, Outcome, Probe, measure, unavailable
from tests.enforcer import frames
from tests.enforcer.frames import (
    BROADCAST,
    ETH_ARP,
    ETH_IP,
    ETH_IP6,
    ETH_QINQ,
    ETH_VLAN,
    arp,
    datagram,
    frame,
    icmp6,
    ip,
    ip_kind,
    link_local,
    mac,
    octets,
    packed,
)
from tests.enforcer.test_links import known, policy
from tests.enforcer.world import NOW, OPTIONS, Enforced, WholeFeeds, World
from zones.net import protocol_name

pytestmark = pytest.mark.kernel

TABLE = "bridge zonebridge-bridge"
SPOOFED, FOREIGN, ROUTER, MISDIRECTED = (
    "infrastructure/spoofed-address",
    "infrastructure/foreign-frame",
    "infrastructure/router-message",
    "infrastructure/misdirected-frame",
)
APP_TO_DATA = policy(("app", "data"), ("web", "untrust"))
MARK = b"<lie>"
ALL_HOSTS = "33:33:00:00:00:01"


@pytest.fixture(scope="module")
def stage():
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with ExitStack() as stack:
        world = World(stack.enter_context(Lab("frames")), bridge=True)
        yield world, stack.enter_context(world.log())


@pytest.fixture
def world(stage):
    return stage[0]


@pytest.fixture
def records(stage):
    """The packets that have been logged, with their rules' names; `until` so many were read, or none come."""
    log = stage[1]

    def records(applied, until=1, seconds=5.0):
        found, deadline = [], time.monotonic() + seconds
        while len(found) < until and time.monotonic() < deadline:
            if select.select([log], [], [], 0.1)[0]:
                packets = map(nflog.parse, log.read())
                found += [(applied.ruleset.terminals[each.prefix.split(":")[1]].origin.name, each) for each in packets]
        return [(rule, applied.stations.named(each)) for rule, each in found if not is_noise(each)]

    while select.select([log], [], [], 0.2)[0]:
        log.read()
    return records


def is_noise(packet):
    """What any host tells of its groups."""
    return packet.protocol in {0, 2}


class Liar:
    """Pod p0, with a stack of its own."""

    def __init__(self, world):
        self.world = world
        self.line = frames.line(world.machines["p0"])
        self.mac = {name: mac(world.machines[name]) for name in ("p0", "p1", "p2")} | {"n1": mac(world.n1, "cni0")}
        gateway = world.n1.gateway
        self.ip = {name: world.machines[name].ip for name in ("p0", "p1", "p2")} | {"n1": gateway.ip}
        self.ip6 = {name: world.machines[name].ip6 for name in ("p0", "p1", "p2")} | {"n1": gateway.ip6}

    def arp(self, operation, sender, *, at=None, to="p2"):
        said = arp(operation, at or self.mac["p0"], sender, self.mac[to], self.ip[to]) + MARK
        return frame(self.mac[to], self.mac["p0"], ETH_ARP, said)

    def udp(self, source, *, at=None, tags=(), to="p2"):
        target = self.ip6[to] if ":" in source else self.ip[to]
        packet = datagram(source, target, MARK)
        return frame(self.mac[to], at or self.mac["p0"], ip_kind(packet), packet, tags)

    def misdirected(self, target, to="p2", *, at=None):
        """For the one, and sent to the other."""
        own = self.ip6["p0"] if ":" in target else self.ip["p0"]
        packet = datagram(own, target, MARK, source_port=next(self.world.source_ports), port=80)
        return frame(at or self.mac[to], self.mac["p0"], ip_kind(packet), packet)

    def advertisement(self, target, *, source=None, at=None, before=b""):
        source, option = source or self.ip6["p0"], before + b"\2\1" + octets(at or self.mac["p0"])
        body = struct.pack(">BBHI", 136, 0, 0, 0x60000000) + packed(target) + option
        return self.icmp(source, self.ip6["p2"], body)

    def solicitation(self, target, *, source=None, at=None):
        body = struct.pack(">BBHI", 135, 0, 0, 0) + packed(target) + b"\1\1" + octets(at or self.mac["p0"])
        return self.icmp(source or self.ip6["p0"], self.ip6["p2"], body)

    def icmp(self, source, destination, body, to=None):
        whole = icmp6(source, destination, body[0], 0, data=body[8:])
        whole = whole[:4] + body[4:8] + whole[8:]  # its flags; nobody looks at the checksum before us
        return frame(to or self.mac["p2"], self.mac["p0"], ETH_IP6, ip(source, destination, 58, whole, hops=255))

    def send(self, sent):
        self.line.send(sent)

    def close(self):
        self.line.close()


@pytest.fixture
def liar(world):
    with closing(Liar(world)) as liar:
        yield liar


V4, V6 = "ip", "ip6"
# By what is tried: the frame, the rule, and the ends that its record has.
LIES = {
    "IPv4 as a pod of its bridge": (lambda a: a.udp(a.ip["p1"]), SPOOFED, V4, "p1", "p2"),
    "IPv6 as a pod of its bridge": (lambda a: a.udp(a.ip6["p1"]), SPOOFED, V6, "p1", "p2"),
    "IPv4 as the bridge": (lambda a: a.udp(a.ip["n1"]), SPOOFED, V4, "n1", "p2"),
    "IPv6 as the bridge": (lambda a: a.udp(a.ip6["n1"]), SPOOFED, V6, "n1", "p2"),
    "as itself from another pod's hardware address": (
        lambda a: a.udp(a.ip["p0"], at=a.mac["p1"]), SPOOFED, V4, "p0", "p2"),
    "as itself from the bridge's hardware address": (
        lambda a: a.udp(a.ip6["p0"], at=a.mac["n1"]), SPOOFED, V6, "p0", "p2"),
    "IPv4 from an address outside": (lambda a: a.udp("192.0.2.1"), SPOOFED, V4, "192.0.2.1", "p2"),
    "IPv4 from no address": (lambda a: a.udp("0.0.0.0"), SPOOFED, V4, "0.0.0.0", "p2"),
    "IPv6 from no address": (lambda a: a.udp("::"), SPOOFED, V6, "::", "p2"),
    "ARP: another pod's address is mine": (lambda a: a.arp(2, a.ip["p1"]), SPOOFED, V4, "p1", "p2"),
    "ARP: the bridge's address is mine": (lambda a: a.arp(2, a.ip["n1"]), SPOOFED, V4, "n1", "p2"),
    "ARP: who has it, asks another pod's address": (lambda a: a.arp(1, a.ip["p1"]), SPOOFED, V4, "p1", "p2"),
    "ARP: my address is at another pod": (lambda a: a.arp(2, a.ip["p0"], at=a.mac["p1"]), SPOOFED, V4, "p0", "p2"),
    "ARP: an address that nobody has is mine": (lambda a: a.arp(2, "10.244.1.99"), SPOOFED, V4, "10.244.1.99", "p2"),
    "ND: another pod's address is mine": (lambda a: a.advertisement(a.ip6["p1"]), SPOOFED, V6, "p0", "p2"),
    "ND: the bridge's address is mine": (lambda a: a.advertisement(a.ip6["n1"]), SPOOFED, V6, "p0", "p2"),
    "ND: another pod's link-local address is mine": (
        lambda a: a.advertisement(link_local(a.world.machines["p1"])), SPOOFED, V6, "p0", "p2"),
    "ND: my address is at another pod": (
        lambda a: a.advertisement(a.ip6["p0"], at=a.mac["p1"]), SPOOFED, V6, "p0", "p2"),
    "ND: the same behind another option": (
        lambda a: a.advertisement(a.ip6["p0"], at=a.mac["p1"], before=b"\x0e\1" + bytes(6)), SPOOFED, V6, "p0", "p2"),
    "ND: the same behind two": (
        lambda a: a.advertisement(a.ip6["p0"], at=a.mac["p1"], before=2 * (b"\x0e\1" + bytes(6))), SPOOFED, V6,
        "p0", "p2"),
    "ND: in another pod's name": (
        lambda a: a.advertisement(a.ip6["p0"], source=a.ip6["p1"]), SPOOFED, V6, "p1", "p2"),
    "ND: who has it, asks another pod": (
        lambda a: a.solicitation(a.ip6["p2"], source=a.ip6["p1"]), SPOOFED, V6, "p1", "p2"),
    "ND: who has it, asks me from another pod's hardware address": (
        lambda a: a.solicitation(a.ip6["p2"], at=a.mac["p1"]), SPOOFED, V6, "p0", "p2"),
    "ND: in the name of another pod's link-local address": (
        lambda a: a.solicitation(a.ip6["p2"], source=link_local(a.world.machines["p1"])), SPOOFED, V6, "near p1", "p2"),
    "ND: I am a router": (
        lambda a: a.icmp(a.ip6["p0"], "ff02::1", struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0), ALL_HOSTS),
        ROUTER, V6, "p0", "ff02::1"),
    "ND: there is a better router": (
        lambda a: a.icmp(a.ip6["p0"], a.ip6["p2"], struct.pack(">BBHI", 137, 0, 0, 0) + bytes(32)), ROUTER, V6,
        "p0", "p2"),
    "a VLAN tag": (lambda a: a.udp(a.ip["p0"], tags=[(ETH_VLAN, 0)]), FOREIGN, V4, "p0", "p2"),
    "a VLAN tag with a number": (lambda a: a.udp(a.ip6["p0"], tags=[(ETH_VLAN, 5)]), FOREIGN, V6, "p0", "p2"),
    "a service tag": (lambda a: a.udp(a.ip["p0"], tags=[(ETH_QINQ, 0)]), FOREIGN, V4, "p0", "p2"),
    "two tags": (lambda a: a.udp(a.ip["p0"], tags=[(ETH_QINQ, 0), (ETH_VLAN, 0)]), FOREIGN, V4, "p0", "p2"),
    "a kind for experiments": (lambda a: frame(a.mac["p2"], a.mac["p0"], 0x88B5, MARK), FOREIGN, V4, "p0", "p2"),
    "PPPoE": (lambda a: frame(a.mac["p2"], a.mac["p0"], 0x8863, MARK), FOREIGN, V4, "p0", "p2"),
    "a length instead of a kind": (
        lambda a: frame(a.mac["p2"], a.mac["p0"], 46, MARK + bytes(41)), FOREIGN, V4, "p0", "p2"),
    "ARP of another kind": (
        lambda a: frame(a.mac["p2"], a.mac["p0"], ETH_ARP, struct.pack(">HHBBH", 6, ETH_IP, 6, 4, 2) + bytes(20)),
        FOREIGN, V4, "p0", "p2"),
    "ARP with more behind it": (
        lambda a: frame(a.mac["p2"], a.mac["p0"], ETH_ARP, a.arp(2, a.ip["p0"])[14:] + bytes(14)), FOREIGN, V4,
        "p0", "p2"),
    "ND: where is a router, with more behind it": (
        lambda a: a.icmp(a.ip6["p0"], a.ip6["p2"], struct.pack(">BBHI", 133, 0, 0, 0) + MARK + bytes(30)), FOREIGN, V6,
        "p0", "p2"),
    "IPv4 for a pod that it may talk to, sent to another": (
        lambda a: a.misdirected("10.244.2.2"), MISDIRECTED, V4, "p0", "10.244.2.2"),
    "IPv6 for a pod that it may talk to, sent to another": (
        lambda a: a.misdirected("fd00:10:244:2::2"), MISDIRECTED, V6, "p0", "fd00:10:244:2::2"),
    "IPv4 for itself, sent to another": (lambda a: a.misdirected(a.ip["p0"]), MISDIRECTED, V4, "p0", "p0"),
    "IPv4 for an outside host that it may talk to, sent to another": (
        lambda a: a.misdirected("198.51.100.10"), MISDIRECTED, V4, "p0", "198.51.100.10"),
}  # fmt: skip


@pytest.fixture
def enforced(world):
    with world.enforcing() as node:
        yield node, node.enforce(APP_TO_DATA, known(world))


def test_a_lie_reaches_nobody_and_is_told_with_both_ends(world, records, liar, enforced):
    outcomes, expected, sent = {}, {}, {}
    with closing(frames.line(world.machines["p2"])) as heard:
        for lie, (make, rule, family, source, target) in LIES.items():
            names = vars(liar)[family] | {"near p1": link_local(world.machines["p1"])}
            sent[lie] = make(liar)
            liar.send(sent[lie])
            outcomes[lie] = [
                (each, str(packet.source), str(packet.destination)) for each, packet in records(enforced[1])
            ]
            expected[lie] = [(rule, names.get(source, source), names.get(target, target))]
        heard_there = set(frames_of(heard))
    assert outcomes == expected
    assert [lie for lie, each in sent.items() if each[14:] in {other[14:] for other in heard_there}] == []


def arrives(line, mark, seconds=10.0):
    """Whether a frame comes that has this in it."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([line], [], [], left)[0] and mark in line.recv(65535):
            return True
    return False


def frames_of(line):
    """What has come."""
    while select.select([line], [], [], 0.1)[0]:
        yield line.recv(65535)


@pytest.mark.parametrize("to", [BROADCAST, "02:00:00:00:99:99"])
def test_what_a_bridge_sends_to_every_port_comes_to_whom_it_is_for_alone(world, records, liar, to):
    """A web of its own zone is p1 here. p4 isn't known: nobody else's packets come to it either."""
    pods = world.inventory(world.pod("p0", "web"), world.pod("p1", "web"), world.pod("p2", "data"))
    with world.enforcing() as node, ExitStack() as stack:
        applied = node.enforce(APP_TO_DATA, pods)
        lines = {name: stack.enter_context(closing(frames.line(world.machines[name]))) for name in ("p1", "p2", "p4")}
        for target in (liar.ip["p1"], liar.ip6["p1"]):
            liar.send(liar.misdirected(target, at=to))
            assert frames.hears(lines, MARK) == {"p1"}
            found = [rule for rule, _ in records(applied, until=5)]
            assert (set(found), found.count("within")) == ({"within", MISDIRECTED}, 1)


def test_a_copy_of_what_goes_to_a_known_pod_reaches_nobody_else_and_is_not_told(world, records, liar):
    """The bridge has forgotten where p1 is: it happens to the most honest."""
    pods = world.inventory(world.pod("p0", "web"), world.pod("p1", "web"), world.pod("p2", "data"))
    world.n1.run(["ip", "link", "set", "pod2", "type", "bridge_slave", "learning", "off"])
    try:
        with world.enforcing() as node, ExitStack() as stack:
            applied = node.enforce(APP_TO_DATA, pods)
            lines = {name: stack.enter_context(closing(frames.line(world.machines[name]))) for name in ("p1", "p2")}
            world.n1.run(["bridge", "fdb", "flush", "dev", "pod2"])
            liar.send(liar.misdirected(liar.ip["p1"], "p1"))
            assert frames.hears(lines, MARK) == {"p1"}
            assert [rule for rule, _ in records(applied, until=2, seconds=0.5)] == ["within"]
    finally:
        world.n1.run(["ip", "link", "set", "pod2", "type", "bridge_slave", "learning", "on"])


def test_whether_a_pod_that_has_gone_is_still_there_is_asked_of_nobody_and_is_not_told(world, records, liar, enforced):
    """Any host asks the last hardware address that it knows; a bridge that has forgotten it sends that to every port."""
    asked, gone = struct.pack(">BBHI", 135, 0, 0, 0), "02:00:00:00:99:99"
    _, applied = enforced
    with closing(frames.line(world.machines["p2"])) as heard:
        for name, target in (("gone", liar.ip6["p0"][:-1] + "99"), ("known", liar.ip6["p1"])):
            body = asked + packed(target) + b"\1\1" + octets(liar.mac["p0"])
            liar.send(liar.icmp(liar.ip6["p0"], target, body, gone))
            told = {rule for rule, _ in records(applied, seconds=2.0)}
            assert told == ({MISDIRECTED} if name == "known" else set()), target
        assert not [each for each in frames_of(heard) if each[:6] == octets(gone)]


def test_what_a_host_says_of_its_groups_goes_to_no_other_pod(world, records, liar, enforced):
    """Each host says it, so it is not told."""
    report = struct.pack(">BBHI", 143, 0, 0, 1) + MARK
    said = icmp6(link_local(world.machines["p0"]), "ff02::16", 143, 0, data=report[8:])
    packet = ip(link_local(world.machines["p0"]), "ff02::16", 58, said, hops=1)
    with ExitStack() as stack:
        places = {"p2": (world.machines["p2"], "eth0"), "n1": (world.n1, "cni0")}
        lines = {name: stack.enter_context(closing(frames.line(*place))) for name, place in places.items()}
        liar.send(frame("33:33:00:00:00:16", liar.mac["p0"], ETH_IP6, packet))
        assert frames.hears(lines, MARK) == {"n1"}
    assert records(enforced[1], seconds=0.3) == []


def test_in_a_live_connection_too_a_frame_goes_to_whom_it_is_for(world, records, liar, enforced):
    """p1 may talk to p2 and p0 is in a third zone: what p1 says to p2 doesn't reach p0."""
    p1, p2 = world.machines["p1"], world.machines["p2"]
    with p1.netns.inside():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with closing(made), closing(frames.line(p1)) as own, closing(frames.line(world.machines["p0"])) as heard:
        made.bind((p1.ip, 5601))
        made.connect((p2.ip, 80))
        made.settimeout(10)
        made.send(b"hello")
        assert made.recv(100) == b"hello"
        records(enforced[1], seconds=0.3)
        packet = datagram(p1.ip, p2.ip, MARK, source_port=5601, port=80)
        own.send(frame(liar.mac["p0"], liar.mac["p1"], ETH_IP, packet))
        assert [(rule, str(each.destination)) for rule, each in records(enforced[1])] == [(MISDIRECTED, p2.ip)]
        assert not arrives(heard, MARK, seconds=0.1)


def test_what_is_told_of_a_frame_that_is_no_ip_says_which_kind_it_is(records, liar, enforced):
    for lie, name in (("ARP: the bridge's address is mine", "arp"), ("a kind for experiments", "0x88b5")):
        liar.send(LIES[lie][0](liar))
        ((_, packet),) = records(enforced[1])
        assert protocol_name(packet.protocol) == name


def outcomes(world, source, target, seconds=1.0):
    at, to = world.machines[source], world.machines[target]
    return set(measure([Probe(at, each, 80, kind) for each in (to.ip, to.ip6) for kind in ("tcp", "udp")], seconds))


def resolved_anew(world, *names):
    for name in names:
        machine = world.n1 if name == "n1" else world.machines[name]
        machine.run(["ip", "neigh", "flush", "dev", "cni0" if name == "n1" else "eth0"])


def test_who_tells_the_truth_is_found_and_heard(world, enforced):
    enforced[0].enforce(APP_TO_DATA, known(world))
    for _ in range(2):
        resolved_anew(world, "p0", "p1", "p2", "n1")
        assert outcomes(world, "p1", "p2", 10) == {Outcome.ALLOWED}
        assert outcomes(world, "n1", "p0", 10) == {Outcome.ALLOWED}
        assert outcomes(world, "p0", "outside", 10) == {Outcome.ALLOWED}
    assert outcomes(world, "p0", "p2") == {Outcome.TIMEOUT}


def test_a_pod_may_look_for_duplicates_ask_for_an_address_and_announce_its_own(world, records, liar, enforced):
    p0 = world.machines["p0"]
    asks = frame(BROADCAST, liar.mac["p0"], ETH_ARP, arp(1, liar.mac["p0"], "0.0.0.0", "00:00:00:00:00:00", p0.ip))
    own = frame(BROADCAST, liar.mac["p0"], ETH_ARP, arp(2, liar.mac["p0"], p0.ip, BROADCAST, p0.ip))
    nonce = struct.pack(">BBHI", 135, 0, 0, 0) + packed(p0.ip6) + b"\x0e\1" + bytes(6)
    duplicates = liar.icmp("::", "ff02::1:ff00:2", nonce, "33:33:ff:00:00:02")
    advertised = liar.advertisement(p0.ip6)
    request = datagram("0.0.0.0", "255.255.255.255", b"<dhcp>", source_port=68, port=67)
    with closing(frames.line(world.machines["p2"])) as heard, closing(frames.line(world.n1, "cni0")) as at_node:
        for sent in (asks, own, duplicates, advertised):
            liar.send(sent)
            assert arrives(heard, sent[14:]), sent
        liar.send(frame(BROADCAST, liar.mac["p0"], ETH_IP, request))
        assert arrives(at_node, b"<dhcp>")
    assert [rule for rule, _ in records(enforced[1], seconds=0.3) if rule in {SPOOFED, FOREIGN}] == []


@pytest.mark.parametrize("as_whom", ["p1", "n1"])
def test_with_an_address_taken_and_arp_that_lies_there_is_no_connection(world, records, liar, enforced, as_whom):
    """A pod with NET_ADMIN: it has the address, and tells it every 20 ms."""
    node, p0 = enforced[0], world.machines["p0"]
    applied = node.enforce(APP_TO_DATA, known(world))
    address = liar.ip[as_whom]
    p0.netns.require(["ip", "address", "add", f"{address}/32", "dev", "eth0"])
    try:
        for _ in range(10):
            liar.send(liar.arp(2, address))
            time.sleep(0.02)
        with p0.netns.inside(), closing(socket.socket()) as made:
            made.bind((address, 0))
            made.settimeout(1)
            with pytest.raises(OSError, match=r"timed out|unreachable|No route"):
                made.connect((world.machines["p2"].ip, 80))
        if as_whom == "p1":
            assert outcomes(world, "p1", "p2", 10) == {Outcome.ALLOWED}
    finally:
        p0.run(["ip", "address", "del", f"{address}/32", "dev", "eth0"])
    assert {rule for rule, _ in records(applied, until=11)} == {SPOOFED}


def test_nobody_gets_into_a_live_connection_of_another_pod(world, records, liar, enforced):
    p1, p2 = world.machines["p1"], world.machines["p2"]
    enforced[0].enforce(APP_TO_DATA, known(world))
    with p1.netns.inside():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with closing(made), closing(frames.line(p2)) as heard:
        made.bind((p1.ip, 5600))
        made.connect((p2.ip, 80))
        made.settimeout(10)
        made.send(b"hello")
        assert made.recv(100) == b"hello"
        records(enforced[1], seconds=0.3)
        packet = datagram(p1.ip, p2.ip, MARK, source_port=5600, port=80)
        liar.send(frame(liar.mac["p2"], liar.mac["p0"], ETH_IP, packet))
        assert [(rule, str(each.source)) for rule, each in records(enforced[1])] == [(SPOOFED, p1.ip)]
        assert not arrives(heard, MARK, seconds=0.1)


def test_a_pod_that_is_not_known_yet_keeps_what_it_had_and_takes_no_known_pods_address(world, records, liar):
    """p0 is in no inventory: to reach infrastructure it needs its own address, and gets that of nobody else."""
    with world.enforcing() as node:
        applied = node.enforce(APP_TO_DATA, known(world, "p1", "p2"))
        assert (applied.stations.known, applied.stations.unknown) == (2, ("pod1", "pod4", "pod5"))
        liar.send(liar.udp(liar.ip["p0"]))
        liar.send(liar.udp(liar.ip["p1"]))
        liar.send(liar.arp(2, liar.ip["p1"]))
        liar.send(LIES["a VLAN tag"][0](liar))
        found = [(rule, str(packet.source)) for rule, packet in records(applied, until=4)]
        own, other = liar.ip["p0"], liar.ip["p1"]
        assert sorted(found) == sorted(
            [("infrastructure/unknown-pod", own), (SPOOFED, other), (SPOOFED, other), (FOREIGN, own)]
        )
        with closing(frames.line(world.machines["p2"])) as heard:
            liar.send(liar.arp(2, own))
            assert arrives(heard, MARK)


def test_where_nothing_is_dropped_all_of_it_is_told(world, records, liar):
    observing = replace(OPTIONS, mode=Mode.OBSERVE)
    with world.enforcing(observing) as node, closing(frames.line(world.machines["p2"])) as heard:
        applied = node.enforce(APP_TO_DATA, known(world))
        liar.send(LIES["a kind for experiments"][0](liar))
        assert arrives(heard, MARK)
        ((rule, packet),) = records(applied)
        assert rule == FOREIGN
        assert not applied.ruleset.terminals[packet.prefix.split(":")[1]].enforced


# The table


def table(world):
    return world.n1.run(["nft", "-j", "list", "table", *TABLE.split()])


def owned(world):
    held = json.loads(table(world).stdout)["nftables"]
    sets = {each["set"]["name"]: each["set"].get("elem", []) for each in held if "set" in each}
    return {tuple(each["concat"]) for each in sets["owned4"]}


def test_it_follows_pods_and_goes_with_the_last_of_its_rules(world):
    with world.enforcing() as node:
        node.enforce(APP_TO_DATA, known(world, "p0"))
        assert owned(world) == {("pod1", world.machines["p0"].ip)}
        node.enforce(APP_TO_DATA, known(world, "p0", "p1"))
        assert len(owned(world)) == 2
        extra = world.n1.pod("passing")
        try:
            fresh = world.pod("p0", "web", uid="passing", addresses=(ip_address(extra.ip), ip_address(extra.ip6)))
            inventory = world.inventory(world.pod("p0", "web"), fresh)
            assert node.enforce(APP_TO_DATA, inventory).stations.known == 2
            assert (extra.link, extra.ip) in owned(world)
        finally:
            extra.delete()
        assert node.enforce(APP_TO_DATA, inventory).stations.known == 1
        assert owned(world) == {("pod1", world.machines["p0"].ip)}
        with world.inside():
            node.reconciler.flush()
        assert table(world).returncode != 0


def test_after_a_restart_of_the_node_it_is_there_before_anybody_is_known(world, records, liar, tmp_path):
    with world.inside():
        first = WholeFeeds("n1", OPTIONS, state_dir=tmp_path)
        first.apply(APP_TO_DATA, known(world), NOW, revision=5)
        first.settle()
        first.stop()
    for each in (TABLE, "inet zonebridge"):
        world.n1.nft(f"delete table {each}")
    with world.reconciler(state_dir=tmp_path) as again:
        applied = again.restore()
        assert owned(world) == set()
        liar.send(LIES["a VLAN tag"][0](liar))
        liar.send(LIES["ND: I am a router"][0](liar))
        assert sorted(rule for rule, _ in records(applied, until=2)) == [FOREIGN, ROUTER]
        again.apply(APP_TO_DATA, known(world), NOW, revision=5)
        assert len(owned(world)) == 3


@contextmanager
def claimed_twice(world):
    """p0, whom nobody knows, has p1's address too."""
    p0, address = world.machines["p0"], world.machines["p1"].ip
    p0.netns.require(["ip", "address", "add", f"{address}/32", "dev", "eth0"])
    try:
        yield address
    finally:
        p0.run(["ip", "address", "del", f"{address}/32", "dev", "eth0"])


def test_whose_address_is_disputed_when_all_is_forgotten_has_it_when_it_is_not_any_more(
    world, records, liar, tmp_path, until
):
    """A restart of the node: neither the kernel nor an agent knows ports. Nobody was let through, and nobody is yet."""
    with world.inside():
        first = WholeFeeds("n1", OPTIONS, state_dir=tmp_path)
        first.apply(APP_TO_DATA, known(world), NOW, revision=5)
        first.settle()
        first.stop()
    for each in (TABLE, "inet zonebridge"):
        world.n1.nft(f"delete table {each}")
    pods = known(world, "p1", "p2")
    with world.reconciler(state_dir=tmp_path) as again:
        with claimed_twice(world) as address:
            again.restore()
            applied = again.apply(APP_TO_DATA, pods, NOW, revision=5)
            assert any(f"several ports of a bridge claim {address}" in each for each in applied.problems)
            assert owned(world) == {("pod3", world.machines["p2"].ip)}
            liar.send(liar.udp(address))
            assert [(rule, str(packet.source)) for rule, packet in records(applied)] == [(SPOOFED, address)]
            assert outcomes(world, "p1", "p2") == {Outcome.TIMEOUT}
        # what a pod's namespace lets go of is announced to nobody: it is looked at again every two seconds
        until(lambda: not again.apply(APP_TO_DATA, pods, NOW, revision=5).problems, 10, 0.2)
        assert len(owned(world)) == 2
        assert outcomes(world, "p1", "p2", 10) == {Outcome.ALLOWED}


def test_a_pod_that_was_let_through_before_there_was_a_table_is_not_cut_off_by_anothers_claim(world):
    """The first agent of a node that has been at work: nothing was protected, and nothing is taken away."""
    with claimed_twice(world), world.enforcing() as node:
        node.enforce(APP_TO_DATA, known(world, "p1", "p2"))
        assert owned(world) == {("pod3", world.machines["p2"].ip)}
        resolved_anew(world, "p2")
        assert Outcome.ALLOWED in outcomes(world, "p2", "p1", 3) | outcomes(world, "n1", "p1", 3)


def test_whose_port_was_known_keeps_his_address_whoever_claims_it_later(world):
    with world.enforcing() as node:
        node.enforce(APP_TO_DATA, known(world, "p1", "p2"))
        with claimed_twice(world):
            node.enforce(APP_TO_DATA, known(world, "p1", "p2"))
            assert len(owned(world)) == 2
            assert outcomes(world, "p1", "p2", 10) == {Outcome.ALLOWED}


@pytest.mark.parametrize(
    "edit",
    [
        f"flush set {TABLE} owned4",
        f"flush chain {TABLE} prerouting",
        f"delete table {TABLE}",
        f'add element {TABLE} passed {{ "pod1" }}',
        f"add table {TABLE} {{ flags dormant; }}",
    ],
)
def test_what_others_change_in_it_is_told_and_put_back(world, edit):
    with world.enforcing() as node:
        node.enforce(APP_TO_DATA, known(world))
        right = ruleset(world)
        world.n1.nft(edit)
        with node.inside():
            applied = node.reconciler.apply(APP_TO_DATA, node._feed(known(world)), NOW)
        assert applied.drift is not None
        assert not applied.problems
        assert ruleset(world) == right


def ruleset(world):
    """The table without what counts."""

    def plain(value):
        if isinstance(value, dict):
            return {
                key: plain(each) for key, each in value.items() if key not in {"handle", "counter", "packets", "bytes"}
            }
        return sorted(map(plain, value), key=str) if isinstance(value, list) else value

    held = json.loads(table(world).stdout)["nftables"]
    return plain([each for each in held if "metainfo" not in each and "counter" not in each])


def test_a_failure_here_is_told_and_the_rules_of_the_tier_hold_all_the_same(world, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    with world.enforcing() as node:
        with monkeypatch.context() as patch:
            patch.setattr(BridgePorts, "look", broken)
            with node.inside():
                applied = node.reconciler.apply(APP_TO_DATA, node._feed(known(world)), NOW)
            assert ["not held to their port" in each for each in applied.problems] == [True]
            assert outcomes(world, "p1", "p2", 10) == {Outcome.ALLOWED}
            assert outcomes(world, "p0", "p2") == {Outcome.TIMEOUT}
        assert node.enforce(APP_TO_DATA, known(world)).stations.known == 3


def test_a_node_that_routes_its_pods_has_none():
    with Lab("framesr") as lab:
        world = World(lab)
        with world.enforcing() as node:
            node.enforce(APP_TO_DATA, known(world))
            assert table(world).returncode != 0


# Whose port it is


def test_a_pod_that_takes_anothers_address_never_gets_its_port(world):
    """With NET_ADMIN it can have any address. The first stays, in the agent's memory and in that of the kernel."""
    p0, p1 = world.machines["p0"], world.machines["p1"]
    node = Enforced.on_this_node(OPTIONS, world.inside)
    node.enforce(APP_TO_DATA, known(world, "p0", "p1"))
    right = owned(world)
    p0.netns.require(["ip", "address", "add", f"{p1.ip}/32", "dev", "eth0"])
    p0.netns.require(["ip", "address", "add", f"{p1.ip6}/128", "dev", "eth0"])
    p0.netns.require(["ip", "address", "del", f"{p0.ip}/24", "dev", "eth0"])
    p0.netns.require(["ip", "address", "del", f"{p0.ip6}/64", "dev", "eth0"])
    try:
        node.enforce(APP_TO_DATA, known(world, "p0", "p1", "p2"))
        assert right < owned(world)
        with world.inside():
            node.reconciler.stop()
        with world.enforcing() as next_one:
            next_one.enforce(APP_TO_DATA, known(world, "p0", "p1"))
            assert owned(world) - right == set()
            assert ("pod2", p1.ip) in owned(world)
    finally:
        p0.run(["ip", "address", "flush", "dev", "eth0", "scope", "global"])
        p0.run(["ip", "address", "add", f"{p0.ip}/24", "dev", "eth0"])
        p0.run(["ip", "address", "add", f"{p0.ip6}/64", "dev", "eth0", "nodad"])
        p0.run(["ip", "route", "add", "default", "via", world.n1.gateway.ip])
        p0.run(["ip", "route", "add", "::/0", "via", world.n1.gateway.ip6])


def test_net_admin_is_enough_to_see_whose_port_it_is(world):
    wanted = ip_address(world.machines["p0"].ip)
    script = (
        "import sys; from ipaddress import ip_address; from enforcer.node.bridge_ports import BridgePorts\n"
        f"seen = BridgePorts().look({{'p0': frozenset([ip_address('{wanted}')])}}, ('eth0',), (), ())\n"
        "print(seen.around.stations[0].port)"
    )
    alone = ["setpriv", "--bounding-set", "-all,+net_admin", "--inh-caps", "-all", sys.executable, "-c", script]
    with world.inside():
        ran = subprocess.run(alone, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.stdout.strip(), ran.stderr) == ("pod1", "")


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ({"a": {1}, "b": {2}}, {"a": 1, "b": 2}),
        ({"a": {1}, "b": {1, 2}}, {"a": 1, "b": 2}),  # port 1 has b's address too
        ({"a": {1}, "b": {1, 2}, "c": {2, 3}}, {"a": 1, "b": 2, "c": 3}),
        ({"a": set(), "b": {1, 2}}, {}),
        ({"a": {1}, "b": {1}}, {}),
    ],
)
def test_a_pod_has_one_port_and_a_port_one_pod(candidates, expected):
    assert dict(matched(candidates)) == expected


def test_what_is_logged_of_frames_is_counted_with_the_rest(world, records, liar):
    """So that what of it is lost is known, and what a limit held back is told."""
    few = replace(OPTIONS, log_rate=1, log_burst=3)
    with (
        world.enforcing(few) as node,
        world.inside(),
        closing(LogCounters("zonebridge", {BRIDGE: TABLE.split()[1]})) as at,
    ):
        applied = node.enforce(APP_TO_DATA, known(world))
        before = at.reading()
        for _ in range(10):
            liar.send(liar.arp(2, liar.ip["p1"]))
        logged = len(records(applied, until=10, seconds=1))
        after, rule = at.reading(), next(key for key, each in applied.ruleset.origins.items() if each.name == SPOOFED)
        assert after.table == before.table
        assert (after.logged - before.logged, after.unlogged - before.unlogged) == (logged, 10 - logged)
        assert at.held_back()[rule] == 10 - logged > 0
