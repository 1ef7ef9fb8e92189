"""Structural schemas as judges: every fault of an object, in the words of the real server. Pure.

CEL rules (x-kubernetes-validations) are not evaluated. `lifecycle` asks; `structure` has pruned and defaulted before.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from mocks.kubernetes.status import Cause, Json
from mocks.kubernetes.structure import is_object_root

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def validate(value: Any, schema: Json, path: str = "") -> list[Cause]:
    return list(_validate(value, schema, path))


def _validate(value: Any, schema: Json, path: str) -> Iterator[Cause]:
    if value is None:
        if not schema.get("nullable"):
            yield _wrong_type(value, schema, path)
        return
    if not _has_type(value, schema):
        yield _wrong_type(value, schema, path)
        return
    yield from _enumerated(value, schema, path)
    yield from _combined(value, schema, path)
    if isinstance(value, dict):
        yield from _object(value, schema, path)
    elif isinstance(value, list):
        yield from _array(value, schema, path)
    elif isinstance(value, str):
        yield from _string(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(value, schema, path)


def _has_type(value: Any, schema: Json) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, int | str) and not isinstance(value, bool)
    wanted: str = schema.get("type", "")
    if not wanted:
        return True
    if isinstance(value, bool):
        return wanted == "boolean"
    if wanted == "integer" and isinstance(value, float):
        return bool(value.is_integer())
    return isinstance(value, _TYPES[wanted])


def _wrong_type(value: Any, schema: Json, path: str) -> Cause:
    found = _type_name(value)
    wanted = schema.get("type", "integer,string")
    text = f'Invalid value: {_quoted(found)}: {_in_body(path)} must be of type {wanted}: "{found}"'
    return Cause("FieldValueTypeInvalid", text, path or "<nil>")


def _type_name(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _in_body(path: str) -> str:
    return f"{path} in body"


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _bad(value: Any, path: str, complaint: str) -> Cause:
    text = f"Invalid value: {_quoted(value)}: {_in_body(path)} {complaint}"
    return Cause("FieldValueInvalid", text, path)


def _enumerated(value: Any, schema: Json, path: str) -> Iterator[Cause]:
    allowed = schema.get("enum")
    if allowed is not None and value not in allowed:
        listed = ", ".join(_quoted(item) for item in allowed)
        text = f"Unsupported value: {_quoted(value)}: supported values: {listed}"
        yield Cause("FieldValueNotSupported", text, path)


def _combined(value: Any, schema: Json, path: str) -> Iterator[Cause]:
    for part in schema.get("allOf", ()):
        yield from _validate(value, part, path)
    if "not" in schema and not validate(value, schema["not"], path):
        yield _rejected(path, "must not validate the schema (not)")
    if "anyOf" in schema and all(validate(value, part, path) for part in schema["anyOf"]):
        yield _rejected(path, "must validate at least one schema (anyOf)")
    if "oneOf" in schema:
        fitting = sum(not validate(value, part, path) for part in schema["oneOf"])
        if fitting != 1:
            found = "none valid" if fitting == 0 else f"{fitting} valid alternatives"
            yield _rejected(path, f"must validate one and only one schema (oneOf). Found {found}")


def _rejected(path: str, complaint: str) -> Cause:
    return Cause("FieldValueInvalid", f'Invalid value: "": "{path}" {complaint}', path or "<nil>")


def _object(value: Json, schema: Json, path: str) -> Iterator[Cause]:
    for name in schema.get("required", ()):
        if name not in value:
            yield Cause("FieldValueRequired", "Required value", _join(path, name))
    yield from _counted(len(value), schema, path, "Properties", "properties")
    properties: dict[str, Json] = schema.get("properties", {})
    extra = schema.get("additionalProperties")
    for name, inner in value.items():
        if is_object_root(schema) and name == "metadata":
            continue
        below = properties.get(name, extra if isinstance(extra, dict) else None)
        if below is not None:
            yield from _validate(inner, below, _join(path, name))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _counted(count: int, schema: Json, path: str, suffix: str, things: str) -> Iterator[Cause]:
    most, least = schema.get(f"max{suffix}"), schema.get(f"min{suffix}")
    if most is not None and count > most:
        yield Cause("FieldValueTooMany", f"Too many: {count}: must have at most {most} items", path)
    if least is not None and count < least:
        yield _bad(count, path, f"should have at least {least} {things}")


def _array(value: list[Any], schema: Json, path: str) -> Iterator[Cause]:
    yield from _counted(len(value), schema, path, "Items", "items")
    yield from _duplicates(value, schema, path)
    below = schema.get("items", {})
    for index, item in enumerate(value):
        yield from _validate(item, below, f"{path}[{index}]")


def _duplicates(value: list[Any], schema: Json, path: str) -> Iterator[Cause]:
    kind = schema.get("x-kubernetes-list-type")
    if kind not in {"set", "map"}:
        return
    keys = schema.get("x-kubernetes-list-map-keys", ())
    seen: set[str] = set()
    for index, item in enumerate(value):
        known = item if kind == "set" or not isinstance(item, dict) else {key: item.get(key) for key in keys}
        text = json.dumps(known, sort_keys=True)
        if text in seen:
            yield Cause("FieldValueDuplicate", f"Duplicate value: {_quoted(known)}", f"{path}[{index}]")
        seen.add(text)


def _string(value: str, schema: Json, path: str) -> Iterator[Cause]:
    most, least = schema.get("maxLength"), schema.get("minLength")
    if most is not None and len(value) > most:
        yield Cause("FieldValueTooLong", f"Too long: may not be more than {most} bytes", path)
    if least is not None and len(value) < least:
        yield _bad(value, path, f"should be at least {least} chars long")
    pattern = schema.get("pattern")
    if pattern is not None and not _search(pattern, value):
        yield _bad(value, path, f"should match '{pattern}'")
    check = _FORMATS.get(schema.get("format", ""))
    if check is not None and not check(value):
        text = f"{_in_body(path)} must be of type {schema['format']}: {_quoted(value)}"
        yield Cause("FieldValueTypeInvalid", f"Invalid value: {_quoted(value)}: {text}", path)


def _search(pattern: str, value: str) -> bool:
    """Go's `$` without the m flag is the end of the text, Python's also stands before a last newline."""
    return re.search(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), value) is not None


def _number(value: float, schema: Json, path: str) -> Iterator[Cause]:
    most, least, step = schema.get("maximum"), schema.get("minimum"), schema.get("multipleOf")
    if most is not None:
        strict = schema.get("exclusiveMaximum", False)
        if value > most or (strict and value == most):
            yield _bad(value, path, f"should be less than {'' if strict else 'or equal to '}{most}")
    if least is not None:
        strict = schema.get("exclusiveMinimum", False)
        if value < least or (strict and value == least):
            yield _bad(value, path, f"should be greater than {'' if strict else 'or equal to '}{least}")
    if step and value % step:
        yield _bad(value, path, f"should be a multiple of {step}")
    bits = {"int32": 31, "int64": 63}.get(schema.get("format", ""))
    if bits and not -(2**bits) <= value < 2**bits:
        yield _bad(value, path, f"must be of type {schema['format']}: {_quoted(value)}")


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return check


def _cidr(value: str) -> object:
    if "/" not in value:
        raise ValueError(value)
    return ipaddress.ip_interface(value)


def _date_time(value: str) -> object:
    if not re.match(r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$", value):
        raise ValueError(value)
    return datetime.fromisoformat(value.upper())


_FORMATS: dict[str, Callable[[str], bool]] = {
    "cidr": _parses(_cidr),
    "date": lambda value: re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) is not None,
    "date-time": _parses(_date_time),
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "uuid": lambda value: re.fullmatch(r"(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", value) is not None,
}
