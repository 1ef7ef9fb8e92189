"""The control plane's programs, by the arguments of their static pods where these are visible."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bridge.posture.check import CheckResult, Judgement, PostureCheck, judged, not_applicable, unknown
from bridge.posture.checks.flags import (
    FlagRule,
    UnclearError,
    at_least,
    has,
    has_not,
    is_among,
    is_loopback,
    is_set,
    is_unset,
    lasts_at_most,
    must_be,
    unless_in,
    value_of,
)
from bridge.posture.objects import ControlPlaneProgram, PodFacts, PostureViolation
from bridge.posture.snapshot import Input
from bridge.posture.view import PostureView
from zones.runtime.findings import some
from zones.siem.alerts import Severity

API_SERVER, MANAGER, SCHEDULER, ETCD = "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"
_NEEDS = frozenset({Input.PODS, Input.NODES})
_PLUGINS, _OFF = "enable-admission-plugins", "disable-admission-plugins"
_LOCAL = ("https://127.0.0.1:", "https://[::1]:", "https://localhost:")
STRONG_CIPHERS = frozenset(
    {
        *("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
        *("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        *("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
        *("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
        *("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"),
    }
)


def _judge(program: str, rule: FlagRule, view: PostureView) -> Judgement:
    """On every node of the control plane: one that isn't seen leaves it unknown."""
    pods = [pod for pod in view.pods if pod.program is not None and pod.program.name == program]
    if not pods:
        return _unseen(program, view)
    violations: list[PostureViolation] = []
    unclear: list[str] = []
    for pod in pods:
        try:
            if wrong := _wrong(pod, rule):
                violations.append(PostureViolation(pod.of, f"{pod.of}: {wrong}", pod.changed))
        except UnclearError as error:
            unclear.append(f"{pod.of}: {error}")
    nodes = {node.of.name for node in view.nodes if node.is_control_plane} - {pod.node for pod in pods}
    if nodes and program != ETCD:
        unclear.append(f"{program} of {some(nodes)} is not visible")
    if unclear and not violations:
        return unknown("; ".join(unclear))
    return judged(violations, f"{program} on {some(pod.node or pod.of.name for pod in pods)}")


def _wrong(pod: PodFacts, rule: FlagRule) -> str:
    if pod.program is None or pod.program.problem:
        raise UnclearError("" if pod.program is None else pod.program.problem)
    return rule(pod.program)


def _unseen(program: str, view: PostureView) -> Judgement:
    providers = {node.provider for node in view.nodes if node.provider}
    if providers and not any(node.is_control_plane for node in view.nodes):
        return not_applicable(f"{' and '.join(sorted(providers))} runs it, and nobody else can change it")
    if program == ETCD:
        servers = {
            value_of(pod.program, "etcd-servers")
            for pod in view.pods
            if pod.program is not None and pod.program.name == API_SERVER
        }
        outside = sorted(server for server in servers if server and not server.startswith(_LOCAL))
        if outside:
            return unknown(f"etcd runs outside of the cluster, at {some(outside)}")
    return unknown(f"no static pod of {program} is visible in kube-system: it runs in another way, or elsewhere")


def _own_authority(view: PostureView) -> Judgement:
    """An authority that also signs clients of the API server would let them into etcd."""
    clients = {
        value_of(pod.program, "client-ca-file")
        for pod in view.pods
        if pod.program is not None and pod.program.name == API_SERVER
    }

    def rule(program: ControlPlaneProgram) -> str:
        authority = value_of(program, "trusted-ca-file")
        if not authority:
            return "--trusted-ca-file is not set"
        return f"--trusted-ca-file is {authority}, as the API server's --client-ca-file" if authority in clients else ""

    judgement = _judge(ETCD, unless_in("config-file", rule, always=True), view)
    if not clients and judgement.result is CheckResult.PASS:
        return unknown(f"no static pod of {API_SERVER} is visible, whose authority etcd's is compared with")
    return judgement


def _check(  # noqa: PLR0917 - a row of a table
    name: str, title: str, remedy: str, severity: Severity, program: str, rule: FlagRule
) -> PostureCheck:
    judge: Callable[[PostureView], Judgement] = partial(_judge, program, rule)
    return PostureCheck(name, title, remedy, severity, _NEEDS, judge)


def _api(name: str, title: str, remedy: str, severity: Severity, rule: FlagRule) -> PostureCheck:
    return _check(f"api-server-{name}", title, f"{remedy} (kube-apiserver)", severity, API_SERVER, rule)


def _manager(name: str, title: str, remedy: str, severity: Severity, rule: FlagRule) -> PostureCheck:
    return _check(f"controller-manager-{name}", title, f"{remedy} (kube-controller-manager)", severity, MANAGER, rule)


def _scheduler(name: str, title: str, remedy: str, severity: Severity, rule: FlagRule) -> PostureCheck:
    guarded = unless_in("config", rule)
    return _check(f"scheduler-{name}", title, f"{remedy} (kube-scheduler)", severity, SCHEDULER, guarded)


def _etcd(name: str, title: str, remedy: str, severity: Severity, rule: FlagRule) -> PostureCheck:
    """With a configuration file etcd doesn't look at its arguments."""
    guarded = unless_in("config-file", rule, always=True)
    return _check(f"etcd-{name}", title, f"{remedy} (etcd)", severity, ETCD, guarded)


def _authorized(rule: FlagRule) -> FlagRule:
    return unless_in("authorization-config", rule)


_HIGH, _MEDIUM, _LOW = Severity.HIGH, Severity.MEDIUM, Severity.LOW
CHECKS = (
    _api(
        "anonymous",
        "The API server answers nobody whom it doesn't know",
        "--anonymous-auth=false, or an AuthenticationConfiguration that allows it for health alone",
        _MEDIUM,
        unless_in("authentication-config", must_be("anonymous-auth", False, by_default=True)),
    ),
    _api(
        "static-tokens",
        "No user has a token in a file",
        "remove --token-auth-file: such tokens never expire",
        _HIGH,
        is_unset("token-auth-file"),
    ),
    _api(
        "external-ips",
        "Services can't claim addresses",
        "add DenyServiceExternalIPs to --enable-admission-plugins (zonebridge-services refuses them, too)",
        _LOW,
        has(_PLUGINS, "DenyServiceExternalIPs"),
    ),
    _api(
        "kubelet-client",
        "The API server shows kubelets a certificate",
        "set --kubelet-client-certificate and --kubelet-client-key",
        _HIGH,
        is_set("kubelet-client-certificate", "kubelet-client-key"),
    ),
    _api(
        "kubelet-authority",
        "The API server verifies kubelets' certificates",
        "set --kubelet-certificate-authority, and have kubelets' certificates signed by it",
        _MEDIUM,
        is_set("kubelet-certificate-authority"),
    ),
    _api(
        "no-always-allow",
        "The API server asks whether something is allowed",
        "remove AlwaysAllow from --authorization-mode",
        Severity.CRITICAL,
        _authorized(has_not("authorization-mode", "AlwaysAllow", by_default=True)),
    ),
    _api(
        "node-authorizer",
        "Kubelets read only what is of their own pods",
        "add Node to --authorization-mode",
        _HIGH,
        _authorized(has("authorization-mode", "Node")),
    ),
    _api(
        "rbac",
        "Rights are RBAC's",
        "add RBAC to --authorization-mode",
        _HIGH,
        _authorized(has("authorization-mode", "RBAC")),
    ),
    _api(
        "event-limit",
        "Events can't flood the API server",
        "add EventRateLimit to --enable-admission-plugins, with its configuration",
        _LOW,
        has(_PLUGINS, "EventRateLimit"),
    ),
    _api(
        "no-always-admit",
        "Admission isn't switched off",
        "remove AlwaysAdmit from --enable-admission-plugins",
        _HIGH,
        has_not(_PLUGINS, "AlwaysAdmit"),
    ),
    _api(
        "pull-images",
        "A pod runs no image that it couldn't have pulled",
        "add AlwaysPullImages to --enable-admission-plugins",
        _LOW,
        has(_PLUGINS, "AlwaysPullImages"),
    ),
    _api(
        "account-admission",
        "Pods have a service account of their namespace",
        "remove ServiceAccount from --disable-admission-plugins",
        _HIGH,
        has_not(_OFF, "ServiceAccount"),
    ),
    _api(
        "namespace-admission",
        "Nothing is made in a namespace that goes or isn't there",
        "remove NamespaceLifecycle from --disable-admission-plugins",
        _MEDIUM,
        has_not(_OFF, "NamespaceLifecycle"),
    ),
    _api(
        "node-admission",
        "A kubelet changes only its own node and pods",
        "add NodeRestriction to --enable-admission-plugins: zonebridge trusts what kubelets say by it",
        _HIGH,
        has(_PLUGINS, "NodeRestriction"),
    ),
    _api(
        "profiling",
        "The API server shows nobody its profile",
        "--profiling=false",
        _LOW,
        must_be("profiling", False, by_default=True),
    ),
    _api("audit-log", "Requests are written to a log", "set --audit-log-path", _HIGH, is_set("audit-log-path")),
    _api(
        "audit-age",
        "The audit log is kept 30 days",
        "--audit-log-maxage=30 or more",
        _LOW,
        at_least("audit-log-maxage", 30),
    ),
    _api(
        "audit-backups",
        "Ten files of the audit log are kept",
        "--audit-log-maxbackup=10 or more",
        _LOW,
        at_least("audit-log-maxbackup", 10),
    ),
    _api(
        "audit-size",
        "A file of the audit log may have 100 MB",
        "--audit-log-maxsize=100 or more",
        _LOW,
        at_least("audit-log-maxsize", 100),
    ),
    _api(
        "request-timeout",
        "A request holds the API server for five minutes at most",
        "leave --request-timeout out, or 300s at most",
        _LOW,
        lasts_at_most("request-timeout", "300s"),
    ),
    _api(
        "account-lookup",
        "A token ends with its service account",
        "remove --service-account-lookup=false",
        _HIGH,
        must_be("service-account-lookup", True, by_default=True),
    ),
    _api(
        "account-key",
        "Tokens of service accounts are verified by a key of their own",
        "set --service-account-key-file",
        _MEDIUM,
        is_set("service-account-key-file"),
    ),
    _api(
        "etcd-client",
        "The API server shows etcd a certificate",
        "set --etcd-certfile and --etcd-keyfile",
        _HIGH,
        is_set("etcd-certfile", "etcd-keyfile"),
    ),
    _api(
        "certificate",
        "The API server has a certificate of its own",
        "set --tls-cert-file and --tls-private-key-file",
        _HIGH,
        is_set("tls-cert-file", "tls-private-key-file"),
    ),
    _api(
        "client-authority",
        "Clients' certificates are verified",
        "set --client-ca-file",
        _HIGH,
        unless_in("authentication-config", is_set("client-ca-file")),
    ),
    _api(
        "etcd-authority",
        "The API server verifies etcd's certificate",
        "set --etcd-cafile",
        _HIGH,
        is_set("etcd-cafile"),
    ),
    _api(
        "encryption",
        "The API server has a configuration for encrypting what is in etcd",
        "set --encryption-provider-config; whether it encrypts Secrets is in that file, which only the node has",
        _MEDIUM,
        is_set("encryption-provider-config"),
    ),
    _api(
        "ciphers",
        "The API server speaks strong ciphers alone",
        "set --tls-cipher-suites to suites with GCM or CHACHA20",
        _LOW,
        is_among("tls-cipher-suites", STRONG_CIPHERS, "ciphers"),
    ),
    _api(
        "token-extension",
        "Tokens of pods last as long as they say",
        "--service-account-extend-token-expiration=false",
        _LOW,
        must_be("service-account-extend-token-expiration", False, by_default=True),
    ),
    _api(
        "audit-policy",
        "It is settled which requests are logged",
        "set --audit-policy-file",
        _MEDIUM,
        is_set("audit-policy-file"),
    ),
    _manager(
        "pod-collection",
        "Pods that have ended are collected at a number that was chosen",
        "set --terminated-pod-gc-threshold",
        _LOW,
        is_set("terminated-pod-gc-threshold"),
    ),
    _manager(
        "profiling",
        "The controller manager shows nobody its profile",
        "--profiling=false",
        _LOW,
        must_be("profiling", False, by_default=True),
    ),
    _manager(
        "accounts",
        "Each controller has a service account of its own",
        "--use-service-account-credentials=true",
        _MEDIUM,
        must_be("use-service-account-credentials", True, by_default=False),
    ),
    _manager(
        "account-key",
        "Tokens of service accounts are signed by a key of their own",
        "set --service-account-private-key-file",
        _MEDIUM,
        is_set("service-account-private-key-file"),
    ),
    _manager(
        "root-authority",
        "Pods are given the cluster's authority",
        "set --root-ca-file",
        _MEDIUM,
        is_set("root-ca-file"),
    ),
    _manager(
        "kubelet-rotation",
        "Kubelets may have their certificates renewed",
        "remove RotateKubeletServerCertificate=false from --feature-gates",
        _LOW,
        has_not("feature-gates", "RotateKubeletServerCertificate=false"),
    ),
    _manager(
        "address",
        "The controller manager listens on its node's loopback address alone",
        "--bind-address=127.0.0.1",
        _MEDIUM,
        is_loopback("bind-address"),
    ),
    _scheduler(
        "profiling",
        "The scheduler shows nobody its profile",
        "--profiling=false",
        _LOW,
        must_be("profiling", False, by_default=True),
    ),
    _scheduler(
        "address",
        "The scheduler listens on its node's loopback address alone",
        "--bind-address=127.0.0.1",
        _MEDIUM,
        is_loopback("bind-address"),
    ),
    _etcd(
        "certificate",
        "etcd has a certificate",
        "set --cert-file and --key-file",
        _HIGH,
        is_set("cert-file", "key-file"),
    ),
    _etcd(
        "clients",
        "etcd asks clients for a certificate",
        "--client-cert-auth=true",
        Severity.CRITICAL,
        must_be("client-cert-auth", True, by_default=False),
    ),
    _etcd(
        "no-self-signed",
        "etcd doesn't sign its own certificate",
        "remove --auto-tls",
        _MEDIUM,
        must_be("auto-tls", False, by_default=False),
    ),
    _etcd(
        "peer-certificate",
        "etcd's members show each other a certificate",
        "set --peer-cert-file and --peer-key-file",
        _HIGH,
        is_set("peer-cert-file", "peer-key-file"),
    ),
    _etcd(
        "peers",
        "etcd's members ask each other for a certificate",
        "--peer-client-cert-auth=true",
        _HIGH,
        must_be("peer-client-cert-auth", True, by_default=False),
    ),
    _etcd(
        "no-self-signed-peers",
        "etcd's members don't sign their own certificates",
        "remove --peer-auto-tls",
        _MEDIUM,
        must_be("peer-auto-tls", False, by_default=False),
    ),
    PostureCheck(
        "etcd-own-authority",
        "etcd trusts an authority that signs nobody else",
        "set --trusted-ca-file to an authority other than --client-ca-file of kube-apiserver",
        _HIGH,
        _NEEDS,
        _own_authority,
    ),
)
