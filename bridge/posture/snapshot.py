"""What checks judge: lists of a cluster's objects, or why one could not be read. Values only.

Whoever asks for a list that is hidden gets HiddenInputError: no check can take it for an empty one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Generic, TypeVar

from bridge.posture.objects import (
    AccountFacts,
    AdmissionFacts,
    AdmissionPolicyFacts,
    EnforcerFacts,
    NamespaceFacts,
    NodeFacts,
    PodFacts,
    PolicyFacts,
    ProxyFacts,
    RbacBinding,
    RbacRole,
    ServiceFacts,
)

_T = TypeVar("_T")
UNASKED = "it was not asked for"
PROBES = "zonebridge-probes"
"""The namespace of `zonebridge verify`, and the admission policy that lets in nothing but its pods."""


class Input(StrEnum):
    """What is read of a cluster, by the name of its list."""

    CLUSTER_ROLES = "clusterroles"
    ROLES = "roles"
    CLUSTER_ROLE_BINDINGS = "clusterrolebindings"
    ROLE_BINDINGS = "rolebindings"
    NAMESPACES = "namespaces"
    PODS = "pods"
    SERVICE_ACCOUNTS = "serviceaccounts"
    NETWORK_POLICIES = "networkpolicies"
    WEBHOOKS = "validatingwebhookconfigurations"
    ADMISSION_POLICIES = "validatingadmissionpolicies"
    ADMISSION_BINDINGS = "validatingadmissionpolicybindings"
    NODES = "nodes"
    SERVICES = "services"
    PROXY = "configmaps/kube-proxy"
    ENFORCERS = "nodestates"


class HiddenInputError(Exception):
    """A list that could not be read was asked for."""

    def __init__(self, kind: Input, problem: str) -> None:
        super().__init__(f"{kind.value}: {problem}")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class InputList(Generic[_T]):
    """A list, or the `problem` why it isn't known."""

    items: Collection[_T] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PostureTerms:
    """What a site settles. `system_namespaces`: whose pods are the cluster's own, and are not judged as workloads.

    `own_namespaces`: those of the bridge and of the enforcers.
    """

    system_namespaces: frozenset[str] = frozenset({"kube-system"})
    own_namespaces: tuple[str, str] = ("zonebridge-system", "zonebridge-enforcer")

    @property
    def unjudged(self) -> frozenset[str]:
        return self.system_namespaces | frozenset(self.own_namespaces)


@dataclass(frozen=True, slots=True)
class PostureSnapshot:
    """A cluster's configuration at one time."""

    cluster_roles: InputList[RbacRole] = InputList(problem=UNASKED)
    roles: InputList[RbacRole] = InputList(problem=UNASKED)
    cluster_role_bindings: InputList[RbacBinding] = InputList(problem=UNASKED)
    role_bindings: InputList[RbacBinding] = InputList(problem=UNASKED)
    namespaces: InputList[NamespaceFacts] = InputList(problem=UNASKED)
    pods: InputList[PodFacts] = InputList(problem=UNASKED)
    service_accounts: InputList[AccountFacts] = InputList(problem=UNASKED)
    network_policies: InputList[PolicyFacts] = InputList(problem=UNASKED)
    webhooks: InputList[AdmissionFacts] = InputList(problem=UNASKED)
    admission_policies: InputList[AdmissionPolicyFacts] = InputList(problem=UNASKED)
    admission_bindings: InputList[AdmissionFacts] = InputList(problem=UNASKED)
    nodes: InputList[NodeFacts] = InputList(problem=UNASKED)
    services: InputList[ServiceFacts] = InputList(problem=UNASKED)
    proxy: InputList[ProxyFacts] = InputList(problem=UNASKED)
    enforcers: InputList[EnforcerFacts] = InputList(problem=UNASKED)
    terms: PostureTerms = field(default_factory=PostureTerms)

    def problem(self, kind: Input) -> str:
        """Why a list isn't known; empty where it is."""
        listed: InputList[object] = getattr(self, kind.name.lower())
        return listed.problem

    def without(self, kind: Input, problem: str) -> PostureSnapshot:
        """The same, where one list could not be read."""
        hidden: Mapping[str, InputList[object]] = {kind.name.lower(): InputList(problem=problem)}
        return replace(self, **hidden)  # type: ignore[arg-type]

    @property
    def hidden(self) -> Sequence[str]:
        """Every list that isn't known, and why."""
        return [f"{kind.value}: {self.problem(kind)}" for kind in Input if self.problem(kind)]
