"""What rules of a role allow that checks look for. Data, and one function over it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bridge.posture.objects import ANY, RbacRule


class Power(StrEnum):
    """What somebody who has it can do to the cluster."""

    EVERYTHING = "everything"
    READ_SECRETS = "read Secrets"
    CREATE_PODS = "create pods"
    GIVE_PRIVILEGES = "bind, escalate or impersonate"
    CREATE_VOLUMES = "create PersistentVolumes"
    USE_NODE_PROXY = "reach kubelets through nodes/proxy"
    APPROVE_CERTIFICATES = "approve certificates"
    WRITE_WEBHOOKS = "change admission webhooks"
    CREATE_TOKENS = "create tokens of service accounts"
    WRITE_TIER = "write the firewall's objects"
    OVERRIDE_TIER = "override the firewall's admission policies"
    ASSIGN_ZONES = "say which zones a namespace may use"
    WRITE_POD_ADDRESSES = "say which address a pod has"
    WRITE_NODES = "say which addresses a node has"
    WRITE_POLICIES = "change ValidatingAdmissionPolicies"


@dataclass(frozen=True, slots=True)
class _Permission:
    """`named`: it counts also where it is for named objects alone."""

    verbs: frozenset[str]
    group: str
    resources: tuple[str, ...]
    named: bool = True


_WRITE = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_CHANGE = frozenset({"update", "patch"})


def _may(verbs: Iterable[str], group: str, *resources: str, named: bool = True) -> _Permission:
    return _Permission(frozenset(verbs), group, resources, named)


_ADMISSION = "admissionregistration.k8s.io"
_OURS = "zonebridge.io"
_RBAC = "rbac.authorization.k8s.io"
PERMISSIONS: Mapping[Power, tuple[_Permission, ...]] = {
    Power.READ_SECRETS: (_may(("get", "list", "watch"), "", "secrets", named=False),),
    # Whoever makes a pod's owner makes pods. A name can't limit what doesn't exist yet.
    Power.CREATE_PODS: (
        _may(("create",), "", "pods", "replicationcontrollers", named=False),
        _may(("create",), "apps", "deployments", "daemonsets", "statefulsets", "replicasets", named=False),
        _may(("create",), "batch", "jobs", "cronjobs", named=False),
    ),
    Power.GIVE_PRIVILEGES: (
        _may(("bind", "escalate"), _RBAC, "roles", "clusterroles"),
        _may(("impersonate",), "", "users", "groups", "serviceaccounts"),
        _may(("impersonate",), "authentication.k8s.io", "uids"),
    ),
    Power.CREATE_VOLUMES: (_may(("create",), "", "persistentvolumes", named=False),),
    Power.USE_NODE_PROXY: (_may(("get", "create", "update", "patch", "delete"), "", "nodes/proxy"),),
    Power.APPROVE_CERTIFICATES: (_may(_CHANGE, "certificates.k8s.io", "certificatesigningrequests/approval"),),
    Power.WRITE_WEBHOOKS: (
        _may(_WRITE, _ADMISSION, "validatingwebhookconfigurations", "mutatingwebhookconfigurations"),
    ),
    Power.CREATE_TOKENS: (_may(("create",), "", "serviceaccounts/token"),),
    Power.WRITE_TIER: (
        _may(_WRITE, _OURS, "tiers", "policychunks", "addresssets", "zones", "podslices", "nodestates", "revisions"),
        _may(_CHANGE, _OURS, "tiers/status", "nodestates/status", "revisions/status"),
    ),
    Power.OVERRIDE_TIER: (_may(("override",), _OURS, "tiers"),),
    Power.ASSIGN_ZONES: (_may(("assign",), _OURS, "zones"),),
    Power.WRITE_POD_ADDRESSES: (_may(_CHANGE, "", "pods/status"), _may(("report",), _OURS, "podaddresses")),
    Power.WRITE_NODES: (_may(_CHANGE, "", "nodes", "nodes/status"), _may(("report",), _OURS, "nodeaddresses")),
    Power.WRITE_POLICIES: (
        _may(_WRITE, _ADMISSION, "validatingadmissionpolicies", "validatingadmissionpolicybindings"),
    ),
}
# What a RoleBinding can give at all, and whether it matters in any namespace, or in those of the system alone.
OF_A_NAMESPACE: Mapping[Power, bool] = {
    Power.EVERYTHING: False,
    Power.READ_SECRETS: False,
    Power.CREATE_PODS: False,
    Power.GIVE_PRIVILEGES: False,
    Power.CREATE_TOKENS: False,
    Power.WRITE_POD_ADDRESSES: True,
}


def powers_of(rules: Iterable[RbacRule]) -> frozenset[Power]:
    """Those that any of the rules gives; EVERYTHING is all verbs on all resources, and then all others too."""
    powers: set[Power] = set()
    for rule in rules:
        if ANY in rule.verbs and ANY in rule.groups and ANY in rule.resources and not rule.names:
            return frozenset(Power)
        powers.update(
            power
            for power, permissions in PERMISSIONS.items()
            if power not in powers
            and any(
                (permission.named or not rule.names)
                and any(rule.allows(permission.verbs, permission.group, resource) for resource in permission.resources)
                for permission in permissions
            )
        )
    return frozenset(powers)
