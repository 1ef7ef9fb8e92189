"""The official Python client, its asynchronous half, against both servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from kubernetes.aio import client, config, watch

from tests.contract.api import Api, version
from tests.contract.definitions import GROUP, gate

_Result = TypeVar("_Result")
GATES = (GROUP, "v1", "gates")


@pytest.fixture
def run(api: Api) -> Callable[[Callable[[client.ApiClient], Awaitable[Any]]], Any]:
    async def session(work: Callable[[client.ApiClient], Awaitable[_Result]]) -> _Result:
        configuration = client.Configuration()
        await config.load_kube_config(config_file=str(api.kubeconfig), client_configuration=configuration)
        async with client.ApiClient(configuration) as connected:
            return await work(connected)

    return lambda work: asyncio.run(session(work))


def test_custom_objects(run: Any, name: str) -> None:
    async def work(connected: client.ApiClient) -> None:
        objects = client.CustomObjectsApi(connected)
        made = await objects.create_cluster_custom_object(*GATES, gate(name))
        made["spec"]["height"] = 5
        changed = await objects.replace_cluster_custom_object(*GATES, name, made)
        assert changed["spec"]["height"] == 5
        with pytest.raises(client.ApiException) as conflict:
            await objects.replace_cluster_custom_object(*GATES, name, made)
        assert (conflict.value.status, conflict.value.reason) == (409, "Conflict")
        status = {"status": {"phase": "Up"}}
        await objects.patch_cluster_custom_object_status(
            *GATES, name, status, _content_type="application/merge-patch+json"
        )
        assert (await objects.get_cluster_custom_object(*GATES, name))["status"] == {"phase": "Up"}
        await objects.delete_cluster_custom_object(*GATES, name)
        with pytest.raises(client.ApiException) as missing:
            await objects.get_cluster_custom_object(*GATES, name)
        assert missing.value.status == 404

    run(work)


def test_server_side_apply(run: Any, name: str) -> None:
    async def work(connected: client.ApiClient) -> None:
        objects = client.CustomObjectsApi(connected)
        apply: dict[str, Any] = {"field_manager": "py", "_content_type": "application/apply-patch+yaml"}
        # the client has no type for the 201 of an apply that creates, and gives None
        await objects.patch_cluster_custom_object(*GATES, name, gate(name, height=4), **apply)
        made = await objects.get_cluster_custom_object(*GATES, name)
        again = await objects.patch_cluster_custom_object(*GATES, name, gate(name, height=4), **apply)
        assert version(made) == version(again)
        with pytest.raises(client.ApiException) as conflict:
            await objects.patch_cluster_custom_object(
                *GATES, name, gate(name, height=5), **apply | {"field_manager": "other"}
            )
        assert conflict.value.status == 409
        forced = await objects.patch_cluster_custom_object(
            *GATES, name, gate(name, height=5), force=True, **apply | {"field_manager": "other"}
        )
        assert forced["spec"]["height"] == 5

    run(work)


def test_typed_kinds(run: Any, namespace: str) -> None:
    async def work(connected: client.ApiClient) -> None:
        core = client.CoreV1Api(connected)
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="a", labels={"x": "1"}), data={"k": "v"})
        made = await core.create_namespaced_config_map(namespace, body)
        assert made.metadata.uid
        listed = await core.list_namespaced_config_map(namespace, label_selector="x=1")
        assert [item.metadata.name for item in listed.items] == ["a"]
        names = [item.metadata.name for item in (await core.list_namespace()).items]
        assert namespace in names

    run(work)


def test_leases(run: Any, namespace: str) -> None:
    async def work(connected: client.ApiClient) -> None:
        leases = client.CoordinationV1Api(connected)
        spec = client.V1LeaseSpec(holder_identity="one", lease_duration_seconds=15)
        body = client.V1Lease(metadata=client.V1ObjectMeta(name="leader"), spec=spec)
        made = await leases.create_namespaced_lease(namespace, body)
        made.spec.holder_identity = "two"
        taken = await leases.replace_namespaced_lease("leader", namespace, made)
        assert taken.spec.holder_identity == "two"
        with pytest.raises(client.ApiException) as conflict:
            await leases.replace_namespaced_lease("leader", namespace, made)
        assert conflict.value.status == 409

    run(work)


def test_watch(run: Any, namespace: str) -> None:
    async def work(connected: client.ApiClient) -> list[tuple[str, str]]:
        core = client.CoreV1Api(connected)
        start = (await core.list_namespaced_config_map(namespace)).metadata.resource_version
        for name in ("a", "b"):
            body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name))
            await core.create_namespaced_config_map(namespace, body)
        await core.delete_namespaced_config_map("a", namespace)
        async with watch.Watch() as stream:
            events = stream.stream(
                core.list_namespaced_config_map, namespace, resource_version=start, timeout_seconds=1
            )
            return [(event["type"], event["object"].metadata.name) async for event in events]

    assert run(work) == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]


def test_events(run: Any, namespace: str) -> None:
    async def work(connected: client.ApiClient) -> None:
        regarding = client.V1ObjectReference(kind="Namespace", name=namespace, namespace=namespace)
        body = client.EventsV1Event(
            metadata=client.V1ObjectMeta(generate_name="synced-"),
            event_time="2026-01-01T00:00:00.000001Z",
            reporting_controller="contract.example/tests",
            reporting_instance="tests-1",
            action="Sync",
            reason="Synced",
            type="Normal",
            note="all is well",
            regarding=regarding,
        )
        made = await client.EventsV1Api(connected).create_namespaced_event(namespace, body)
        assert made.note == "all is well"

    run(work)
