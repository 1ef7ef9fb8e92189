"""All checks, in the order in which they are shown, and where the CIS Kubernetes Benchmark has the same. Data.

The benchmark is cited by number alone: titles and remedies here are our own words. Its text is under a licence that a
product may not repeat it by.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.posture.check import PostureCheck
from bridge.posture.checks import accounts, control_plane, firewall, kubelets, namespaces, pods, proxy, rbac

CHECKS: tuple[PostureCheck, ...] = (
    *rbac.CHECKS,
    *accounts.CHECKS,
    *namespaces.CHECKS,
    *pods.CHECKS,
    *proxy.CHECKS,
    *control_plane.CHECKS,
    *kubelets.CHECKS,
    *firewall.CHECKS,
)
BY_ID: Mapping[str, PostureCheck] = {check.id: check for check in CHECKS}
FIREWALL = frozenset(check.id for check in firewall.CHECKS)
_1_12: Mapping[str, str] = {
    "api-server-anonymous": "1.2.1",
    "api-server-static-tokens": "1.2.2",
    "api-server-external-ips": "1.2.3",
    "api-server-kubelet-client": "1.2.4",
    "api-server-kubelet-authority": "1.2.5",
    "api-server-no-always-allow": "1.2.6",
    "api-server-node-authorizer": "1.2.7",
    "api-server-rbac": "1.2.8",
    "api-server-event-limit": "1.2.9",
    "api-server-no-always-admit": "1.2.10",
    "api-server-pull-images": "1.2.11",
    "api-server-account-admission": "1.2.12",
    "api-server-namespace-admission": "1.2.13",
    "api-server-node-admission": "1.2.14",
    "api-server-profiling": "1.2.15",
    "api-server-audit-log": "1.2.16",
    "api-server-audit-age": "1.2.17",
    "api-server-audit-backups": "1.2.18",
    "api-server-audit-size": "1.2.19",
    "api-server-request-timeout": "1.2.20",
    "api-server-account-lookup": "1.2.21",
    "api-server-account-key": "1.2.22",
    "api-server-etcd-client": "1.2.23",
    "api-server-certificate": "1.2.24",
    "api-server-client-authority": "1.2.25",
    "api-server-etcd-authority": "1.2.26",
    "api-server-encryption": "1.2.27",
    "api-server-ciphers": "1.2.29",
    "api-server-token-extension": "1.2.30",
    "controller-manager-pod-collection": "1.3.1",
    "controller-manager-profiling": "1.3.2",
    "controller-manager-accounts": "1.3.3",
    "controller-manager-account-key": "1.3.4",
    "controller-manager-root-authority": "1.3.5",
    "controller-manager-kubelet-rotation": "1.3.6",
    "controller-manager-address": "1.3.7",
    "scheduler-profiling": "1.4.1",
    "scheduler-address": "1.4.2",
    "etcd-certificate": "2.1",
    "etcd-clients": "2.2",
    "etcd-no-self-signed": "2.3",
    "etcd-peer-certificate": "2.4",
    "etcd-peers": "2.5",
    "etcd-no-self-signed-peers": "2.6",
    "etcd-own-authority": "2.7",
    "api-server-audit-policy": "3.2.1",
    "kubelet-anonymous": "4.2.1",
    "kubelet-authorization": "4.2.2",
    "kubelet-client-authority": "4.2.3",
    "kubelet-read-only-port": "4.2.4",
    "kubelet-idle-streams": "4.2.5",
    "kubelet-utility-chains": "4.2.6",
    "kubelet-certificate": "4.2.9",
    "kubelet-rotation": "4.2.10",
    "kubelet-server-rotation": "4.2.11",
    "kubelet-ciphers": "4.2.12",
    "kubelet-pids": "4.2.13",
    "kubelet-seccomp": "4.2.14",
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
