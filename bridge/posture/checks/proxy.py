"""kube-proxy, by its ConfigMap."""

from __future__ import annotations

from bridge.posture.check import Judgement, PostureCheck, judged, not_applicable, unknown
from bridge.posture.objects import PostureViolation
from bridge.posture.snapshot import Input
from bridge.posture.view import PostureView
from zones.siem.alerts import Severity

_LOOPBACK = ("127.", "[::1]", "localhost")


def _metrics(view: PostureView) -> Judgement:
    if not view.proxy:
        if any(pod.workload.name.startswith("kube-proxy") and pod.of.namespace == "kube-system" for pod in view.pods):
            return unknown("kube-proxy runs, but its ConfigMap kube-system/kube-proxy isn't there")
        return not_applicable("no kube-proxy runs as a pod, and it has no ConfigMap")
    proxy = next(iter(view.proxy))
    if proxy.metrics is None:
        return unknown(f"{proxy.of}: {proxy.problem}")
    if not proxy.metrics or proxy.metrics.startswith(_LOOPBACK):
        return judged((), "kube-proxy serves its metrics to its own node alone")
    return judged([PostureViolation(proxy.of, f"{proxy.of} serves metrics at {proxy.metrics}", proxy.changed)], "")


CHECKS = (
    PostureCheck(
        "proxy-metrics",
        "kube-proxy serves its metrics to its node alone",
        "set metricsBindAddress: 127.0.0.1:10249 in the ConfigMap kube-system/kube-proxy",
        Severity.LOW,
        frozenset({Input.PROXY, Input.PODS}),
        _metrics,
    ),
)
