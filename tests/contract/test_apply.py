"""Server-side apply: who owns which field, and what happens when two want the same."""

from __future__ import annotations

from typing import Any

from tests.contract.api import Api, causes, version
from tests.contract.definitions import GATE_PATH, config_map, gate, key, key_path


def owned(item: dict[str, Any], manager: str, subresource: str = "") -> dict[str, Any]:
    """What a manager owns of an object; fails where it owns nothing."""
    entries = item["metadata"]["managedFields"]
    (entry,) = (each for each in entries if each["manager"] == manager and each.get("subresource", "") == subresource)
    fields: dict[str, Any] = entry["fieldsV1"]
    return fields


def managers(item: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each["manager"], each["operation"]) for each in item["metadata"]["managedFields"]}


def test_it_creates(api: Api, name: str) -> None:
    made = api.apply(f"{GATE_PATH}/{name}", gate(name, {"a": "b"}, height=4), "one", 201)
    assert made["spec"] == {"side": "north", "height": 4}
    assert managers(made) == {("one", "Apply")}
    assert owned(made, "one") == {
        "f:metadata": {"f:labels": {"f:a": {}}},
        "f:spec": {"f:side": {}, "f:height": {}},
    }
    entry = made["metadata"]["managedFields"][0]
    assert (entry["apiVersion"], entry["fieldsType"]) == ("contract.example/v1", "FieldsV1")
    assert entry["time"].endswith("Z")


def test_defaults_belong_to_nobody(api: Api, name: str) -> None:
    made = api.apply(f"{GATE_PATH}/{name}", gate(name))
    assert made["spec"]["height"] == 3
    assert owned(made, "tester") == {"f:spec": {"f:side": {}}}


def test_again_changes_nothing(api: Api, name: str) -> None:
    body = gate(name, {"a": "b"}, doors=[{"name": "x", "colour": "red"}], guards=["a"], tags={"t": "u"})
    first = api.apply(f"{GATE_PATH}/{name}", body)
    second = api.apply(f"{GATE_PATH}/{name}", body, code=200)
    assert second == first
    assert version(api.get(f"{GATE_PATH}/{name}")) == version(first)


def test_it_updates(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    first = api.apply(path, gate(name, height=4))
    second = api.apply(path, gate(name, height=5), code=200)
    assert second["spec"]["height"] == 5
    assert int(version(second)) > int(version(first))
    assert second["metadata"]["generation"] == 2
    assert second["metadata"]["uid"] == first["metadata"]["uid"]


def test_what_is_no_longer_applied_goes(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.apply(path, gate(name, {"a": "1", "b": "2"}, motto="be good", tags={"x": "1", "y": "2"}, inner={"a": "1"}))
    left = api.apply(path, gate(name, {"b": "2"}, tags={"y": "2"}))
    assert left["spec"] == {"side": "north", "height": 3, "tags": {"y": "2"}}
    assert left["metadata"]["labels"] == {"b": "2"}
    assert owned(left, "tester") == {
        "f:metadata": {"f:labels": {"f:b": {}}},
        "f:spec": {"f:side": {}, "f:tags": {"f:y": {}}},
    }


def test_what_another_owns_too_stays(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.apply(path, gate(name, motto="be good", height=4), "one")
    both = api.apply(path, gate(name, motto="be good"), "two")
    assert managers(both) == {("one", "Apply"), ("two", "Apply")}
    left = api.apply(path, gate(name), "one")
    assert left["spec"] == {"side": "north", "height": 3, "motto": "be good"}
    assert owned(left, "two") == {"f:spec": {"f:motto": {}, "f:side": {}}}


def test_a_conflict_names_manager_and_field(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    first = api.apply(path, gate(name, height=4, motto="be good"), "one")
    status = api.apply(path, gate(name, height=5, motto="be bad"), "two", 409)
    assert (status["reason"], status["code"]) == ("Conflict", 409)
    assert causes(status) == {(".spec.height", "FieldManagerConflict"), (".spec.motto", "FieldManagerConflict")}
    assert {cause["message"] for cause in status["details"]["causes"]} == {'conflict with "one"'}
    assert status["message"] == ('Apply failed with 2 conflicts: conflicts with "one":\n- .spec.height\n- .spec.motto')
    one = api.apply(path, gate(name, height=5), "two", 409)
    assert one["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.height'
    assert version(api.get(path)) == version(first)


def test_a_conflict_with_an_updater_names_its_version(api: Api, name: str) -> None:
    api.post(GATE_PATH, gate(name, height=4), fieldManager="writer")
    status = api.apply(f"{GATE_PATH}/{name}", gate(name, height=5), "two", 409)
    message = status["details"]["causes"][0]["message"]
    assert message.startswith('conflict with "writer" using contract.example/v1')


def test_force_takes_over(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.apply(path, gate(name, height=4), "one")
    taken = api.apply(path, gate(name, height=5), "two", force="true")
    assert taken["spec"]["height"] == 5
    assert owned(taken, "one") == {"f:spec": {"f:side": {}}}
    assert owned(taken, "two") == {"f:spec": {"f:side": {}, "f:height": {}}}


def test_the_same_value_is_no_conflict(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.apply(path, gate(name, height=4), "one")
    shared = api.apply(path, gate(name, height=4), "two")
    assert owned(shared, "one") == owned(shared, "two")


def test_a_manager_that_owns_nothing_more_is_forgotten(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.apply(path, gate(name), "one")
    bare = gate(name)
    del bare["spec"]
    labelled = bare | {"metadata": {"name": name, "labels": {"a": "b"}}}
    api.apply(path, labelled, "two")
    left = api.apply(path, bare, "two")
    assert managers(left) == {("one", "Apply")}
    assert "labels" not in left["metadata"]


def test_an_update_takes_fields_from_an_applier(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.apply(path, gate(name, height=4), "one")
    changed = api.patch(path, {"spec": {"height": 6}}, fieldManager="hand")
    assert owned(changed, "one") == {"f:spec": {"f:side": {}}}
    assert owned(changed, "hand") == {"f:spec": {"f:height": {}}}
    status = api.apply(path, gate(name, height=4), "one", 409)
    assert causes(status) == {(".spec.height", "FieldManagerConflict")}
    back = api.apply(path, gate(name, height=4), "one", force="true")
    assert managers(back) == {("one", "Apply")}


def test_lists_with_keys_merge_by_item(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.apply(path, gate(name, doors=[{"name": "a", "colour": "red"}, {"name": "b"}]), "one")
    merged = api.apply(path, gate(name, doors=[{"name": "c"}, {"name": "a"}]), "two")
    doors = {door["name"]: door for door in merged["spec"]["doors"]}
    assert set(doors) == {"a", "b", "c"}
    assert doors["a"]["colour"] == "red"
    assert owned(merged, "two")["f:spec"]["f:doors"] == {
        'k:{"name":"a"}': {".": {}, "f:name": {}},
        'k:{"name":"c"}': {".": {}, "f:name": {}},
    }
    left = api.apply(path, gate(name, doors=[{"name": "b"}]), "one")
    assert {door["name"] for door in left["spec"]["doors"]} == {"a", "b", "c"}
    assert "colour" not in next(door for door in left["spec"]["doors"] if door["name"] == "a")
    gone = api.apply(path, gate(name), "two")
    assert [door["name"] for door in gone["spec"]["doors"]] == ["b"]


def test_sets_merge_by_value(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.apply(path, gate(name, seals=["a", "b"]), "one")
    merged = api.apply(path, gate(name, seals=["b", "c"]), "two")
    assert sorted(merged["spec"]["seals"]) == ["a", "b", "c"]
    assert owned(merged, "two")["f:spec"]["f:seals"] == {'v:"b"': {}, 'v:"c"': {}}
    assert sorted(api.apply(path, gate(name), "two")["spec"]["seals"]) == ["a", "b"]


def test_other_lists_are_one_field(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.apply(path, gate(name, guards=["a", "b"]), "one")
    status = api.apply(path, gate(name, guards=["a", "c"]), "two", 409)
    assert causes(status) == {(".spec.guards", "FieldManagerConflict")}
    assert api.apply(path, gate(name, guards=["c"]), "one")["spec"]["guards"] == ["c"]


def test_free_fields_are_owned_by_key(api: Api, namespace: str) -> None:
    path = f"{key_path(namespace)}/a"
    api.apply(path, key("a", deep={"x": 1, "y": {"z": 2}}, many=[1, 2]), "one")
    merged = api.apply(path, key("a", deep={"y": {"w": 3}}), "two")
    assert merged["spec"] == {"deep": {"x": 1, "y": {"z": 2, "w": 3}}, "many": [1, 2]}
    left = api.apply(path, key("a", deep={"x": 1}), "one")
    assert left["spec"] == {"deep": {"x": 1, "y": {"w": 3}}}


def test_status_by_apply(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    api.apply(path, gate(name), "one")
    bare = {key: value for key, value in gate(name).items() if key != "spec"}
    status = {"phase": "Up", "conditions": [{"type": "Ready", "status": "True"}]}
    changed = api.apply(f"{path}/status", bare | {"status": status}, "two")
    assert changed["status"] == status
    assert owned(changed, "two", "status") == {
        "f:status": {
            "f:phase": {},
            "f:conditions": {'k:{"type":"Ready"}': {".": {}, "f:type": {}, "f:status": {}}},
        }
    }
    other = {"conditions": [{"type": "Synced", "status": "False"}]}
    both = api.apply(f"{path}/status", bare | {"status": other}, "three")
    assert {each["type"] for each in both["status"]["conditions"]} == {"Ready", "Synced"}
    again = api.apply(f"{path}/status", bare | {"status": other}, "three")
    assert version(again) == version(both)
    assert api.apply(path, gate(name), "one")["status"] == both["status"]


def test_status_is_ignored_at_the_main_door(api: Api, name: str) -> None:
    made = api.apply(f"{GATE_PATH}/{name}", gate(name) | {"status": {"phase": "Forged"}})
    assert "status" not in made
    assert owned(made, "tester") == {"f:spec": {"f:side": {}}}


def test_a_manager_must_say_its_name(api: Api, name: str) -> None:
    status = api.apply(f"{GATE_PATH}/{name}", gate(name), "", 422)
    assert causes(status) == {("fieldManager", "FieldValueRequired")}


def test_applied_objects_carry_no_managed_fields(api: Api, name: str) -> None:
    made = api.apply(f"{GATE_PATH}/{name}", gate(name))
    assert api.apply(f"{GATE_PATH}/{name}", made, code=400)["reason"] == "BadRequest"


def test_a_stale_apply_conflicts(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    first = api.apply(path, gate(name))
    api.apply(path, gate(name, height=5))
    body = gate(name, height=6)
    body["metadata"]["resourceVersion"] = version(first)
    assert api.apply(path, body, code=409)["reason"] == "Conflict"


def test_what_the_schema_does_not_have_is_a_server_error(api: Api, name: str) -> None:
    """Not the 422 one would expect: apply needs the types before anything is judged."""
    for spec, words in (
        ({"colour": "red"}, ".spec.colour: field not declared in schema"),
        ({"height": "tall"}, ".spec.height: expected numeric (int or float), got string"),
        ({"doors": [{"name": "a"}, {"name": "a"}]}, '.spec.doors: duplicate entries for key [name="a"]'),
        ({"doors": [{"name": "a", "size": 1}]}, '.spec.doors[name="a"].size: field not declared in schema'),
        ({"seals": ["a", "a"]}, '.spec.seals: duplicate entries for key [="a"]'),
        (
            {"doors": [{"colour": "red"}]},
            ".spec.doors: element 0: associative list with keys has an element that omits",
        ),
    ):
        status = api.apply(f"{GATE_PATH}/{name}", gate(name, **spec), code=500)
        who = f"(/{name}; contract.example/v1, Kind=Gate)"
        assert status["message"].startswith(f"failed to create typed patch object {who}: {words}")
    api.get(f"{GATE_PATH}/{name}", 404)


def test_what_was_applied_full_can_not_be_applied_empty(api: Api, name: str) -> None:
    """Emptied by apply a map becomes null, which the schema refuses; leave the field out instead."""
    path = f"{GATE_PATH}/{name}"
    api.apply(path, gate(name, tags={"x": "1"}, inner={"a": "1"}))
    status = api.apply(path, gate(name, tags={}, inner={}), code=422)
    assert causes(status) == {("spec.tags", "FieldValueTypeInvalid"), ("spec.inner", "FieldValueTypeInvalid")}
    assert "tags" not in api.apply(path, gate(name))["spec"]


def test_only_an_apply_is_forced(api: Api, name: str) -> None:
    api.apply(f"{GATE_PATH}/{name}", gate(name))
    assert causes(api.patch(f"{GATE_PATH}/{name}", {}, code=422, force="true")) == {("force", "FieldValueForbidden")}


def test_a_configuration_says_kind_and_name(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    for body in (key(name), {"metadata": {"name": name}}, gate(name) | {"metadata": {}}, gate("other")):
        assert api.apply(path, body, code=400)["reason"] == "BadRequest"


def test_what_is_applied_is_judged(api: Api, name: str) -> None:
    path = f"{GATE_PATH}/{name}"
    assert causes(api.apply(path, gate(name, height=10), code=422)) == {("spec.height", "FieldValueInvalid")}
    api.get(path, 404)


def test_builtin_kinds(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps/a"
    made = api.apply(path, config_map("a", {"l": "m"}, x="1", y="2"), "one", 201)
    assert owned(made, "one") == {
        "f:data": {"f:x": {}, "f:y": {}},
        "f:metadata": {"f:labels": {"f:l": {}}},
    }
    left = api.apply(path, config_map("a", x="1"), "one", 200)
    assert left["data"] == {"x": "1"}
    assert "labels" not in left["metadata"]
    status = api.apply(path, config_map("a", x="2"), "two", 409)
    assert causes(status) == {(".data.x", "FieldManagerConflict")}
