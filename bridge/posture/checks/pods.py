"""What pods do that reaches beyond them. Pods of one workload are one violation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from bridge.posture.check import Judgement, PostureCheck, judged
from bridge.posture.objects import ObjectName, PodFacts, PodTrait, PostureViolation
from bridge.posture.snapshot import Input
from bridge.posture.view import PostureView
from zones.siem.alerts import Severity


def of_workloads(pods: Iterable[PodFacts], what: Callable[[PodFacts], str]) -> Iterator[PostureViolation]:
    """A violation for each workload, with how many of its pods are concerned."""
    by_workload: dict[ObjectName, list[PodFacts]] = defaultdict(list)
    for pod in pods:
        by_workload[pod.workload].append(pod)
    for workload, theirs in by_workload.items():
        first = min(theirs, key=lambda pod: pod.of.name)
        count = "" if workload == first.of else f" ({len(theirs)} pods)" if len(theirs) > 1 else " (1 pod)"
        yield PostureViolation(workload, f"{workload}{count} {what(first)}", first.changed)


def _has(trait: PodTrait, does: str, view: PostureView) -> Judgement:
    unjudged = view.terms.unjudged
    having = [pod for pod in view.pods if trait in pod.traits and pod.of.namespace not in unjudged]
    besides = f"besides those of {', '.join(sorted(unjudged))}" if unjudged else "of any namespace"
    return judged(of_workloads(having, lambda pod: _sentence(pod, trait, does)), f"no pod {besides} {does}")


def _sentence(pod: PodFacts, trait: PodTrait, does: str) -> str:
    names = pod.traits[trait]
    if not names:
        return does
    kind = "paths" if trait is PodTrait.HOST_PATH else "containers"
    return f"{does} ({kind}: {', '.join(names)})"


def _check(  # noqa: PLR0917 - a row of a table
    name: str, title: str, remedy: str, severity: Severity, trait: PodTrait, does: str
) -> PostureCheck:
    return PostureCheck(name, title, remedy, severity, frozenset({Input.PODS}), partial(_has, trait, does))


CHECKS = (
    _check(
        "privileged-pods",
        "No workload runs privileged",
        "remove securityContext.privileged; add the one capability that is needed",
        Severity.HIGH,
        PodTrait.PRIVILEGED,
        "is privileged",
    ),
    _check(
        "host-pid-pods",
        "No workload sees its node's processes",
        "remove hostPID",
        Severity.HIGH,
        PodTrait.HOST_PID,
        "has hostPID",
    ),
    _check(
        "host-ipc-pods",
        "No workload shares its node's memory segments",
        "remove hostIPC",
        Severity.HIGH,
        PodTrait.HOST_IPC,
        "has hostIPC",
    ),
    _check(
        "host-network-pods",
        "No workload is on its node's own network",
        "remove hostNetwork: such a pod is its node to every rule, and in no zone",
        Severity.HIGH,
        PodTrait.HOST_NETWORK,
        "has hostNetwork",
    ),
    _check(
        "escalating-pods",
        "No workload gets more rights than it began with",
        "set allowPrivilegeEscalation: false",
        Severity.MEDIUM,
        PodTrait.ESCALATION,
        "allows privilege escalation",
    ),
    _check(
        "root-pods",
        "No workload may run as root",
        "set runAsNonRoot: true, and a user in the image or in runAsUser",
        Severity.MEDIUM,
        PodTrait.ROOT,
        "may run as root",
    ),
    _check(
        "net-raw-pods",
        "No workload may forge packets",
        "drop ALL capabilities, or NET_RAW: runtimes give it by themselves",
        Severity.MEDIUM,
        PodTrait.NET_RAW,
        "has NET_RAW",
    ),
    _check(
        "capabilities",
        "Workloads have no capabilities but low ports",
        "drop ALL, and add NET_BIND_SERVICE at most",
        Severity.LOW,
        PodTrait.CAPABILITIES,
        "has capabilities",
    ),
    _check(
        "host-process-pods",
        "No workload is a process of a Windows node",
        "remove windowsOptions.hostProcess",
        Severity.HIGH,
        PodTrait.HOST_PROCESS,
        "is a HostProcess",
    ),
    _check(
        "host-path-pods",
        "No workload has a directory of its node",
        "use a volume of a StorageClass, or a projected volume",
        Severity.HIGH,
        PodTrait.HOST_PATH,
        "mounts paths of its node",
    ),
    _check(
        "host-port-pods",
        "No workload takes a port of its node",
        "use a Service: a hostPort is reached by the node's address",
        Severity.MEDIUM,
        PodTrait.HOST_PORT,
        "has a hostPort",
    ),
    _check(
        "secrets-in-environment",
        "Secrets are files, not environment variables",
        "mount the Secret as a volume: an environment is inherited, logged and dumped",
        Severity.LOW,
        PodTrait.SECRET_ENVIRONMENT,
        "has a Secret in its environment",
    ),
    _check(
        "unconfined-pods",
        "Every workload has a seccomp profile",
        "set seccompProfile: {type: RuntimeDefault} in the pod's securityContext",
        Severity.MEDIUM,
        PodTrait.NO_SECCOMP,
        "has no seccomp profile",
    ),
    _check(
        "contextless-pods",
        "Every workload says as whom it runs",
        "write a securityContext for the pod or for each container",
        Severity.LOW,
        PodTrait.NO_CONTEXT,
        "has no securityContext",
    ),
)
