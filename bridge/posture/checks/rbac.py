"""Who may do what: the API server's roles and bindings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bridge.posture.check import Judgement, PostureCheck, judged
from bridge.posture.objects import ANY, PostureViolation, RbacRole
from bridge.posture.rbac import bootstrap
from bridge.posture.rbac.powers import Power
from bridge.posture.rbac.rights import Rights
from bridge.posture.view import RBAC, PostureView
from zones.siem.alerts import Severity

_ADMIN = ("ClusterRole", "cluster-admin")


def _everything(view: PostureView) -> Judgement:
    return judged(
        violations_of(view.rights, Power.EVERYTHING), "only what Kubernetes itself binds: the group system:masters"
    )


def _power(power: Power, view: PostureView) -> Judgement:
    rights = view.rights
    nobody = f"no binding lets anybody {power.value}"
    if all_powerful := len(rights.grants.get(Power.EVERYTHING, ())):
        nobody += f", but for {all_powerful} that allow everything (check cluster-admins)"
    return judged(violations_of(rights, power), nobody)


def violations_of(rights: Rights, power: Power) -> Iterator[PostureViolation]:
    """A violation for each binding that gives it."""
    return (grant.violation for grant in rights.grants.get(power, ()))


def _wildcards(view: PostureView) -> Judgement:
    roles = (*view.cluster_roles, *view.roles)
    return judged(
        (
            PostureViolation(role.of, f"{role.of} has a * in its {places}", role.changed)
            for role in roles
            if (places := _places(role)) and not _is_kubernetes_own(role)
        ),
        "no role but Kubernetes' own has a *",
    )


def _places(role: RbacRole) -> str:
    rules = role.rules
    places = {
        "verbs": any(ANY in rule.verbs for rule in rules),
        "API groups": any(ANY in rule.groups for rule in rules),
        "resources": any(resource.startswith(ANY) for rule in rules for resource in rule.resources),
        "URLs": any(ANY in rule.urls for rule in rules),
    }
    return ", ".join(name for name, has in places.items() if has)


def _is_kubernetes_own(role: RbacRole) -> bool:
    return (
        role.of.kind == "ClusterRole"
        and role.of.name in bootstrap.WITH_WILDCARDS
        and role.labels.get("kubernetes.io/bootstrapping") == "rbac-defaults"
    )


def _of_power(name: str, title: str, remedy: str, severity: Severity, power: Power) -> PostureCheck:
    return PostureCheck(name, title, remedy, severity, RBAC, partial(_power, power))


CHECKS = (
    PostureCheck(
        "cluster-admins",
        "Nobody but the group system:masters may do everything",
        "bind a role with what is needed instead; whoever must have it is an exception with an owner",
        Severity.HIGH,
        RBAC,
        _everything,
    ),
    PostureCheck(
        "wildcard-roles",
        "Roles name what they allow, without a *",
        "write verbs, API groups and resources out: what is installed later is then not allowed before anybody thought "
        "of it",
        Severity.MEDIUM,
        frozenset(RBAC),
        _wildcards,
    ),
    _of_power(
        "secret-readers",
        "Nobody reads Secrets of the whole cluster or of its system namespaces",
        "allow get of the Secrets by name, in the namespace that needs them",
        Severity.HIGH,
        Power.READ_SECRETS,
    ),
    _of_power(
        "pod-creators",
        "Nobody makes pods, or what makes pods, in every namespace or in the system's",
        "bind the role in the namespaces where it deploys: a pod may use any service account and Secret beside it",
        Severity.HIGH,
        Power.CREATE_PODS,
    ),
    _of_power(
        "privilege-givers",
        "Nobody gives rights that he doesn't have",
        "remove bind, escalate and impersonate, or limit them by resourceNames to what may be given",
        Severity.HIGH,
        Power.GIVE_PRIVILEGES,
    ),
    _of_power(
        "volume-creators",
        "Nobody makes PersistentVolumes by hand",
        "use StorageClasses: a PersistentVolume may be any directory of a node",
        Severity.HIGH,
        Power.CREATE_VOLUMES,
    ),
    _of_power(
        "node-proxy-users",
        "Nobody reaches kubelets through the API server",
        "allow nodes/metrics, nodes/stats, nodes/log or nodes/configz: nodes/proxy runs commands in every pod",
        Severity.HIGH,
        Power.USE_NODE_PROXY,
    ),
    _of_power(
        "certificate-approvers",
        "Nobody approves certificates",
        "leave it to the approver of kubelets' certificates: a certificate may be anybody's",
        Severity.HIGH,
        Power.APPROVE_CERTIFICATES,
    ),
    _of_power(
        "webhook-writers",
        "Nobody changes admission webhooks",
        "limit it by resourceNames to the webhooks of whoever needs it: a webhook sees and changes every object",
        Severity.HIGH,
        Power.WRITE_WEBHOOKS,
    ),
    _of_power(
        "token-creators",
        "Nobody makes tokens of other service accounts in the whole cluster or in its system namespaces",
        "allow it for named service accounts in their namespace",
        Severity.HIGH,
        Power.CREATE_TOKENS,
    ),
)
