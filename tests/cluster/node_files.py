"""What stands in a node's files: containerd's, the kubelet's, kube-proxy's, flannel's and the CNI plug-ins' settings. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from tests.cluster.addresses import DNS_SERVICE, DOMAIN, POD_CIDRS, NodePlan

BRIDGE = {"bridge": "cni0", "isGateway": True, "hairpinMode": True}
PAUSE = "registry.k8s.io/pause:3.10"
SOCKET = "/run/containerd/containerd.sock"
CONTAINERD = """\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{socket}"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{pause}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        SystemdCgroup = false
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{networks}"
"""


def containerd(runc: Path, plugins: Path, networks: Path) -> str:
    return CONTAINERD.format(socket=SOCKET, pause=PAUSE, runc=runc, plugins=plugins, networks=networks)


def kubelet(folder: Path, ca_file: Path, certificate: Path, key: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(ca_file)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DOMAIN,
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "resolvConf": str(folder / "resolv.conf"),
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
        "maxPods": 60,
    }


def proxy(plan: NodePlan, kubeconfig: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "mode": plan.proxy,
        "clusterCIDR": ",".join(plan.cluster_cidrs),
        "hostnameOverride": plan.name,
        # the machine's, which a network namespace may not set
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
        "bindAddress": plan.place.ip,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }


def network(plan: NodePlan) -> str:
    """The CNI configuration: addresses by host-local of the node's own networks, and hostPorts."""
    plugin = {"type": plan.plugin} | (BRIDGE if plan.plugin == "bridge" else {})
    return _conflist(plugin, plan.pod_networks)


def flannel(plan: NodePlan) -> dict[str, Any]:
    """flannel's net-conf.json; its rules are of the kind that the node's kube-proxy has."""
    network, network6 = POD_CIDRS
    return {
        "Network": network,
        "EnableIPv6": True,
        "IPv6Network": network6,
        "EnableNFTables": plan.proxy == "nftables",
        "Backend": {"Type": "vxlan"},
    }


def flannel_network(subnet_file: str) -> str:
    """The CNI configuration that flannel's plug-in hands on to `bridge`, by what flannel's program wrote."""
    known = dict(line.split("=", 1) for line in subnet_file.split())
    plugin = BRIDGE | {"type": "bridge", "mtu": int(known["FLANNEL_MTU"])}
    subnets = [known["FLANNEL_SUBNET"], known["FLANNEL_IPV6_SUBNET"]]
    return _conflist(plugin, [str(ip_interface(subnet).network) for subnet in subnets])


def _conflist(plugin: dict[str, Any], subnets: Iterable[str]) -> str:
    ranges = [[{"subnet": subnet}] for subnet in subnets]
    ipam = {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}], "ranges": ranges}
    plugin = plugin | {"ipMasq": False, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [plugin, portmap]}, indent=1)
