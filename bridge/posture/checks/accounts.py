"""Service accounts, and the tokens that pods carry."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.posture.check import Judgement, PostureCheck, judged
from bridge.posture.checks.pods import of_workloads
from bridge.posture.objects import PostureViolation
from bridge.posture.snapshot import Input
from bridge.posture.view import RBAC, PostureView
from zones.siem.alerts import Severity


def _defaults(view: PostureView) -> Judgement:
    return judged(_used_defaults(view), "no binding names one, and none gives pods a token")


def _used_defaults(view: PostureView) -> Iterator[PostureViolation]:
    for binding in (*view.cluster_role_bindings, *view.role_bindings):
        for subject in binding.subjects:
            if subject.kind == "ServiceAccount" and subject.name == "default":
                account = f"ServiceAccount {subject.namespace or binding.of.namespace}/default"
                yield PostureViolation(binding.of, f"{binding.of} → {binding.role} → {account}", binding.changed)
    for account_facts in view.service_accounts:
        if account_facts.of.name == "default" and account_facts.mounts_token is not False:
            yield PostureViolation(
                account_facts.of,
                f"{account_facts.of} gives its token to every pod that doesn't refuse it",
                account_facts.changed,
            )


def _tokens(view: PostureView) -> Judgement:
    """A token without any right is only good for finding out more."""
    rights = view.rights
    accounts = {(account.of.namespace, account.of.name): account.mounts_token for account in view.service_accounts}
    idle = [
        pod
        for pod in view.pods
        if pod.program is None
        and _mounts(pod.mounts_token, accounts.get((pod.of.namespace, pod.service_account)))
        and not rights.is_bound(pod.of.namespace, pod.service_account)
    ]
    return judged(
        of_workloads(idle, lambda pod: f"carries a token of {pod.service_account}, which no binding names"),
        "every pod that carries a token has a service account with rights",
    )


def _mounts(of_pod: bool | None, of_account: bool | None) -> bool:  # noqa: FBT001 - three-valued
    return of_pod if of_pod is not None else of_account is not False


CHECKS = (
    PostureCheck(
        "default-accounts",
        "The service account default is not used",
        "give each workload a service account of its own, and default automountServiceAccountToken: false",
        Severity.MEDIUM,
        frozenset({*RBAC, Input.SERVICE_ACCOUNTS}),
        _defaults,
    ),
    PostureCheck(
        "idle-tokens",
        "Only pods whose service account has rights carry its token",
        "set automountServiceAccountToken: false in the pod template or in the service account",
        Severity.LOW,
        frozenset({*RBAC, Input.SERVICE_ACCOUNTS, Input.PODS}),
        _tokens,
    ),
)
