"""CustomResourceDefinitions, and the judgement over objects that their schemas give."""

from __future__ import annotations

import copy

import pytest

from tests.contract.api import Api, causes, poll, version
from tests.contract.definitions import GATE_PATH, GATES, KEYS, gate

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def test_a_definition_is_established(api: Api) -> None:
    def established() -> bool:
        body = api.get(f"{CRDS}/{GATES['metadata']['name']}")
        conditions = {each["type"]: each["status"] for each in body["status"]["conditions"]}
        return conditions == {"NamesAccepted": "True", "Established": "True"}

    poll(established)
    body = api.get(f"{CRDS}/{GATES['metadata']['name']}")
    assert body["status"]["storedVersions"] == ["v1"]
    assert body["status"]["acceptedNames"]["listKind"] == "GateList"


def test_a_definition_comes_and_goes(api: Api, name: str) -> None:
    definition = copy.deepcopy(KEYS)
    plural = f"{name}s".replace("-", "")
    definition["metadata"]["name"] = f"{plural}.going.example"
    names = {"plural": plural, "singular": plural[:-1], "kind": plural.title()}
    definition["spec"] |= {"group": "going.example", "names": names}
    api.post(CRDS, definition)
    path = f"/apis/going.example/v1/namespaces/default/{plural}"
    api.until_served(path)
    api.post(path, {"apiVersion": "going.example/v1", "kind": plural.title(), "metadata": {"name": "a"}})
    api.delete(f"{CRDS}/{plural}.going.example")
    poll(lambda: api.http.get(path).status_code == 404)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scope": "Everywhere"}, "spec.scope"),
        ({"group": "other.example"}, "metadata.name"),
    ],
)
def test_a_wrong_definition_is_refused(api: Api, change: dict, field: str) -> None:
    definition = copy.deepcopy(GATES)
    definition["spec"] |= change
    status = api.post(CRDS, definition, 422)
    assert status["reason"] == "Invalid"
    assert field in {each for each, _ in causes(status)}


def test_a_definition_needs_a_structural_schema(api: Api) -> None:
    definition = copy.deepcopy(GATES)
    definition["metadata"]["name"] = "bads.contract.example"
    definition["spec"]["names"] = {"plural": "bads", "kind": "Bad"}
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["wide"]["type"]
    status = api.post(CRDS, definition, 422)
    wide = "spec.validation.openAPIV3Schema.properties[spec].properties[wide].type"
    assert (wide, "FieldValueRequired") in causes(status)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"side": "east"}, {("spec.side", "FieldValueNotSupported")}),
        ({"side": "north", "height": 0}, {("spec.height", "FieldValueInvalid")}),
        ({"side": "north", "height": 10}, {("spec.height", "FieldValueInvalid")}),
        ({"side": "north", "height": "tall"}, {("spec.height", "FieldValueTypeInvalid")}),
        ({"side": "north", "motto": "UPPER"}, {("spec.motto", "FieldValueInvalid")}),
        ({"side": "north", "motto": "x"}, {("spec.motto", "FieldValueInvalid")}),
        ({"side": "north", "motto": "a" * 21}, {("spec.motto", "FieldValueTooLong")}),
        ({"side": "north", "wide": "yes"}, {("spec.wide", "FieldValueTypeInvalid")}),
        ({"side": "north", "since": "yesterday"}, {("spec.since", "FieldValueTypeInvalid")}),
        ({"side": "north", "guards": ["a", "b", "c", "d"]}, {("spec.guards", "FieldValueTooMany")}),
        ({"side": "north", "guards": [1]}, {("spec.guards[0]", "FieldValueTypeInvalid")}),
        ({"side": "north", "seals": ["a", "a"]}, {("spec.seals[1]", "FieldValueDuplicate")}),
        ({"side": "north", "doors": [{"name": "a"}, {"name": "a"}]}, {("spec.doors[1]", "FieldValueDuplicate")}),
        ({"side": "north", "doors": [{"colour": "red"}]}, {("spec.doors[0].name", "FieldValueRequired")}),
        ({"side": "north", "tags": {"a": 1}}, {("spec.tags.a", "FieldValueTypeInvalid")}),
        ({"side": "north", "port": True}, {("spec.port", "FieldValueTypeInvalid")}),
        (
            {"side": "east", "height": 10},
            {("spec.side", "FieldValueNotSupported"), ("spec.height", "FieldValueInvalid")},
        ),
    ],
)
def test_a_wrong_object_is_refused_with_every_cause(api: Api, name: str, spec: dict, expected: set) -> None:
    body = gate(name) | {"spec": spec}
    status = api.post(GATE_PATH, body, 422)
    assert (status["reason"], status["code"]) == ("Invalid", 422)
    assert status["details"]["kind"] == "Gate"
    assert status["details"]["name"] == name
    assert causes(status) == expected


def test_what_is_required_is_required(api: Api, name: str) -> None:
    status = api.post(GATE_PATH, gate(name) | {"spec": {}}, 422)
    assert causes(status) == {("spec.side", "FieldValueRequired")}
    without = gate(name)
    del without["spec"]
    assert causes(api.post(GATE_PATH, without, 422)) == {("spec", "FieldValueRequired")}


def test_messages_name_object_and_field(api: Api, name: str) -> None:
    status = api.post(GATE_PATH, gate(name, height=10), 422)
    wanted = f'Gate.contract.example "{name}" is invalid: spec.height: Invalid value: 10: spec.height in body should be'
    assert status["message"].startswith(wanted)


def test_defaults_are_filled_in(api: Api, name: str) -> None:
    made = api.post(GATE_PATH, gate(name, doors=[{"name": "front"}]))
    assert made["spec"]["height"] == 3
    assert made["spec"]["doors"] == [{"name": "front", "lock": "open"}]


def test_unknown_fields_are_pruned_with_a_warning(api: Api, name: str) -> None:
    body = gate(name, colour="red", doors=[{"name": "a", "size": 1}])
    response = api.http.post(GATE_PATH, json=body)
    assert response.status_code == 201
    assert set(response.json()["spec"]) == {"side", "height", "doors"}
    assert response.json()["spec"]["doors"] == [{"name": "a", "lock": "open"}]
    warnings = response.headers.get_list("Warning")
    assert any('unknown field \\"spec.colour\\"' in each for each in warnings), warnings
    assert any('unknown field \\"spec.doors[0].size\\"' in each for each in warnings), warnings


def test_strict_validation_refuses_unknown_fields(api: Api, name: str) -> None:
    status = api.post(GATE_PATH, gate(name, colour="red"), 400, fieldValidation="Strict")
    assert status["reason"] == "BadRequest"
    assert 'unknown field "spec.colour"' in status["message"]


def test_free_fields_are_kept(api: Api, name: str) -> None:
    notes = {"a": 1, "b": {"c": [1, "two", {"three": None}]}}
    made = api.post(GATE_PATH, gate(name, notes=notes, port="http", tags={"x": "y"}))
    assert made["spec"]["notes"] == notes
    assert made["spec"]["port"] == "http"
    assert made["spec"]["tags"] == {"x": "y"}


def test_an_update_is_judged_too(api: Api, name: str) -> None:
    made = api.post(GATE_PATH, gate(name))
    made["spec"]["height"] = 12
    assert causes(api.put(f"{GATE_PATH}/{name}", made, 422)) == {("spec.height", "FieldValueInvalid")}
    status = api.patch(f"{GATE_PATH}/{name}", {"spec": {"side": "up"}}, code=422)
    assert causes(status) == {("spec.side", "FieldValueNotSupported")}
    assert version(api.get(f"{GATE_PATH}/{name}")) == version(made)
