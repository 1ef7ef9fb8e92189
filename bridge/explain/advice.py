"""What an application team can do about a decision on a connection of its pods. Pure sentences over facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.explain.trace import Explanation
from zones.net import protocol_name
from zones.policy import ISOLATION, QUARANTINED, UNTRANSLATED_SERVICE, Policy, Verdict
from zones.verdict import Endpoint, Flow

Json = Mapping[str, Any]
INGRESS, EGRESS = "Ingress", "Egress"


@dataclass(frozen=True, slots=True)
class ExplainedEnd:
    """One end as the team knows it: `pod/NS/NAME` or an address. `policies`: NetworkPolicies that select it.

    `policies` None: they could not be read. `allowed`: the zones that the annotation of the pod's namespace lists.
    """

    name: str
    endpoint: Endpoint
    claimed: str = ""
    labelled: bool = True
    policies: tuple[str, ...] | None = ()
    allowed: frozenset[str] | None = None


def selecting(policies: Iterable[Json], labels: Mapping[str, str], direction: str) -> tuple[str, ...]:
    """The names of the NetworkPolicies of a pod's namespace that select it for a direction."""
    return tuple(
        sorted(
            policy["metadata"]["name"]
            for policy in policies
            if direction in _directions(policy.get("spec") or {})
            and _selects((policy.get("spec") or {}).get("podSelector") or {}, labels)
        )
    )


def _directions(spec: Json) -> Iterable[str]:
    """Without policyTypes it is ingress, and egress where there are rules for that."""
    return spec.get("policyTypes") or (INGRESS, *((EGRESS,) if "egress" in spec else ()))


def _selects(selector: Json, labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels") or {}
    same = all(labels.get(key) == value for key, value in wanted.items())
    return same and all(
        _expression(match_expression, labels) for match_expression in selector.get("matchExpressions") or ()
    )


def _expression(expression: Json, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def advice(
    explanation: Explanation, flow: Flow, source: ExplainedEnd, destination: ExplainedEnd, policy: Policy
) -> tuple[str, ...]:
    """What to do next, the most likely first."""
    return tuple(_advice(explanation, flow, source, destination, policy))


def _advice(
    explanation: Explanation, flow: Flow, source: ExplainedEnd, destination: ExplainedEnd, policy: Policy
) -> Iterator[str]:
    origin, ends = explanation.origin, (source, destination)
    if origin == UNTRANSLATED_SERVICE:
        yield "nobody answers behind this Service: look at its endpoints and ports (kubectl get endpointslices)"
        return
    if origin == QUARANTINED:
        yield "one of both is in quarantine: ask the security team"
        return
    if origin == ISOLATION:
        yield from (_entitlement(end, policy) for end in ends if end.claimed and end.claimed != end.endpoint.zone)
        return
    yield from (_label(end, policy) for end in ends if end.claimed and not end.labelled)
    yield from (_unknown(end) for end in ends if _is_unknown(end, policy))
    if explanation.verdict != Verdict.ALLOW.value:
        yield _request(explanation, flow, source, destination)
        return
    yield "this firewall lets it pass; if it is refused all the same, look at NetworkPolicies and at who listens"
    for end, direction in ((source, "leave"), (destination, "reach")):
        if end.policies is None:
            yield f"the NetworkPolicies of {end.name} could not be read; they may refuse what is to {direction} it"
        elif end.policies:
            names = ", ".join(end.policies)
            yield f"NetworkPolicy {names} selects {end.name}: only what it allows may {direction} the pod"


def _entitlement(end: ExplainedEnd, policy: Policy) -> str:
    may = ", ".join(sorted(end.allowed)) if end.allowed else f"'{policy.zoning.default}' alone"
    return (
        f"{end.name} claims zone '{end.claimed}', which its namespace may not use: it may use {may}. Take one of "
        f"these, or ask the platform team for the namespace's annotation zonebridge.io/zones, then start the pod anew"
    )


def _label(end: ExplainedEnd, policy: Policy) -> str:
    key = policy.zoning.label_key
    return f"{end.name} has no label {key} and is in zone '{end.endpoint.zone}': give it the label of its own zone"


def _is_unknown(end: ExplainedEnd, policy: Policy) -> bool:
    named = policy.known_zones | {zone for entry in policy.entries for zone in entry.from_zones or ()}
    return bool(end.claimed) and end.labelled and end.endpoint.zone not in named


def _unknown(end: ExplainedEnd) -> str:
    return f"no rule in Panorama knows zone '{end.endpoint.zone}' of {end.name}: look for a typing error in the label"


def _request(explanation: Explanation, flow: Flow, source: ExplainedEnd, destination: ExplainedEnd) -> str:
    port = "" if flow.port is None else f"/{flow.port}"
    app = f" of application {destination.endpoint.workload}" if destination.endpoint.workload else ""
    wanted = (
        f"zone '{source.endpoint.zone}' to zone '{destination.endpoint.zone}', {protocol_name(flow.protocol)}{port}"
    )
    if explanation.origin.rulebase == "default":
        return f"ask the firewall team for a rule from {wanted}{app}: there is none yet"
    where = f"{explanation.origin.rulebase} of {explanation.origin.device_group or 'Shared'}"
    return f"rule '{explanation.origin.name}' ({where}) refuses it; ask the firewall team about {wanted}{app}"


def situation_json(source: ExplainedEnd, destination: ExplainedEnd, advised: Iterable[str]) -> dict[str, Any]:
    """What a live explanation has beside the decision. Keys are only ever added."""
    return {"source": _end_json(source), "destination": _end_json(destination), "advice": list(advised)}


def _end_json(end: ExplainedEnd) -> dict[str, Any]:
    at = end.endpoint
    return {
        "name": end.name,
        "zone": at.zone,
        "claimed_zone": end.claimed or None,
        "address": None if at.address is None else str(at.address),
        "namespace": at.namespace or None,
        "workload": at.workload or None,
        "node": at.node or None,
        "network_policies": None if end.policies is None else list(end.policies),
    }


def situation_lines(source: ExplainedEnd, destination: ExplainedEnd, advised: Iterable[str]) -> Iterator[str]:
    """For people, after the decision."""
    for what, end in (("from", source), ("to", destination)):
        named = f", NetworkPolicies {', '.join(end.policies)}" if end.policies else ""
        yield f"  {what:<6}  {end.name} in zone '{end.endpoint.zone}'{named}"
    yield from (f"  advice  {line}" for line in advised)
