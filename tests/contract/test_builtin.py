"""The built-in kinds: leases, events, pods, nodes, namespaces, secrets and workloads."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.contract.api import Api, Json, causes, version


def lease(holder: str) -> Json:
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.123456Z",
        "leaseTransitions": 0,
    }
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"}}
    return body | {"spec": spec}


def pod(name: str, **spec: str) -> Json:
    containers = [{"name": "main", "image": "example/main:1"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": containers, "automountServiceAccountToken": False} | spec,
    }


def event(namespace: str, **fields: Any) -> Json:
    body = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": "refused-"},
        "eventTime": "2026-01-01T00:00:00.000001Z",
        "reportingController": "contract.example/tests",
        "reportingInstance": "tests-1",
        "action": "Apply",
        "reason": "Refused",
        "type": "Warning",
        "note": "no",
        "regarding": {"apiVersion": "v1", "kind": "Namespace", "name": namespace, "namespace": namespace},
    }
    return {key: value for key, value in (body | fields).items() if value is not None}


def test_a_lease_is_taken_once(api: Api, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    made = api.post(path, lease("one"))
    assert made["spec"]["renewTime"] == "2026-01-01T00:00:00.123456Z"
    assert api.post(path, lease("two"), 409)["reason"] == "AlreadyExists"
    mine = api.put(f"{path}/leader", made | {"spec": made["spec"] | {"renewTime": "2026-01-01T00:00:05.000000Z"}})
    stolen = made | {"spec": made["spec"] | {"holderIdentity": "two"}}
    assert api.put(f"{path}/leader", stolen, 409)["reason"] == "Conflict"
    released = api.put(f"{path}/leader", mine | {"spec": mine["spec"] | {"holderIdentity": ""}})
    taken = api.put(f"{path}/leader", released | {"spec": released["spec"] | {"holderIdentity": "two"}})
    assert taken["spec"]["holderIdentity"] == "two"
    assert "generation" not in taken["metadata"]


def test_events_of_the_new_group_are_events_of_the_old_one(api: Api, namespace: str) -> None:
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    body = event(namespace, note="the revision was refused")
    made = api.post(path, body)
    name = made["metadata"]["name"]
    assert made["note"] == "the revision was refused"
    old = api.get(f"/api/v1/namespaces/{namespace}/events/{name}")
    assert (old["apiVersion"], old["message"]) == ("v1", "the revision was refused")
    assert old["involvedObject"]["name"] == namespace
    assert old["reportingComponent"] == "contract.example/tests"


def test_events_are_selected_by_the_names_of_their_group(api: Api, namespace: str) -> None:
    path, old = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", f"/api/v1/namespaces/{namespace}/events"
    api.post(path, event(namespace))
    api.post(path, event(namespace, reportingController="somebody.example/else"))
    for root, selector, found in (
        (path, f"reportingController=contract.example/tests,regarding.name={namespace}", 1),
        (path, "regarding.name=other", 0),
        (old, f"reportingComponent=contract.example/tests,involvedObject.name={namespace}", 1),
    ):
        assert len(api.get(root, fieldSelector=selector)["items"]) == found
    assert "not supported" in api.get(path, 400, fieldSelector="involvedObject.name=a")["message"]
    assert "not supported" in api.get(old, 400, fieldSelector="regarding.name=a")["message"]


def test_times_need_their_microseconds(api: Api, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    body = lease("one")
    body["spec"]["renewTime"] = "2026-01-01T00:00:00Z"
    assert api.post(path, body, 400)["reason"] == "BadRequest"
    body["spec"]["renewTime"] = "2026-01-01T00:00:00.000001+00:00"
    assert api.post(path, body)["spec"]["renewTime"] == "2026-01-01T00:00:00.000001Z"


def test_core_events(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/events"
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "a"},
        "involvedObject": {"kind": "Namespace", "name": namespace, "namespace": namespace},
        "reason": "Synced",
        "message": "all is well",
        "type": "Normal",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
        "source": {"component": "tests"},
    }
    api.post(path, body)
    changed = api.patch(f"{path}/a", {"count": 2})
    assert changed["count"] == 2
    assert [each["reason"] for each in api.get(path, fieldSelector="reason=Synced")["items"]] == ["Synced"]
    assert api.get(path, fieldSelector="involvedObject.name=other")["items"] == []


def test_pods_by_node_phase_and_address(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    for name, node in (("a", "n1"), ("b", "n2"), ("c", "n1")):
        made = api.post(path, pod(name, nodeName=node))
        assert made["status"]["phase"] == "Pending"
    addresses = {"phase": "Running", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]}
    api.patch(f"{path}/a/status", {"status": addresses})

    def names(selector: str) -> list[str]:
        return [item["metadata"]["name"] for item in api.get(path, fieldSelector=selector)["items"]]

    assert names("spec.nodeName=n1") == ["a", "c"]
    assert names("status.phase=Running") == ["a"]
    assert names("status.phase!=Running") == ["b", "c"]
    assert names("status.podIP=10.1.2.3") == ["a"]
    assert names("spec.nodeName=n1,status.phase=Pending") == ["c"]


def test_pod_status_and_spec_have_their_own_doors(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    made = api.post(path, pod("a", nodeName="n1") | {"status": {"phase": "Running"}})
    assert made["status"]["phase"] == "Pending"
    running = api.patch(f"{path}/a/status", {"status": {"phase": "Running"}, "spec": {"nodeName": "n9"}})
    assert (running["status"]["phase"], running["spec"]["nodeName"]) == ("Running", "n1")
    relabelled = api.patch(f"{path}/a", {"metadata": {"labels": {"app": "z"}}, "status": {"phase": "Failed"}})
    assert (relabelled["status"]["phase"], relabelled["metadata"]["labels"]) == ("Running", {"app": "z"})


def test_pod_labels_can_change_through_status(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.post(path, pod("a", nodeName="n1"))
    assert api.patch(f"{path}/a/status", {"metadata": {"labels": {"app": "b"}}})["metadata"]["labels"] == {"app": "b"}


def test_a_pod_is_gone_when_deleted_without_grace(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    start = version(api.post(path, pod("a", nodeName="n1")))
    api.delete(f"{path}/a", body={"gracePeriodSeconds": 0})
    api.get(f"{path}/a", 404)
    with api.watch(path, resourceVersion=start) as events:
        assert next(each for each in events if each["type"] == "DELETED")["object"]["metadata"]["name"] == "a"


def test_a_node_keeps_the_status_it_came_with(api: Api, name: str) -> None:
    addresses = [{"type": "InternalIP", "address": "192.0.2.7"}]
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDR": "10.9.0.0/24"}}
    made = api.post("/api/v1/nodes", body | {"status": {"addresses": addresses}})
    assert made["status"]["addresses"] == addresses
    condition = {"type": "Ready", "status": "True"}
    changed = api.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": [condition]}})
    assert changed["status"]["addresses"] == addresses


def test_a_namespace_is_active_and_labelled_with_its_name(api: Api, namespace: str) -> None:
    body = api.get(f"/api/v1/namespaces/{namespace}")
    assert body["status"]["phase"] == "Active"
    assert body["metadata"]["labels"]["kubernetes.io/metadata.name"] == namespace
    changed = api.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"annotations": {"a": "b"}}})
    assert changed["metadata"]["annotations"] == {"a": "b"}


def test_namespaces_of_every_cluster(api: Api) -> None:
    names = {item["metadata"]["name"] for item in api.get("/api/v1/namespaces")["items"]}
    assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= names


def test_secrets_are_kept_in_base64(api: Api, namespace: str) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"token": "hush"}}
    made = api.post(f"/api/v1/namespaces/{namespace}/secrets", body)
    assert made["type"] == "Opaque"
    assert base64.b64decode(made["data"]["token"]) == b"hush"
    assert "stringData" not in made


def test_owners_of_a_pod_are_kept(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    template = {"metadata": {"labels": {"app": "a"}}, "spec": pod("a")["spec"]}
    body = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web-5d4f"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "a"}}, "template": template},
    }
    owner = api.post(path, body)
    assert owner["metadata"]["generation"] == 1
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f", "uid": owner["metadata"]["uid"]}
    owned = pod("web-5d4f-x", nodeName="n1")
    owned["metadata"]["ownerReferences"] = [reference | {"controller": True}]
    made = api.post(f"/api/v1/namespaces/{namespace}/pods", owned)
    assert made["metadata"]["ownerReferences"] == [reference | {"controller": True}]


def test_admission_policies_are_kept(api: Api, name: str) -> None:
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "has(object.metadata)", "message": "no"}],
        },
    }
    assert api.post(path, body)["spec"]["validations"][0]["message"] == "no"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"eventTime": None}, {("eventTime", "FieldValueRequired")}),
        ({"type": "Bad"}, {("type", "FieldValueInvalid")}),
        ({"action": None}, {("action", "FieldValueRequired")}),
        ({"reason": "x" * 129}, {("reason", "FieldValueInvalid")}),
        ({"note": "x" * 1025}, {("message", "FieldValueInvalid")}),
        ({"reportingInstance": None}, {("reportingInstance", "FieldValueRequired")}),
        ({"regarding": {"kind": "Node", "name": "n"}}, {("involvedObject.namespace", "FieldValueInvalid")}),
    ],
)
def test_wrong_events_are_refused(api: Api, namespace: str, fields: dict, expected: set) -> None:
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    assert causes(api.post(path, event(namespace, **fields), 422)) == expected


def test_events_about_cluster_scoped_objects_live_in_default(api: Api) -> None:
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    regarding = {"apiVersion": "contract.example/v1", "kind": "Gate", "name": "g"}
    assert api.post(path, event("default", regarding=regarding))["metadata"]["namespace"] == "default"
