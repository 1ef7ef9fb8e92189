"""Answers `explain`: from an exported configuration, or from a live cluster's tier and two of its pods.

Only `bridge.cli` asks. It brings the material together; `bridge.explain` makes the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bridge.apiserver import Access, ApiServer
from bridge.cluster import Cluster
from bridge.errors import ClusterError, InputError, RevisionRefusedError, UndecidedError
from bridge.explain import Explanation, explain, explain_policy, missing_options, untranslated
from bridge.pods import endpoint, versions
from bridge.quarantine import IN_FORCE, names, state_of
from bridge.question import Question, as_infrastructure_sees_it, between, flow_of
from bridge.report import Json, refusal_lines
from zones.compile import Compiled
from zones.net import NO_ADDRESS, AddressSet
from zones.policy import Policy
from zones.tiers import native, quarantines
from zones.tiers.quarantines import Quarantine
from zones.verdict import Flow, UndeterminedError
from zones.zone import Zoning


@dataclass(frozen=True, slots=True)
class Where:
    """A live tier."""

    access: Access
    tier: str


def usual_kubeconfig(environment: Mapping[str, str]) -> Path:
    """Where kubectl looks: the first file of KUBECONFIG, or the one in the home directory."""
    first = environment.get("KUBECONFIG", "").partition(":")[0]
    return Path(first) if first else Path.home() / ".kube" / "config"


def where_we_are(given: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The kubeconfig to use; None in a pod, which has its service account."""
    if given is None and "KUBERNETES_SERVICE_HOST" in environment and "KUBECONFIG" not in environment:
        return None
    return given or usual_kubeconfig(environment)


def from_configuration(
    compiled: Compiled, question: Question, zoning: Zoning, services: AddressSet = NO_ADDRESS
) -> Explanation:
    """`services`: what Services get addresses from. Raises RevisionRefusedError, UndecidedError, InputError."""
    flow = flow_of(question, zoning)
    if compiled.policy is None:
        raise RevisionRefusedError("InexpressibleDeny", *refusal_lines(compiled))
    flow = as_infrastructure_sees_it(flow, compiled.policy.infrastructure)
    return _decided(lambda: untranslated(explain(compiled, flow), flow, services, zoning))


async def from_cluster(where: Where, source: str, destination: str | None, question: Question) -> Explanation:
    """Between two pods, now unless the question says when. Raises ClusterError, UndecidedError, InputError."""
    asked = [_pod_name(source), _pod_name(destination or "")]
    cluster = Cluster(ApiServer(where.access))
    try:
        policy = await live_policy(cluster, where.tier)
        pods = [await _pod(cluster, *name) for name in asked]
        allowed = [await cluster.allowed_zones(namespace) for namespace, _ in asked]
        held = [each for each in map(quarantines.parse, await cluster.quarantines()) if isinstance(each, Quarantine)]
    finally:
        await cluster.close()
    in_force = [each for each in held if state_of(each, time.time()) == IN_FORCE]
    flow = _flow(policy, pods, allowed, question, in_force)
    return _decided(lambda: explain_policy(policy, flow))


async def policy_of(where: Where) -> Policy:
    """What a live tier says. Raises ClusterError."""
    cluster = Cluster(ApiServer(where.access))
    try:
        return await live_policy(cluster, where.tier)
    finally:
        await cluster.close()


def _flow(
    policy: Policy, pods: list[Json], allowed: list[frozenset[str] | None], question: Question, held: list[Quarantine]
) -> Flow:
    common = versions(pods[0]) & versions(pods[1])
    version = min(common, default=4)
    ends = [
        endpoint(pod, zones, policy.zoning, version=version, quarantined=any(names(each, pod) for each in held))
        for pod, zones in zip(pods, allowed, strict=True)
    ]
    at = question.at or datetime.now(UTC).isoformat(timespec="seconds")
    return between(replace(question, at=at), *ends)


async def live_policy(cluster: Cluster, name: str) -> Policy:
    """The policy of a tier that is in force. Raises ClusterError."""
    tier = await cluster.tier(name)
    if tier is None:
        raise ClusterError(f"reading Tier '{name}': there is none; the bridge has not published it yet (see status)")
    try:
        return native.parse(tier, await cluster.parts(name))
    except native.TierError as error:
        raise ClusterError(f"reading Tier '{name}': {error}; the bridge puts it right at its next pass") from error


async def _pod(cluster: Cluster, namespace: str, name: str) -> Json:
    pod = await cluster.pod(namespace, name)
    if pod is None:
        raise InputError(f"explain: there is no pod '{name}' in namespace '{namespace}'")
    return pod


def _pod_name(text: str) -> tuple[str, str]:
    kind, _, rest = text.partition("/")
    namespace, _, name = rest.partition("/")
    if kind != "pod" or not namespace or not name or "/" in name:
        raise InputError(f"explain: '{text}' is no pod; write both ends as pod/NAMESPACE/NAME")
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
