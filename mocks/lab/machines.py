"""What a lab consists of: nodes, pods and hosts, each with a namespace and an address of each family.

They know how to run things in themselves; only a node makes anything, its pods. The topology makes the rest.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from mocks.lab import wiring
from mocks.lab.addresses import Place, Subnet
from mocks.lab.namespaces import Namespaces
from mocks.lab.netns import LabError, Netns, Output


class Machine:
    """Something with a name, a namespace and an address of each family."""

    def __init__(self, name: str, netns: Netns, place: Place) -> None:
        self.name = name
        self.netns = netns
        self.place = place

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.ip}, {self.ip6})"

    @property
    def ip(self) -> str:
        return self.place.ip

    @property
    def ip6(self) -> str:
        return self.place.ip6

    def run(
        self, argv: Sequence[str], timeout: float = 30.0, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in here to its end."""
        return self.netns.run(argv, timeout, stdin)

    def popen(self, argv: Sequence[str], output: Output = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start a program in here; killed with the namespace at the latest."""
        return self.netns.popen(argv, output)

    def command(self, argv: Sequence[str]) -> list[str]:
        """What anyone starts, from outside, to run `argv` in here."""
        return self.netns.command(argv)

    def nft(self, script: str) -> str:
        """Load or ask nftables in here: `table inet x {...}`, `list ruleset`."""
        return self.netns.require(["nft", "-f", "-"], stdin=script + "\n")


class Host(Machine):
    """A machine that is no node: the outside, the control place."""


class Pod(Machine):
    """A pod; on the host network it is its node's namespace and address."""

    def __init__(self, name: str, netns: Netns, place: Place, node: Node, link: str | None) -> None:
        super().__init__(name, netns, place)
        self.node = node
        self.link = link
        self.deleted = False

    @property
    def host_network(self) -> bool:
        return self.link is None

    def delete(self) -> None:
        """Take the pod away, its processes too; its address is free again. Conntrack is left as it is."""
        if not self.deleted:
            self.deleted = True
            self.node.release(self)


class Node(Machine):
    """A node: a router with its pods behind it."""

    def __init__(self, name: str, netns: Netns, place: Place, subnet: Subnet, namespaces: Namespaces) -> None:
        super().__init__(name, netns, place)
        self._namespaces = namespaces
        self._subnet = subnet
        self._links = 0
        self.pods: dict[str, Pod] = {}

    @property
    def pod_cidr(self) -> str:
        return str(self._subnet.cidr)

    @property
    def pod_cidr6(self) -> str:
        return str(self._subnet.cidr6)

    def pod(self, name: str, *, ip: str | None = None, host_network: bool = False) -> Pod:
        """Make a pod, at the lowest free address unless told."""
        if name in self.pods:
            raise LabError(f"there is a pod {name} on {self.name}; delete it or take another name")
        pod = Pod(name, self.netns, self.place, self, None) if host_network else self._make_pod(name, ip)
        self.pods[name] = pod
        return pod

    def _make_pod(self, name: str, ip: str | None) -> Pod:
        place = self._subnet.take(ip)
        netns = self._namespaces.create(name)
        self._links += 1
        link = wiring.join_pod(self.netns, self.place, netns, place, self._links)
        return Pod(name, netns, place, self, link)

    def release(self, pod: Pod) -> None:
        del self.pods[pod.name]
        if pod.link is not None:
            wiring.unplug(self.netns, pod.link)
            self._namespaces.close(pod.netns)
            self._subnet.give_back(pod.place)
