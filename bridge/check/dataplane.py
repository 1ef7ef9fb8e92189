"""Whether pods' packets come by the kernel's hooks at which the enforcer judges, or pass by them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.check.snapshot import ClusterSnapshot, Json, ListedObjects, labels, names
from zones.runtime.findings import Finding, Group, some

GROUP = Group("Data plane")
# DaemonSets of network plug-ins whose packets pass by whatever their settings are.
PASS_BY = {
    "anetd": ("GKE Dataplane V2", "it forwards in eBPF"),
    "ovnkube-node": ("OVN-Kubernetes", "Open vSwitch forwards between a node's pods"),
    "antrea-agent": ("Antrea", "Open vSwitch forwards between a node's pods"),
    "kube-ovn-cni": ("Kube-OVN", "Open vSwitch forwards between a node's pods"),
}
# Those whose packets are routed by the kernel.
ROUTED = {
    "aws-node": "the AWS VPC CNI",
    "azure-cns": "the Azure CNI",
    "kindnet": "kindnet",
    "kube-flannel-ds": "flannel",
    "kube-flannel": "flannel",
    "kube-router": "kube-router",
    "calico-node": "Calico",
    "canal": "Canal",
    "weave-net": "Weave Net",
}
INSTEAD = "what passes by can't be enforced here: keep the nodes in observe, or use another network plug-in's mode"


def check(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    daemon_sets = snapshot.of("daemonsets")
    yield from _nodes(snapshot.of("nodes"))
    if daemon_sets.problem:
        yield GROUP.unknown(f"which network plug-in there is: {daemon_sets.problem}", "ask with more rights")
        return
    findings = [*_plugins(daemon_sets), *_cilium(daemon_sets, snapshot), *_calico(daemon_sets, snapshot)]
    yield from findings
    if not findings:
        yield _unknown_plugin(snapshot)


def _nodes(nodes: ListedObjects) -> Iterator[Finding]:
    if nodes.problem:
        yield GROUP.unknown(f"what kinds of nodes there are: {nodes.problem}", "ask with more rights")
        return

    def with_label(key: str, value: str) -> list[str]:
        return names(item for item in nodes.items if labels(item).get(key) == value)

    if bypass := with_label("kubernetes.azure.com/ebpf-host-routing", "true"):
        yield GROUP.failed(
            f"{some(bypass)}: eBPF host routing (AKS with Advanced Container Networking) passes by the hooks",
            f"turn it off in the cluster's network settings; {INSTEAD}",
        )
    if windows := with_label("kubernetes.io/os", "windows"):
        yield GROUP.warning(f"{some(windows)}: on Windows nothing is enforced", "keep pods there that need no zone")
    if fargate := with_label("eks.amazonaws.com/compute-type", "fargate"):
        yield GROUP.warning(
            f"{some(fargate)}: Fargate runs no DaemonSet, so nothing is enforced there", "use security groups for pods"
        )
    if virtual := with_label("type", "virtual-kubelet"):
        yield GROUP.warning(f"{some(virtual)}: a virtual node runs no DaemonSet", "run pods there that need no zone")
    linux = [item for item in nodes.items if labels(item).get("kubernetes.io/os", "linux") == "linux"]
    if without := names(node for node in linux if not node.get("spec", {}).get("podCIDR")):
        yield GROUP.warning(
            f"{some(without)}: the node names no podCIDR",
            "name the pods' prefixes in enforcer.settings.podNetworks, so that foreign addresses are known as such",
        )


def _unknown_plugin(snapshot: ClusterSnapshot) -> Finding:
    """Enforcers look for signs of other data planes on their nodes; before them nobody has looked."""
    what = "no network plug-in that is known here runs as a DaemonSet"
    states = {item["metadata"]["name"]: item.get("status") for item in snapshot.of("nodestates").items}
    reported = [states.get(name) for name in names(snapshot.of("nodes").items)]
    if reported and all(status and not status.get("problems") for status in reported):
        return GROUP.warning(
            f"{what}; the enforcers of all {len(reported)} nodes see no sign of one that passes by the hooks",
            "before enforce, try a connection that a rule denies between two pods of one node and between two nodes: "
            "while the nodes observe, the SIEM must be told of both",
        )
    return GROUP.unknown(
        what,
        "install with enforcer.settings.mode: observe, which denies nothing, and check again: the enforcers look on "
        "each node for what passes by the hooks (zone-enforcer check)",
    )


def _plugins(daemon_sets: ListedObjects) -> Iterator[Finding]:
    for name in names(daemon_sets.items):
        if name in PASS_BY:
            plugin, why = PASS_BY[name]
            yield GROUP.failed(f"{plugin}: {why}, past the hooks", INSTEAD)
        elif name in ROUTED and name != "calico-node":
            yield GROUP.ok(f"{ROUTED[name]} routes pods' packets through the kernel")


def _cilium(daemon_sets: ListedObjects, snapshot: ClusterSnapshot) -> Iterator[Finding]:
    if daemon_sets.named("cilium") is None:
        return
    listed = snapshot.of("configmaps")
    config = listed.named("cilium-config")
    if config is None:
        yield GROUP.unknown(
            f"Cilium runs, and its settings can't be read: {listed.problem or 'there is no ConfigMap cilium-config'}",
            "look whether bpf.hostLegacyRouting is true there",
        )
        return
    data = config.get("data") or {}
    if _bypasses(data):
        yield GROUP.failed(
            "Cilium forwards in eBPF (host routing), past the hooks",
            f"set bpf.hostLegacyRouting=true in its Helm values; {INSTEAD}",
        )
    else:
        yield GROUP.ok("Cilium uses the host's routing (legacy)")


def _bypasses(data: Json) -> bool:
    """Cilium uses eBPF host routing by itself where it replaces kube-proxy and masquerades in eBPF."""
    if data.get("datapath-mode", "veth").startswith("netkit"):
        return True
    if data.get("enable-host-legacy-routing") == "true":
        return False
    replaces = data.get("kube-proxy-replacement") in {"true", "strict"}
    return replaces and data.get("enable-bpf-masquerade") == "true"


def _calico(daemon_sets: ListedObjects, snapshot: ClusterSnapshot) -> Iterator[Finding]:
    if daemon_sets.named("calico-node") is None:
        return
    felix, operator = snapshot.of("felixconfigurations"), snapshot.of("installations")
    if felix.problem and operator.problem:
        yield GROUP.unknown(
            f"Calico runs, and its data plane can't be read: {felix.problem}",
            "look at bpfEnabled in its FelixConfiguration and at linuxDataplane in its Installation",
        )
        return
    eBPF = any(item.get("spec", {}).get("bpfEnabled") for item in felix.items)  # noqa: N806 - its name
    eBPF |= any(  # noqa: N806
        item.get("spec", {}).get("calicoNetwork", {}).get("linuxDataplane") == "BPF" for item in operator.items
    )
    if eBPF:
        yield GROUP.failed(
            "Calico forwards in eBPF, past the hooks", f"set its data plane to Iptables or Nftables; {INSTEAD}"
        )
    else:
        yield GROUP.ok("Calico routes pods' packets through the kernel")
