"""config/chart/values.schema.json: the chart's own values by their defaults, the settings by the programs' models."""

from __future__ import annotations

import json
import sys
from typing import Any

from tools.models import Schema, definitions
from tools.values import CHART, Value, values

FILE = CHART / "values.schema.json"
# What a default doesn't say of its value.
MORE: dict[str, Schema] = {
    "bridge.settings": {"$ref": "#/definitions/bridge.Settings"},
    "enforcer.settings": {"$ref": "#/definitions/enforcer.Settings"},
    "bridge.controlPlane": {"enum": ["preferred", "required", "ignored"]},
    "bridge.replicas": {"type": "integer", "minimum": 1},
    "image.pullPolicy": {"enum": ["", "Always", "IfNotPresent", "Never"]},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "enforcer.maxUnavailable": {"type": ["string", "integer"], "pattern": "^[0-9]+%?$"},
    "enforcer.minReadySeconds": {"type": "integer", "minimum": 0},
    "enforcer.dnsPolicy": {"enum": ["Default", "ClusterFirstWithHostNet"]},
    "uninstall.timeout": {"type": "string", "pattern": "^([0-9]+(s|m|h))+$"},
    "panorama.hosts": {"type": "array", "items": {"type": "string"}},
    "extraObjects": {"type": "array", "items": {"type": ["object", "string"]}},
}
TYPES = {str: "string", bool: "boolean", int: "integer", list: "array", dict: "object"}


def schema() -> Schema:
    root = _object("Values of the chart zonebridge")
    for value in values():
        _put(root, value)
    root["properties"]["global"]["additionalProperties"] = True  # shared with other charts
    return {"$schema": "http://json-schema.org/draft-07/schema#"} | root | {"definitions": _settings()}


def _object(description: str = "") -> Schema:
    made: Schema = {"type": "object", "additionalProperties": False, "properties": {}}
    return {"description": description, **made} if description else made


def _put(root: Schema, value: Value) -> None:
    node = root
    for part in value.path[:-1]:
        node = node["properties"].setdefault(part, _object())
    described: Schema = {"description": value.meaning} if value.meaning else {}
    node["properties"][value.path[-1]] = described | MORE.get(".".join(value.path), _of(value.default))


def _of(default: Any) -> Schema:  # noqa: ANN401 - any YAML
    return {"type": TYPES[type(default)]}


def _settings() -> Schema:
    """What cluster and panorama say for the files needn't stand in them."""
    found = definitions()
    found["bridge.PanoramaSettings"].pop("required")
    found["enforcer.Settings"].pop("required")
    return dict(sorted(found.items()))


def text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    FILE.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
