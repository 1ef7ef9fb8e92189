"""A pod's JSON as one end of a flow. Pure; `bridge.cli` asks it for `explain` against a live cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zones import decode
from zones.net import parse_address
from zones.verdict import Endpoint
from zones.zone import Zoning


def endpoint(
    pod: Mapping[str, Any],
    allowed: frozenset[str] | None,
    zoning: Zoning,
    *,
    version: int = 4,
    quarantined: bool = False,
) -> Endpoint:
    """The pod as the policy sees it, with its address of this IP version where it has one.

    `allowed`: the zones that the annotation of its namespace lists. `quarantined`: a Quarantine in force names it.
    """
    metadata, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    addresses = [parse_address(pod_ip["ip"]) for pod_ip in status.get("podIPs", ()) if pod_ip.get("ip")]
    address = next((candidate for candidate in addresses if candidate.version == version), None)
    node = spec.get("nodeName", "")
    if spec.get("hostNetwork"):
        return Endpoint(zoning.nodes, address, "", node=node, is_node=True)
    return Endpoint(
        zone=zoning.of_pod(metadata.get("labels") or {}, allowed, quarantined=quarantined),
        address=address,
        workload=decode.workload(metadata),
        namespace=metadata["namespace"],
        node=node,
    )


def versions(pod: Mapping[str, Any]) -> frozenset[int]:
    """The IP versions that a pod has an address of."""
    ips = (pod_ip.get("ip") for pod_ip in pod.get("status", {}).get("podIPs", ()))
    return frozenset(parse_address(ip).version for ip in ips if ip)
