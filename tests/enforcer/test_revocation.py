"""What is no longer allowed dies, whoever took it away and whoever talks; all else goes on as if nothing had happened."""

import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_network

import pytest

from mocks.lab import Outcome, Probe, measure
from tests.enforcer.test_enforcement import BOTH_WAYS, entry, policy
from zones.net import AddressSet
from zones.policy import Verdict

pytestmark = pytest.mark.kernel

CLIENT_FIRST, SERVER_FIRST, OVER_UDP, IDLE = 7001, 7002, 7003, 7004
ZONES = {"p0": "web", "p1": "web", "q0": "web", "p2": "data", "q1": "data"}
PAIRS = [("p0", "p2"), ("p0", "q1"), ("p1", "p2"), ("p1", "q1"), ("q0", "p2")]
USUAL = policy(*BOTH_WAYS)
PATIENCE = 30.0


@dataclass(frozen=True)
class Deed:
    """A way to take a permission away, and from whom. `policy` and `pods`: what is enforced afterwards."""

    name: str
    ends: frozenset
    policy: object = None
    pods: object = None

    def __str__(self):
        return self.name


def barring(verdict):
    def made(world):
        here = [ip_network(each) for each in (world.machines["p0"].ip, world.machines["p0"].ip6)]
        return policy(replace(entry("revoked", verdict, "web", "data"), sources=AddressSet.of(here)), *BOTH_WAYS)

    return made


def becoming(name, zone, **changes):
    return lambda world, inventory: inventory.with_pod(world.pod(name, zone, **changes))


DEEDS = [
    Deed("a revision that denies", frozenset({"p0"}), policy=barring(Verdict.DENY)),
    Deed("a revision that resets", frozenset({"p0"}), policy=barring(Verdict.RESET)),
    Deed("the client relabelled", frozenset({"p0"}), pods=becoming("p0", "elsewhere")),
    Deed("the server relabelled", frozenset({"p2"}), pods=becoming("p2", "elsewhere")),
    Deed("the client's right to its zone lost", frozenset({"p0"}), pods=becoming("p0", "web", allowed=frozenset())),
    Deed("the server's right to its zone lost", frozenset({"p2"}), pods=becoming("p2", "data", allowed=None)),
    Deed("the client in quarantine", frozenset({"p0"}), pods=becoming("p0", "web", quarantined=True)),
    Deed("the server in quarantine", frozenset({"p2"}), pods=becoming("p2", "data", quarantined=True)),
    Deed(
        "the server on the other node in quarantine", frozenset({"q1"}), pods=becoming("q1", "data", quarantined=True)
    ),
    Deed("the client gone", frozenset({"p0"}), pods=lambda _, inventory: inventory.without_pod("p0")),
]


@pytest.fixture(scope="module")
def served(world):
    """Servers that talk differently, in both pods of the zone data."""
    for name in ("p2", "q1"):
        machine = world.machines[name]
        world.lab.listen(machine, CLIENT_FIRST, IDLE)
        world.lab.listen(machine, SERVER_FIRST, talk_every=0.02)
        world.lab.listen(machine, OVER_UDP, transport="udp")
    return world


@pytest.fixture
def inventory(world):
    return world.inventory(*(world.pod(name, zone) for name, zone in ZONES.items()))


@pytest.fixture
def stage(served):
    """The world, and the agent on its node."""
    with served.enforcing() as node:
        yield served, node


class Idler:
    """A TCP connection on which nothing is said until it is asked to."""

    def __init__(self, client, ip):
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        with client.netns.inside():
            self._socket = socket.create_connection((ip, IDLE), timeout=PATIENCE)
        assert self._socket.family == family
        self._socket.setblocking(False)
        self._heard = b""

    def speak(self):
        self._socket.send(b"still there?")

    @property
    def answered(self):
        with suppress(OSError):
            self._heard += self._socket.recv(100)
        return self._heard != b""

    def close(self):
        self._socket.close()


class Talks:
    """Every way of talking, between every pair, in both families: `lost` are those that a deed ends."""

    def __init__(self, world, stack, ends):
        self.lost, self.kept, self.lost_idle, self.kept_idle = [], [], [], []
        for client, server in PAIRS:
            dies = bool(ends & {client, server})
            for ip in (world.machines[server].ip, world.machines[server].ip6):
                source = world.machines[client]
                talks = [
                    world.lab.conversation(source, ip, CLIENT_FIRST, every=0.02, silence=0.5),
                    world.lab.conversation(source, ip, SERVER_FIRST, silence=0.5, speak=False),
                    world.lab.conversation(source, ip, OVER_UDP, every=0.02, silence=0.5, transport="udp"),
                ]
                idle = Idler(source, ip)
                for each in (*talks, idle):
                    stack.callback(each.close)
                (self.lost if dies else self.kept).extend(talks)
                (self.lost_idle if dies else self.kept_idle).append(idle)


def go_on(talks, until):
    """Wait until each has been answered a few times more."""
    before = [(talk, talk.replies) for talk in talks]
    until(lambda: all(talk.replies >= count + 5 for talk, count in before), PATIENCE)


@pytest.mark.parametrize("deed", DEEDS, ids=str)
def test_what_is_taken_away_dies_and_nothing_else(stage, inventory, until, capsys, deed):
    world, node = stage
    with ExitStack() as stack:
        node.enforce(USUAL, inventory)
        talks = Talks(world, stack, deed.ends)
        go_on([*talks.lost, *talks.kept], until)

        since = time.monotonic()
        after = deed.pods(world, inventory) if deed.pods else inventory
        node.enforce(deed.policy(world) if deed.policy else USUAL, after)
        for talk in talks.lost:
            assert talk.wait(alive=False, timeout=PATIENCE), talk.name
        took = max(0.0, *(talk.died_at - since for talk in talks.lost))
        with capsys.disabled():
            print(f"\n{deed}: {len(talks.lost)} of {len(talks.lost + talks.kept)} connections dead after {took:.3f} s")

        silent = [(talk, talk.replies) for talk in talks.lost]
        for each in talks.lost_idle + talks.kept_idle:
            each.speak()
        go_on(talks.kept, until)
        until(lambda: all(each.answered for each in talks.kept_idle), PATIENCE)
        assert not any(each.answered for each in talks.lost_idle)
        assert [talk.name for talk, replies in silent if talk.replies != replies] == []
        assert not any(talk.ended for talk in talks.kept)


class Reused:
    """An address of the node that one pod has after the other; each echoes on OVER_UDP and asks from SOURCE."""

    SOURCE = 7105

    def __init__(self, world, stack):
        self._world, self._stack = world, stack
        self.machine = None
        stack.callback(self.end)

    def next(self, name):
        """The pod before goes, with its processes, and another one has its address."""
        ip = self.machine.ip if self.machine else None
        self.end()
        self.machine = self._world.machines[name] = self._world.n1.pod(name, ip=ip)
        (listener,) = self._world.lab.listen(self.machine, OVER_UDP, transport="udp")
        self._stack.callback(listener.close)
        asking = [self._ask(family) for family in (socket.AF_INET, socket.AF_INET6)]
        for each in asking:
            self._stack.callback(each.close)
        return asking

    def _ask(self, family):
        made = self.machine.netns.socket(family, socket.SOCK_DGRAM)
        made.bind((self.machine.ip if family == socket.AF_INET else self.machine.ip6, self.SOURCE))
        server = self._world.machines["q1"]
        made.connect((server.ip if family == socket.AF_INET else server.ip6, OVER_UDP))
        return made

    def end(self):
        if self.machine is not None:
            self.machine.delete()
            del self._world.machines[self.machine.name]
            self.machine = None


def heard(sockets):
    """How many have an answer to what they send."""
    count = 0
    for each in sockets:
        with suppress(OSError):
            count += bool(each.recv(100))
    return count


def test_a_new_pod_under_a_former_address_inherits_neither_its_zone_nor_its_connections(stage, inventory, until):
    world, node = stage
    lab = world.lab
    with ExitStack() as stack:
        reused = Reused(world, stack)
        asking = reused.next("first")
        addresses = reused.machine.ip, reused.machine.ip6
        node.enforce(USUAL, inventory.with_pod(world.pod("first", "data")))
        talks, control = (
            [lab.conversation(world.machines[name], ip, OVER_UDP, every=0.02, transport="udp") for name, ip in ways]
            for ways in (
                [("p0", addresses[0]), ("q0", addresses[1])],
                [("p1", world.machines["q1"].ip), ("p1", world.machines["q1"].ip6)],
            )
        )
        for each in (*talks, *control):
            stack.callback(each.close)
        go_on(talks, until)
        for each in asking:
            each.send(b"first")
        until(lambda: heard(asking), PATIENCE)

        asking = reused.next("second")
        for known in (inventory, inventory.with_pod(world.pod("second", "elsewhere"))):
            node.enforce(USUAL, known)
            before = [talk.replies for talk in talks]
            for each in asking:
                each.send(b"second")
            go_on(control, until)
            go_on(control, until)
            assert heard(asking) == 0
            assert [talk.replies for talk in talks] == before

        node.enforce(USUAL, inventory.with_pod(world.pod("second", "data")))
        go_on(talks, until)
        tries = [Probe(world.machines["p0"], ip, OVER_UDP, "udp") for ip in addresses]
        assert set(measure(tries, PATIENCE)) == {Outcome.ALLOWED}
