"""Nodes, pods and hosts as network namespaces around one switch, routed as a CNI would, on the real kernel.

Pods are veths with host routes, or on a bridge of their node; services are translated, and pods masqueraded, where
asked for. Nothing is made in the caller's own namespace. Tests, the demo and `python -m mocks lab` build on it.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self

from mocks.lab import leftovers, services, wiring
from mocks.lab.addresses import Place, Subnet
from mocks.lab.background import Background
from mocks.lab.conversation import Conversation
from mocks.lab.listen import ANY, Handle, Listener, bind, echo, relay, talker
from mocks.lab.machines import Host, Node, Pod
from mocks.lab.namespaces import Namespaces
from mocks.lab.netns import LabError, Netns, unavailable
from mocks.lab.probe import Endpoint, Transport
from mocks.lab.services import Service

FIRST_POD = 2
FIRST_NODE = 10
CONTROL = 1
FIRST_SERVICE = 10


class Lab:
    """A context manager: everything made through it is gone after the block, also after a failure in it."""

    def __init__(
        self,
        name_prefix: str = "lab",
        *,
        node_cidr: str = "192.168.50.0/24",
        node_cidr6: str = "fd00:192:168:50::/64",
        conntrack: bool = True,
    ) -> None:
        self.prefix = name_prefix
        self.nodes: dict[str, Node] = {}
        self.hosts: dict[str, Host] = {}
        self._conntrack = conntrack
        self._subnet = Subnet(node_cidr, node_cidr6, FIRST_NODE)
        self._namespaces = Namespaces(name_prefix)
        self._service_subnet = Subnet("10.96.0.0/16", "fd00:10:96::/112", FIRST_SERVICE)
        self.services: list[Service] = []
        self._ports = 0
        self._background = Background()
        self._open: list[Listener | Conversation] = []

    def __enter__(self) -> Self:
        reason = unavailable()
        if reason is not None:
            raise LabError(reason)
        leftovers.purge(self.prefix)
        self._background.start()
        try:
            self._make_switch()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take everything down: conversations, servers, processes, namespaces."""
        with ExitStack() as last_to_first:
            last_to_first.callback(self._namespaces.close_all)
            last_to_first.callback(self._background.stop)
            for each in self._open:
                last_to_first.callback(each.close)
            self._open = []

    # -- machines

    @property
    def control(self) -> Host:
        """The place for servers that nodes and pods must reach; its address is the switch's."""
        return self.hosts["control"]

    @property
    def control_ip(self) -> str:
        return self.control.ip

    @property
    def pods(self) -> list[Pod]:
        return [pod for node in self.nodes.values() for pod in node.pods.values()]

    def node(
        self, name: str, pod_cidr: str | None = None, pod_cidr6: str | None = None, *, bridge: bool = False
    ) -> Node:
        """A node whose pods are routed, or with `bridge` on a bridge."""
        number = len(self.nodes) + 1
        subnet = Subnet(pod_cidr or f"10.244.{number}.0/24", pod_cidr6 or f"fd00:10:244:{number}::/64", FIRST_POD)
        self._refuse_twice(name)
        netns = self._namespaces.create(name)
        node = Node(name, netns, self._subnet.take(), subnet, self._namespaces, bridge=bridge)
        wiring.make_router(netns, conntrack=self._conntrack)
        self._attach(netns)
        wiring.address(netns, node.place, self._subnet.cidr.prefixlen, self._subnet.cidr6.prefixlen)
        self._introduce(node)
        if self.services:
            services.load(node, self.services)
        self.nodes[name] = node
        return node

    def host(self, name: str = "outside", ip: str = "198.51.100.10", ip6: str = "2001:db8:100::10") -> Host:
        """A machine outside the cluster, on the same switch, with an address that is no node's."""
        self._refuse_twice(name)
        netns = self._namespaces.create(name)
        host = Host(name, netns, Place(ip, ip6))
        self._attach(netns)
        wiring.address(netns, host.place, 32, 128)
        for prefix in (self._subnet.cidr, self._subnet.cidr6):
            wiring.route(netns, str(prefix), "dev eth0")
        for other in self.hosts.values():
            _show_host(other.netns, host, wiring.BRIDGE if other is self.control else "eth0")
            if other is not self.control:
                _show_host(netns, other, "eth0")
        for node in self.nodes.values():
            _show_pods(netns, node)
            _show_host(node.netns, host, "eth0")
        self.hosts[name] = host
        return host

    @property
    def inside_prefixes(self) -> tuple[str, ...]:
        """Where nodes, pods and services are: what a node masquerades nobody for."""
        own = [cidr for node in self.nodes.values() for cidr in (node.pod_cidr, node.pod_cidr6)]
        shared = [self._subnet, self._service_subnet]
        return (*own, *(str(cidr) for subnet in shared for cidr in (subnet.cidr, subnet.cidr6)))

    @property
    def outside(self) -> Host:
        """The usual outside host, made when first asked for."""
        return self.hosts.get("outside") or self.host()

    # -- services

    def service(
        self,
        port: int,
        backends: Sequence[Pod],
        *,
        ip: str | None = None,
        target_port: int | None = None,
        node_port: int | None = None,
        transport: Transport = "tcp",
        local: bool = False,
    ) -> Service:
        """Put an address of the service prefix, and a node port if wanted, in front of pods, on all nodes."""
        place = self._service_subnet.take(ip)
        made = Service(place, port, tuple(backends), target_port or port, node_port, transport, local)
        self._load_services([*self.services, made])
        return made

    def withdraw(self, service: Service) -> None:
        """Connections that are open stay translated, as with a kube-proxy."""
        self._load_services([other for other in self.services if other is not service])
        self._service_subnet.give_back(service.place)

    def _load_services(self, wanted: list[Service]) -> None:
        for node in self.nodes.values():
            services.load(node, wanted)
        self.services = wanted

    # -- talking

    def inside(self, where: Endpoint) -> AbstractContextManager[None]:
        """Move this thread into a namespace for the block; sockets and threads made in it stay there."""
        return where.netns.inside()

    def listen(
        self,
        where: Endpoint,
        *ports: int,
        transport: Transport = "tcp",
        talk_every: float | None = None,
        at: Place | None = None,
    ) -> list[Listener]:
        """Serve echo on ports of both families; with `talk_every`, over TCP, speak first and keep speaking.

        `at`: on these addresses only.
        """
        handle = None if transport == "udp" else echo if talk_every is None else talker(talk_every)
        addresses = (ANY,) if at is None else (at.ip, at.ip6)
        return [self._serve(where, port, handle, ip) for port in ports for ip in addresses]

    def _serve(self, where: Endpoint, port: int, handle: Handle | None, ip: str = ANY) -> Listener:
        kind = socket.SOCK_STREAM if handle else socket.SOCK_DGRAM
        listener = Listener(self._background, bind(where.netns, port, kind, ip), handle)
        self._open.append(listener)
        return listener

    def relay(self, port: int, host: str = "127.0.0.1", where: Endpoint | None = None) -> Listener:
        """Make a server on this process's loopback reachable at `control_ip` under the same port."""
        return self._serve(where or self.control, port, relay(host, port))

    def conversation(
        self,
        source: Endpoint,
        ip: str,
        port: int,
        *,
        transport: Transport = "tcp",
        every: float = 0.05,
        silence: float = 0.5,
        speak: bool = True,
    ) -> Conversation:
        """Open a connection that keeps talking; see `Conversation`."""
        made = Conversation(
            self._background, source, ip, port, transport=transport, every=every, silence=silence, speak=speak
        )
        self._open.append(made)
        return made

    # -- wiring

    def _make_switch(self) -> None:
        netns = self._namespaces.create("switch")
        place = self._subnet.at(CONTROL)
        wiring.make_switch(netns, place, self._subnet.cidr.prefixlen, self._subnet.cidr6.prefixlen)
        self.hosts["control"] = Host("control", netns, place)

    def _attach(self, netns: Netns) -> None:
        self._ports += 1
        wiring.plug(netns, self.control.netns, self._ports)

    def _introduce(self, node: Node) -> None:
        """Tell a new node of everyone, and everyone of its pods. What nobody knows goes to control, and ends there."""
        wiring.route(node.netns, "default", f"via {self.control.ip}")
        wiring.route(node.netns, "::/0", f"via {self.control.ip6}")
        for other in self.nodes.values():
            _show_pods(node.netns, other)
            _show_pods(other.netns, node)
        for host in self.hosts.values():
            _show_pods(host.netns, node)
            if host is not self.control:
                _show_host(node.netns, host, "eth0")

    def _refuse_twice(self, name: str) -> None:
        if name in self.nodes or name in self.hosts:
            raise LabError(f"there is a machine {name} in the lab; take another name")


def _show_pods(netns: Netns, node: Node) -> None:
    wiring.route(netns, node.pod_cidr, f"via {node.ip}")
    wiring.route(netns, node.pod_cidr6, f"via {node.ip6}")


def _show_host(netns: Netns, host: Host, link: str) -> None:
    wiring.route(netns, f"{host.ip}/32", f"dev {link}")
    wiring.route(netns, f"{host.ip6}/128", f"dev {link}")
