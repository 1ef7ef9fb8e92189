"""What the API serves: one Resource a kind and version, and the table of the built-in ones. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from mocks.kubernetes.status import Json, Target
from mocks.kubernetes.topology import Topology

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. `path` is a JSONPath in small."""

    name: str
    type: str
    path: str
    description: str = ""
    priority: int = 0
    format: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One served kind. `stored_as` names another resource whose objects these are too."""

    group: str = ""
    version: str = "v1"
    kind: str
    plural: str
    singular: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    fields: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    schema: Json | None = None
    custom: bool = False
    generation: bool = False
    unconditional: bool = True
    returns_deleted: bool = False
    stored_as: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def bucket(self) -> str:
        return self.stored_as or f"{self.group}/{self.plural}"

    @property
    def topology(self) -> Topology:
        return Topology.of(self.schema)

    def target(self, name: str = "") -> Target:
        return Target(self.plural, self.group, name)

    def kind_target(self, name: str) -> Target:
        return Target(self.kind, self.group, name)


AGE = Column("Age", "date", ".metadata.creationTimestamp", "Since the object was created")
_READY = '.status.conditions[?(@.type=="Ready")].status'

_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)
_EVENT_FIELDS = (
    *(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion")),
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)

CORE = (
    Resource(
        kind="Namespace",
        plural="namespaces",
        namespaced=False,
        short_names=("ns",),
        status=True,
        fields=("status.phase",),
        returns_deleted=True,
        columns=(Column("Status", "string", ".status.phase"), AGE),
    ),
    Resource(
        kind="Node",
        plural="nodes",
        namespaced=False,
        short_names=("no",),
        status=True,
        fields=("spec.unschedulable",),
        columns=(
            Column("Ready", "string", _READY),
            Column("Internal-IP", "string", '.status.addresses[?(@.type=="InternalIP")].address'),
            AGE,
            Column("Version", "string", ".status.nodeInfo.kubeletVersion"),
        ),
    ),
    Resource(
        kind="Pod",
        plural="pods",
        short_names=("po",),
        categories=("all",),
        status=True,
        generation=True,
        fields=_POD_FIELDS,
        returns_deleted=True,
        columns=(
            Column("Status", "string", ".status.phase"),
            AGE,
            Column("IP", "string", ".status.podIP", priority=1),
            Column("Node", "string", ".spec.nodeName", priority=1),
        ),
    ),
    Resource(kind="ConfigMap", plural="configmaps", short_names=("cm",)),
    Resource(
        kind="Secret",
        plural="secrets",
        fields=("type",),
        columns=(Column("Type", "string", ".type"), AGE),
    ),
    Resource(
        kind="Service",
        plural="services",
        short_names=("svc",),
        categories=("all",),
        status=True,
        fields=("spec.clusterIP", "spec.type"),
        returns_deleted=True,
        columns=(
            Column("Type", "string", ".spec.type"),
            Column("Cluster-IP", "string", ".spec.clusterIP"),
            Column("Port(s)", "string", ".spec.ports[*].port"),
            AGE,
        ),
    ),
    Resource(kind="ServiceAccount", plural="serviceaccounts", short_names=("sa",), returns_deleted=True),
    Resource(
        kind="Event",
        plural="events",
        short_names=("ev",),
        fields=_EVENT_FIELDS,
        columns=(
            Column("Last Seen", "date", ".lastTimestamp"),
            Column("Type", "string", ".type"),
            Column("Reason", "string", ".reason"),
            Column("Object", "string", ".involvedObject.name"),
            Column("Message", "string", ".message"),
        ),
    ),
    Resource(kind="Endpoints", plural="endpoints", short_names=("ep",)),
)

_REPLICAS = (
    Column("Desired", "integer", ".spec.replicas"),
    Column("Ready", "integer", ".status.readyReplicas"),
    AGE,
)


def _app(kind: str, plural: str, short: str) -> Resource:
    return Resource(
        group="apps",
        kind=kind,
        plural=plural,
        short_names=(short,),
        categories=("all",),
        status=True,
        generation=True,
        columns=_REPLICAS,
    )


APPS = (
    _app("Deployment", "deployments", "deploy"),
    _app("ReplicaSet", "replicasets", "rs"),
    _app("StatefulSet", "statefulsets", "sts"),
    _app("DaemonSet", "daemonsets", "ds"),
    Resource(
        group="batch",
        kind="Job",
        plural="jobs",
        categories=("all",),
        status=True,
        generation=True,
        fields=("status.successful",),
    ),
    Resource(
        group="batch",
        kind="CronJob",
        plural="cronjobs",
        short_names=("cj",),
        categories=("all",),
        status=True,
        generation=True,
    ),
)

_RBAC, _ADMISSION = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"

OTHERS = (
    Resource(
        group="apiextensions.k8s.io",
        kind="CustomResourceDefinition",
        plural="customresourcedefinitions",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        status=True,
        generation=True,
        unconditional=False,
        columns=(Column("Created At", "string", ".metadata.creationTimestamp"),),
    ),
    Resource(
        group="coordination.k8s.io",
        kind="Lease",
        plural="leases",
        unconditional=False,
        columns=(Column("Holder", "string", ".spec.holderIdentity"), AGE),
    ),
    Resource(
        group="discovery.k8s.io",
        kind="EndpointSlice",
        plural="endpointslices",
        generation=True,
        columns=(
            Column("AddressType", "string", ".addressType"),
            Column("Ports", "string", ".ports[*].port"),
            Column("Endpoints", "string", ".endpoints[*].addresses"),
            AGE,
        ),
    ),
    Resource(
        group="events.k8s.io",
        kind="Event",
        plural="events",
        short_names=("ev",),
        stored_as="/events",
        fields=_EVENT_FIELDS,
        columns=(
            Column("Last Seen", "date", ".deprecatedLastTimestamp"),
            Column("Type", "string", ".type"),
            Column("Reason", "string", ".reason"),
            Column("Object", "string", ".regarding.name"),
            Column("Message", "string", ".note"),
        ),
    ),
    Resource(
        group="networking.k8s.io",
        kind="NetworkPolicy",
        plural="networkpolicies",
        short_names=("netpol",),
        generation=True,
        columns=(Column("Pod-Selector", "string", ".spec.podSelector.matchLabels"), AGE),
    ),
    Resource(group=_RBAC, kind="Role", plural="roles"),
    Resource(group=_RBAC, kind="RoleBinding", plural="rolebindings"),
    Resource(group=_RBAC, kind="ClusterRole", plural="clusterroles", namespaced=False),
    Resource(group=_RBAC, kind="ClusterRoleBinding", plural="clusterrolebindings", namespaced=False),
    Resource(
        group=_ADMISSION,
        kind="ValidatingAdmissionPolicy",
        plural="validatingadmissionpolicies",
        namespaced=False,
        categories=("api-extensions",),
        status=True,
        generation=True,
    ),
    Resource(
        group=_ADMISSION,
        kind="ValidatingAdmissionPolicyBinding",
        plural="validatingadmissionpolicybindings",
        namespaced=False,
        categories=("api-extensions",),
        generation=True,
    ),
)

BUILT_IN: tuple[Resource, ...] = (*CORE, *APPS, *OTHERS)
