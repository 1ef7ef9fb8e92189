"""Kubelets, by what each told the enforcer on its own node (`NodeState.status.kubelet`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bridge.posture.check import Judgement, PostureCheck, judged, unknown
from bridge.posture.checks.control_plane import STRONG_CIPHERS
from bridge.posture.objects import ObjectName, PostureViolation
from bridge.posture.snapshot import Input
from bridge.posture.view import PostureView
from zones.runtime.findings import some
from zones.siem.alerts import Severity

KubeletRule = Callable[[Mapping[str, Any]], str]
"""What is wrong, in words; empty where nothing is."""
_NO_TIME = re.compile(r"(0(ms|s|m|h)?)+")


def _judge(rule: KubeletRule, view: PostureView) -> Judgement:
    """On every node: one that isn't known leaves it unknown."""
    enforcers = {enforcer.of.name: enforcer for enforcer in view.enforcers}
    violations: list[PostureViolation] = []
    unclear: list[str] = []
    known = 0
    for node in view.nodes:
        enforcer = enforcers.get(node.of.name)
        if enforcer is None or enforcer.kubelet is None:
            unclear.append(f"nobody asked the kubelet of {node.of.name}")
        elif enforcer.kubelet.problem:
            unclear.append(f"{node.of.name}: {enforcer.kubelet.problem}")
        elif wrong := rule(enforcer.kubelet.settings):
            of = ObjectName("Node", node.of.name)
            violations.append(PostureViolation(of, f"{of}: its kubelet's {wrong}"))
        else:
            known += 1
    if violations:
        return judged(violations, "")
    if unclear or not known:
        return unknown(some(unclear, 3) if unclear else "no node is known")
    return judged((), f"so say the kubelets of {known} nodes")


def _is(field: str, wanted: object, wrong: str) -> KubeletRule:
    return lambda settings: "" if settings.get(field) == wanted else wrong


def _timeout(settings: Mapping[str, Any]) -> str:
    text = str(settings.get("idleTimeout", "0s"))
    return "streamingConnectionIdleTimeout is 0" if _NO_TIME.fullmatch(text) else ""


def _authorization(settings: Mapping[str, Any]) -> str:
    mode = settings.get("authorizationMode")
    return "" if mode == "Webhook" else f"authorization.mode is {mode or 'not set'}"


def _ciphers(settings: Mapping[str, Any]) -> str:
    ciphers = settings.get("ciphers") or ()
    weak = sorted(set(map(str, ciphers)) - STRONG_CIPHERS)
    if not ciphers:
        return "tlsCipherSuites is not set, and the usual ciphers include weak ones"
    return f"tlsCipherSuites has {some(weak)}" if weak else ""


def _pids(settings: Mapping[str, Any]) -> str:
    limit = settings.get("podPidsLimit")
    return "" if isinstance(limit, int) and limit > 0 else f"podPidsLimit is {limit}"


def _check(name: str, title: str, remedy: str, severity: Severity, rule: KubeletRule) -> PostureCheck:
    needs = frozenset({Input.ENFORCERS, Input.NODES})
    return PostureCheck(f"kubelet-{name}", title, f"{remedy} (kubelet)", severity, needs, partial(_judge, rule))


_HIGH, _MEDIUM, _LOW = Severity.HIGH, Severity.MEDIUM, Severity.LOW
CHECKS = (
    _check(
        "anonymous",
        "Kubelets answer nobody whom they don't know",
        "authentication.anonymous.enabled: false",
        _HIGH,
        _is("anonymous", False, "authentication.anonymous.enabled is true"),
    ),
    _check(
        "authorization",
        "Kubelets ask the API server whether something is allowed",
        "authorization.mode: Webhook",
        Severity.CRITICAL,
        _authorization,
    ),
    _check(
        "client-authority",
        "Kubelets verify clients' certificates",
        "set authentication.x509.clientCAFile",
        _HIGH,
        _is("clientAuthority", True, "authentication.x509.clientCAFile is not set"),
    ),
    _check(
        "read-only-port",
        "Kubelets have no port without authentication",
        "readOnlyPort: 0",
        _HIGH,
        _is("readOnlyPort", 0, "readOnlyPort is open"),
    ),
    _check(
        "idle-streams",
        "Connections to containers that nobody uses end",
        "set streamingConnectionIdleTimeout to some minutes",
        _LOW,
        _timeout,
    ),
    _check(
        "utility-chains",
        "Kubelets keep their own packet rules",
        "makeIPTablesUtilChains: true",
        _LOW,
        _is("utilityChains", True, "makeIPTablesUtilChains is false"),
    ),
    _check(
        "certificate",
        "Kubelets have a certificate that somebody signed",
        "serverTLSBootstrap: true, or tlsCertFile and tlsPrivateKeyFile",
        _MEDIUM,
        _is("servingCertificate", True, "certificate is its own: neither tlsCertFile nor serverTLSBootstrap is set"),
    ),
    _check(
        "rotation",
        "Kubelets renew their certificates",
        "rotateCertificates: true",
        _MEDIUM,
        _is("rotateCertificates", True, "rotateCertificates is false"),
    ),
    _check(
        "server-rotation",
        "Kubelets may renew what they serve with",
        "remove RotateKubeletServerCertificate: false from featureGates",
        _LOW,
        _is("rotateServerCertificate", True, "feature gate RotateKubeletServerCertificate is off"),
    ),
    _check(
        "ciphers",
        "Kubelets speak strong ciphers alone",
        "set tlsCipherSuites to suites with GCM or CHACHA20",
        _LOW,
        _ciphers,
    ),
    _check("pids", "A pod can't take all of a node's processes", "set podPidsLimit", _MEDIUM, _pids),
    _check(
        "seccomp",
        "Pods without a seccomp profile get the usual one",
        "seccompDefault: true",
        _MEDIUM,
        _is("seccompDefault", True, "seccompDefault is false"),
    ),
)
