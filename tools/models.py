"""The two settings files as JSON schemas, from the pydantic models that read them. It writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from bridge.settings.models import BridgeSettings
from enforcer.settings.models import EnforcerSettings
from zones.runtime import settings_file, types
from zones.siem import destinations

Schema = dict[str, Any]
MODELS: Mapping[str, type[BaseModel]] = {"bridge": BridgeSettings, "enforcer": EnforcerSettings}
DURATION = {"type": ["string", "number"], "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d)?)+$"}
# What draft-07 knows and Helm's values need; pydantic's own words (gt, title …) and docstrings are left out.
KEYWORDS = frozenset(
    {
        *("type", "enum", "const", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum"),
        *("items", "minItems", "maxItems", "required", "additionalProperties", "propertyNames", "anyOf", "oneOf"),
    }
)

# Sections that may be written as true or false.
SWITCHES = (("bridge.InfrastructureSettings", "apiServer"),)


class _Generator(GenerateJsonSchema):
    """Values as somebody writes them: durations as 90s, prefixes as text, one word for all kinds of record."""

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:  # noqa: ARG002
        return dict(DURATION)

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:  # noqa: ARG002
        return {"type": "string"}  # prefixes are the only ones

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """With the former names, which are accepted as well."""
        model = super().model_schema(schema)
        for name, field in schema["cls"].model_fields.items():
            for former in settings_file.former_keys(field):
                model["properties"][former] = model["properties"][field.alias or name]
        return model

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        if schema["function"]["function"] is types.seconds:
            return dict(DURATION)
        inner = super().function_before_schema(schema)
        if schema["function"]["function"] is destinations._one_for_all:  # noqa: SLF001 - how the file may say it
            return {"anyOf": [{"type": "string"}, inner]}
        return inner


def definitions() -> Schema:
    """Both files' models by names like `bridge.Settings`, in draft-07."""
    found: Schema = {}
    for program, model in MODELS.items():
        schema = model.model_json_schema(by_alias=True, schema_generator=_Generator)
        models = schema.pop("$defs", {}) | {"Settings": schema}
        found |= {f"{program}.{name}": _plain(each, program) for name, each in models.items()}
    for model_name, section in SWITCHES:
        properties = found[model_name]["properties"]
        properties[section] = {"anyOf": [{"type": "boolean"}, properties[section]]}
    return found


def _plain(schema: Schema, program: str) -> Schema:
    """`{"$ref": "#/$defs/Mode", "title": "Mode"}` becomes `{"$ref": "#/definitions/enforcer.Mode"}`."""
    if "$ref" in schema:
        return {"$ref": f"#/definitions/{program}.{schema['$ref'].removeprefix('#/$defs/')}"}
    made: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            made[key] = {name: _plain(each, program) for name, each in value.items() if not _is_secret(each)}
        elif key not in KEYWORDS:
            continue
        elif isinstance(value, list) and key in {"anyOf", "oneOf"}:
            made[key] = [_plain(each, program) for each in value]
        else:
            made[key] = _plain(value, program) if isinstance(value, dict) else value
    return made


def _is_secret(schema: Schema) -> bool:
    """Secrets come from files and the environment, never from a settings file."""
    return any(each.get("writeOnly") for each in (schema, *schema.get("anyOf", ())))
