"""Whether the enforcers know the addresses of Services, so that one without endpoints is refused and not lost. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

import yaml

from bridge.check.snapshot import ClusterSnapshot, Json
from zones.net import AddressSet, IPNetwork, parse_address
from zones.runtime.findings import Finding, Group, some

GROUP = Group("Services")
CONFIG_MAP, SETTINGS = "zone-enforcer-settings", "enforcer.yaml"
ENFORCERS = "zone-enforcer"
_NONE = frozenset({"", "None"})


def check(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    if not snapshot.installed:
        if ranges := _ranges(snapshot):
            yield GROUP.ok(f"Services' addresses are from {', '.join(ranges)}: for enforcer.settings.serviceNetworks")
        return
    networks = _service_networks(snapshot)
    if isinstance(networks, str):
        yield GROUP.unknown(f"whether the enforcers know Services' addresses: {networks}", "ask with more rights")
        return
    addresses = _addresses(snapshot)
    if isinstance(addresses, str):
        yield GROUP.unknown(f"which addresses Services have: {addresses}", "ask with more rights")
        return
    wanted = ", ".join(_ranges(snapshot)) or "the API server's --service-cluster-ip-range"
    if not networks:
        yield GROUP.warning(
            "the enforcers don't know Services' addresses: a connection to one without endpoints is lost, and told as "
            "one to the zone outside",
            f"set serviceNetworks in the enforcers' settings to {wanted}",
        )
        return
    known = AddressSet.of(networks)
    pods = [name for name, network in _pod_networks(snapshot) if AddressSet.of([network]).overlaps(known)]
    if pods:
        yield GROUP.failed(
            f"{some(pods)}: the node's podCIDR is within serviceNetworks, so that new connections to pods are refused",
            f"set serviceNetworks in the enforcers' settings to {wanted}",
        )
    missing = [name for name, address in addresses if parse_address(address) not in known]
    if missing:
        yield GROUP.warning(
            f"{some(missing)}: the Service's address is not within serviceNetworks",
            f"set serviceNetworks in the enforcers' settings to {wanted}, with the load balancers' addresses",
        )
    if not pods and not missing:
        yield GROUP.ok("the enforcers know the addresses of all Services")


def _service_networks(snapshot: ClusterSnapshot) -> list[IPNetwork] | str:
    """What the enforcers' settings say, or why that isn't known."""
    listed = snapshot.of("enforcersettings")
    if listed.problem:
        return listed.problem
    name = _mounted(snapshot)
    config = listed.named(name)
    if config is None:
        return f"there is no ConfigMap {name}"
    try:
        settings = yaml.safe_load((config.get("data") or {}).get(SETTINGS) or "") or {}
        return [ip_network(str(service_network)) for service_network in settings.get("serviceNetworks") or ()]
    except (yaml.YAMLError, ValueError, AttributeError, TypeError) as error:
        return f"{name} can't be read: {' '.join(str(error).split())}"


def _mounted(snapshot: ClusterSnapshot) -> str:
    """The ConfigMap that the enforcers have: kustomize ends its name with a digest, zone-enforcer-settings-7h2k."""
    enforcers = snapshot.of("daemonsets").named(ENFORCERS) or {}
    volumes = (((enforcers.get("spec") or {}).get("template") or {}).get("spec") or {}).get("volumes") or ()
    names = [(volume.get("configMap") or {}).get("name", "") for volume in volumes]
    return next((name for name in names if name.startswith(CONFIG_MAP)), CONFIG_MAP)


def _addresses(snapshot: ClusterSnapshot) -> list[tuple[str, str]] | str:
    """Each Service's name with each of its addresses, or why they aren't known."""
    listed = snapshot.of("services")
    if listed.problem:
        return listed.problem
    return [
        (f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}", address)
        for item in listed.items
        for address in (*_cluster_ips(item), *_load_balancers(item))
    ]


def _cluster_ips(service: Json) -> list[str]:
    spec = service.get("spec") or {}
    return [address for address in spec.get("clusterIPs") or [spec.get("clusterIP", "")] if address not in _NONE]


def _load_balancers(service: Json) -> list[str]:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [address["ip"] for address in ingress if address.get("ip")]


def _ranges(snapshot: ClusterSnapshot) -> list[str]:
    """What the API server tells of itself, from Kubernetes 1.33 on."""
    return [cidr for item in snapshot.of("servicecidrs").items for cidr in (item.get("spec") or {}).get("cidrs") or ()]


def _pod_networks(snapshot: ClusterSnapshot) -> Iterator[tuple[str, IPNetwork]]:
    for item in snapshot.of("nodes").items:
        spec = item.get("spec") or {}
        for cidr in spec.get("podCIDRs") or [spec.get("podCIDR")]:
            if cidr:
                yield item["metadata"]["name"], ip_network(cidr, strict=False)
