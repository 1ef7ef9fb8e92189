"""The kinds of conversation that a node sees, each as a way through the lab and as what the rules should see of it.

`docs/conversations.md` names every one of them; `test_conversations` tries them.
"""

from dataclasses import dataclass

from tests.enforcer import packets
from zones.net import ICMP, ICMP6, TCP, UDP

NOBODY = 65534
NODE_PORT, LOCAL_NODE_PORT = 30080, 30081


@dataclass(frozen=True)
class Kind:
    """Who talks to whom. `through`: the service or node port that is asked instead of the server itself.

    `hidden`: behind whose address the client is when the rules see it. `uid`: whose process talks.
    """

    name: str
    client: str
    server: str
    through: str = ""
    hidden: str = ""
    uid: int = 0
    masqueraded: bool = False

    def __str__(self):
        return self.name

    @property
    def protocols(self):
        return (TCP, UDP) if self.through else (TCP, UDP, ICMP, ICMP6)


KINDS = (
    Kind("pod to pod on one node", "p0", "p2"),
    Kind("pod to pod of another node", "p0", "q1"),
    Kind("pod of another node to pod", "q0", "p2"),
    Kind("pod to its own node", "p0", "n1"),
    Kind("pod to another node", "p0", "n2"),
    Kind("pod of another node to this node", "q0", "n1"),
    Kind("node to its own pod", "n1", "p2"),
    Kind("node to its own pod, not as root", "n1", "p2", uid=NOBODY),
    Kind("node to another node's pod", "n1", "q1"),
    Kind("another node to pod", "n2", "p2"),
    Kind("pod on the host network to pod on its node", "h1", "p2"),
    Kind("pod to pod on its node's host network", "p0", "h1"),
    Kind("pod on another node's host network to pod", "h2", "p2"),
    Kind("pod to pod on another node's host network", "p0", "h2"),
    Kind("outside to pod", "outside", "p2"),
    Kind("known network to pod", "corp", "p2"),
    Kind("pod to outside", "p0", "outside"),
    Kind("pod to outside, masqueraded", "p0", "outside", masqueraded=True),
    Kind("cluster address, answered on one node", "p0", "p2", "service p2"),
    Kind("cluster address, answered on another node", "p0", "q1", "service q1"),
    Kind("cluster address, asked on another node", "q0", "p2", "service p2"),
    Kind("cluster address, answered by the pod that asks", "p0", "p0", "service p0"),
    Kind("cluster address, asked by the node", "n1", "p2", "service p2"),
    Kind("node port of the first node, answered on the second", "outside", "q1", "port of n1 q1"),
    Kind("node port of another node, answered here", "outside", "p2", "port of n2 p2", hidden="n2"),
    Kind("node port, answered on the same node", "outside", "p2", "port of n1 p2"),
    Kind("node port for local pods only", "outside", "p2", "local port of n1 p2"),
    Kind("node port of its own node, asked by a pod", "p0", "p2", "port of n1 p2"),
)  # fmt: skip


ZONES = {"p0": "web", "p1": "web", "q0": "web", "p2": "data", "q1": "data"}
NETWORKS = {"corp": ["203.0.113.0/24", "2001:db8:c0::/48"]}


class Scene:
    """A world with what the kinds need: pods on the host network, services, node ports, zones for everyone."""

    def __init__(self, world):
        self.world, self.lab = world, world.lab
        self.machines = dict(world.machines)
        for name, node in (("h1", world.n1), ("h2", world.n2)):
            self.machines[name] = node.pod(name, host_network=True)
        self.inventory = world.inventory(*(world.pod(name, zone) for name, zone in ZONES.items()))
        self._ways = {}
        for number, name in enumerate(("p0", "p2", "q1")):
            self._publish(name, number)

    def _publish(self, name, number):
        for protocol, transport in ((TCP, "tcp"), (UDP, "udp")):
            port, local = NODE_PORT + 10 * number, LOCAL_NODE_PORT + 10 * number
            backends = [self.machines[name]]
            cluster = self.lab.service(80, backends, node_port=port, transport=transport)
            self.lab.service(80, backends, node_port=local, transport=transport, local=True)
            self._ways[f"service {name}", protocol] = cluster, 80
            for node in (self.world.n1, self.world.n2):
                self._ways[f"port of {node.name} {name}", protocol] = node, port
                self._ways[f"local port of {node.name} {name}", protocol] = node, local

    def probes(self, kind):
        """One of each protocol and family, each told apart from all before."""
        return [
            self._probe(kind, protocol, family)
            for protocol in kind.protocols
            for family in ("ip", "ip6")
            if (protocol, family) not in {(ICMP, "ip6"), (ICMP6, "ip")}
        ]

    def _probe(self, kind, protocol, family):
        client, server = self.machines[kind.client], self.machines[kind.server]
        asked, port = self._ways[kind.through, protocol] if kind.through else (server, 80)
        source_ip = getattr(self._place(kind), family)
        seen_ip = getattr(self.machines[kind.hidden], family) if kind.hidden else source_ip
        probe = packets.Probe(client, source_ip, getattr(asked, family), protocol, uid=kind.uid)
        if protocol in {TCP, UDP}:
            probe.port, probe.source_port = port, next(self.world.source_ports)
        probe.seen = seen_ip, getattr(server, family), 80 if probe.port else None
        return probe

    def resets_arrive(self, kind):
        """The kernel sends the reset of a bridged packet past its own translation, from the pod that never answered."""
        return not (self.world.n1.gateway and kind.through and kind.client.startswith("p"))

    def _place(self, kind):
        """From where the client talks: a node to a pod of its own bridge from that bridge."""
        world = self.world
        bridged = world.n1.gateway is not None and kind.server in world.machines and not kind.through
        from_node, to_pod = kind.client in {"n1", "h1"}, kind.server.startswith("p")
        return world.n1.gateway if bridged and from_node and to_pod else self.machines[kind.client]
