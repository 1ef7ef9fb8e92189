"""Attempts to be in a zone without right: by pods, workloads, statuses, addresses and the namespace's annotation."""

import json

from tests.apiserver.installed import namespace, pod
from tests.apiserver.tamper.attempt import Attempt, By, Json, Request, apply, merge, patch, post, put
from tests.apiserver.tamper.people import DEVELOPER, NODE, OPERATOR, OTHER_NODE, OWNER, workload

KEY = "zonebridge.io/zone"
ANNOTATION = "zonebridge.io/zones"
SHOP = "/api/v1/namespaces/shop"
WEB, WAITING = f"{SHOP}/pods/web", f"{SHOP}/pods/waiting"
DATA = {KEY: "data"}
MAY_NOT = "namespace 'shop' may not use zone 'data'; set the pod's label zonebridge.io/zone to one of [web, web-frontend, metadata]"
FOR_LIFE = "a pod keeps its zone ('web') for life"
PLATFORM_TEAM = "is set by the platform team"


def claims(name: str, labels: dict[str, str]) -> Request:
    return post(f"{SHOP}/pods", pod(name, labels))


def relabels(path: str, zone: str | None = "data", **more: Json) -> Request:
    return merge(path, {"metadata": {"labels": {KEY: zone}}} | more)


def annotates(path: str, zones: str | None = "*") -> Request:
    return merge(path, {"metadata": {"annotations": {ANNOTATION: zones}}})


def binding(labels: dict[str, str]) -> Json:
    target = {"apiVersion": "v1", "kind": "Node", "name": "n1"}
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "waiting", "labels": labels}, "target": target}


def template(version: str, kind: str) -> Attempt:
    """A workload's template; the kinds differ in where it stands."""
    base = "/api/v1" if version == "v1" else f"/apis/{version}"
    made = post(f"{base}/namespaces/shop/{kind.lower()}s", workload(version, kind, "mine", DATA))
    who = OWNER if kind == "PodTemplate" else DEVELOPER  # which `edit` doesn't have
    return Attempt(
        f"{who}-creates-{kind.lower()}",
        who,
        f"create a {kind} whose pods claim a foreign zone",
        By.ZONES,
        (made,),
        MAY_NOT,
    )


MIRROR = pod("static-n1", DATA, nodeName="n1") | {
    "metadata": {
        "name": "static-n1",
        "labels": DATA,
        "annotations": {"kubernetes.io/config.mirror": "1"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "UID OF n1", "controller": True}],
    }
}
STATE = {"terminated": {"exitCode": 0}}
ENDED = [{"name": "c", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": STATE}]
LABELS = f'"{KEY}": "web", "{KEY}": "data"'
TWICE = f'{{"metadata": {{"name": "mine", "labels": {{{LABELS}}}}}, "spec": {json.dumps(pod("x")["spec"])}}}'
UNNAMED = pod("x", DATA) | {"metadata": {"generateName": "mine-", "labels": DATA}}
FORGED = {"podIP": "10.1.2.9", "podIPs": [{"ip": "10.1.2.9"}]}

CLAIMS = (
    Attempt("developer-creates-pod", DEVELOPER, "create a pod in a foreign zone", By.ZONES, (claims("mine", DATA),), MAY_NOT),
    Attempt("developer-generates-pod", DEVELOPER, "the same with `generateName`", By.ZONES, (post(f"{SHOP}/pods", UNNAMED),), MAY_NOT),
    Attempt("owner-creates-pod-unentitled", OWNER, "create a pod in any zone where the namespace lists none", By.ZONES, (post("/api/v1/namespaces/plain/pods", pod("mine", {KEY: "web"})),), "to one of [default]"),
    Attempt("operator-creates-pod", OPERATOR, "create a pod in a foreign zone: the namespace counts, not who asks", By.ZONES, (claims("mine", DATA),), MAY_NOT),
    Attempt("developer-leaves-the-label-out", DEVELOPER, "be in the default zone where the namespace doesn't list it: no label, an empty one", By.ZONES, (claims("mine", {}), claims("mine", {KEY: ""})), "may not use zone 'default' (that of pods without a zone label)"),
    Attempt("developer-uses-a-part-of-a-name", DEVELOPER, "a zone that is part of a listed one: `data` of `metadata`, `frontend` of `web-frontend`", By.ZONES, (claims("mine", DATA), claims("mine", {KEY: "frontend"})), "may not use zone"),
    Attempt("developer-uses-another-case", DEVELOPER, "a listed zone in another case: `Web`", By.ZONES, (claims("mine", {KEY: "Web"}),), "may not use zone 'Web'"),
    Attempt("developer-uses-another-key", DEVELOPER, "a key that only looks alike (`zonebridge.io/Zone`): it is no claim", By.ZONES, (claims("mine", {"zonebridge.io/Zone": "web"}),), "may not use zone 'default'"),
    Attempt("developer-hides-on-the-nodes-network", DEVELOPER, "claim a foreign zone from the node's network", By.ZONES, (post(f"{SHOP}/pods", pod("mine", DATA, hostNetwork=True)),), MAY_NOT),
    Attempt("developer-claims-no-zone-name", DEVELOPER, "names that are no zone: `*`, the isolated zone, spaces", By.API, tuple(claims("mine", {KEY: each}) for each in ("*", "zonebridge.io/isolated", " web", "web,data"))),
    Attempt("developer-claims-a-zone-that-looks-alike", DEVELOPER, "a zone with a letter of another alphabet, an invisible one, a line break, 64 letters", By.API, tuple(claims("mine", {KEY: each}) for each in ("d\u0430ta", "data\u200b", "data\n", "a" * 64)), "is invalid: metadata.labels"),
    Attempt("developer-labels-twice", DEVELOPER, "the label twice in one request, the entitled zone first", By.ZONES, (Request("POST", f"{SHOP}/pods", TWICE),), MAY_NOT),
    *(template("apps/v1", kind) for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")),
    *(template("batch/v1", kind) for kind in ("Job", "CronJob")),
    *(template("v1", kind) for kind in ("PodTemplate", "ReplicationController")),
    Attempt("developer-patches-deployment", DEVELOPER, "change a Deployment's template to a foreign zone", By.ZONES, (merge("/apis/apps/v1/namespaces/shop/deployments/web", {"spec": {"template": {"metadata": {"labels": DATA}}}}),), MAY_NOT),
    Attempt("developer-applies-deployment", DEVELOPER, "the same by server-side apply with `--force-conflicts`", By.ZONES, (apply("/apis/apps/v1/namespaces/shop/deployments/web", workload("apps/v1", "Deployment", "web", DATA)),), MAY_NOT),
)  # fmt: skip

CHANGES = (
    Attempt("developer-labels-pod", DEVELOPER, "`kubectl label --overwrite` a running pod, also with a listed zone", By.ZONES, (relabels(WEB), relabels(WEB, "metadata")), FOR_LIFE),
    Attempt("developer-unlabels-pod", DEVELOPER, "take the label from a running pod, or empty it", By.ZONES, (relabels(WEB, None), relabels(WEB, "")), FOR_LIFE),
    Attempt("developer-json-patches-pod", DEVELOPER, "a JSON patch of a running pod's label", By.ZONES, (patch(WEB, {"op": "replace", "path": "/metadata/labels/zonebridge.io~1zone", "value": "data"}),), FOR_LIFE),
    Attempt("operator-labels-pod", OPERATOR, "`kubectl label --overwrite` a running pod", By.ZONES, (relabels(WEB),), FOR_LIFE),
    Attempt("developer-labels-by-status", DEVELOPER, "label a running pod through `pods/status`", By.RBAC, (relabels(f"{WEB}/status"),)),
    Attempt("owner-labels-by-status", OWNER, "label a running pod through `pods/status`", By.ZONES, (relabels(f"{WEB}/status"), apply(f"{WEB}/status", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": DATA}})), FOR_LIFE),
    Attempt("owner-labels-by-binding", OWNER, "label a pod while binding it to a node", By.ZONES, (post(f"{WAITING}/binding", binding(DATA)), post(f"{SHOP}/bindings", binding(DATA))), "a binding must not label"),
    Attempt("node-labels-own-pod", NODE, "a node that was taken labels a pod of its own through `pods/status`", By.NODE, (relabels(f"{WEB}/status"),)),
    Attempt("node-labels-pod", NODE, "the same through `pods`", By.RBAC, (relabels(WEB),)),
    Attempt("node-makes-static-pod", NODE, "a node runs a static pod in a foreign zone", By.ZONES, (post(f"{SHOP}/pods", MIRROR),), MAY_NOT),
)  # fmt: skip

ADDRESSES = (
    Attempt("owner-forges-address", OWNER, "lend a pod another pod's address through `pods/status`", By.ADDRESSES, (merge(f"{WEB}/status", {"status": FORGED}), apply(f"{WEB}/status", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "status": FORGED})), "reported by the node"),
    Attempt("operator-forges-address", OPERATOR, "the same with every right", By.ADDRESSES, (merge(f"{WEB}/status", {"status": FORGED}),)),
    Attempt("owner-forges-host-address", OWNER, "forge the address of a pod's node", By.ADDRESSES, (merge(f"{WEB}/status", {"status": {"hostIP": "192.0.2.1", "hostIPs": [{"ip": "192.0.2.1"}]}}),)),
    Attempt("owner-ends-containers-on-paper", OWNER, "call the containers of a pod that is being deleted ended, so that its address is nobody's: out of quarantine, to where unknown pods may go", By.ADDRESSES, tuple(merge(f"{WEB}/status", {"status": {each: ENDED}}) for each in ("containerStatuses", "initContainerStatuses")), "whether a pod's containers run"),
    Attempt("owner-ends-a-pod-on-paper", OWNER, "call a running pod finished, so that its address has no zone", By.ADDRESSES, (merge(f"{WEB}/status", {"status": {"phase": "Succeeded"}}),), "delete the pod"),
    Attempt("node-forges-anothers-address", OTHER_NODE, "a node that was taken gives addresses to another node's pods", By.NODE, (merge(f"{WEB}/status", {"status": FORGED}),)),
)  # fmt: skip

NAMESPACES = (
    Attempt("developer-annotates-namespace", DEVELOPER, "annotate the namespace with every zone", By.RBAC, (annotates(SHOP),)),
    Attempt("owner-annotates-namespace", OWNER, "annotate the namespace that one owns", By.NAMESPACES, (annotates(SHOP), annotates("/api/v1/namespaces/plain", "web")), PLATFORM_TEAM),
    Attempt("owner-removes-annotation", OWNER, "remove the annotation, or empty it", By.NAMESPACES, (annotates(SHOP, None), annotates(SHOP, "")), PLATFORM_TEAM),
    Attempt("owner-applies-annotation", OWNER, "server-side apply with `--force-conflicts`", By.NAMESPACES, (apply(SHOP, namespace("shop", **{ANNOTATION: "*"})),), PLATFORM_TEAM),
    Attempt("owner-annotates-by-status", OWNER, "annotate through `namespaces/status` and `namespaces/finalize`", By.NAMESPACES, (annotates(f"{SHOP}/status"), put(f"{SHOP}/finalize", namespace("shop", **{ANNOTATION: "*"}) | {"spec": {"finalizers": ["kubernetes"]}})), PLATFORM_TEAM),
    Attempt("operator-creates-annotated-namespace", OPERATOR, "create a namespace that is entitled from the start", By.NAMESPACES, (post("/api/v1/namespaces", namespace("mine", **{ANNOTATION: "*"})),), PLATFORM_TEAM),
    Attempt("operator-annotates-namespace", OPERATOR, "annotate a namespace with every right but `assign`", By.NAMESPACES, (annotates(SHOP), annotates("/api/v1/namespaces/kube-system")), PLATFORM_TEAM),
)  # fmt: skip
ENDED = [
    {
        "name": "c",
        "image": "i",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": {"exitCode": 0}},
    }
]

ATTEMPTS = (*CLAIMS, *CHANGES, *ADDRESSES, *NAMESPACES)
