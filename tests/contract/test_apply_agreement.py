"""Random histories of applies, patches, updates and status writes: the mock and the real server agree on each step."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.contract.api import APPLY, MERGE, Api, Json
from tests.contract.definitions import GATE_PATH, gate

pytestmark = pytest.mark.apiserver
STEPS = 12


@dataclass(frozen=True)
class Step:
    how: str
    manager: str
    force: bool
    spec: Json
    status: Json
    labels: dict[str, str] = field(default_factory=dict)


def some(chance: random.Random, choices: str, most: int) -> list[str]:
    return chance.sample(choices, chance.randint(0, most))


def random_door(chance: random.Random, name: str) -> Json:
    door: Json = {"name": name}
    if chance.random() < 0.4:
        door["colour"] = chance.choice(["red", "blue"])
    if chance.random() < 0.2:
        door["lock"] = "shut"
    return door


def random_spec(chance: random.Random) -> Json:
    note: list[Any] = [1, {"q": 1}, {"q": 2}, [1], {}]
    fields = {
        "height": chance.choice([2, 3, 4]),
        "motto": chance.choice(["ab", "cd"]),
        "tags": {key: chance.choice("12") for key in some(chance, "xyz", 2)},
        "guards": some(chance, "abc", 2),
        "seals": some(chance, "abcd", 3),
        "doors": [random_door(chance, name) for name in some(chance, "abcd", 3)],
        "inner": {key: chance.choice("12") for key in some(chance, "ab", 2)},
        "notes": {key: chance.choice(note) for key in some(chance, "uvw", 2)},
    }
    kept = {name: value for name, value in fields.items() if chance.random() < 0.35}
    return {"side": chance.choice(["north", "north", "south"])} | kept


def random_status(chance: random.Random) -> Json:
    conditions = [{"type": kind, "status": chance.choice(["True", "False"])} for kind in some(chance, "AB", 2)]
    fields: Json = {"phase": chance.choice(["Up", "Down"]), "conditions": conditions}
    return {name: value for name, value in fields.items() if chance.random() < 0.6}


def random_step(chance: random.Random) -> Step:
    how = chance.choice(["apply"] * 6 + ["merge", "put", "apply-status", "merge-status"])
    labels = {key: chance.choice("12") for key in some(chance, "lm", 2)} if chance.random() < 0.3 else {}
    return Step(how, chance.choice("pqr"), chance.random() < 0.4, random_spec(chance), random_status(chance), labels)


def take(api: Api, name: str, step: Step) -> Json:
    path, query = f"{GATE_PATH}/{name}", {"fieldManager": step.manager}
    if step.how.startswith("apply") and step.force:
        query["force"] = "true"
    body = gate(name, step.labels) | {"spec": step.spec}
    if step.how == "put":
        live = api.http.get(path)
        if live.status_code == 404:
            return answer(api, "POST", GATE_PATH, body, "application/json", query)
        return answer(api, "PUT", path, live.json() | {"spec": step.spec}, "application/json", query)
    if step.how == "apply":
        return answer(api, "PATCH", path, body, APPLY, query)
    if step.how == "merge":
        patch = {"spec": step.spec, "metadata": {"labels": step.labels}}
        return answer(api, "PATCH", path, patch, MERGE, query)
    if step.how == "apply-status":
        bare = {key: value for key, value in gate(name).items() if key != "spec"}
        return answer(api, "PATCH", f"{path}/status", bare | {"status": step.status}, APPLY, query)
    return answer(api, "PATCH", f"{path}/status", {"status": step.status}, MERGE, query)


def answer(api: Api, method: str, path: str, body: Json, kind: str, query: dict[str, str]) -> Json:  # noqa: PLR0917 - a request
    """What came of it, without what may differ: times, versions, uids and wording."""
    headers = {"Content-Type": kind}
    response = api.http.request(method, path, content=json.dumps(body), headers=headers, params=query)
    read = response.json()
    if read["kind"] == "Status":
        causes = (read.get("details") or {}).get("causes", [])
        return {
            "code": response.status_code,
            "reason": read.get("reason"),
            "causes": sorted((cause["field"], cause["reason"]) for cause in causes),
        }
    metadata = read["metadata"]
    owners = [
        (
            entry["operation"],
            entry["manager"],
            entry.get("subresource", ""),
            json.dumps(entry["fieldsV1"], sort_keys=True),
        )
        for entry in metadata.get("managedFields", [])
    ]
    return {
        "code": response.status_code,
        "spec": read["spec"],
        "status": read.get("status"),
        "labels": metadata.get("labels"),
        "generation": metadata["generation"],
        "owners": sorted(owners),
    }


@pytest.mark.parametrize("seed", range(25))
def test_every_step_has_the_same_outcome(mock_api: Api, real_api: Api, name: str, seed: int) -> None:
    chance = random.Random(seed)
    history = []
    for _ in range(STEPS):
        step = random_step(chance)
        history.append(step)
        assert take(mock_api, name, step) == take(real_api, name, step), history
