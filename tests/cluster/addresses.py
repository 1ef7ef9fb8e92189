"""Where everything of the test cluster is: its LAN, its nodes' pods, its Services. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from mocks.lab.addresses import Place

LAN_LENGTH, LAN_LENGTH6 = 24, 64
SWITCH = Place("172.30.0.1", "fd30::1")
CONTROL_PLANE = Place("172.30.0.10", "fd30::10")
OUTSIDE = Place("172.30.0.100", "fd30::100")
POD_CIDRS = ("10.244.0.0/16", "fd44::/48")
SERVICE_CIDRS = ("10.96.0.0/16", "fd96::/108")
KUBERNETES_SERVICE = ("10.96.0.1", "fd96::1")
DNS_SERVICE = "10.96.0.10"
DOMAIN = "cluster.local"
API_SERVER = f"https://{CONTROL_PLANE.ip}:6443"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """A node as it is to be: which CNI plug-in its pods hang on, and how its kube-proxy works."""

    number: int
    plugin: str
    proxy: str

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def place(self) -> Place:
        return Place(f"172.30.0.{10 + self.number}", f"fd30::{10 + self.number}")

    @property
    def pod_cidrs(self) -> tuple[str, str]:
        return f"10.244.{self.number}.0/24", f"fd44:0:0:{self.number}::/64"


NODES = (NodePlan(1, "ptp", "iptables"), NodePlan(2, "bridge", "nftables"))
