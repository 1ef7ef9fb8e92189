"""What a client learns about the server before its first call."""

from __future__ import annotations

import httpx

from tests.contract.api import Api
from tests.contract.definitions import GROUP


def test_it_is_alive_and_has_a_version(api: Api) -> None:
    for path in ("/healthz", "/readyz", "/livez"):
        assert api.http.get(path).text == "ok"
    served = api.get("/version")
    assert served["major"] == "1"
    assert served["gitVersion"].startswith("v1.")


def test_without_the_token_nothing_is_served(api: Api) -> None:
    response = api.http.get("/api/v1/nodes", headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 401
    assert response.json()["reason"] == "Unauthorized"


def test_groups_and_versions(api: Api) -> None:
    assert api.get("/api")["versions"] == ["v1"]
    groups = {group["name"]: group for group in api.get("/apis")["groups"]}
    assert {"apps", "batch", "coordination.k8s.io", "events.k8s.io", "networking.k8s.io", GROUP} <= set(groups)
    assert groups[GROUP]["preferredVersion"] == {"groupVersion": f"{GROUP}/v1", "version": "v1"}
    assert api.get(f"/apis/{GROUP}")["versions"] == [{"groupVersion": f"{GROUP}/v1", "version": "v1"}]


def test_builtin_resources(api: Api) -> None:
    wanted = {
        "/api/v1": {"namespaces": False, "nodes": False, "pods": True, "configmaps": True, "secrets": True},
        "/apis/apps/v1": {"deployments": True, "replicasets": True, "statefulsets": True, "daemonsets": True},
        "/apis/batch/v1": {"jobs": True, "cronjobs": True},
        "/apis/coordination.k8s.io/v1": {"leases": True},
        "/apis/events.k8s.io/v1": {"events": True},
        "/apis/discovery.k8s.io/v1": {"endpointslices": True},
        "/apis/admissionregistration.k8s.io/v1": {"validatingadmissionpolicies": False},
        "/apis/apiextensions.k8s.io/v1": {"customresourcedefinitions": False},
    }
    for path, resources in wanted.items():
        served = {each["name"]: each["namespaced"] for each in api.get(path)["resources"]}
        assert resources.items() <= served.items()


def test_custom_resources(api: Api) -> None:
    served = {each["name"]: each for each in api.get(f"/apis/{GROUP}/v1")["resources"]}
    assert set(served) == {"gates", "gates/status", "keys"}
    gates = served["gates"]
    assert (gates["kind"], gates["singularName"], gates["namespaced"]) == ("Gate", "gate", False)
    assert gates["shortNames"] == ["ctgate"]
    assert {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"} <= set(gates["verbs"])
    assert set(served["gates/status"]["verbs"]) == {"get", "patch", "update"}


def test_aggregated_discovery(api: Api) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    body = api.http.get("/apis", headers={"Accept": accept}).json()
    assert body["kind"] == "APIGroupDiscoveryList"
    groups = {item["metadata"]["name"]: item for item in body["items"]}
    resources = {each["resource"]: each for each in groups[GROUP]["versions"][0]["resources"]}
    assert resources["gates"]["scope"] == "Cluster"
    assert resources["keys"]["scope"] == "Namespaced"


def test_openapi_tells_the_schema_of_a_custom_resource(api: Api) -> None:
    index = api.get("/openapi/v3")["paths"]
    document = api.http.get(index[f"apis/{GROUP}/v1"]["serverRelativeURL"]).json()
    schemas = document["components"]["schemas"].values()
    gate = next(each for each in schemas if _kind(each) == "Gate")
    assert gate["properties"]["spec"]["properties"]["side"]["enum"] == ["north", "south"]


def _kind(schema: dict) -> str:
    return schema.get("x-kubernetes-group-version-kind", [{}])[0].get("kind", "")


def test_what_is_not_served_is_not_found(api: Api) -> None:
    for path in ("/api/v1/unicorns", f"/apis/{GROUP}/v1/unicorns", "/apis/no.such.group/v1/things"):
        response: httpx.Response = api.http.get(path)
        assert response.status_code == 404, path


def test_what_is_missing_in_a_custom_group_is_answered_in_text(api: Api) -> None:
    """A definition that isn't there yet, or no longer: no Status to read a reason from."""
    for path in ("/apis/no.such.group/v1", "/apis/no.such.group/v1/things", f"/apis/{GROUP}/v1/unicorns"):
        response = api.http.get(path)
        assert (response.status_code, response.text) == (404, "404 page not found\n"), path
    assert api.get("/api/v1/unicorns", 404)["reason"] == "NotFound"
