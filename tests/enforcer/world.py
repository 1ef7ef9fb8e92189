"""A node under test with its pods, a second node, and two hosts outside: the topology that the kernel tests share.

`World.enforcing` is the seam: the only place where these tests know how the agent is told what to enforce.
"""

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from itertools import count

from enforcer.kernel.reconcile import Reconciler
from enforcer.netlink.sockets import NflogSocket
from enforcer.rules.members.address_delta import AddressDelta
from enforcer.rules.ruleset import RulesetOptions
from mocks.lab import Lab
from zones.addresses.inventory import Inventory, Node, Pod
from zones.zone import ANY_ZONE

PORTS = (80, 443, 53)
GROUP = 9470
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
OPTIONS = RulesetOptions(log_group=GROUP, log_rate=100_000, log_burst=100_000)


class WholeFeeds(Reconciler):
    """Takes inventories: each pass is told of everybody."""

    def apply(self, policy, inventory, now, **more):
        return super().apply(policy, AddressDelta.of(inventory), now, **more)

    def restore(self, inventory=None):
        return super().restore(None if inventory is None else AddressDelta.of(inventory))


@dataclass(slots=True)
class Enforced:
    """The agent's part that writes to the kernel, on the node under test. It is told of pods as they come and go."""

    reconciler: Reconciler
    inside: Callable = nullcontext
    _told: dict | None = None

    @classmethod
    def on_this_node(cls, options=OPTIONS, inside=nullcontext, **settings):
        """`inside`: moves a thread to the node for a block."""
        with inside():
            return cls(Reconciler("n1", options, **settings), inside)

    def enforce(self, policy, inventory, now=NOW, *, revision=None):
        """Have this enforced. What the agent can't do, or finds changed by others, is a failure."""
        with self.inside():
            applied = self.reconciler.apply(policy, self._feed(inventory), now, revision=revision)
        assert not applied.problems, applied.problems
        assert applied.drift is None, applied.drift
        return applied

    def _feed(self, inventory):
        before, self._told = self._told, dict(inventory.holders())
        whole = AddressDelta.of(inventory)
        if before is None:
            return whole
        gone = dict.fromkeys(before.keys() - self._told.keys())
        changed = {at: who for at, who in self._told.items() if before.get(at) is not who and before.get(at) != who}
        return AddressDelta.by_address(gone | changed, whole.pod_networks)


class World:
    """`n1` is enforced; `corp` and `outside` are hosts beyond the nodes. All serve echo on PORTS.

    With `bridge`, the pods of `n1` are on a bridge.
    """

    def __init__(self, lab: Lab, *, bridge: bool = False) -> None:
        self.lab = lab
        self.n1, self.n2 = lab.node("n1", bridge=bridge), lab.node("n2")
        self.machines = {f"p{n}": self.n1.pod(f"p{n}") for n in range(5)}
        self.machines |= {f"q{n}": self.n2.pod(f"q{n}") for n in range(2)}
        self.corp = lab.host("corp", "203.0.113.10", "2001:db8:c0::10")
        self.machines |= {"n1": self.n1, "n2": self.n2, "corp": self.corp, "outside": lab.outside}
        for machine in self.machines.values():
            lab.listen(machine, *PORTS)
            lab.listen(machine, *PORTS, transport="udp")
        self.source_ports = count(20_000)
        # A node tells only so often that something is prohibited; here every probe wants to know.
        for key in ("ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit", "ipv4/icmp_ratemask"):
            self.n1.netns.write_sysctl(f"net/{key}", 0)

    def pod(self, name, zone=None, **changes):
        """The inventory's view of one of the lab's pods."""
        machine = self.machines[name]
        fields = {
            "uid": name,
            "namespace": "shop",
            "name": name,
            "node": machine.node.name,
            "phase": "Running",
            "addresses": (ip_address(machine.ip), ip_address(machine.ip6)),
            "labels": {} if zone is None else {"zonebridge.io/zone": zone},
            "workload": name,
            "allowed": frozenset({ANY_ZONE}),
        }
        return Pod(**fields | changes)

    def inventory(self, *pods):
        nodes = {
            node.name: Node(
                node.name,
                (ip_address(node.ip), ip_address(node.ip6)),
                (ip_network(node.pod_cidr), ip_network(node.pod_cidr6)),
            )
            for node in (self.n1, self.n2)
        }
        return Inventory({pod.uid: pod for pod in pods}, nodes)

    def directory(self, inventory):
        """Who is who for the oracle: it knows of a node's own addresses, of which the agent is not told."""
        gateway = self.n1.gateway
        if gateway is not None:
            own = inventory.nodes["n1"]
            also = (ip_address(gateway.ip), ip_address(gateway.ip6))
            inventory = inventory.with_node(replace(own, addresses=(*own.addresses, *also)))
        return inventory.directory()

    def inside(self):
        """This thread is in the enforced node's namespace for the block."""
        return self.n1.netns.inside()

    @contextmanager
    def enforcing(self, options=OPTIONS, **settings):
        """An agent on the node, and at the end nothing of it."""
        made = Enforced.on_this_node(options, self.inside, **settings)
        try:
            yield made
        finally:
            with self.inside():
                made.reconciler.flush()
                made.reconciler.stop()

    @contextmanager
    def reconciler(self, options=OPTIONS, **settings):
        with self.inside():
            made = WholeFeeds("n1", options, **settings)
            try:
                yield made
            finally:
                made.flush()
                made.stop()

    @contextmanager
    def log(self):
        with self.inside():
            opened = NflogSocket(GROUP)
        with opened:
            yield opened
