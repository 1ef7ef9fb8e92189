"""Links, addresses and routes, laid as CNIs lay them: a veth a pod, with host routes or on the node's bridge.

It keeps no state and makes no namespaces. Only the topology calls it.
"""

from __future__ import annotations

from mocks.lab.addresses import Place
from mocks.lab.netns import Netns

GATEWAY = "169.254.1.1"
GATEWAY6 = "fe80::1"
BRIDGE = "br0"
POD_BRIDGE = "cni0"
LOCAL_DNS = "nodelocaldns"
# A veth whose two ends bear the same index waits up to a second for its carrier; ends apart don't.
FIRST_INDEX = 1000

CONNTRACK = """
table inet lab_cni {
    chain forward { type filter hook forward priority 0; policy accept; ct state established,related accept; }
    chain input { type filter hook input priority 0; policy accept; ct state established,related accept; }
}
"""

QUIET = {
    "net/ipv6/conf/all/accept_dad": 0,
    "net/ipv6/conf/default/accept_dad": 0,
    "net/ipv6/conf/all/accept_ra": 0,
    "net/ipv6/conf/default/accept_ra": 0,
    "net/ipv4/conf/all/rp_filter": 0,
    "net/ipv4/conf/default/rp_filter": 0,
    "net/ipv4/conf/all/send_redirects": 0,
    "net/ipv4/conf/default/send_redirects": 0,
}
FORWARDING = {"net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1, "net/ipv6/conf/default/forwarding": 1}


def configure(netns: Netns, *commands: str) -> None:
    """Run lines of `ip` in one process."""
    netns.require(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")


def prepare(netns: Netns, mark: str) -> None:
    """Loopback up, no waiting for duplicate addresses, and a mark by which leftovers are known."""
    for key, value in QUIET.items():
        netns.write_sysctl(key, value)
    configure(netns, "link set lo up", f"link set lo alias {mark}")


def make_router(netns: Netns, *, conntrack: bool) -> None:
    for key, value in FORWARDING.items():
        netns.write_sysctl(key, value)
    if conntrack:
        netns.require(["nft", "-f", "-"], stdin=CONNTRACK)


def make_switch(netns: Netns, place: Place, length: int, length6: int) -> None:
    configure(
        netns,
        f"link add {BRIDGE} type bridge stp_state 0 mcast_snooping 0",
        f"link set {BRIDGE} up",
        f"address add {place.ip}/{length} dev {BRIDGE}",
        f"address add {place.ip6}/{length6} dev {BRIDGE} nodad",
    )


def plug(netns: Netns, switch: Netns, index: int) -> None:
    """Give a namespace an eth0 on the switch.

    Its MAC address follows from the index, as a machine's card keeps its own through a loss of power: with another one
    its neighbours would send to nobody until they asked again (some 8 s).
    """
    port = f"port{index}"
    mac = f"02:00:00:00:{index >> 8:02x}:{index & 255:02x}"
    configure(
        switch,
        f"link add {port} index {FIRST_INDEX + index} type veth peer name eth0 address {mac} netns {netns.path}",
        f"link set {port} master {BRIDGE} up",
    )
    configure(netns, "link set eth0 up")


def address(netns: Netns, place: Place, length: int, length6: int) -> None:
    configure(
        netns,
        f"address add {place.ip}/{length} dev eth0",
        f"address add {place.ip6}/{length6} dev eth0 nodad",
    )


def route(netns: Netns, prefix: str, target: str) -> None:
    """`target` as `ip route` says it: `via ADDRESS`, `dev LINK`."""
    configure(netns, f"route replace {prefix} {target}")


def join_pod(node: Netns, node_place: Place, pod: Netns, place: Place, index: int) -> str:
    """Lay the pod's veth and the node's host routes; returns the node's end."""
    link = f"pod{index}"
    configure(
        node,
        f"link add {link} index {FIRST_INDEX + index} type veth peer name eth0 netns {pod.path}",
        f"address add {GATEWAY}/32 dev {link} scope link",
        f"address add {GATEWAY6}/64 dev {link} nodad",
        f"link set {link} up",
    )
    configure(
        pod,
        "link set eth0 up",
        f"address add {place.ip}/32 dev eth0",
        f"address add {place.ip6}/128 dev eth0 nodad",
        f"route add {GATEWAY}/32 dev eth0 scope link",
        f"route add default via {GATEWAY} dev eth0 src {place.ip}",
        f"route add ::/0 via {GATEWAY6} dev eth0 src {place.ip6}",
    )
    # The node speaks to its pods from its own address, as a kubelet's probe does.
    configure(
        node,
        f"route add {place.ip}/32 dev {link} src {node_place.ip}",
        f"route add {place.ip6}/128 dev {link} src {node_place.ip6}",
    )
    return link


def make_pod_bridge(node: Netns, gateway: Place, length: int, length6: int) -> None:
    configure(
        node,
        f"link add {POD_BRIDGE} type bridge stp_state 0 mcast_snooping 0",
        f"link set {POD_BRIDGE} up",
        f"address add {gateway.ip}/{length} dev {POD_BRIDGE}",
        f"address add {gateway.ip6}/{length6} dev {POD_BRIDGE} nodad",
    )


def call_netfilter(node: Netns, *, on: bool) -> None:
    """Whether what a bridge passes on shows itself to the hooks of ip and inet tables; the kernel's default is on."""
    for name in ("iptables", "ip6tables"):
        node.write_sysctl(f"net/bridge/bridge-nf-call-{name}", int(on))


def bridge_pod(node: Netns, gateway: Place, pod: Netns, place: Place, lengths: tuple[int, int], *, index: int) -> str:
    """Plug a pod into the node's bridge; it may get itself back, for a service of its own. Returns the node's end."""
    link = f"pod{index}"
    configure(
        node,
        f"link add {link} index {FIRST_INDEX + index} type veth peer name eth0 netns {pod.path}",
        f"link set {link} master {POD_BRIDGE} up",
        f"link set {link} type bridge_slave hairpin on",
    )
    configure(
        pod,
        "link set eth0 up",
        f"address add {place.ip}/{lengths[0]} dev eth0",
        f"address add {place.ip6}/{lengths[1]} dev eth0 nodad",
        f"route add default via {gateway.ip} dev eth0",
        f"route add ::/0 via {gateway.ip6} dev eth0",
    )
    return link


def add_local_dns(node: Netns, place: Place) -> None:
    """Give a node the address, reachable only from itself and its pods, that a node-local DNS listens on.

    A bridge without ports carries it: not every kernel has dummy links.
    """
    configure(
        node,
        f"link add {LOCAL_DNS} type bridge",
        f"link set {LOCAL_DNS} up",
        f"address add {place.ip}/32 dev {LOCAL_DNS}",
        f"address add {place.ip6}/128 dev {LOCAL_DNS} nodad",
    )


def unplug(netns: Netns, link: str) -> None:
    configure(netns, f"link delete {link}")
