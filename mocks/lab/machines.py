"""What a lab consists of: nodes, pods and hosts, each with a namespace and an address of each family.

They know how to run things in themselves; only a node makes anything, its pods. The topology makes the rest.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from mocks.lab import plugin, wiring
from mocks.lab.addresses import Place, Subnet
from mocks.lab.namespaces import Namespaces
from mocks.lab.netns import LabError, Netns, Output

LOCAL_DNS = Place("169.254.20.10", "fd00:169:254:20::10")


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
    """A node: a router with its pods behind it, each on a link of its own, or all on a bridge.

    `gateway`: where pods on a bridge send what is not for their own prefix, and from where their node talks to them.
    """

    def __init__(
        self,
        name: str,
        netns: Netns,
        place: Place,
        subnet: Subnet,
        namespaces: Namespaces,
        *,
        bridge: bool = False,
    ) -> None:
        super().__init__(name, netns, place)
        self._namespaces = namespaces
        self._subnet = subnet
        self._links = 0
        self.pods: dict[str, Pod] = {}
        self._has_local_dns = False
        self.gateway = subnet.at(1) if bridge else None
        if self.gateway is not None:
            wiring.make_pod_bridge(netns, self.gateway, *self._lengths)

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
        return Pod(name, netns, place, self, self._plug(netns, place))

    def _plug(self, netns: Netns, place: Place) -> str:
        if self.gateway is None:
            return wiring.join_pod(self.netns, self.place, netns, place, self._links)
        return wiring.bridge_pod(self.netns, self.gateway, netns, place, self._lengths, index=self._links)

    @property
    def _lengths(self) -> tuple[int, int]:
        return self._subnet.cidr.prefixlen, self._subnet.cidr6.prefixlen

    def show_bridged(self, *, on: bool) -> None:
        """Whether netfilter's `inet` hooks see what passes between two pods of one bridge: bridge-nf-call-*."""
        wiring.call_netfilter(self.netns, on=on)

    def masquerade(self, *inside: str) -> None:
        """Hide this node's pods behind its own address from all but `inside`; without any, hide them no more."""
        if inside:
            plugin.masquerade(self.netns, (self.pod_cidr, self.pod_cidr6), inside)
        else:
            plugin.remove(self.netns, plugin.MASQUERADE)

    def refuse(self, *matches: str) -> None:
        """Stand in for a network plug-in's own policy: forwarded packets that match are dropped, after everyone else.

        `tcp dport 443`, `ip saddr 10.244.1.2`; without any, nothing is refused any more.
        """
        if matches:
            plugin.refuse(self.netns, *matches)
        else:
            plugin.remove(self.netns, plugin.POLICY)

    def local_dns(self, place: Place = LOCAL_DNS, *, tracked: bool = False) -> Place:
        """Make the address of a node-local DNS, once; whoever listens on the node's port 53 answers there.

        Unless `tracked`, conntrack is kept out of it, as such a DNS's own set-up does.
        """
        if not self._has_local_dns:
            wiring.add_local_dns(self.netns, place)
            self._has_local_dns = True
        if tracked:
            plugin.remove(self.netns, plugin.LOCAL_DNS)
        else:
            plugin.untrack_dns(self.netns, (place.ip, place.ip6))
        return place

    def release(self, pod: Pod) -> None:
        del self.pods[pod.name]
        if pod.link is not None:
            wiring.unplug(self.netns, pod.link)
            self._namespaces.close(pod.netns)
            self._subnet.give_back(pod.place)
