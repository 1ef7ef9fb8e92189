"""Raw Kubernetes JSON to what enforcement needs of it. Pure; `enforcer.cluster.view` and the bridge fold the results.

Nothing a cluster holds makes it fail: what can't be read is left out and told as a problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network
from sys import intern
from typing import Any

from zones.addresses.inventory import Node, Pod
from zones.net import IPAddress, IPNetwork
from zones.workload import workload_name
from zones.zone import allowed_zones

Json = Mapping[str, Any]
# What a kubelet shows of a pod that it runs by a file of its own: the namespace and the name are of its own choice.
_MIRROR = "kubernetes.io/config.mirror"
# What calico-node writes of the node that it runs on.
_TUNNELS = tuple(
    f"projectcalico.org/{annotation}"
    for annotation in (
        "IPv4IPIPTunnelAddr",
        "IPv4VXLANTunnelAddr",
        "IPv6VXLANTunnelAddr",
        "IPv4WireguardInterfaceAddr",
        "IPv6WireguardInterfaceAddr",
    )
)
# More labels than anybody's pods have.
MOST_LABELS = 64
_NODE_ADDRESS_TYPES = frozenset({"InternalIP", "ExternalIP"})


@dataclass(frozen=True, slots=True)
class Namespace:
    """What enforcement needs of a namespace. `allowed`: the zones that its annotation lists, None without one."""

    name: str
    allowed: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """An object, and what in it could not be read."""

    item: Pod | Node | Namespace
    problems: tuple[str, ...] = ()


def pod(raw: Json) -> Decoded:
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    texts = [pod_ip.get("ip", "") for pod_ip in status.get("podIPs") or ()] or [status.get("podIP", "")]
    addresses, problems = _addresses(texts, f"pod {namespace}/{name}")
    if _MIRROR in (metadata.get("annotations") or {}) and not spec.get("hostNetwork"):
        named = (
            f"pod {namespace}/{name}: a static pod that isn't on its node's own network is what that node says it is"
        )
        addresses, problems = (), (f"{named}; it is in no zone", *problems)
    item = Pod(
        uid=metadata["uid"],
        namespace=intern(namespace),
        name=name,
        node=intern(spec.get("nodeName") or ""),
        phase=intern(status.get("phase") or ""),
        addresses=addresses,
        labels=_interned(metadata.get("labels")),
        workload=intern(workload(metadata)),
        host_network=bool(spec.get("hostNetwork")),
        terminating=bool(metadata.get("deletionTimestamp")),
        stopped=bool(metadata.get("deletionTimestamp")) and _has_stopped(status),
        started=epoch_seconds(status.get("startTime")),
    )
    return Decoded(item, problems)


def node(raw: Json) -> Decoded:
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    where = f"node {metadata['name']}"
    texts = [
        address["address"] for address in status.get("addresses") or () if address.get("type") in _NODE_ADDRESS_TYPES
    ]
    addresses, problems = _addresses(texts, where)
    cidrs, more = _networks(spec.get("podCIDRs") or [spec.get("podCIDR", "")], where)
    ready = all(
        condition.get("status") == "True"
        for condition in status.get("conditions") or ()
        if condition.get("type") == "Ready"
    )
    annotations = metadata.get("annotations") or {}
    tunnels, bad = _addresses([annotations.get(key, "") for key in _TUNNELS], where)
    return Decoded(Node(metadata["name"], addresses, cidrs, ready, tunnels), problems + more + bad)


def namespace(raw: Json) -> Decoded:
    metadata = raw["metadata"]
    return Decoded(Namespace(metadata["name"], allowed_zones(metadata.get("annotations") or {})))


def workload(metadata: Json) -> str:
    """The name that App-IDs match, from a pod's metadata: its controller's, or its own where it has none."""
    owners: Iterable[Json] = metadata.get("ownerReferences") or ()
    owner: Json = next((candidate for candidate in owners if candidate.get("controller")), {})
    return workload_name(metadata["name"], owner.get("kind"), owner.get("name", ""))


def _has_stopped(status: Json) -> bool:
    """Whether all containers have ended, and none that began before or was added is still at work."""
    main = [container_status.get("state") or {} for container_status in status.get("containerStatuses") or ()]
    kinds = "initContainerStatuses", "ephemeralContainerStatuses"
    others = [state.get("state") or {} for kind in kinds for state in status.get(kind) or ()]
    return (
        bool(main) and all("terminated" in state for state in main) and not any("running" in other for other in others)
    )


def epoch_seconds(text: object) -> int | None:
    """None where there is no time yet, or none that can be read: who wrote the status may be hostile."""
    try:
        return int(datetime.fromisoformat(text).timestamp()) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def _interned(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Pods share most of their labels; a hundred thousand of them must not each hold a copy.

    Nor may one hold as many as its maker likes: the API server takes thousands. Ours come first.
    """
    kept = labels or {}
    if len(kept) > MOST_LABELS:
        kept = {key: kept[key] for key in sorted(kept, key=lambda key: (not _is_ours(key), key))[:MOST_LABELS]}
    return {intern(key): intern(value) for key, value in kept.items()}


def _is_ours(label: str) -> bool:
    return label.startswith("zonebridge.io/")


def _addresses(texts: Iterable[str], where: str) -> tuple[tuple[IPAddress, ...], tuple[str, ...]]:
    good: list[IPAddress] = []
    bad: list[str] = []
    for text in filter(None, texts):
        try:
            good.append(ip_address(text))
        except ValueError:
            bad.append(f"{where}: '{text}' is not an address; it is in no zone")
    return tuple(dict.fromkeys(good)), tuple(bad)


def _networks(texts: Iterable[str], where: str) -> tuple[tuple[IPNetwork, ...], tuple[str, ...]]:
    good: list[IPNetwork] = []
    bad: list[str] = []
    for text in filter(None, texts):
        try:
            good.append(ip_network(text))
        except ValueError:
            bad.append(f"{where}: '{text}' is not a prefix; it is left out")
    return tuple(good), tuple(bad)
