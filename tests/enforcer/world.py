"""A node under test with its pods, a second node, and two hosts outside: the topology that the kernel tests share."""

from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from itertools import count

from enforcer.netlink import NflogSocket
from enforcer.nft import Nft
from enforcer.reconcile import Reconciler
from enforcer.ruleset import Options
from mocks.lab import Lab
from zones.inventory import Inventory, Node, Pod
from zones.zone import ANY_ZONE

PORTS = (80, 443)
GROUP = 9470
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
OPTIONS = Options(log_group=GROUP, log_rate=100_000, log_burst=100_000)


class World:
    """`n1` is enforced; `corp` and `outside` are hosts beyond the nodes. All serve echo on PORTS."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.n1, self.n2 = lab.node("n1"), lab.node("n2")
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

    def inside(self):
        """This thread is in the enforced node's namespace for the block."""
        return self.n1.netns.inside()

    @contextmanager
    def reconciler(self, options=OPTIONS, **settings):
        with self.inside():
            made = Reconciler(Nft(), "n1", options, **settings)
            try:
                yield made
            finally:
                made.flush()
                made.stop()

    @contextmanager
    def log(self):
        with self.inside(), NflogSocket(GROUP) as opened:
            yield opened
