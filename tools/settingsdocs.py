"""docs/settings.md: every setting of both files: form and default from the models, its meaning from meanings.yaml."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ByteSize, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tools.models import MODELS
from tools.version import ROOT
from zones.runtime.types import seconds

FILE = ROOT / "docs" / "settings.md"
MEANINGS = Path(__file__).parent / "meanings.yaml"
TITLES = {"bridge": "The bridge: `zonebridge.yaml`", "enforcer": "Every node: `enforcer.yaml`"}
HEADING = """# Settings

Every setting of the two files. They are YAML; the environment is above them (`ZONEBRIDGE_SPOOL__MAX_BYTES` is `spool.maxBytes`). Unknown keys are refused, and all faults are told at once, each with its path.
Durations are written `90s`, `5m`, `1h30m` (a bare number is seconds), sizes `16MiB`, addresses `HOST:PORT`; a secret is in the file that `…File` names or in the environment variable that `…Env` names. Former names of settings: [upgrade.md](upgrade.md). In the chart they stand under `bridge.settings` and `enforcer.settings`. What the more important ones do to each other:
[bridge.md](bridge.md), [enforcer.md](enforcer.md).

This page is made from the programs' own models by `make generate`.
"""
PLURALS = {"a number": "numbers", "a prefix": "prefixes"}
_MIB, _KIB = 2**20, 2**10


@dataclass(frozen=True, slots=True)
class Setting:
    """`spool.maxBytes`, `a size`, `1024MiB`."""

    path: str
    form: str
    default: str


def settings(program: str) -> Iterator[Setting]:
    yield from _of(MODELS[program], "")


def _of(model: type[BaseModel], before: str) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        path = f"{before}{field.alias or name}"
        sections = [each for each in _parts(field.annotation) if _is_section(each)]
        many = any(get_origin(each) is tuple for each in _parts(field.annotation))
        if _is_secret(field):
            continue
        if not sections:
            yield Setting(path, _form(field), _default(field))
        elif many:
            yield from _of_many(sections, path)
        else:
            yield from _of(sections[0], f"{path}.")


def _of_many(sections: list[type[BaseModel]], path: str) -> Iterator[Setting]:
    """A list of sections; those of several types have the type in their path."""
    for section in sections:
        kind = section.model_fields.get("type")
        named = f"[{get_args(kind.annotation)[0]}]" if kind is not None and len(sections) > 1 else "[]"
        yield from _of(section, f"{path}{named}.")


def _is_section(each: Any) -> bool:  # noqa: ANN401 - any type
    return isinstance(each, type) and issubclass(each, BaseModel)


def _is_secret(field: FieldInfo) -> bool:
    return any(each is SecretStr for each in _parts(field.annotation))


def _parts(annotation: Any) -> Iterator[Any]:  # noqa: ANN401 - any type
    """A type and everything that it is made of."""
    yield annotation
    if get_origin(annotation) is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif get_origin(annotation) in {Union, types.UnionType, tuple, dict}:
        for each in get_args(annotation):
            yield from _parts(each)


def _form(field: FieldInfo) -> str:
    parts = list(_parts(field.annotation))
    if any(get_origin(each) is dict for each in parts):
        return "a mapping"
    for each in parts:
        if get_origin(each) is Literal:
            return " or ".join(f"`{value}`" for value in get_args(each))
        if isinstance(each, type) and issubclass(each, Enum):
            return ", ".join(f"`{value.value}`" for value in each)
    if _is_seconds(field):
        return "a duration"
    many = any(get_origin(each) is tuple for each in parts)
    word = next((word for kind, word in _FORMS if kind in parts), "text")
    return f"a list of {PLURALS.get(word, word)}" if many else word


_FORMS = (
    (timedelta, "a duration"),
    (date, "a date"),
    (ByteSize, "a size"),
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number"),
    (Path, "a file"),
    (IPv4Network, "a prefix"),
)


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "required"
    if default is None or default in ((), {}):
        return "none"
    if _is_seconds(field):
        default = timedelta(seconds=default)
    listed = default if isinstance(default, tuple) else (default,)
    return ", ".join(f"`{_shown(each)}`" for each in listed)


def _is_seconds(field: FieldInfo) -> bool:
    """Whether it is a duration that the models keep as a number."""
    return any(isinstance(mark, BeforeValidator) and mark.func is seconds for mark in field.metadata)


def _shown(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case timedelta():
            return _duration(value)
        case ByteSize():
            return _size(value)
        case Enum():
            return str(value.value)
        case _:
            return str(value)


def _duration(value: timedelta) -> str:
    """`1m30s`."""
    seconds = value.total_seconds()
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds >= size and not seconds % size:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def _size(value: int) -> str:
    for unit, size in (("MiB", _MIB), ("KiB", _KIB)):
        if not value % size:
            return f"{value // size}{unit}"
    return str(value)


def meanings() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = yaml.safe_load(MEANINGS.read_text())
    return found


def meaning_of(told: dict[str, str], path: str) -> str:
    """By its path, or by that of any type: `destinations[hec].name` is `destinations[].name`."""
    return told.get(path) or told.get(any_type(path), "")


def any_type(path: str) -> str:
    return re.sub(r"\[\w*\]", "[]", path)


def text() -> str:
    told = meanings()
    page = [HEADING]
    for program, title in TITLES.items():
        page += [f"\n## {title}\n", "\n| key | form | default | meaning |\n| --- | --- | --- | --- |\n"]
        for each in settings(program):
            meaning = meaning_of(told[program], each.path)
            page.append(f"| `{each.path}` | {each.form} | {each.default} | {meaning} |\n")
    return "".join(page)


def main() -> int:
    FILE.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
