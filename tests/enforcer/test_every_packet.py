"""Whatever a pod with a stack of its own puts on the wire: where it arrives, and by which rule it is told where not.

What is tried here is the table in docs/conversations.md, word for word.
"""

import os
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import count
from pathlib import Path

import pytest

from mocks.lab import Lab, unavailable
from tests.enforcer import frames
from tests.enforcer.frames import ACK, FIN, SYN, URG, frame, ip, ip_kind, mac
from tests.enforcer.packets import raw_sockets
from tests.enforcer.world import World
from zones.policy import Entry, Policy, Verdict, usual_infrastructure
from zones.rules import Log, Origin, RuleType
from zones.zone import Zoning

pytestmark = pytest.mark.kernel

DOCUMENT = Path(__file__).parents[2] / "docs" / "conversations.md"
BEGIN, END = "<!-- every packet: {} -->", "<!-- end -->"
TARGETS = {"p2": "another pod of the node", "q1": "a pod of another node", "n1": "its own node", "outside": "outside"}
ZONES = {"p0": "web", "p1": "app", "p2": "data", "q0": "app", "q1": "data"}
ZONING = Zoning.of({"untrust": [ip_network("0.0.0.0/0"), ip_network("::/0")]})
USUAL = usual_infrastructure(*[frozenset({"kube-system"})] * 2, frozenset({"coredns"}))
LOGGED = Log(start=True)
# A pod of the zone web may talk to what is outside, and to nobody else.
POLICY = Policy(
    ZONING,
    USUAL,
    (
        Entry(Origin("web-out", None, "pre", "dg"), Verdict.ALLOW, from_zones=frozenset({"web"}),
              to_zones=frozenset({"untrust"}), log=LOGGED),
        Entry(Origin("intrazone-default", None, "default", "Shared"), Verdict.ALLOW, RuleType.INTRAZONE, log=LOGGED),
        Entry(Origin("interzone-default", None, "default", "Shared"), Verdict.DENY, log=LOGGED),
    ),
)  # fmt: skip


@dataclass
class Sender:
    """Pod p0, and what it knows of the others."""

    world: World
    v6: bool
    numbers: count

    def __getattr__(self, name):
        """The address of a machine."""
        machine = self.world.machines[name]
        return machine.ip6 if self.v6 else machine.ip

    def own(self, number):
        """An address in the network of this node's pods."""
        return f"fd00:10:244:1::{number:x}" if self.v6 else f"10.244.1.{number}"

    def udp(self, source, to, mark, **more):
        return frames.datagram(source, to, mark, source_port=next(self.numbers), **more)

    def tcp(self, to, flags, mark):
        protocol = 6
        return ip(self.p0, to, protocol, frames.tcp(self.p0, to, next(self.numbers), 80, flags, data=mark))

    def icmp(self, source, to, kind, mark, *, hops=64, code=0):
        if self.v6:
            return ip(source, to, 58, frames.icmp6(source, to, kind, code, data=mark), hops=hops)
        return ip(source, to, 1, frames.icmp(kind, code, 0, mark), hops=hops)

    def with_options(self, options, to, mark, *, through=None):
        source, way = self.p0, through or to
        payload = frames.udp(source, way, next(self.numbers), 7777, mark)
        return frames.ip4_with_options(source, way, 17, options, payload)

    def routed(self, to, mark):
        """To the node, and from there to the target."""
        return self.with_options(bytes([131, 7, 4]) + frames.packed(to) + b"\0", to, mark, through=self.n1)

    def behind(self, kind, header, to, mark):
        """An extension header; its first octet says what follows."""
        payload = frames.udp(self.p0, to, next(self.numbers), 7777, mark)
        return ip(self.p0, to, kind, bytes([17]) + header[1:] + payload)

    def by_segments(self, to, mark):
        head = bytes([17, 4, 4, 1, 1, 0, 0, 0]) + frames.packed(to) + frames.packed(self.n1)
        return ip(self.p0, self.n1, 43, head + frames.udp(self.p0, to, next(self.numbers), 7777, mark))


KINDS = {
    "UDP from its own address": lambda a, to, mark: a.udp(a.p0, to, mark),
    "UDP from its node's address": lambda a, to, mark: a.udp(a.n1, to, mark),
    "UDP from the address of another pod of the node": lambda a, to, mark: a.udp(a.p1, to, mark),
    "UDP from the address of a pod of another node": lambda a, to, mark: a.udp(a.q0, to, mark),
    "UDP from another node's address": lambda a, to, mark: a.udp(a.n2, to, mark),
    "UDP from an address outside": lambda a, to, mark: a.udp("2001:db8:9::9" if a.v6 else "192.0.2.9", to, mark),
    "UDP from an address that nobody has": lambda a, to, mark: a.udp(a.own(99), to, mark),
    "UDP from a link-local address": lambda a, to, mark: a.udp("fe80::9" if a.v6 else "169.254.9.9", to, mark),
    "UDP to a link-local address": lambda a, _, mark: a.udp(a.p0, "fe80::9" if a.v6 else "169.254.9.9", mark),
    "UDP to a loopback address": lambda a, _, mark: a.udp(a.p0, "::1" if a.v6 else "127.0.0.1", mark),
    "UDP to everybody": lambda a, _, mark: a.udp(a.p0, "ff02::1" if a.v6 else "255.255.255.255", mark),
    "UDP to a group": lambda a, _, mark: a.udp(a.p0, "ff0e::9" if a.v6 else "239.1.2.3", mark),
    "UDP with a wrong checksum": lambda a, to, mark: a.udp(a.p0, to, mark, good=False),
    "TCP SYN and ACK, without a connection": lambda a, to, mark: a.tcp(to, SYN | ACK, mark),
    "TCP FIN, without a connection": lambda a, to, mark: a.tcp(to, FIN, mark),
    "TCP without flags": lambda a, to, mark: a.tcp(to, 0, mark),
    "echo request": lambda a, to, mark: a.icmp(a.p0, to, 128 if a.v6 else 8, mark),
    "redirect": lambda a, to, mark: a.icmp(a.p0, to, 137 if a.v6 else 5, mark, hops=255),
    "GRE": lambda a, to, mark: ip(a.p0, to, 47, b"\x20\0\x08\0" + mark),
    "ESP": lambda a, to, mark: ip(a.p0, to, 50, bytes(8) + mark),
    "IP within IP, from a pod of another node": lambda a, to, mark: ip(
        a.p0, to, 41 if a.v6 else 4, a.udp(a.q0, to, mark)
    ),
    "SCTP": lambda a, to, mark: ip(a.p0, to, 132, frames.sctp(next(a.numbers), 80, mark)),
    "a protocol that nobody knows": lambda a, to, mark: ip(a.p0, to, 253, mark),
    "TCP SYN with urgent data": lambda a, to, mark: a.tcp(to, SYN | URG, mark),
}
ONLY4 = {
    "UDP by way of its node (source route)": lambda a, to, mark: a.routed(to, mark),
    "UDP with a router alert": lambda a, to, mark: a.with_options(bytes([148, 4, 0, 0]), to, mark),
    "IGMP": lambda a, to, mark: ip(a.p0, to, 2, bytes(8) + mark),
}
ONLY6 = {
    "router advertisement": lambda a, to, mark: a.icmp(a.p0, to, 134, mark, hops=255),
    "neighbour solicitation from afar": lambda a, to, mark: a.icmp(a.p0, to, 135, mark, hops=254),
    "no next header": lambda a, to, mark: ip(a.p0, to, 59, mark),
    "UDP behind hop-by-hop options": lambda a, to, mark: a.behind(0, PADDING, to, mark),
    "UDP behind destination options": lambda a, to, mark: a.behind(60, PADDING, to, mark),
    "UDP in a fragment that is whole": lambda a, to, mark: a.behind(44, bytes(8), to, mark),
    "UDP behind a segment routing header, by way of its node": lambda a, to, mark: a.by_segments(to, mark),
    "report of groups, to one address": lambda a, to, mark: a.icmp(a.p0, to, 143, mark, hops=1),
    "question for groups, as a router's": lambda a, to, mark: a.icmp(a.p0, to, 130, mark, hops=1),
}
PADDING = bytes([17, 0, 1, 4, 0, 0, 0, 0])
ANYWHERE = {"UDP to everybody", "UDP to a group", "UDP to a link-local address", "UDP to a loopback address"}


@pytest.fixture(scope="module", params=["routed", "bridged"])
def stage(request):
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with ExitStack() as stack:
        world = World(stack.enter_context(Lab("every")), bridge=request.param == "bridged")
        node, log = stack.enter_context(world.enforcing()), stack.enter_context(world.log())
        applied = node.enforce(POLICY, world.inventory(*(world.pod(name, zone) for name, zone in ZONES.items())))
        yield request.param, world, applied.ruleset.terminals, log


def kinds(*, v6):
    return KINDS | (ONLY6 if v6 else ONLY4)


def sent(world, line):
    """Every kind to every target, each with a mark of its own; what was sent, by mark."""
    marks, numbers, numbered = {}, count(1), count(20_000)
    own, router = mac(world.machines["p0"]), mac(world.n1, "cni0" if world.n1.gateway else "pod1")
    for v6 in (False, True):
        sender = Sender(world, v6, numbered)
        for name, make in kinds(v6=v6).items():
            for target in TARGETS:
                mark = b"<%06d>" % next(numbers)
                to = mac(world.machines["p2"]) if target == "p2" and world.n1.gateway else router
                packet = make(sender, getattr(sender, target), mark)
                line.send(frame(to, own, ip_kind(packet), packet))
                marks[mark] = name, v6, target
    return marks


def watched(world, log, marks, until_quiet=1.0):
    """By mark: who heard it, and the prefixes of the records that tell of it."""
    heard, told = defaultdict(set), defaultdict(set)
    lines = {name: frames.line(world.machines[name]) for name in ("p2", "q1", "outside")}
    with ExitStack() as stack:
        for each in lines.values():
            stack.enter_context(each)
        node = [
            stack.enter_context(each)
            for each in raw_sockets(world.n1, (1, 2, 4, 6, 17, 41, 43, 47, 50, 58, 59, 132, 253))
        ]
        with frames.line(world.machines["p0"]) as line:
            marks |= sent(world, line)
        deadline = time.monotonic() + until_quiet
        while time.monotonic() < deadline:
            for name, each in [*lines.items(), *(("n1", each) for each in node)]:
                while data := received(each):
                    deadline = time.monotonic() + until_quiet
                    for mark in (mark for mark in [data[at : at + 8] for at in places(data)] if mark in marks):
                        heard[mark].add(name)
            for body in log.read():
                for mark in (mark for mark in [body[at : at + 8] for at in places(body)] if mark in marks):
                    told[mark].add(body.split(b"zb:")[1][:12].decode())
            time.sleep(0.01)
    return heard, told


def places(data):
    at = data.find(b"<")
    while at >= 0:
        yield at
        at = data.find(b"<", at + 1)


def received(each):
    try:
        return each.recv(65535)
    except BlockingIOError:
        return b""


def test_whatever_a_pod_sends_arrives_where_it_may_and_is_told_where_not(stage):
    name, world, terminals, log = stage
    marks = {}
    heard, told = watched(world, log, marks)
    cells = {}
    for mark, where in marks.items():
        kind, _, target = where
        rules = sorted({terminals[each].origin.name for each in told[mark]})
        arrived = bool(heard[mark] if kind in ANYWHERE else heard[mark] & {target})
        cells[where] = f"{'**arrives**' if arrived else 'no'}, {' and '.join(rules) or 'no record'}"
    table = rendered(cells)
    before, _, rest = DOCUMENT.read_text().partition(BEGIN.format(name))
    documented, _, after = rest.partition(END)
    if os.environ.get("UPDATE_GOLDEN"):
        documented = table
        DOCUMENT.write_text(f"{before}{BEGIN.format(name)}\n{table}{END}{after}")
    assert documented.strip() == table.strip()


def rendered(cells):
    lines = [f"| what a pod sends | {' | '.join(TARGETS.values())} |", "| --- " * (len(TARGETS) + 1) + "|"]
    for name in KINDS | ONLY4 | ONLY6:
        told = []
        for target in TARGETS:
            families = [cells[name, v6, target] for v6 in (False, True) if (name, v6, target) in cells]
            same = len(set(families)) == 1
            told.append(families[0] if same else f"IPv4: {families[0]}; IPv6: {families[1]}")
        lines.append(f"| {name} | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"
