"""A snapshot as one check sees it: the lists that it needs. Asking for another, or for a hidden one, ends the check."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

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
from bridge.posture.rbac.rights import Rights, RightsReader
from bridge.posture.snapshot import HiddenInputError, Input, InputList, PostureSnapshot, PostureTerms

_T = TypeVar("_T")
RBAC = frozenset({Input.CLUSTER_ROLES, Input.ROLES, Input.CLUSTER_ROLE_BINDINGS, Input.ROLE_BINDINGS})


@dataclass(frozen=True, slots=True)
class PostureView:
    """Each property raises HiddenInputError where its list isn't known; `needs` are those that may be asked for."""

    snapshot: PostureSnapshot
    needs: frozenset[Input]
    reader: RightsReader

    @property
    def terms(self) -> PostureTerms:
        return self.snapshot.terms

    @property
    def rights(self) -> Rights:
        """Who may do what. It takes all roles and bindings."""
        for kind in sorted(RBAC):
            self._demand(kind)
        return self.reader.read(self.snapshot)

    @property
    def cluster_roles(self) -> Collection[RbacRole]:
        return self._items(Input.CLUSTER_ROLES, self.snapshot.cluster_roles)

    @property
    def roles(self) -> Collection[RbacRole]:
        return self._items(Input.ROLES, self.snapshot.roles)

    @property
    def cluster_role_bindings(self) -> Collection[RbacBinding]:
        return self._items(Input.CLUSTER_ROLE_BINDINGS, self.snapshot.cluster_role_bindings)

    @property
    def role_bindings(self) -> Collection[RbacBinding]:
        return self._items(Input.ROLE_BINDINGS, self.snapshot.role_bindings)

    @property
    def namespaces(self) -> Collection[NamespaceFacts]:
        return self._items(Input.NAMESPACES, self.snapshot.namespaces)

    @property
    def pods(self) -> Collection[PodFacts]:
        return self._items(Input.PODS, self.snapshot.pods)

    @property
    def service_accounts(self) -> Collection[AccountFacts]:
        return self._items(Input.SERVICE_ACCOUNTS, self.snapshot.service_accounts)

    @property
    def network_policies(self) -> Collection[PolicyFacts]:
        return self._items(Input.NETWORK_POLICIES, self.snapshot.network_policies)

    @property
    def webhooks(self) -> Collection[AdmissionFacts]:
        return self._items(Input.WEBHOOKS, self.snapshot.webhooks)

    @property
    def admission_policies(self) -> Collection[AdmissionPolicyFacts]:
        return self._items(Input.ADMISSION_POLICIES, self.snapshot.admission_policies)

    @property
    def admission_bindings(self) -> Collection[AdmissionFacts]:
        return self._items(Input.ADMISSION_BINDINGS, self.snapshot.admission_bindings)

    @property
    def nodes(self) -> Collection[NodeFacts]:
        return self._items(Input.NODES, self.snapshot.nodes)

    @property
    def services(self) -> Collection[ServiceFacts]:
        return self._items(Input.SERVICES, self.snapshot.services)

    @property
    def proxy(self) -> Collection[ProxyFacts]:
        return self._items(Input.PROXY, self.snapshot.proxy)

    @property
    def enforcers(self) -> Collection[EnforcerFacts]:
        return self._items(Input.ENFORCERS, self.snapshot.enforcers)

    def _items(self, kind: Input, listed: InputList[_T]) -> Collection[_T]:
        self._demand(kind)
        return listed.items

    def _demand(self, kind: Input) -> None:
        if kind not in self.needs:
            raise ValueError(f"a check asks for {kind.value}, which it doesn't say that it needs")
        if problem := self.snapshot.problem(kind):
            raise HiddenInputError(kind, problem)
