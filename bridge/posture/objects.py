"""What checks know of a cluster's objects. Values only; no Secret is among them, nor anything that a Secret holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

ANY = "*"


@dataclass(frozen=True, slots=True)
class ObjectName:
    """`ClusterRole cluster-admin`, `Role shop/reader`."""

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class LastChange:
    """By which program an object was changed last, and when: what the API server notes of each change."""

    manager: str
    at: str


@dataclass(frozen=True, slots=True)
class PostureViolation:
    """An object that a check found wanting. `what`: the shortest way to see why. `changed`: its last change."""

    of: ObjectName
    what: str
    changed: LastChange | None = None


@dataclass(frozen=True, slots=True)
class RbacRule:
    """One rule of a role. `names`: it is for these objects alone; empty is all."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()

    def allows(self, verbs: frozenset[str], group: str, resource: str) -> bool:
        """Any of these verbs on that resource, written as `pods/exec`."""
        return (
            (ANY in self.verbs or not self.verbs.isdisjoint(verbs))
            and (ANY in self.groups or group in self.groups)
            and (
                ANY in self.resources
                or resource in self.resources
                or ("/" in resource and f"*/{resource.partition('/')[2]}" in self.resources)
            )
        )


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One line of a label selector."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
            case _:
                return True  # whatever it means, nothing is left out


@dataclass(frozen=True, slots=True)
class RbacRole:
    """A Role or ClusterRole. `aggregates`: selectors of the ClusterRoles whose rules are also its own."""

    of: ObjectName
    rules: tuple[RbacRule, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    aggregates: tuple[tuple[LabelRequirement, ...], ...] = ()
    changed: LastChange | None = None


@dataclass(frozen=True, slots=True)
class RbacSubject:
    """A user, a group or a service account."""

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class RbacBinding:
    """Who has a role: everywhere by a ClusterRoleBinding, in one namespace by a RoleBinding."""

    of: ObjectName
    role: ObjectName
    subjects: tuple[RbacSubject, ...]
    is_bootstrap: bool = False
    changed: LastChange | None = None


class PodTrait(StrEnum):
    """What a pod does that a check looks for."""

    PRIVILEGED = "privileged"
    HOST_PID = "host-pid"
    HOST_IPC = "host-ipc"
    HOST_NETWORK = "host-network"
    ESCALATION = "privilege-escalation"
    ROOT = "root"
    NET_RAW = "net-raw"
    NET_ADMIN = "net-admin"
    CAPABILITIES = "capabilities"
    HOST_PROCESS = "host-process"
    HOST_PATH = "host-path"
    HOST_PORT = "host-port"
    SECRET_ENVIRONMENT = "secret-environment"  # noqa: S105 - a name
    NO_SECCOMP = "no-seccomp"
    NO_CONTEXT = "no-security-context"


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod. `workload`: whose it is, as `Deployment shop/web`. `traits`: each with the containers that have it.

    `mounts_token`: what the pod itself says of it. `program`: of a static pod of the control plane, its command.
    """

    of: ObjectName
    uid: str
    workload: ObjectName
    node: str
    service_account: str
    traits: Mapping[PodTrait, tuple[str, ...]]
    mounts_token: bool | None = None
    program: ControlPlaneProgram | None = None
    changed: LastChange | None = None


@dataclass(frozen=True, slots=True)
class ControlPlaneProgram:
    """A program of the control plane by its static pod. `problem`: why its arguments can't be read.

    `flags`: the values by name, in their order. `environment`: the names that are set.
    """

    name: str
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NamespaceFacts:
    """`enforced`: its Pod Security level, empty without one. `zones`: what its annotation entitles it to."""

    of: ObjectName
    enforced: str = ""
    zones: frozenset[str] | None = None
    terminating: bool = False
    changed: LastChange | None = None


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """A service account. `mounts_token`: None where it says nothing, which is true."""

    of: ObjectName
    mounts_token: bool | None = None
    changed: LastChange | None = None


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """A NetworkPolicy."""

    of: ObjectName
    changed: LastChange | None = None


@dataclass(frozen=True, slots=True)
class AdmissionFacts:
    """Something that may refuse a pod: a webhook configuration, or a binding of a ValidatingAdmissionPolicy.

    `policy`: that policy's name. `refuses`: whether it denies and doesn't let all pass where it fails.
    """

    of: ObjectName
    policy: str = ""
    judges_pods: bool = False
    refuses: bool = False
    changed: LastChange | None = None


@dataclass(frozen=True, slots=True)
class AdmissionPolicyFacts:
    """A ValidatingAdmissionPolicy. `fails_closed`: an expression that can't be evaluated refuses."""

    of: ObjectName
    judges_pods: bool = False
    fails_closed: bool = True
    changed: LastChange | None = None


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """`is_control_plane`: by its label. `provider`: of a managed cluster, by the labels that it gives its nodes."""

    of: ObjectName
    is_control_plane: bool = False
    provider: str = ""


@dataclass(frozen=True, slots=True)
class KubeletFacts:
    """What a kubelet is configured to do, or the `problem` why that isn't known."""

    settings: Mapping[str, object] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class EnforcerFacts:
    """What a node's enforcer says of its node. `kubelet`: None where it doesn't ask."""

    of: ObjectName
    problems: tuple[str, ...] = ()
    kubelet: KubeletFacts | None = None


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """`exposed`: reached from outside. `hides_clients`: nodes may put their own address in place of the client's."""

    of: ObjectName
    exposed: bool = False
    hides_clients: bool = False
    changed: LastChange | None = None


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """kube-proxy's configuration. `metrics`: where they are served, None where that isn't known."""

    of: ObjectName
    metrics: str | None = None
    problem: str = ""
    changed: LastChange | None = None
