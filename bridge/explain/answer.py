"""Answers `explain`: from an exported configuration, or from a live cluster's tier and two of its pods.

Only `bridge.cli` asks. It brings the material together; `bridge.explain.trace` makes the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bridge.compilation.report import Json, refusal_lines
from bridge.errors import RevisionRefusedError, UndecidedError
from bridge.explain.advice import EGRESS, INGRESS, ExplainedEnd, advice, selecting, situation_json, situation_lines
from bridge.explain.flow_options import FlowQuestion, as_infrastructure_sees_it, between, flow_of
from bridge.explain.pod_end import endpoint, versions
from bridge.explain.trace import (
    Explanation,
    explain,
    explain_policy,
    explanation_json,
    explanation_lines,
    missing_options,
    untranslated,
)
from bridge.quarantine.client import IN_FORCE, names, state_of
from bridge.tier.reader import ClusterReader
from zones.addresses.inventory import FINISHED_PHASES
from zones.compile import Compiled
from zones.kube.errors import ClusterError, ClusterRefusedError
from zones.net import NO_ADDRESS, AddressSet, IPAddress, parse_address
from zones.policy import Policy
from zones.runtime.errors import InputError
from zones.runtime.output import printable
from zones.tiers import native, quarantines
from zones.tiers.quarantines import Quarantine
from zones.verdict import Endpoint, UndeterminedError
from zones.zone import Zoning


def usual_kubeconfig(environment: Mapping[str, str]) -> Path:
    """Where kubectl looks: the first file of KUBECONFIG, or the one in the home directory."""
    first = environment.get("KUBECONFIG", "").partition(":")[0]
    return Path(first) if first else Path.home() / ".kube" / "config"


def where_we_are(kubeconfig: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The kubeconfig to use; None in a pod, which has its service account."""
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in environment and "KUBECONFIG" not in environment:
        return None
    return kubeconfig or usual_kubeconfig(environment)


def from_configuration(
    compiled: Compiled, question: FlowQuestion, zoning: Zoning, services: AddressSet = NO_ADDRESS
) -> Explanation:
    """`services`: what Services get addresses from. Raises RevisionRefusedError, UndecidedError, InputError."""
    flow = flow_of(question, zoning)
    if compiled.policy is None:
        raise RevisionRefusedError("InexpressibleDeny", *refusal_lines(compiled))
    flow = as_infrastructure_sees_it(flow, compiled.policy.infrastructure)
    return _decided(lambda: untranslated(explain(compiled, flow), flow, services, zoning))


@dataclass(frozen=True, slots=True)
class Situation:
    """A decision on a live connection, its two ends, and what the team that has one of them can do."""

    explanation: Explanation
    source: ExplainedEnd
    destination: ExplainedEnd
    advice: tuple[str, ...]

    def json(self) -> Json:
        """The stable form. Keys are only ever added."""
        return explanation_json(self.explanation) | situation_json(self.source, self.destination, self.advice)

    def text(self) -> str:
        lines = situation_lines(self.source, self.destination, self.advice)
        return "\n".join((*explanation_lines(self.explanation), *map(printable, lines)))


async def from_cluster(
    cluster: ClusterReader,
    tier: str,
    source: str,
    destination: str | None,
    question: FlowQuestion,
    *,
    services: AddressSet = NO_ADDRESS,
) -> Situation:
    """From a pod to another or to an address, now unless the question says when.

    It closes the cluster. `services`: what Services get addresses from. Raises ClusterError, UndecidedError,
    InputError.
    """
    to_address = _address(destination or "")
    for name in (source, *((destination or "",) if to_address is None else ())):
        _pod_name(name)
    try:
        policy = await live_policy(cluster, tier)
        known = [
            quarantine
            for quarantine in map(quarantines.parse, await cluster.quarantines() or ())
            if isinstance(quarantine, Quarantine)
        ]
        in_force = [quarantine for quarantine in known if state_of(quarantine, time.time()) == IN_FORCE]
        first = await _pod_facts(cluster, source, EGRESS)
        if to_address is None:
            second = await _pod_facts(cluster, destination or "", INGRESS)
            version = min(versions(first.pod) & versions(second.pod), default=4)
            ends = _pod_end(second, policy, version, in_force)
        else:
            version = to_address.version
            ends = await _end_at(cluster, to_address, policy, in_force)
    finally:
        await cluster.close()
    begins = _pod_end(first, policy, version, in_force)
    at = question.at or datetime.now(UTC).isoformat(timespec="seconds")
    flow = between(replace(question, at=at), begins.endpoint, ends.endpoint)
    decided = _decided(lambda: untranslated(explain_policy(policy, flow), flow, services, policy.zoning))
    return Situation(decided, begins, ends, advice(decided, flow, begins, ends, policy))


@dataclass(frozen=True, slots=True)
class _PodFacts:
    """A pod, the zones that its namespace lists, and the NetworkPolicies that select it; None: unreadable."""

    name: str
    pod: Json
    allowed: frozenset[str] | None
    policies: tuple[str, ...] | None


async def _end_at(
    cluster: ClusterReader, address: IPAddress, policy: Policy, in_force: Sequence[Quarantine]
) -> ExplainedEnd:
    """Who has an address: a pod, a node, or somebody outside."""
    name = str(address)
    holders = [
        pod
        for pod in await cluster.pods_at(name)
        if name in {pod_ip.get("ip") for pod_ip in pod["status"].get("podIPs") or ()}
        and pod["status"].get("phase") not in FINISHED_PHASES
    ]
    of_pods = [pod for pod in holders if not pod["spec"].get("hostNetwork")]
    if of_pods:
        metadata = of_pods[0]["metadata"]
        facts = await _pod_facts(cluster, f"pod/{metadata['namespace']}/{metadata['name']}", INGRESS)
        return _pod_end(facts, policy, address.version, in_force)
    nodes = [node["metadata"]["name"] for node in await cluster.nodes() if name in _node_addresses(node)]
    if nodes or holders:
        node = nodes[0] if nodes else holders[0]["spec"].get("nodeName", "")
        return ExplainedEnd(f"node {node}", Endpoint(policy.zoning.nodes, address, "", node=node, is_node=True))
    return ExplainedEnd(name, Endpoint(policy.zoning.of_address(address), address, ""))


def _node_addresses(node: Json) -> frozenset[str]:
    return frozenset(address.get("address", "") for address in (node.get("status") or {}).get("addresses") or ())


async def _pod_facts(cluster: ClusterReader, text: str, direction: str) -> _PodFacts:
    namespace, name = _pod_name(text)
    pod = await _pod(cluster, namespace, name)
    allowed = await cluster.allowed_zones(namespace)
    try:
        labels = pod["metadata"].get("labels") or {}
        policies = selecting(await cluster.network_policies(namespace), labels, direction)
    except ClusterRefusedError:  # whoever asks may not read them
        return _PodFacts(text, pod, allowed, None)
    return _PodFacts(text, pod, allowed, policies)


def _pod_end(facts: _PodFacts, policy: Policy, version: int, in_force: Sequence[Quarantine]) -> ExplainedEnd:
    quarantined = any(names(quarantine, facts.pod) for quarantine in in_force)
    at = endpoint(facts.pod, facts.allowed, policy.zoning, version=version, quarantined=quarantined)
    labels = facts.pod["metadata"].get("labels") or {}
    claimed = "" if at.is_node else policy.zoning.claimed(labels)
    labelled = bool(labels.get(policy.zoning.label_key))
    return ExplainedEnd(facts.name, at, claimed, labelled=labelled, policies=facts.policies, allowed=facts.allowed)


def _address(text: str) -> IPAddress | None:
    """None where it is written as a pod; what is neither is told by whoever reads it as one."""
    try:
        return parse_address(text)
    except ValueError:
        return None


async def live_policy(cluster: ClusterReader, name: str) -> Policy:
    """The policy of a tier that is in force. Raises ClusterError."""
    tier = await cluster.tier(name)
    if tier is None:
        raise ClusterError(f"reading Tier '{name}': there is none; the bridge has not published it yet (see status)")
    try:
        return native.parse(tier, await cluster.parts(name))
    except native.TierError as error:
        raise ClusterError(f"reading Tier '{name}': {error}; the bridge puts it right at its next pass") from error


async def _pod(cluster: ClusterReader, namespace: str, name: str) -> Json:
    pod = await cluster.pod(namespace, name)
    if pod is None:
        raise InputError(f"explain: there is no pod '{name}' in namespace '{namespace}'")
    return pod


def _pod_name(text: str) -> tuple[str, str]:
    kind, _, rest = text.partition("/")
    namespace, _, name = rest.partition("/")
    if kind != "pod" or not namespace or not name or "/" in name:
        raise InputError(f"explain: '{text}' is no pod; write pod/NAMESPACE/NAME, or an IP address as the second")
    return namespace, name


def _decided(ask: Callable[[], Explanation]) -> Explanation:
    try:
        return ask()
    except UndeterminedError as error:
        options = missing_options(error)
        raise UndecidedError(
            f"explain: rule '{error.origin.name}' ({error.origin.rulebase} of {error.origin.device_group}) depends on "
            f"what was not given: give {' and '.join(options)}"
        ) from error
