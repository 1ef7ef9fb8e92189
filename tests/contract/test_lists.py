"""Lists: selectors, pages, versions, and deletion of many at once."""

from __future__ import annotations

import pytest

from tests.contract.api import Api, version
from tests.contract.definitions import GATE_PATH, config_map, gate, key, key_path


def names(body: dict) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


@pytest.fixture
def keys(api: Api, namespace: str) -> str:
    """Four keys: a, b and c of metal, d without a label."""
    path = key_path(namespace)
    for name, metal in (("a", "gold"), ("b", "gold"), ("c", "iron")):
        api.post(path, key(name, {"metal": metal, "n": name}))
    api.post(path, key("d"))
    return path


def test_a_list_has_kind_version_and_items(api: Api, keys: str) -> None:
    body = api.get(keys)
    assert (body["kind"], body["apiVersion"]) == ("KeyList", "contract.example/v1")
    assert names(body) == ["a", "b", "c", "d"]
    assert {(item["kind"], item["apiVersion"]) for item in body["items"]} == {("Key", "contract.example/v1")}
    assert int(version(body)) >= max(int(version(item)) for item in body["items"])


def test_a_list_over_all_namespaces(api: Api, keys: str, namespace: str) -> None:
    everywhere = api.get("/apis/contract.example/v1/keys")["items"]
    here = [item["metadata"]["name"] for item in everywhere if item["metadata"]["namespace"] == namespace]
    assert here == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("metal=gold", "ab"),
        ("metal==gold", "ab"),
        ("metal!=gold", "cd"),
        ("metal in (gold,iron)", "abc"),
        ("metal notin (gold)", "cd"),
        ("metal", "abc"),
        ("!metal", "d"),
        ("metal=gold,n=b", "b"),
        ("metal in (gold, iron),n notin (a)", "bc"),
        ("metal=tin", ""),
    ],
)
def test_label_selectors(api: Api, keys: str, selector: str, expected: str) -> None:
    assert names(api.get(keys, labelSelector=selector)) == list(expected)


def test_field_selectors(api: Api, keys: str) -> None:
    assert names(api.get(keys, fieldSelector="metadata.name=b")) == ["b"]
    assert names(api.get(keys, fieldSelector="metadata.name!=b")) == ["a", "c", "d"]
    assert names(api.get(keys, fieldSelector="metadata.name=a", labelSelector="metal=iron")) == []


def test_selectors_that_make_no_sense(api: Api, keys: str) -> None:
    assert api.get(keys, 400, labelSelector="a b c")["reason"] == "BadRequest"
    assert api.get(keys, 400, fieldSelector="spec.colour=red")["reason"] == "BadRequest"


def test_pages_are_of_one_moment(api: Api, keys: str) -> None:
    first = api.get(keys, limit=2)
    assert names(first) == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 2
    api.delete(f"{keys}/c")
    api.post(keys, key("e"))
    second = api.get(keys, limit=2, **{"continue": first["metadata"]["continue"]})
    assert names(second) == ["c", "d"]
    assert version(second) == version(first)
    assert not second["metadata"].get("continue")
    assert names(api.get(keys)) == ["a", "b", "d", "e"]


def test_pages_of_a_selection(api: Api, keys: str) -> None:
    first = api.get(keys, limit=1, labelSelector="metal=gold")
    assert names(first) == ["a"]
    token = first["metadata"]["continue"]
    second = api.get(keys, limit=5, labelSelector="metal=gold", **{"continue": token})
    assert names(second) == ["b"]
    assert not second["metadata"].get("continue")


def test_the_last_page_of_a_selection_may_be_empty(api: Api, keys: str) -> None:
    first = api.get(keys, limit=2, labelSelector="metal=gold")
    assert names(first) == ["a", "b"]
    second = api.get(keys, limit=2, labelSelector="metal=gold", **{"continue": first["metadata"]["continue"]})
    assert names(second) == []
    assert not second["metadata"].get("continue")


def test_a_cached_list_comes_whole(api: Api, keys: str) -> None:
    assert names(api.get(keys, limit=1, resourceVersion="0")) == ["a", "b", "c", "d"]


def test_a_broken_page_token(api: Api, keys: str) -> None:
    assert api.get(keys, 400, **{"continue": "nonsense"})["reason"] == "BadRequest"


def test_lists_of_any_and_of_newer_versions(api: Api, keys: str) -> None:
    current = version(api.get(keys))
    assert names(api.get(keys, resourceVersion="0")) == ["a", "b", "c", "d"]
    newer = api.get(keys, resourceVersion=current, resourceVersionMatch="NotOlderThan")
    assert names(newer) == ["a", "b", "c", "d"]


def test_a_list_of_an_exact_version(api: Api, keys: str) -> None:
    then = version(api.get(keys))
    api.delete(f"{keys}/a")
    body = api.get(keys, resourceVersion=then, resourceVersionMatch="Exact", limit=500)
    assert names(body) == ["a", "b", "c", "d"]
    assert version(body) == then


def test_deletion_of_a_selection(api: Api, keys: str) -> None:
    api.delete(keys, labelSelector="metal=gold")
    assert names(api.get(keys)) == ["c", "d"]
    api.delete(keys)
    assert names(api.get(keys)) == []


def test_deletion_of_a_selection_stays_in_its_namespace(api: Api, namespace: str) -> None:
    api.post(key_path("default"), key(f"stays-{namespace}", {"metal": "gold"}))
    api.post(key_path(namespace), key("goes", {"metal": "gold"}))
    api.delete(key_path(namespace), labelSelector="metal=gold")
    api.get(f"{key_path('default')}/stays-{namespace}")


def test_builtin_kinds_list_alike(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.post(path, config_map("a", {"x": "1"}))
    api.post(path, config_map("b"))
    assert names(api.get(path, labelSelector="x=1")) == ["a"]
    assert api.get(path)["kind"] == "ConfigMapList"


def test_a_table_has_the_columns_of_the_definition(api: Api, name: str) -> None:
    api.post(GATE_PATH, gate(name, {"table": name}, guards=["a", "b"]))
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    api.patch(f"{GATE_PATH}/{name}/status", status)
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    body = api.http.get(GATE_PATH, headers=headers, params={"labelSelector": f"table={name}"}).json()
    assert (body["kind"], body["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [(each["name"], each["type"], each["priority"]) for each in body["columnDefinitions"]]
    assert columns == [
        ("Name", "string", 0),
        ("Side", "string", 0),
        ("Height", "integer", 0),
        ("Ready", "string", 0),
        ("Guards", "string", 1),
        ("Age", "date", 0),
    ]
    (row,) = body["rows"]
    assert row["cells"][:5] == [name, "north", 3, "True", '["a","b"]']
    assert row["cells"][5].endswith("s")
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["name"] == name


def test_metadata_alone(api: Api, keys: str) -> None:
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    body = api.http.get(keys, headers={"Accept": accept}).json()
    assert body["kind"] == "PartialObjectMetadataList"
    assert names(body) == ["a", "b", "c", "d"]
    assert "spec" not in body["items"][0]
