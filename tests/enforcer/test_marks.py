"""Accepted connections are known by their marks: only as long as the rules are the same, and only by our bits."""

import ipaddress
import re
import socket
import struct
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from enforcer.kernel.mark_sweeper import MarkSweeper
from enforcer.netlink.sockets import open_socket
from enforcer.rules.chains.verdict_chains import SPOOFED
from enforcer.rules.connmark import PHASES, ConnmarkLayout
from tests.enforcer.test_enforcement import BOTH_WAYS, entry, logged, policy
from tests.enforcer.world import NOW, OPTIONS
from zones.net import TCP, parse_ports
from zones.policy import Traffic, Verdict
from zones.rules import Log

pytestmark = pytest.mark.kernel

AWAY = 0.5  # seconds in which an answer that doesn't come would have come


@pytest.fixture(autouse=True)
def no_connections(world):
    """What is left of other tests' connections has marks of other masks."""
    world.n1.run(["conntrack", "-F"])


@pytest.fixture
def inventory(world):
    zones = {"p0": "web", "p1": "web", "p2": "data", "q1": "data"}
    return world.inventory(*(world.pod(name, zone) for name, zone in zones.items()))


@contextmanager
def dialled(world, source, address, port):
    made = world.machines[source].netns.socket(
        socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM
    )
    made.settimeout(20)
    with made:
        made.connect((address, port))
        assert answers(made)
        yield made


def answers(made, seconds=20.0):
    made.settimeout(seconds)
    try:
        made.sendall(b"ping")
        return bool(made.recv(100))
    except (TimeoutError, ConnectionError):
        return False


def marks(world, address):
    listed = world.n1.run(["conntrack", "-L", "-d", address]).stdout
    return [int(mark) for mark in re.findall(r"mark=(\d+)", listed)]


def test_an_accepted_connection_gets_our_bits_and_keeps_those_of_others(world, inventory):
    world.n1.nft("add table inet other\nadd chain inet other marking { type filter hook prerouting priority 0; }")
    world.n1.nft("add rule inet other marking ct mark set ct mark or 0x80")
    try:
        with world.reconciler() as reconciler:
            reconciler.apply(policy(*BOTH_WAYS), inventory, NOW)
            with dialled(world, "p0", world.machines["p2"].ip, 80) as talk:
                (first,) = marks(world, world.machines["p2"].ip)
                assert first & OPTIONS.marks.others == 0x80
                assert OPTIONS.marks.number(first) > 1
                reconciler.apply(policy(*BOTH_WAYS), inventory.with_pod(world.pod("p4", "web")), NOW)
                assert answers(talk)
                (second,) = marks(world, world.machines["p2"].ip)
                assert OPTIONS.marks.number(second) == OPTIONS.marks.number(first) + 1
                assert second & 0x80
    finally:
        world.n1.nft("delete table inet other")
        world.n1.run(["conntrack", "-F"])


@pytest.mark.parametrize("mask", [0x000000F0, 0x80000301, 0])
def test_an_idle_connection_that_was_revoked_does_not_come_back_when_numbers_do(world, inventory, mask):
    """A mask of four bits has twelve numbers: they all come, and come again."""
    few = replace(OPTIONS, marks=ConnmarkLayout(mask))
    with world.reconciler(few) as reconciler:
        reconciler.apply(policy(*BOTH_WAYS), inventory, NOW)
        with (
            dialled(world, "p0", world.machines["p2"].ip, 80) as revoked,
            dialled(world, "p0", world.machines["q1"].ip6, 443) as kept,
        ):
            no_more = entry("revoked", Verdict.DENY, "web", "data", Traffic(TCP, parse_ports("80")))
            rules = policy(no_more, *BOTH_WAYS)
            for turn in range(30):
                more = inventory.with_pod(world.pod("p4", "web")) if turn % 2 else inventory
                assert reconciler.apply(rules, more, NOW).problems == ()
            assert answers(kept)
            assert not answers(revoked, AWAY)


def test_a_connection_that_is_judged_again_is_logged_and_counted_once(world, inventory):
    rules = policy(entry("to data", Verdict.ALLOW, "web", "data", log=Log(start=True)))
    with world.reconciler() as reconciler, world.log() as log:
        applied = reconciler.apply(rules, inventory, NOW)
        with dialled(world, "p0", world.machines["p2"].ip, 80) as talk:
            (key,) = (key for key, origin in applied.ruleset.origins.items() if origin.name == "to data")
            assert len(of_rule(key, logged(log, 1))) == 1
            reconciler.apply(rules, inventory.with_pod(world.pod("p4", "web")), NOW)
            assert answers(talk)
            assert of_rule(key, logged(log, 1, seconds=AWAY)) == []
            with world.inside():
                assert reconciler.counters()[key][0] == 1


def test_a_pod_does_not_pass_for_another_one_of_its_node(world, inventory):
    with world.reconciler() as reconciler, world.log() as log:
        applied = reconciler.apply(policy(*BOTH_WAYS), inventory, NOW)
        sender, victim, target = (world.machines[name] for name in ("p2", "p0", "q1"))
        datagram = _udp(victim.ip, target.ip, 80)
        with sender.netns.inside():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with raw:
            raw.sendto(datagram, (target.ip, 0))
        (key,) = (key for key, origin in applied.ruleset.origins.items() if origin == SPOOFED[0])
        (record,) = of_rule(key, logged(log, 1, seconds=20))
        assert str(record.source) == victim.ip
        with dialled(world, "p0", target.ip, 80):
            pass  # the address's own pod goes on


def of_rule(key, records):
    """Without what connections of earlier tests still send: that is denied and told by a rule of its own."""
    return [record for record in records if record.prefix.split(":")[1] == key]


def _udp(source, destination, port):
    payload = struct.pack(">HHHH", 40_000, port, 12, 0) + b"ping"
    head = struct.pack(
        ">BBHHHBBH4s4s",
        0x45, 0, 20 + len(payload), 1, 0, 64, socket.IPPROTO_UDP, 0,
        ipaddress.ip_address(source).packed, ipaddress.ip_address(destination).packed,
    )  # fmt: skip
    return head + payload


def test_sweeping_needs_one_socket_however_often(world, monkeypatch):
    """To close one would hold up every change of nftables for a grace period of the kernel."""
    opened = []
    monkeypatch.setattr(
        "enforcer.kernel.mark_sweeper.open_socket", lambda protocol: opened.append(protocol) or open_socket(protocol)
    )
    with world.inside(), closing(MarkSweeper()) as sweep:
        assert [sweep(ConnmarkLayout(), phase) for phase in PHASES] == [0] * len(PHASES)
    assert len(opened) == 1
