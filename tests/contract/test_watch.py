"""Watches: nothing is missed between a list and its watch, nor across an interruption."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

from tests.contract.api import Api, Json, version
from tests.contract.definitions import GATE_PATH, gate, key, key_path


def take(events: Iterator[Json], count: int) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in itertools.islice(events, count)]


def test_from_a_list_on(api: Api, namespace: str) -> None:
    path = key_path(namespace)
    api.post(path, key("before"))
    start = version(api.get(path))
    with api.watch(path, resourceVersion=start) as events:
        api.post(path, key("a"))
        api.patch(f"{path}/a", {"spec": {"x": 1}})
        api.delete(f"{path}/a")
        assert take(events, 3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_events_carry_objects_and_versions_in_order(api: Api, namespace: str) -> None:
    path = key_path(namespace)
    start = version(api.get(path))
    made = api.post(path, key("a", x=1))
    changed = api.patch(f"{path}/a", {"spec": {"x": 2}})
    api.delete(f"{path}/a")
    with api.watch(path, resourceVersion=start) as events:
        added, modified, deleted = itertools.islice(events, 3)
    assert added["object"] == made
    assert modified["object"] == changed
    assert deleted["object"]["spec"] == {"x": 2}
    versions = [int(start), *(int(version(event["object"])) for event in (added, modified, deleted))]
    assert versions == sorted(set(versions))


def test_resumed_where_it_stopped(api: Api, namespace: str) -> None:
    path = key_path(namespace)
    start = version(api.get(path))
    with api.watch(path, resourceVersion=start) as events:
        api.post(path, key("a"))
        seen = version(next(events)["object"])
    api.post(path, key("b"))
    api.delete(f"{path}/a")
    with api.watch(path, resourceVersion=seen) as events:
        assert take(events, 2) == [("ADDED", "b"), ("DELETED", "a")]


def test_without_a_version_it_starts_with_what_is_there(api: Api, namespace: str) -> None:
    path = key_path(namespace)
    api.post(path, key("a"))
    api.post(path, key("b"))
    for query in ({}, {"resourceVersion": "0"}):
        with api.watch(path, **query) as events:
            assert sorted(take(events, 2)) == [("ADDED", "a"), ("ADDED", "b")]


def test_only_its_namespace(api: Api, namespace: str) -> None:
    path = key_path(namespace)
    start = version(api.get(path))
    api.post(key_path("default"), key(f"elsewhere-{namespace}"))
    api.post(path, key("here"))
    with api.watch(path, resourceVersion=start) as events:
        assert take(events, 1) == [("ADDED", "here")]


def test_a_selector_adds_and_deletes(api: Api, namespace: str) -> None:
    path = key_path(namespace)
    start = version(api.get(path))
    api.post(path, key("a", {"metal": "iron"}))
    api.patch(f"{path}/a", {"metadata": {"labels": {"metal": "gold"}}})
    api.patch(f"{path}/a", {"spec": {"x": 1}})
    api.patch(f"{path}/a", {"metadata": {"labels": {"metal": "tin"}}})
    api.post(path, key("b", {"metal": "gold"}))
    with api.watch(path, resourceVersion=start, labelSelector="metal=gold") as events:
        assert take(events, 4) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b")]


def test_one_object_by_name(api: Api, name: str) -> None:
    start = version(api.get(GATE_PATH))
    api.post(GATE_PATH, gate(f"{name}-other"))
    api.post(GATE_PATH, gate(name))
    with api.watch(GATE_PATH, resourceVersion=start, fieldSelector=f"metadata.name={name}") as events:
        assert take(events, 1) == [("ADDED", name)]


def test_status_changes_are_seen(api: Api, name: str) -> None:
    made = api.post(GATE_PATH, gate(name))
    api.patch(f"{GATE_PATH}/{name}/status", {"status": {"phase": "Up"}})
    with api.watch(GATE_PATH, resourceVersion=version(made)) as events:
        event = next(each for each in events if each["object"]["metadata"]["name"] == name)
    assert event["type"] == "MODIFIED"
    assert event["object"]["status"] == {"phase": "Up"}


def test_it_ends_when_its_time_is_over(api: Api, namespace: str) -> None:
    path = key_path(namespace)
    start = time.monotonic()
    with api.watch(path, resourceVersion=version(api.get(path)), timeoutSeconds=1) as events:
        assert list(events) == []
    assert 0.5 < time.monotonic() - start < 6


def test_bookmarks_tell_how_far_it_is(api: Api, namespace: str) -> None:
    path = key_path(namespace)
    start = version(api.get(path))
    query = {"resourceVersion": start, "timeoutSeconds": 5, "allowWatchBookmarks": "true"}
    with api.watch(path, **query) as events:
        api.post(key_path("default"), key(f"moves-on-{namespace}"))
        marks = list(events)
    assert {event["type"] for event in marks} == {"BOOKMARK"}
    mark = marks[-1]["object"]
    assert (mark["kind"], mark["apiVersion"]) == ("Key", "contract.example/v1")
    assert int(version(mark)) > int(start)
    with api.watch(path, resourceVersion=version(mark)) as events:
        api.post(path, key("after"))
        assert take(events, 1) == [("ADDED", "after")]


def test_bookmarks_come_only_when_asked_for(api: Api, namespace: str) -> None:
    path = key_path(namespace)
    with api.watch(path, resourceVersion=version(api.get(path)), timeoutSeconds=3) as events:
        assert list(events) == []


def test_too_old_a_version_is_gone(api: Api, namespace: str) -> None:
    path = key_path(namespace)
    api.post(path, key("a"))
    with api.watch(path, resourceVersion="1") as events:
        (event,) = events
    assert event["type"] == "ERROR"
    assert event["object"]["kind"] == "Status"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert "too old resource version" in event["object"]["message"]


def test_a_burst_arrives_whole_and_in_order(api: Api, namespace: str) -> None:
    path = key_path(namespace)
    start = version(api.get(path))
    with api.watch(path, resourceVersion=start) as events:
        for number in range(60):
            api.post(path, key(f"k{number:03d}"))
        assert [name for _, name in take(events, 60)] == [f"k{number:03d}" for number in range(60)]


def test_only_the_pods_of_a_node(api: Api, namespace: str, name: str) -> None:
    path, node = f"/api/v1/namespaces/{namespace}/pods", f"node-{name}"

    def pod(pod_name: str, node_name: str) -> dict[str, object]:
        spec = {"nodeName": node_name, "containers": [{"name": "c", "image": "i"}]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod_name}, "spec": spec}

    selector = f"spec.nodeName={node}"
    start = version(api.get("/api/v1/pods", fieldSelector=selector))
    for pod_name, node_name in (("a", node), ("b", "elsewhere"), ("c", node)):
        api.post(path, pod(pod_name, node_name))
    api.patch(f"{path}/a/status", {"status": {"phase": "Running"}})
    api.delete(f"{path}/c", gracePeriodSeconds=0)
    with api.watch("/api/v1/pods", resourceVersion=start, fieldSelector=selector) as events:
        told = ((event["type"], event["object"]["metadata"]["name"]) for event in events)
        seen = list(
            itertools.islice((each for each in told if each != ("MODIFIED", "c")), 4)
        )  # its end may be announced
    assert seen == [("ADDED", "a"), ("ADDED", "c"), ("MODIFIED", "a"), ("DELETED", "c")]
    assert [item["metadata"]["name"] for item in api.get("/api/v1/pods", fieldSelector=selector)["items"]] == ["a"]
