"""Objects: made, read, changed and deleted; versions, generations, status and dry runs."""

from __future__ import annotations

import pytest

from tests.contract.api import PATCH, Api, causes, version
from tests.contract.definitions import GATE_PATH, config_map, gate, key, key_path


def test_a_new_object_gets_its_metadata(api: Api, name: str) -> None:
    made = api.post(GATE_PATH, gate(name, {"zone": "a"}))
    metadata = made["metadata"]
    assert metadata["name"] == name
    assert metadata["labels"] == {"zone": "a"}
    assert metadata["generation"] == 1
    assert len(metadata["uid"]) == 36
    assert metadata["creationTimestamp"].endswith("Z")
    assert int(metadata["resourceVersion"]) > 1
    assert metadata["managedFields"][0]["manager"] == "contract"
    assert metadata["managedFields"][0]["operation"] == "Update"
    assert api.get(f"{GATE_PATH}/{name}") == made


def test_generate_name(api: Api) -> None:
    body = gate("")
    body["metadata"] = {"generateName": "made-"}
    first, second = (api.post(GATE_PATH, body)["metadata"]["name"] for _ in range(2))
    assert first.startswith("made-")
    assert len(first) == len("made-") + 5
    assert first != second


def test_names_are_judged(api: Api) -> None:
    status = api.post(GATE_PATH, gate("Not_A_Name"), 422)
    assert causes(status) == {("metadata.name", "FieldValueInvalid")}
    assert api.post(GATE_PATH, gate(""), 422)["reason"] == "Invalid"


def test_labels_are_judged(api: Api, name: str) -> None:
    status = api.post(GATE_PATH, gate(name, {"zone": "no spaces"}), 422)
    assert causes(status) == {("metadata.labels", "FieldValueInvalid")}


def test_a_new_object_has_no_version_yet(api: Api, name: str) -> None:
    body = gate(name)
    body["metadata"]["resourceVersion"] = "5"
    status = api.post(GATE_PATH, body, 500)
    assert status["message"] == "resourceVersion should not be set on objects to be created"


@pytest.mark.parametrize(
    ("query", "field"), [({"dryRun": "Some"}, "dryRun"), ({"fieldValidation": "Some"}, "fieldValidation")]
)
def test_unknown_options_are_refused(api: Api, name: str, query: dict, field: str) -> None:
    assert causes(api.post(GATE_PATH, gate(name), 422, **query)) == {(field, "FieldValueNotSupported")}


def test_what_is_there_already(api: Api, name: str) -> None:
    api.post(GATE_PATH, gate(name))
    status = api.post(GATE_PATH, gate(name), 409)
    assert (status["kind"], status["status"], status["reason"]) == ("Status", "Failure", "AlreadyExists")
    assert status["message"] == f'gates.contract.example "{name}" already exists'
    assert status["details"] == {"name": name, "group": "contract.example", "kind": "gates"}


def test_what_is_not_there(api: Api, name: str) -> None:
    for status in (
        api.get(f"{GATE_PATH}/{name}", 404),
        api.delete(f"{GATE_PATH}/{name}", 404),
        api.patch(f"{GATE_PATH}/{name}", {"spec": {}}, code=404),
        api.patch(f"{GATE_PATH}/{name}/status", {"status": {}}, code=404),
    ):
        assert (status["reason"], status["code"]) == ("NotFound", 404)
        assert status["message"] == f'gates.contract.example "{name}" not found'
        assert status["details"] == {"name": name, "group": "contract.example", "kind": "gates"}


def test_a_namespace_that_is_not_there(api: Api, name: str) -> None:
    status = api.post(key_path(name), key(name), 404)
    assert status["details"] == {"name": name, "kind": "namespaces"}


def test_a_body_that_is_no_json(api: Api, name: str) -> None:
    for kind, body, code in (
        ("application/json", "{", 400),
        ("application/json", "[]", 400),
        ("text/plain", "{}", 415),
        ("application/yaml", f"apiVersion: contract.example/v1\nkind: Gate\nmetadata: {{name: {name}}}", 422),
    ):
        assert api.http.post(GATE_PATH, content=body, headers={"Content-Type": kind}).status_code == code


def test_another_objects_uid_is_refused(api: Api, name: str) -> None:
    made = api.post(GATE_PATH, gate(name))
    made["metadata"]["uid"] = "11111111-2222-3333-4444-555555555555"
    assert api.put(f"{GATE_PATH}/{name}", made, 409)["reason"] == "Conflict"
    status = api.patch(f"{GATE_PATH}/{name}", {"metadata": {"uid": "11111111"}}, code=422)
    assert causes(status) == {("metadata.uid", "FieldValueInvalid")}


def test_a_body_that_is_something_else(api: Api, name: str) -> None:
    assert causes(api.post(GATE_PATH, key(name), 422)) == {("kind", "FieldValueInvalid")}
    assert api.post(GATE_PATH, gate(name) | {"apiVersion": "v1"}, 400)["reason"] == "BadRequest"
    assert api.post(GATE_PATH, {"metadata": {"name": name}}, 400)["reason"] == "BadRequest"
    made = api.post(GATE_PATH, gate(name))
    made["metadata"]["name"] = "other"
    assert api.put(f"{GATE_PATH}/{name}", made, 400)["reason"] == "BadRequest"


def test_a_stale_update_conflicts(api: Api, name: str) -> None:
    first = api.post(GATE_PATH, gate(name))
    second = api.put(f"{GATE_PATH}/{name}", first | {"spec": {"side": "south"}})
    assert int(version(second)) > int(version(first))
    status = api.put(f"{GATE_PATH}/{name}", first | {"spec": {"side": "north", "height": 5}}, 409)
    assert (status["reason"], status["code"]) == ("Conflict", 409)
    assert "the object has been modified" in status["message"]
    stale = {"metadata": {"resourceVersion": version(first)}, "spec": {"height": 5}}
    assert api.patch(f"{GATE_PATH}/{name}", stale, code=409)["reason"] == "Conflict"


def test_a_custom_resource_is_never_replaced_unseen(api: Api, name: str) -> None:
    api.post(GATE_PATH, gate(name))
    assert causes(api.put(f"{GATE_PATH}/{name}", gate(name, height=5), 422)) == {
        ("metadata.resourceVersion", "FieldValueInvalid")
    }


def test_a_config_map_may_be_replaced_unseen(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.post(path, config_map("a", x="1"))
    assert api.put(f"{path}/a", config_map("a", x="2"))["data"] == {"x": "2"}


def test_a_write_that_changes_nothing_makes_no_version(api: Api, name: str) -> None:
    made = api.post(GATE_PATH, gate(name))
    assert version(api.put(f"{GATE_PATH}/{name}", made)) == version(made)
    assert version(api.patch(f"{GATE_PATH}/{name}", {"spec": {"side": "north"}})) == version(made)


def test_generation_follows_the_spec_alone(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.post(GATE_PATH, gate(name))
    assert api.patch(path, {"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 1
    assert api.patch(f"{path}/status", {"status": {"phase": "Up"}})["metadata"]["generation"] == 1
    assert api.patch(path, {"spec": {"height": 5}})["metadata"]["generation"] == 2
    assert api.patch(path, {"metadata": {"generation": 9}})["metadata"]["generation"] == 2


def test_status_has_a_door_of_its_own(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    made = api.post(GATE_PATH, gate(name) | {"status": {"phase": "Forged"}})
    assert "status" not in made
    assert "status" not in api.patch(path, {"status": {"phase": "Forged"}})
    changed = api.patch(f"{path}/status", {"status": {"phase": "Up"}, "spec": {"height": 9}})
    assert changed["status"] == {"phase": "Up"}
    assert changed["spec"] == {"side": "north", "height": 3}
    changed["status"] = {"phase": "Down", "seen": 3}
    changed["metadata"]["labels"] = {"a": "b"}
    put = api.put(f"{path}/status", changed)
    assert put["status"] == {"phase": "Down", "seen": 3}
    assert "labels" not in put["metadata"]
    assert api.put(path, put | {"spec": {"side": "south"}, "status": {}})["status"] == {"phase": "Down", "seen": 3}
    assert api.get(f"{path}/status")["spec"]["side"] == "south"


def test_status_is_judged_and_versioned(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}/status"
    made = api.post(GATE_PATH, gate(name))
    status = api.patch(path, {"status": {"seen": "many"}}, code=422)
    assert causes(status) == {("status.seen", "FieldValueTypeInvalid")}
    api.patch(path, {"status": {"seen": 1}})
    assert api.put(path, made | {"status": {"seen": 2}}, 409)["reason"] == "Conflict"


def test_a_kind_without_status_has_no_such_door(api: Api, namespace: str) -> None:
    api.post(key_path(namespace), key("a"))
    assert api.http.patch(f"{key_path(namespace)}/a/status", json={}).status_code == 404


def test_merge_patch(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.post(GATE_PATH, gate(name, guards=["a", "b"], motto="be good"))
    changed = api.patch(path, {"spec": {"guards": ["c"], "motto": None}})
    assert changed["spec"] == {"side": "north", "height": 3, "guards": ["c"]}


def test_json_patch(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.post(GATE_PATH, gate(name, guards=["a"]))
    operations = [
        {"op": "test", "path": "/spec/side", "value": "north"},
        {"op": "add", "path": "/spec/guards/-", "value": "b"},
        {"op": "add", "path": "/metadata/labels", "value": {"a.example/b": "c"}},
        {"op": "replace", "path": "/metadata/labels/a.example~1b", "value": "d"},
        {"op": "remove", "path": "/spec/height"},
    ]
    changed = api.patch(path, operations, PATCH)
    assert changed["spec"] == {"side": "north", "height": 3, "guards": ["a", "b"]}
    assert changed["metadata"]["labels"] == {"a.example/b": "d"}
    api.patch(path, [{"op": "test", "path": "/spec/side", "value": "south"}], PATCH, 422)
    api.patch(path, [{"op": "remove", "path": "/spec/nothing"}], PATCH, 422)


def test_a_custom_resource_takes_no_strategic_patch(api: Api, name: str) -> None:
    api.post(GATE_PATH, gate(name))
    status = api.patch(f"{GATE_PATH}/{name}", {}, "application/strategic-merge-patch+json", 415)
    assert status["reason"] == "UnsupportedMediaType"


def test_strategic_patch_of_a_builtin_kind(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.post(path, config_map("a", x="1", y="2"))
    kind = "application/strategic-merge-patch+json"
    assert api.patch(f"{path}/a", {"data": {"x": "3", "y": None}}, kind)["data"] == {"x": "3"}


def test_delete(api: Api, name: str) -> None:
    made = api.post(GATE_PATH, gate(name))
    status = api.delete(f"{GATE_PATH}/{name}")
    assert (status["kind"], status["status"]) == ("Status", "Success")
    assert status["details"] == {
        "name": name,
        "group": "contract.example",
        "kind": "gates",
        "uid": made["metadata"]["uid"],
    }
    api.get(f"{GATE_PATH}/{name}", 404)


def test_delete_of_that_very_object(api: Api, name: str) -> None:
    made = api.post(GATE_PATH, gate(name))
    wrong = {"preconditions": {"uid": "11111111-2222-3333-4444-555555555555"}}
    assert api.delete(f"{GATE_PATH}/{name}", 409, wrong)["reason"] == "Conflict"
    assert api.delete(f"{GATE_PATH}/{name}", 409, {"preconditions": {"resourceVersion": "1"}})["reason"] == "Conflict"
    right = {"preconditions": {"uid": made["metadata"]["uid"], "resourceVersion": version(made)}}
    api.delete(f"{GATE_PATH}/{name}", 200, right)


def test_finalizers_hold_an_object(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    body = gate(name)
    body["metadata"]["finalizers"] = ["contract.example/hold"]
    api.post(GATE_PATH, body)
    held = api.delete(path)
    assert held["metadata"]["deletionTimestamp"]
    assert api.get(path)["metadata"]["deletionTimestamp"] == held["metadata"]["deletionTimestamp"]
    api.patch(path, {"metadata": {"finalizers": None}})
    api.get(path, 404)


@pytest.mark.parametrize("how", ["create", "put", "patch", "apply", "delete"])
def test_a_dry_run_leaves_no_trace(api: Api, name: str, how: str) -> None:
    path = f"{GATE_PATH}/{name}"
    if how == "create":
        made = api.post(GATE_PATH, gate(name), dryRun="All")
        assert made["spec"]["height"] == 3
        assert made["metadata"]["uid"]
        api.get(path, 404)
        return
    before = api.post(GATE_PATH, gate(name))
    if how == "put":
        after = api.put(path, before | {"spec": {"side": "south"}}, dryRun="All")
    elif how == "patch":
        after = api.patch(path, {"spec": {"side": "south"}}, dryRun="All")
    elif how == "apply":
        after = api.apply(path, gate(name, side="south"), dryRun="All", force="true")
    else:
        api.delete(path, dryRun="All")
        after = {"spec": {"side": "south"}, "metadata": {"generation": 2}}
    assert after["spec"]["side"] == "south"
    assert after["metadata"]["generation"] == 2
    assert api.get(path) == before


def test_a_dry_run_is_judged(api: Api, name: str) -> None:
    status = api.post(GATE_PATH, gate(name, height=10), 422, dryRun="All")
    assert causes(status) == {("spec.height", "FieldValueInvalid")}


def test_large_objects(api: Api, name: str) -> None:
    blob = [f"{number:06d}" + "x" * 94 for number in range(5000)]
    made = api.post(GATE_PATH, gate(name, blob=blob))
    assert made["spec"]["blob"] == blob
    applied = api.apply(f"{GATE_PATH}/{name}", gate(name, blob=blob[:-1]), force="true")
    assert applied["spec"]["blob"] == blob[:-1]
    assert api.get(f"{GATE_PATH}/{name}")["spec"]["blob"] == blob[:-1]


def test_too_large_objects_are_refused(api: Api, name: str) -> None:
    blob = ["x" * 99_000 for _ in range(17)]
    response = api.http.post(GATE_PATH, json=gate(name, blob=blob))
    assert response.status_code in {413, 500}, response.text[:300]
    body = gate(name, blob=[*blob, *blob])
    response = api.http.post(GATE_PATH, json=body)
    assert response.status_code == 413
    assert response.json()["reason"] == "RequestEntityTooLarge"
    api.get(f"{GATE_PATH}/{name}", 404)
