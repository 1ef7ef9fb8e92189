"""Objects of the API server as `bridge.posture.objects`. Pure. Raises UnreadableObjectError, and no other error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from sys import intern
from typing import Any, TypeVar

import yaml

from bridge.posture.objects import (
    AccountFacts,
    AdmissionFacts,
    AdmissionPolicyFacts,
    ControlPlaneProgram,
    EnforcerFacts,
    KubeletFacts,
    LabelRequirement,
    LastChange,
    NamespaceFacts,
    NodeFacts,
    ObjectName,
    PodFacts,
    PodTrait,
    PolicyFacts,
    ProxyFacts,
    RbacBinding,
    RbacRole,
    RbacRule,
    RbacSubject,
    ServiceFacts,
)
from zones.workload import workload_name
from zones.zone import allowed_zones

Json = Mapping[str, Any]
_T = TypeVar("_T")
_BOOTSTRAPPING = "kubernetes.io/bootstrapping"
_MIRROR = "kubernetes.io/config.mirror"
_ENFORCE = "pod-security.kubernetes.io/enforce"
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
# Labels that managed clusters give their nodes, and whose they are.
_PROVIDERS = {
    "eks.amazonaws.com/": "Amazon EKS",
    "cloud.google.com/gke-": "Google GKE",
    "kubernetes.azure.com/": "Azure AKS",
}
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
_KINDS = {"ReplicaSet": "Deployment", "Job": "Job"}
_CRON_STAMP = re.compile(r"-\d{8,}$")


class UnreadableObjectError(Exception):
    """An object that isn't built as the API server builds them."""


def _readable(decode: Callable[[Json], _T]) -> Callable[[Json], _T]:
    @wraps(decode)
    def decoded(raw: Json) -> _T:
        try:
            return decode(raw)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            metadata = raw.get("metadata") if isinstance(raw, Mapping) else None
            name = metadata.get("name", "?") if isinstance(metadata, Mapping) else "?"
            raise UnreadableObjectError(f"'{name}' is not built as it should be: {error!r}") from error

    return decoded


def _name(kind: str, raw: Json) -> ObjectName:
    metadata = raw["metadata"]
    return ObjectName(kind, str(metadata["name"]), intern(str(metadata.get("namespace") or "")))


def _changed(raw: Json) -> LastChange | None:
    """The newest change of anything but the status; of several at a time always the same one."""
    fields = raw["metadata"].get("managedFields") or ()
    changes = [
        (str(entry.get("time") or ""), str(entry.get("manager") or ""))
        for entry in fields
        if not entry.get("subresource")
    ]
    newest = max(changes, default=("", ""))
    return LastChange(intern(newest[1]), newest[0]) if newest[0] else None


@_readable
def cluster_role(raw: Json) -> RbacRole:
    selectors = (raw.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
    return RbacRole(
        _name("ClusterRole", raw),
        _rules(raw),
        raw["metadata"].get("labels") or {},
        tuple(tuple(_requirements(selector)) for selector in selectors),
        _changed(raw),
    )


@_readable
def role(raw: Json) -> RbacRole:
    return RbacRole(_name("Role", raw), _rules(raw), raw["metadata"].get("labels") or {}, changed=_changed(raw))


def _rules(raw: Json) -> tuple[RbacRule, ...]:
    return tuple(
        RbacRule(
            _words(rule, "verbs"),
            _words(rule, "apiGroups"),
            _words(rule, "resources"),
            _words(rule, "resourceNames"),
            _words(rule, "nonResourceURLs"),
        )
        for rule in raw.get("rules") or ()
    )


def _words(rule: Json, key: str) -> frozenset[str]:
    return frozenset(map(str, rule.get(key) or ()))


def _requirements(selector: Json) -> Iterator[LabelRequirement]:
    for key, value in (selector.get("matchLabels") or {}).items():
        yield LabelRequirement(str(key), "In", frozenset({str(value)}))
    for expression in selector.get("matchExpressions") or ():
        values = frozenset(map(str, expression.get("values") or ()))
        yield LabelRequirement(str(expression["key"]), str(expression["operator"]), values)


@_readable
def cluster_role_binding(raw: Json) -> RbacBinding:
    return _binding("ClusterRoleBinding", raw)


@_readable
def role_binding(raw: Json) -> RbacBinding:
    return _binding("RoleBinding", raw)


def _binding(kind: str, raw: Json) -> RbacBinding:
    of, reference = _name(kind, raw), raw["roleRef"]
    role_kind = str(reference["kind"])
    role_of = ObjectName(intern(role_kind), intern(str(reference["name"])), of.namespace if role_kind == "Role" else "")
    subjects = tuple(
        RbacSubject(intern(str(subject["kind"])), str(subject["name"]), intern(str(subject.get("namespace") or "")))
        for subject in raw.get("subjects") or ()
    )
    is_bootstrap = (raw["metadata"].get("labels") or {}).get(_BOOTSTRAPPING) == "rbac-defaults"
    return RbacBinding(of, role_of, subjects, is_bootstrap, _changed(raw))


@_readable
def namespace(raw: Json) -> NamespaceFacts:
    metadata = raw["metadata"]
    return NamespaceFacts(
        _name("Namespace", raw),
        str((metadata.get("labels") or {}).get(_ENFORCE, "")),
        allowed_zones(metadata.get("annotations") or {}),
        bool(metadata.get("deletionTimestamp")),
        _changed(raw),
    )


@_readable
def service_account(raw: Json) -> AccountFacts:
    return AccountFacts(_name("ServiceAccount", raw), _stated(raw.get("automountServiceAccountToken")), _changed(raw))


def _stated(value: object) -> bool | None:
    return None if value is None else bool(value)


@_readable
def network_policy(raw: Json) -> PolicyFacts:
    return PolicyFacts(_name("NetworkPolicy", raw), _changed(raw))


@_readable
def pod(raw: Json) -> PodFacts:
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    of = _name("Pod", raw)
    return PodFacts(
        of,
        str(metadata.get("uid") or ""),
        _workload(of, metadata),
        intern(str(spec.get("nodeName") or "")),
        intern(str(spec.get("serviceAccountName") or "default")),
        dict(_traits(spec)),
        _stated(spec.get("automountServiceAccountToken")),
        _program(of, metadata, spec),
        _changed(raw),
    )


def _workload(of: ObjectName, metadata: Json) -> ObjectName:
    owner: Json = next(
        (reference for reference in metadata.get("ownerReferences") or () if reference.get("controller")), {}
    )
    kind = str(owner.get("kind") or "")
    if not kind or kind == "Node":
        return of
    name = workload_name(of.name, kind, str(owner.get("name") or ""))
    if kind == "Job" and _CRON_STAMP.search(str(owner.get("name") or "")):
        kind = "CronJob"
    return ObjectName(intern(_KINDS.get(kind, kind)), intern(name), of.namespace)


def _traits(spec: Json) -> Iterator[tuple[PodTrait, tuple[str, ...]]]:
    """Of all containers: those that begin a pod, sidecars, and those that were added to it as it ran."""
    containers = [
        container
        for kind in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(kind) or ()
    ]
    context, windows = spec.get("securityContext") or {}, (spec.get("os") or {}).get("name") == "windows"
    for key, trait in _HOST.items():
        if spec.get(key):
            yield trait, ()
    paths = tuple(
        sorted(
            str(volume["hostPath"].get("path", "")) for volume in spec.get("volumes") or () if volume.get("hostPath")
        )
    )
    if paths:
        yield PodTrait.HOST_PATH, paths
    for trait, has in _OF_CONTAINERS.items():
        if windows and trait not in _OF_WINDOWS:
            continue
        names = tuple(
            str(container["name"])
            for container in containers
            if has(container, container.get("securityContext") or {}, context)
        )
        if names:
            yield trait, names


def _is_root(_: Json, own: Json, of_pod: Json) -> bool:
    """Unless it is said that it isn't: an image may name root as its user, or nobody."""
    user = own.get("runAsUser", of_pod.get("runAsUser"))
    never = own.get("runAsNonRoot", of_pod.get("runAsNonRoot"))
    return user == 0 or (user is None and not never)


def _adds(own: Json) -> frozenset[str]:
    return frozenset(_capabilities(own, "add"))


def _drops(own: Json) -> frozenset[str]:
    return frozenset(_capabilities(own, "drop"))


def _capabilities(own: Json, key: str) -> Iterable[str]:
    return (str(name).upper().removeprefix("CAP_") for name in (own.get("capabilities") or {}).get(key) or ())


def _has_net_raw(_: Json, own: Json, __: Json) -> bool:
    """Runtimes give it unless it is dropped."""
    added, dropped = _adds(own), _drops(own)
    return bool(own.get("privileged")) or bool(added & {"NET_RAW", "ALL"}) or not dropped & {"NET_RAW", "ALL"}


def _has_net_admin(_: Json, own: Json, __: Json) -> bool:
    return bool(own.get("privileged")) or bool(_adds(own) & {"NET_ADMIN", "ALL"})


def _has_capabilities(_: Json, own: Json, __: Json) -> bool:
    """More than Pod Security's level `restricted` lets it have: none, or low ports alone."""
    return "ALL" not in _drops(own) or bool(_adds(own) - {"NET_BIND_SERVICE"})


def _may_escalate(_: Json, own: Json, __: Json) -> bool:
    return own.get("allowPrivilegeEscalation") is not False


def _is_host_process(_: Json, own: Json, of_pod: Json) -> bool:
    options = {**(of_pod.get("windowsOptions") or {}), **(own.get("windowsOptions") or {})}
    return bool(options.get("hostProcess"))


def _has_secret_environment(container: Json, _: Json, __: Json) -> bool:
    single = any((variable.get("valueFrom") or {}).get("secretKeyRef") for variable in container.get("env") or ())
    return single or any(source.get("secretRef") for source in container.get("envFrom") or ())


def _has_no_seccomp(_: Json, own: Json, of_pod: Json) -> bool:
    kind = (own.get("seccompProfile") or of_pod.get("seccompProfile") or {}).get("type")
    return kind not in {"RuntimeDefault", "Localhost"}


_HOST = {"hostPID": PodTrait.HOST_PID, "hostIPC": PodTrait.HOST_IPC, "hostNetwork": PodTrait.HOST_NETWORK}
_OF_CONTAINERS: Mapping[PodTrait, Callable[[Json, Json, Json], bool]] = {
    PodTrait.PRIVILEGED: lambda _, own, __: bool(own.get("privileged")),
    PodTrait.ESCALATION: _may_escalate,
    PodTrait.ROOT: _is_root,
    PodTrait.NET_RAW: _has_net_raw,
    PodTrait.NET_ADMIN: _has_net_admin,
    PodTrait.CAPABILITIES: _has_capabilities,
    PodTrait.HOST_PROCESS: _is_host_process,
    PodTrait.HOST_PORT: lambda container, _, __: any(port.get("hostPort") for port in container.get("ports") or ()),
    PodTrait.SECRET_ENVIRONMENT: _has_secret_environment,
    PodTrait.NO_SECCOMP: _has_no_seccomp,
    PodTrait.NO_CONTEXT: lambda _, own, of_pod: not own and not of_pod,
}
# The others are Linux's.
_OF_WINDOWS = frozenset(
    {PodTrait.HOST_PROCESS, PodTrait.HOST_PORT, PodTrait.SECRET_ENVIRONMENT, PodTrait.NO_CONTEXT, PodTrait.HOST_PATH}
)


def _program(of: ObjectName, metadata: Json, spec: Json) -> ControlPlaneProgram | None:
    """Of a static pod of kube-system, as kubeadm, kops and RKE2 run them; only kubelets make such pods."""
    if of.namespace != "kube-system" or _MIRROR not in (metadata.get("annotations") or {}):
        return None
    labels = metadata.get("labels") or {}
    named = next(
        (name for name in PROGRAMS if name in {labels.get("component"), labels.get("k8s-app")} or _begins(of, name)), ""
    )
    if not named:
        return None
    for container in spec.get("containers") or ():
        words = [str(word) for key in ("command", "args") for word in container.get(key) or ()]
        if words and words[0].rpartition("/")[2] == named:
            environment = {
                str(variable["name"]): str(variable.get("value") or "") for variable in container.get("env") or ()
            }
            return ControlPlaneProgram(named, _flags(words[1:]), environment)
    return ControlPlaneProgram(
        named, problem=f"its command does not begin with {named}, so its arguments are not known"
    )


def _begins(of: ObjectName, program: str) -> bool:
    return of.name.startswith(f"{program}-")


def _flags(words: list[str]) -> dict[str, tuple[str, ...]]:
    """`--name=value`, `--name value`, and `--name`, which is true."""
    flags: dict[str, tuple[str, ...]] = {}
    at = 0
    while at < len(words):
        name, equals, value = words[at].partition("=")
        at += 1
        if not name.startswith("-"):
            continue
        if not equals:
            value = "true"
            if at < len(words) and not words[at].startswith("-"):
                value, at = words[at], at + 1
        name = name.lstrip("-").replace("_", "-")
        flags[name] = (*flags.get(name, ()), value)
    return flags


@_readable
def node(raw: Json) -> NodeFacts:
    labels = raw["metadata"].get("labels") or {}
    provider = next((name for start, name in _PROVIDERS.items() if any(key.startswith(start) for key in labels)), "")
    return NodeFacts(_name("Node", raw), any(key in labels for key in _CONTROL_PLANE), provider)


@_readable
def enforcer(raw: Json) -> EnforcerFacts:
    status = raw.get("status") or {}
    kubelet = status.get("kubelet")
    return EnforcerFacts(
        _name("NodeState", raw),
        tuple(map(str, status.get("problems") or ())),
        None if kubelet is None else _kubelet(kubelet),
    )


def _kubelet(raw: Json) -> KubeletFacts:
    settings = raw.get("settings")
    problem = str(raw.get("problem") or ("" if settings else "it told nothing"))
    return KubeletFacts(dict(settings or {}), problem)


@_readable
def service(raw: Json) -> ServiceFacts:
    spec = raw.get("spec") or {}
    exposed = spec.get("type") in {"NodePort", "LoadBalancer"} or bool(spec.get("externalIPs"))
    return ServiceFacts(
        _name("Service", raw), exposed, exposed and spec.get("externalTrafficPolicy") != "Local", _changed(raw)
    )


@_readable
def webhooks(raw: Json) -> AdmissionFacts:
    """A ValidatingWebhookConfiguration."""
    judging = [hook for hook in raw.get("webhooks") or () if _judges_pods(hook.get("rules"))]
    closed = any(hook.get("failurePolicy", "Fail") == "Fail" for hook in judging)
    return AdmissionFacts(_name("ValidatingWebhookConfiguration", raw), "", bool(judging), closed, _changed(raw))


@_readable
def admission_policy(raw: Json) -> AdmissionPolicyFacts:
    spec = raw.get("spec") or {}
    rules = (spec.get("matchConstraints") or {}).get("resourceRules")
    closed = spec.get("failurePolicy", "Fail") == "Fail"
    return AdmissionPolicyFacts(_name("ValidatingAdmissionPolicy", raw), _judges_pods(rules), closed, _changed(raw))


@_readable
def admission_binding(raw: Json) -> AdmissionFacts:
    spec = raw.get("spec") or {}
    refuses = "Deny" in (spec.get("validationActions") or ())
    return AdmissionFacts(
        _name("ValidatingAdmissionPolicyBinding", raw), str(spec.get("policyName") or ""), False, refuses, _changed(raw)
    )


def _judges_pods(rules: Iterable[Json] | None) -> bool:
    return any(
        {"", "*"} & set(rule.get("apiGroups") or ())
        and {"pods", "*", "*/*"} & set(rule.get("resources") or ())
        and {"CREATE", "*"} & set(rule.get("operations") or ())
        for rule in rules or ()
    )


@_readable
def kube_proxy(raw: Json) -> ProxyFacts:
    """The ConfigMap kube-system/kube-proxy, as kubeadm makes it."""
    of, text = _name("ConfigMap", raw), (raw.get("data") or {}).get("config.conf")
    if not text:
        return ProxyFacts(of, problem="it has no config.conf", changed=_changed(raw))
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError:
        config = None
    if not isinstance(config, Mapping):
        return ProxyFacts(of, problem="its config.conf is no YAML", changed=_changed(raw))
    return ProxyFacts(of, str(config.get("metricsBindAddress") or ""), changed=_changed(raw))
