"""What is wrong at this moment, as conditions: each holds, and ends, by itself. Pure; `enforcer.service` asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf

from enforcer.cluster.quarantines import QuarantineTerms
from enforcer.cluster.tier import TierJudgement, TierStanding
from enforcer.shipping.delivery import DeliveryProgress
from zones.addresses.inventory import FINISHED_PHASES, Node, Pod
from zones.addresses.pod_networks import Doubt
from zones.net import IPAddress
from zones.policy import Policy
from zones.siem.alerts import AlertKind, Condition, Severity
from zones.tiers.quarantines import Quarantine

_STANDINGS = {
    TierStanding.TAMPERED: (AlertKind.TIER_TAMPERED, None),
    TierStanding.REFUSED: (AlertKind.TIER_REFUSED, None),
    TierStanding.CURRENT: (AlertKind.TIER_TAMPERED, Severity.MEDIUM),
}


def of_tier(tier: str, judgement: TierJudgement) -> Iterator[Condition]:
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


def of_waiting(tier: str, judgement: TierJudgement, waiting: float, limit: float) -> Iterator[Condition]:
    """A revision whose parts don't come."""
    if judgement.standing is TierStanding.WAITING and waiting > limit:
        yield Condition(AlertKind.SYNC_STALE, tier, judgement.why)


def of_bridge(tier: str, renewed: float | None, now: float, limit: float) -> Iterator[Condition]:
    """A Tier whose status nobody has renewed for longer than `limit` seconds."""
    if renewed is not None and now - renewed > limit:
        message = (
            f"the status of tier '{tier}' has not been renewed for more than {limit:g} s: no bridge is at work, or its "
            "manager doesn't answer; the last good rules stay"
        )
        yield Condition(AlertKind.SYNC_STALE, "bridge", message)


def of_zones(policy: Policy, pods: Iterable[Pod]) -> Iterator[Condition]:
    """Zones that this node's pods claim without right, and zones that Panorama doesn't know; each cut off by itself.

    One for each zone and namespace; every node tells of its own pods, so that the SIEM isn't told by all of them.
    """
    zoning = policy.zoning
    claims = {(zoning.claimed(pod.labels), pod.namespace, pod.allowed) for pod in pods if pod.holds_addresses}
    for zone, namespace, allowed in sorted(claims, key=lambda claim: claim[:2]):
        subject, pods_of = f"{namespace}/{zone}", f"pods of namespace '{namespace}' claim the zone '{zone}'"
        if not zoning.entitled(zone, allowed):
            message = f"{pods_of}, which the namespace isn't entitled to; they are cut off"
            yield Condition(AlertKind.ZONE_CLAIMED, subject, message)
        elif policy.known_zones and zone not in policy.known_zones and zone != zoning.default:
            yield Condition(AlertKind.ZONE_UNKNOWN, subject, f"{pods_of}, which Panorama doesn't know")


def of_quarantines(quarantines: QuarantineTerms, pods: Iterable[Pod], *, observes: bool) -> Iterator[Condition]:
    """What quarantines that are not over mean for this node's pods. `observes`: nothing is dropped on this node."""
    running = [pod for pod in pods if pod.phase not in FINISHED_PHASES and not pod.stopped]
    for quarantine in sorted(quarantines.lasting(), key=lambda quarantine: quarantine.name):
        for pod in running:
            if quarantines.about(quarantine, pod):
                yield _of_quarantine(quarantine, pod, observes=observes)


def _of_quarantine(quarantine: Quarantine, pod: Pod, *, observes: bool) -> Condition:
    who, subject = f"pod {pod.namespace}/{pod.name}", f"{quarantine.name}/{pod.namespace}/{pod.name}"
    by = quarantine.requested_by or quarantine.source
    asked = f"asked for by {by} for {quarantine.duration}: {quarantine.reason}"
    if quarantine.waits:
        message = f"quarantine '{quarantine.name}' of {who} waits for an approval: {quarantine.held}; {asked}"
        return Condition(AlertKind.QUARANTINE_HELD, subject, message)
    without = _without_effect(quarantine, pod, observes=observes)
    message = f"{who} is in quarantine '{quarantine.name}'{without and f', which cuts nothing off: {without}'}; {asked}"
    return Condition(AlertKind.QUARANTINED, subject, message, Severity.LOW if quarantine.dry_run else None)


def _without_effect(quarantine: Quarantine, pod: Pod, *, observes: bool) -> str:
    if quarantine.dry_run:
        return "it is a dry run"
    if quarantine.exempt:
        return f"pods of {pod.namespace} are exempt"
    if pod.host_network:
        return "the pod is on its node's own network"
    return "this node only observes" if observes else ""


def of_addresses(disputed: Iterable[tuple[IPAddress, tuple[Pod, ...]]], node: str) -> Iterator[Condition]:
    """Addresses that more than one running pod claims, one of them on this node."""
    for address, pods in disputed:
        if any(pod.node == node for pod in pods):
            names = ", ".join(sorted(f"{pod.namespace}/{pod.name}" for pod in pods))
            message = f"{address} is claimed by the running pods {names}; it is trusted to none of them"
            yield Condition(AlertKind.ADDRESS_DISPUTED, str(address), message)


def of_places(misplaced: Iterable[tuple[IPAddress, Pod]], node: str) -> Iterator[Condition]:
    """Addresses that pods of this node claim and can't have."""
    for address, pod in misplaced:
        who = f"{pod.namespace}/{pod.name}"
        message = f"pod {who} claims {address}, which is in no pod network of {node}; it is not trusted to have it"
        yield Condition(AlertKind.ADDRESS_MISPLACED, f"{who}/{address}", message)


def misplaced_problem(misplaced: Sequence[tuple[IPAddress, Pod]]) -> str:
    """The same as one problem of the node: where many pods are so, its settings are at fault."""
    if not misplaced:
        return ""
    address, pod = misplaced[0]
    who = f"{len(misplaced)} addresses of pods of this node (such as {address} of {pod.namespace}/{pod.name})"
    return (
        f"{who} are in none of its pod networks: nobody is trusted to have them, and they are closed; "
        "name the networks that pods get addresses from in podNetworks"
    )


def of_intruders(intruders: Iterable[tuple[IPAddress, Node]], node: str) -> Iterator[Condition]:
    """Addresses of this node's pod networks that other nodes claim as their own; told by the node that has them."""
    for address, other in intruders:
        message = (
            f"node {other.name} claims {address}, which is in a pod network of {node}; it is not trusted to have it"
        )
        yield Condition(AlertKind.ADDRESS_MISPLACED, f"{other.name}/{address}", message)


def of_networks(doubted: Iterable[Doubt], node: str) -> Iterator[Condition]:
    """Pod networks that this node says it has, and is not believed to; each node tells of its own."""
    for doubt in doubted:
        message = f"pod network of {node}: {doubt}; no pod is trusted to have an address there by it"
        yield Condition(AlertKind.NETWORK_DISPUTED, f"{node}/{doubt.network}", message)


def of_node(problems: Iterable[str]) -> Iterator[Condition]:
    """Whatever else is wrong on this node, in its own words."""
    for problem in problems:
        yield Condition(AlertKind.NODE_PROBLEM, problem, problem)


def of_destinations(
    deliveries: Iterable[DeliveryProgress], now: float = 0.0, limit: float = inf
) -> Iterator[Condition]:
    """Destinations that only an administrator can bring back, and those that take nothing for longer than `limit`.

    One that is away for a moment is worth no alert by itself.
    """
    for progress in deliveries:
        if progress.on_hold:
            message = f"destination '{progress.name}' refuses: {progress.trouble}; records wait in the spool"
        elif progress.since is not None and now - progress.since > limit:
            message = f"destination '{progress.name}' has taken nothing for more than {limit:g} s; records wait"
        else:
            continue
        yield Condition(AlertKind.DESTINATION_TROUBLE, progress.name, message)
