"""What Kubernetes itself binds: roles of controllers, of the scheduler and of administrators, as it makes them. Pure.

A label alone proves nothing, as whoever may write a binding may write it too: name, role, subjects and powers must be
those that Kubernetes makes.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.posture.objects import RbacBinding, RbacRole
from bridge.posture.rbac.powers import Power

_CONTROLLER = "system:controller:"
_MANAGER = ("User", "", "system:kube-controller-manager")
_SCHEDULER = ("User", "", "system:kube-scheduler")
_SUBJECTS: Mapping[str, frozenset[tuple[str, str, str]]] = {
    "cluster-admin": frozenset({("Group", "", "system:masters")}),
    "system:basic-user": frozenset({("Group", "", "system:authenticated")}),
    "system:discovery": frozenset({("Group", "", "system:authenticated")}),
    "system:public-info-viewer": frozenset(
        {("Group", "", "system:authenticated"), ("Group", "", "system:unauthenticated")}
    ),
    "system:service-account-issuer-discovery": frozenset({("Group", "", "system:serviceaccounts")}),
    "system:monitoring": frozenset({("Group", "", "system:monitoring")}),
    "system:kube-controller-manager": frozenset({_MANAGER}),
    "system:kube-scheduler": frozenset({_SCHEDULER}),
    "system:volume-scheduler": frozenset({_SCHEDULER}),
    "system:kube-dns": frozenset({("ServiceAccount", "kube-system", "kube-dns")}),
    "system:node-proxier": frozenset({("User", "", "system:kube-proxy")}),
    "system::leader-locking-kube-controller-manager": frozenset(
        {
            _MANAGER,
            ("ServiceAccount", "kube-system", "kube-controller-manager"),
            ("ServiceAccount", "kube-system", "leader-election-controller"),
        }
    ),
    "system::leader-locking-kube-scheduler": frozenset(
        {_SCHEDULER, ("ServiceAccount", "kube-system", "kube-scheduler")}
    ),
    "system::extension-apiserver-authentication-reader": frozenset({_MANAGER, _SCHEDULER}),
}
_EVERY_KIND = (
    *(Power.APPROVE_CERTIFICATES, Power.READ_SECRETS, Power.USE_NODE_PROXY, Power.WRITE_NODES),
    *(Power.WRITE_POD_ADDRESSES, Power.WRITE_POLICIES, Power.WRITE_TIER, Power.WRITE_WEBHOOKS),
)
_OF_CONTROLLERS: tuple[tuple[tuple[Power, ...], str], ...] = (
    (
        (Power.CREATE_PODS,),
        (
            "cronjob-controller daemon-set-controller deployment-controller job-controller replicaset-controller "
            "replication-controller statefulset-controller"
        ),
    ),
    (
        (Power.WRITE_POD_ADDRESSES,),
        "device-taint-eviction-controller disruption-controller pod-garbage-collector resource-claim-controller",
    ),
    ((Power.WRITE_NODES,), "attachdetach-controller route-controller ttl-controller"),
    ((Power.WRITE_NODES, Power.WRITE_POD_ADDRESSES), "node-controller"),
    ((Power.APPROVE_CERTIFICATES,), "certificate-controller"),
    ((Power.GIVE_PRIVILEGES,), "clusterrole-aggregation-controller"),
    ((Power.CREATE_PODS, Power.CREATE_VOLUMES), "persistent-volume-binder"),
    ((Power.READ_SECRETS,), "resourcequota-controller bootstrap-signer token-cleaner"),
    (_EVERY_KIND, "generic-garbage-collector namespace-controller"),
)
# As Kubernetes 1.36 has them; roles that may do nothing that is looked for have no line.
POWERS: Mapping[str, frozenset[Power]] = {
    "cluster-admin": frozenset(Power),
    "system:kube-controller-manager": frozenset({Power.CREATE_TOKENS, Power.READ_SECRETS}),
    "system:kube-scheduler": frozenset({Power.WRITE_POD_ADDRESSES}),
    **{f"{_CONTROLLER}{name}": frozenset(powers) for powers, names in _OF_CONTROLLERS for name in names.split()},
}
# Roles that Kubernetes itself makes with a `*` in them.
WITH_WILDCARDS = frozenset(
    {
        *("cluster-admin", "system:kube-controller-manager", "system:kubelet-api-admin"),
        *(f"{_CONTROLLER}{name}" for name in ("disruption-controller", "generic-garbage-collector")),
        *(f"{_CONTROLLER}{name}" for name in ("horizontal-pod-autoscaler", "namespace-controller")),
        f"{_CONTROLLER}resourcequota-controller",
    }
)


def is_as_made(binding: RbacBinding, role: RbacRole, powers: frozenset[Power]) -> bool:
    """Whether a binding, and what its role may do, are as Kubernetes makes them."""
    if not binding.is_bootstrap or binding.role != role.of:
        return False
    name = binding.of.name
    subjects = _SUBJECTS.get(name)
    if name.startswith(_CONTROLLER):
        subjects = frozenset({("ServiceAccount", "kube-system", name.removeprefix(_CONTROLLER))})
    named = frozenset((subject.kind, subject.namespace, subject.name) for subject in binding.subjects)
    if named != subjects or binding.role.name not in {name, "extension-apiserver-authentication-reader"}:
        return False
    return powers <= POWERS.get(role.of.name, frozenset())
