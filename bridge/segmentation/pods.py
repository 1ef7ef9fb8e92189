"""Probe pods as objects, and what Kubernetes says of them. Pure; the policy zonebridge-probes lets no others be.

They live for a while at most (`EXPIRY`), have no token and no rights, and run our own image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.segmentation.attempts import ProbeEnd
from bridge.segmentation.probe import READY, Outcome, outcomes_of
from zones import decode
from zones.net import parse_address

Json = dict[str, Any]
NAMESPACE = "zonebridge-probes"
IMAGE_ANNOTATION = "zonebridge.io/probe-image"
PROBE_LABEL = "zonebridge.io/probe"
LISTENER, CALLER = "listener", "caller"
EXPIRY = 600
_NODE = "kubernetes.io/hostname"
_MODULE = "bridge.segmentation.probe"
# What /dev/termination-log takes from a pod that isn't root is of the container runtime's making.
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
_RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}


def listener(number: int, zone: str, label: str, image: str, ports: Sequence[int]) -> Json:
    """It listens until it is deleted, or its time is over; ready once it does."""
    pod = _pod(LISTENER, number, {label: zone}, image, ["listen", ",".join(map(str, ports))])
    probe = {"tcpSocket": {"port": READY}, "periodSeconds": 1, "timeoutSeconds": 2}
    pod["spec"]["containers"][0]["readinessProbe"] = probe
    return pod


def caller(number: int, zone: str, label: str, image: str, words: Sequence[str]) -> Json:
    """It tries what it is told to, once, and ends. `words`: seconds before, seconds for an answer, targets."""
    return _pod(CALLER, number, {label: zone}, image, ["try", *words])


def _pod(role: str, number: int, zone: Json, image: str, words: list[str]) -> Json:
    name = f"zonebridge-probe-{role}-{number}"
    container = {
        "name": "probe",
        "image": image,
        "command": ["python3", "-m", _MODULE],
        "args": words,
        "securityContext": _RESTRICTED,
        "resources": _RESOURCES,
        "terminationMessagePolicy": "File",
    }
    apart = {"weight": 100, "podAffinityTerm": {"topologyKey": _NODE, "labelSelector": {"matchLabels": zone}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {PROBE_LABEL: role, **zone}},
        "spec": {
            "activeDeadlineSeconds": EXPIRY,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
                "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
            },
            # callers and listeners of a zone apart, so that the way between nodes is measured where there are several
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [apart]}},
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": _NODE,
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchExpressions": [{"key": PROBE_LABEL, "operator": "Exists"}]},
                }
            ],
            "containers": [container],
        },
    }


def end_of(pod: Mapping[str, Any], zone: str) -> ProbeEnd:
    """A pod as one end of attempts: what the policy knows of it."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    addresses = tuple(parse_address(ip["ip"]) for ip in status.get("podIPs") or () if ip.get("ip"))
    node = (pod.get("spec") or {}).get("nodeName", "")
    return ProbeEnd(metadata["name"], zone, addresses, decode.workload(metadata), metadata["namespace"], node)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether it listens: Kubernetes has reached the port that is opened last. Not once it is being deleted."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    gone = pod["metadata"].get("deletionTimestamp") is not None
    return not gone and any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def has_ended(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def answers(pod: Mapping[str, Any], text: str) -> list[Outcome] | str:
    """What a caller found, or why that isn't known."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = (status.get("state") or {}).get("terminated")
        if status.get("name") == "probe" and ended:
            if ended.get("exitCode") != 0:
                said = str(ended.get("message") or ended.get("reason") or "")[:200]
                return f"it ended with {ended.get('exitCode')}: {said}"
            try:
                return outcomes_of(str(ended.get("message") or ""), text)
            except ValueError as error:
                return f"its answers can't be used: {error}"
    return f"it did not end: {waiting(pod)}"


def waiting(pod: Mapping[str, Any]) -> str:
    """Why a pod isn't where it should be, in Kubernetes' words."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        state = (container.get("state") or {}).get("waiting")
        if state:
            return f"{state.get('reason', 'waiting')}: {str(state.get('message', ''))[:200]}"
    for condition in status.get("conditions") or ():
        if condition.get("status") == "False" and condition.get("message"):
            return str(condition["message"])[:200]
    return str(status.get("message") or status.get("phase") or "nothing is known of it")[:200]
