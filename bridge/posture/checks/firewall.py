"""The firewall's own: who can write what it trusts, which pods are beside it, and what a node passes by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from bridge.posture.check import Judgement, PostureCheck, judged, not_applicable, unknown
from bridge.posture.checks.pods import of_workloads
from bridge.posture.objects import AdmissionPolicyFacts, ObjectName, PodFacts, PodTrait, PostureViolation, RbacSubject
from bridge.posture.rbac.powers import Power
from bridge.posture.snapshot import PROBES, Input
from bridge.posture.view import RBAC, PostureView
from zones.runtime.findings import some
from zones.siem.alerts import Severity

_OURS = ("zonebridge", "zone-enforcer")
_KUBELETS = RbacSubject("Group", "system:nodes")
POLICIES = frozenset(
    {
        *(
            "zonebridge-tier",
            "zonebridge-zones",
            "zonebridge-zoning",
            "zonebridge-namespaces",
            "zonebridge-addresses",
            "zonebridge-nodes",
        ),
        *("zonebridge-nodestates", "zonebridge-podslices", "zonebridge-workloads", "zonebridge-system"),
        *("zonebridge-installation", "zonebridge-services", "zonebridge-api-server", "zonebridge-quarantines"),
    }
)
_BESIDE = (PodTrait.HOST_NETWORK, PodTrait.NET_ADMIN, PodTrait.PRIVILEGED)


def _granted(power: Power, view: PostureView) -> Judgement:
    ours = {RbacSubject("ServiceAccount", name, space) for name in _OURS for space in view.terms.own_namespaces}
    grants = [
        grant
        for grant in view.rights.grants.get(power, ())
        if not all(_is_trusted(subject, ours) for subject in grant.subjects)
    ]
    return judged(
        (grant.violation for grant in grants),
        f"no binding lets anybody {power.value} but zonebridge, Kubernetes itself, and those who may do everything",
    )


def _is_trusted(subject: RbacSubject, ours: set[RbacSubject]) -> bool:
    return subject in ours or subject == _KUBELETS


def _in_force(view: PostureView) -> Judgement:
    policies = {policy.of.name: policy for policy in view.admission_policies}
    if not any(name in policies for name in POLICIES):
        return not_applicable("zonebridge's admission policies are not installed")
    refusing = {binding.policy for binding in view.admission_bindings if binding.refuses}
    probes = {PROBES for namespace in view.namespaces if namespace.of.name == PROBES and not namespace.terminating}
    wanted = sorted(POLICIES | probes)
    return judged(_weak(wanted, policies, refusing), f"all {len(wanted)} are installed, bound to deny, and fail closed")


def _weak(
    wanted: Iterable[str], policies: dict[str, AdmissionPolicyFacts], refusing: set[str]
) -> Iterator[PostureViolation]:
    for name in wanted:
        of, policy = ObjectName("ValidatingAdmissionPolicy", name), policies.get(name)
        if policy is None:
            yield PostureViolation(of, f"{of} is not installed")
        elif name not in refusing:
            yield PostureViolation(of, f"{of} has no binding that denies")
        elif not policy.fails_closed:
            yield PostureViolation(of, f"{of} lets through what it can't judge")


def _beside(view: PostureView) -> Judgement:
    unjudged = view.terms.unjudged
    beside = [
        pod for pod in view.pods if pod.of.namespace not in unjudged and any(trait in pod.traits for trait in _BESIDE)
    ]
    return judged(of_workloads(beside, _why_beside), "every workload's pod is in a zone and can't change its network")


def _why_beside(pod: PodFacts) -> str:
    if PodTrait.HOST_NETWORK in pod.traits:
        return "is on its node's network: the rules take it for the node"
    has = "is privileged" if PodTrait.PRIVILEGED in pod.traits else "has NET_ADMIN"
    return f"{has}: it may change addresses and routes of its network"


def _entitlements(view: PostureView) -> Judgement:
    """But for the namespace of probes, into which its policy lets nobody else: `admission-in-force` looks at that."""
    return judged(
        (
            PostureViolation(
                namespace.of,
                f"{namespace.of} may use "
                f"{'every zone' if '*' in namespace.zones else 'the zones ' + ', '.join(sorted(namespace.zones))}",
                namespace.changed,
            )
            for namespace in view.namespaces
            if namespace.zones is not None
            and ("*" in namespace.zones or len(namespace.zones) > 1)
            and namespace.of.name != PROBES
        ),
        "no namespace may use more than one zone",
    )


def _nodes(view: PostureView) -> Judgement:
    if not view.enforcers:
        return not_applicable("no enforcer has said anything of its node: none is installed")
    troubled = [
        PostureViolation(enforcer.of, f"{enforcer.of}: {'; '.join(enforcer.problems)}")
        for enforcer in view.enforcers
        if enforcer.problems
    ]
    silent = {node.of.name for node in view.nodes} - {enforcer.of.name for enforcer in view.enforcers}
    if silent and not troubled:
        return unknown(f"no enforcer has said anything of {some(silent)}")
    return judged(troubled, f"none of {len(view.enforcers)} enforcers has anything to say against its node")


def _clients(view: PostureView) -> Judgement:
    exposed = [service for service in view.services if service.exposed]
    if not exposed:
        return not_applicable("no Service is reached from outside by a node's port or a load balancer")
    return judged(
        (
            PostureViolation(
                service.of,
                f"{service.of}: externalTrafficPolicy is not Local, so a rule may see a node in place of the client",
                service.changed,
            )
            for service in exposed
            if service.hides_clients
        ),
        f"all {len(exposed)} Services that are reached from outside keep the client's address",
    )


def _of_power(name: str, title: str, remedy: str, power: Power) -> PostureCheck:
    return PostureCheck(name, title, remedy, Severity.HIGH, RBAC, partial(_granted, power))


CHECKS = (
    _of_power(
        "tier-writers",
        "Only zonebridge writes the firewall's objects",
        "remove the right; what is written is refused at admission, or put back, but it shouldn't be tried",
        Power.WRITE_TIER,
    ),
    _of_power(
        "tier-overriders",
        "Nobody overrides the firewall's admission policies",
        "bind the verb override on tiers.zonebridge.io only for as long as it is needed",
        Power.OVERRIDE_TIER,
    ),
    _of_power(
        "zone-assigners",
        "Nobody but the platform team's exceptions says which zones a namespace may use",
        "unbind zonebridge-zone-assigner, or note who has it as an exception with an owner",
        Power.ASSIGN_ZONES,
    ),
    _of_power(
        "pod-address-writers",
        "Only kubelets and Kubernetes' controllers say which address a pod has",
        "remove update and patch of pods/status: an address decides on the zone",
        Power.WRITE_POD_ADDRESSES,
    ),
    _of_power(
        "node-writers",
        "Only kubelets and Kubernetes' controllers say which addresses a node has",
        "remove update and patch of nodes and nodes/status: an address decides on the zone",
        Power.WRITE_NODES,
    ),
    _of_power(
        "admission-writers",
        "Nobody changes ValidatingAdmissionPolicies",
        "leave it to those who may do everything: the firewall's own policies are among them",
        Power.WRITE_POLICIES,
    ),
    PostureCheck(
        "admission-in-force",
        "The firewall's admission policies are in force",
        "helm upgrade, or apply config/deploy again",
        Severity.CRITICAL,
        frozenset({Input.ADMISSION_POLICIES, Input.ADMISSION_BINDINGS, Input.NAMESPACES}),
        _in_force,
    ),
    PostureCheck(
        "pods-beside-the-tier",
        "No workload is beside the firewall",
        "remove hostNetwork, privileged and NET_ADMIN; what must have it belongs to a system namespace",
        Severity.HIGH,
        frozenset({Input.PODS}),
        _beside,
    ),
    PostureCheck(
        "many-zone-namespaces",
        "A namespace may use one zone",
        "give each zone namespaces of its own: whoever deploys to such a namespace chooses the zone",
        Severity.LOW,
        frozenset({Input.NAMESPACES}),
        _entitlements,
    ),
    PostureCheck(
        "unseen-traffic",
        "No node passes traffic by the firewall",
        "docs/troubleshooting.md has each sentence that an enforcer says, and what to do",
        Severity.HIGH,
        frozenset({Input.ENFORCERS, Input.NODES}),
        _nodes,
    ),
    PostureCheck(
        "hidden-clients",
        "Services keep the address of clients outside",
        "set externalTrafficPolicy: Local, or write rules for the zone of nodes",
        Severity.LOW,
        frozenset({Input.SERVICES}),
        _clients,
    ),
)
