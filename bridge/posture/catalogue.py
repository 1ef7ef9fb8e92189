"""All checks, in the order in which they are shown, and where the CIS Kubernetes Benchmark has the same. Data.

The benchmark is cited by number alone: titles and remedies here are our own words. Its text is under a licence that a
product may not repeat it by.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.posture.check import PostureCheck
from bridge.posture.checks import accounts, firewall, namespaces, pods, proxy, rbac

CHECKS: tuple[PostureCheck, ...] = (
    *rbac.CHECKS,
    *accounts.CHECKS,
    *namespaces.CHECKS,
    *pods.CHECKS,
    *proxy.CHECKS,
    *firewall.CHECKS,
)
BY_ID: Mapping[str, PostureCheck] = {check.id: check for check in CHECKS}
FIREWALL = frozenset(check.id for check in firewall.CHECKS)
_1_12: Mapping[str, str] = {
    "proxy-metrics": "4.3.1",
    "cluster-admins": "5.1.1",
    "secret-readers": "5.1.2",
    "wildcard-roles": "5.1.3",
    "pod-creators": "5.1.4",
    "default-accounts": "5.1.5",
    "idle-tokens": "5.1.6",
    "privilege-givers": "5.1.8",
    "volume-creators": "5.1.9",
    "node-proxy-users": "5.1.10",
    "certificate-approvers": "5.1.11",
    "webhook-writers": "5.1.12",
    "token-creators": "5.1.13",
    "pod-admission": "5.2.1",
    "privileged-pods": "5.2.2",
    "host-pid-pods": "5.2.3",
    "host-ipc-pods": "5.2.4",
    "host-network-pods": "5.2.5",
    "escalating-pods": "5.2.6",
    "root-pods": "5.2.7",
    "net-raw-pods": "5.2.8",
    "capabilities": "5.2.9",
    "host-process-pods": "5.2.10",
    "host-path-pods": "5.2.11",
    "host-port-pods": "5.2.12",
    "namespaces-without-policies": "5.3.2",
    "secrets-in-environment": "5.4.1",
    "namespaces-as-boundaries": "5.6.1",
    "unconfined-pods": "5.6.2",
    "contextless-pods": "5.6.3",
    "default-namespace": "5.6.4",
}
# By version: 1.12.0 is for Kubernetes 1.32 to 1.34, 2.0.1 for 1.34 and 1.35, with the same recommendations.
NUMBERS: Mapping[str, Mapping[str, str]] = {"1.12.0": _1_12, "2.0.1": _1_12}
NEWEST = "2.0.1"


def number(check_id: str, version: str) -> str:
    """The number that a version of the benchmark has for it; empty where it has none."""
    return NUMBERS[version].get(check_id, "")
