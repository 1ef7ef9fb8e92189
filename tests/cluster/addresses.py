"""Where everything of the test cluster is: its LAN, its nodes' pods, its Services. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mocks.lab.addresses import Place

LAN_LENGTH, LAN_LENGTH6 = 24, 64
SWITCH = Place("172.30.0.1", "fd30::1")
CONTROL_PLANE = Place("172.30.0.10", "fd30::10")
OUTSIDE = Place("172.30.0.100", "fd30::100")
POD_CIDRS = ("10.244.0.0/16", "fd44::/48")
POOL = ("192.168.10.0/24", "fd99::/64")
SERVICE_CIDRS = ("10.96.0.0/16", "fd96::/108")
KUBERNETES_SERVICE = ("10.96.0.1", "fd96::1")
DNS_SERVICE = "10.96.0.10"
DOMAIN = "cluster.local"
API_SERVER = f"https://{CONTROL_PLANE.ip}:6443"


class Scheme(StrEnum):
    """Where the addresses of a node's pods are from."""

    POD_CIDRS = "podCIDRs"  # those of its Node
    VPC = "vpc"  # the nodes' own network, and its Node has none: as on EKS and AKS
    BLOCKS = "blocks"  # blocks of a pool that has nothing to do with its Node's podCIDRs: Calico's


@dataclass(frozen=True, slots=True)
class NodePlan:
    """A node as it is to be: which CNI plug-in its pods hang on, how its kube-proxy works, whence its pods' addresses are."""

    number: int
    plugin: str
    proxy: str
    scheme: Scheme = Scheme.POD_CIDRS

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def place(self) -> Place:
        return Place(f"172.30.0.{10 + self.number}", f"fd30::{10 + self.number}")

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        """What its Node says."""
        if self.scheme is Scheme.VPC:
            return ()
        return f"10.244.{self.number}.0/24", f"fd44:0:0:{self.number}::/64"

    @property
    def pod_networks(self) -> tuple[str, ...]:
        """What its pods really get their addresses from."""
        match self.scheme:
            case Scheme.POD_CIDRS:
                return self.pod_cidrs
            case Scheme.VPC:
                return f"172.30.0.{96 + 32 * self.number}/27", f"fd30::{self.number}:0/112"
            case Scheme.BLOCKS:
                return f"192.168.10.{64 * self.number}/26", f"fd99::{self.number}:0/122"

    @property
    def cluster_cidrs(self) -> tuple[str, ...]:
        """What its kube-proxy takes for every pod's; a VPC's has nothing to tell pods by."""
        return {Scheme.POD_CIDRS: POD_CIDRS, Scheme.VPC: (), Scheme.BLOCKS: POOL}[self.scheme]

    @property
    def is_flannel(self) -> bool:
        """Whether flannel makes the ways to other nodes' pods; they are laid by hand otherwise."""
        return self.plugin == FLANNEL


FLANNEL = "flannel"
NODES = (NodePlan(1, "ptp", "iptables"), NodePlan(2, "bridge", "nftables"))
FLANNEL_NODES = (NodePlan(1, FLANNEL, "iptables"), NodePlan(2, FLANNEL, "nftables"))
VPC_NODES = (NodePlan(1, "ptp", "iptables", Scheme.VPC), NodePlan(2, "ptp", "nftables", Scheme.VPC))
BLOCK_NODES = (NodePlan(1, "ptp", "nftables", Scheme.BLOCKS), NodePlan(2, "bridge", "iptables", Scheme.BLOCKS))
