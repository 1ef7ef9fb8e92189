"""Namespaces as boundaries: what may run in them, what may reach their pods, and whether they are used at all."""

from __future__ import annotations

from bridge.posture.check import Judgement, PostureCheck, judged, not_applicable, unknown
from bridge.posture.checks.pods import of_workloads
from bridge.posture.objects import PostureViolation
from bridge.posture.snapshot import PROBES, Input
from bridge.posture.view import PostureView
from zones.siem.alerts import Severity

_LEVELS = frozenset({"baseline", "restricted"})
_KUBERNETES_OWN = frozenset({"kube-system", "kube-public", "kube-node-lease"})


def _admission(view: PostureView) -> Judgement:
    """Something refuses pods everywhere, or Pod Security does it in each namespace."""
    webhooks = [str(webhook.of) for webhook in view.webhooks if webhook.judges_pods and webhook.refuses]
    judging = {policy.of.name for policy in view.admission_policies if policy.judges_pods and policy.fails_closed}
    bindings = [str(binding.of) for binding in view.admission_bindings if binding.refuses and binding.policy in judging]
    named = [name for name in (*webhooks, *bindings) if "zonebridge" not in name]  # ours look at zones alone
    unjudged = view.terms.unjudged
    without = [
        PostureViolation(
            namespace.of, f"{namespace.of} has no Pod Security level baseline or restricted", namespace.changed
        )
        for namespace in view.namespaces
        if namespace.enforced not in _LEVELS
        and namespace.of.name not in unjudged | _KUBERNETES_OWN
        and not namespace.terminating
    ]
    if not without:
        return judged((), "every namespace of workloads has a Pod Security level, baseline or restricted")
    if named:
        return judged((), f"{', '.join(sorted(named)[:3])} judges pods, which this check can't weigh")
    if any(pod.program is not None and "admission-control-config-file" in pod.program.flags for pod in view.pods):
        return unknown("a file of the API server's, on its node, may set a Pod Security level for all namespaces")
    return judged(without, "")


def _network_policies(view: PostureView) -> Judgement:
    """None is wanted where `zonebridge verify` runs: a NetworkPolicy there would close what it measures."""
    having = {policy.of.namespace for policy in view.network_policies}
    return judged(
        (
            PostureViolation(namespace.of, f"{namespace.of} has no NetworkPolicy", namespace.changed)
            for namespace in view.namespaces
            if namespace.of.name not in having
            and namespace.of.name not in view.terms.unjudged | _KUBERNETES_OWN | {PROBES}
            and not namespace.terminating
        ),
        "every namespace of workloads has a NetworkPolicy",
    )


def _boundaries(view: PostureView) -> Judgement:
    own = _KUBERNETES_OWN | view.terms.unjudged | {"default"}
    others = sorted(namespace.of.name for namespace in view.namespaces if namespace.of.name not in own)
    running = [pod for pod in view.pods if pod.of.namespace not in _KUBERNETES_OWN | view.terms.unjudged]
    if not running:
        return not_applicable("no workload runs in the cluster")
    if others:
        return judged((), f"{len(others)} namespaces beside Kubernetes' own: {', '.join(others[:3])}")
    first = min(running, key=lambda pod: pod.of.name)
    return judged([PostureViolation(first.of, "all workloads are in the namespace default", first.changed)], "")


def _default_namespace(view: PostureView) -> Judgement:
    return judged(
        of_workloads(
            [pod for pod in view.pods if pod.of.namespace == "default"], lambda _: "runs in the namespace default"
        ),
        "no pod runs in the namespace default",
    )


CHECKS = (
    PostureCheck(
        "pod-admission",
        "Something refuses pods that reach beyond themselves",
        "label namespaces pod-security.kubernetes.io/enforce: baseline or restricted, or have a policy for pods",
        Severity.HIGH,
        frozenset({Input.NAMESPACES, Input.WEBHOOKS, Input.ADMISSION_POLICIES, Input.ADMISSION_BINDINGS, Input.PODS}),
        _admission,
    ),
    PostureCheck(
        "namespaces-without-policies",
        "Every namespace has a NetworkPolicy",
        "add one: the zones' rules hold all the same, and a NetworkPolicy narrows them inside a zone",
        Severity.LOW,
        frozenset({Input.NAMESPACES, Input.NETWORK_POLICIES}),
        _network_policies,
    ),
    PostureCheck(
        "namespaces-as-boundaries",
        "Workloads are kept apart by namespaces",
        "give each application a namespace of its own",
        Severity.LOW,
        frozenset({Input.NAMESPACES, Input.PODS}),
        _boundaries,
    ),
    PostureCheck(
        "default-namespace",
        "Nothing runs in the namespace default",
        "move it to a namespace of its own",
        Severity.LOW,
        frozenset({Input.PODS}),
        _default_namespace,
    ),
)
