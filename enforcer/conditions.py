"""What is wrong at this moment, as conditions: each holds, and ends, by itself. Pure; `enforcer.service` asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from enforcer.alerts import AlertKind, Condition, Severity
from enforcer.delivery import Progress
from enforcer.tier import Judgement, Standing
from zones.inventory import Inventory, Pod
from zones.net import IPAddress
from zones.policy import Policy

_STANDINGS = {
    Standing.TAMPERED: (AlertKind.TIER_TAMPERED, None),
    Standing.REFUSED: (AlertKind.TIER_REFUSED, None),
    Standing.CURRENT: (AlertKind.TIER_TAMPERED, Severity.MEDIUM),
}


def of_tier(tier: str, judgement: Judgement) -> Iterator[Condition]:
    """A tier that waits for its parts is no condition: it becomes stale where they never come."""
    if judgement.why and judgement.standing in _STANDINGS:
        kind, severity = _STANDINGS[judgement.standing]
        yield Condition(kind, tier, judgement.why, severity)


def of_sync(heard: Mapping[str, float], now: float, limit: float) -> Iterator[Condition]:
    """The kinds that the API server has not been heard about for longer than `limit` seconds."""
    silent = sorted(kind for kind, at in heard.items() if now - at > limit)
    if silent:
        kinds = ", ".join(silent)
        message = f"the API server has told nothing of {kinds} for more than {limit:g} s; the last good rules stay"
        yield Condition(AlertKind.SYNC_STALE, "api-server", message)


def of_waiting(tier: str, judgement: Judgement, waiting: float, limit: float) -> Iterator[Condition]:
    """A revision whose parts don't come."""
    if judgement.standing is Standing.WAITING and waiting > limit:
        yield Condition(AlertKind.SYNC_STALE, tier, judgement.why)


def of_zones(policy: Policy, inventory: Inventory, node: str) -> Iterator[Condition]:
    """Zones that this node's pods claim and Panorama doesn't know; each isolated by itself.

    One for each zone and namespace; every node tells of its own pods, so that the SIEM isn't told by all of them.
    """
    if not policy.known_zones:
        return
    key = policy.zoning.label_key
    claimed = {
        (pod.labels[key], pod.namespace) for pod in inventory.pods.values() if pod.node == node and pod.labels.get(key)
    }
    for zone, namespace in sorted(claimed):
        if zone not in policy.known_zones and zone != policy.zoning.default:
            message = f"pods of namespace '{namespace}' claim the zone '{zone}', which Panorama doesn't know"
            yield Condition(AlertKind.ZONE_UNKNOWN, f"{namespace}/{zone}", message)


def of_addresses(disputed: Iterable[tuple[IPAddress, tuple[Pod, ...]]]) -> Iterator[Condition]:
    """Addresses that more than one running pod claims."""
    for address, pods in disputed:
        names = ", ".join(sorted(f"{pod.namespace}/{pod.name}" for pod in pods))
        message = f"{address} is claimed by the running pods {names}; it is trusted to none of them"
        yield Condition(AlertKind.ADDRESS_DISPUTED, str(address), message)


def of_node(problems: Iterable[str]) -> Iterator[Condition]:
    """Whatever else is wrong on this node, in its own words."""
    for problem in problems:
        yield Condition(AlertKind.NODE_PROBLEM, problem, problem)


def of_destinations(deliveries: Iterable[Progress]) -> Iterator[Condition]:
    """Destinations that only an administrator can bring back. One that is away is worth no alert by itself."""
    for progress in deliveries:
        if progress.held:
            message = f"destination '{progress.name}' refuses: {progress.trouble}; records wait in the spool"
            yield Condition(AlertKind.DESTINATION_TROUBLE, progress.name, message)
