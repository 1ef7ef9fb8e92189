"""A settings file with the environment over it, as it stands there, and where its faults are.

Imports little, so that a start needn't wait for it: the programs' own models make settings of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo

PREFIX = "ZONEBRIDGE_"
_IPV6_ADDRESS = re.compile(r"\[[0-9A-Fa-f:.]+\]:\d+")


class UnreadableSettingsError(Exception):
    """The file, or a variable, can't be read as settings. `where` is its name."""

    def __init__(self, where: str, fault: str) -> None:
        super().__init__(f"{where}: {fault}")
        self.where, self.fault = where, fault


@dataclass(frozen=True, slots=True)
class Formerly:
    """Beside a setting's type: the key that it had before, which is accepted for one release."""

    key: str


@dataclass(frozen=True, slots=True)
class SettingsText:
    """What a settings file and the environment say, by today's keys. `notices`: which of its keys have new names."""

    file: dict[str, Any]
    environment: dict[str, Any]
    notices: tuple[str, ...]

    def merged(self) -> dict[str, Any]:
        return merged(self.file, self.environment)


def read(path: Path | None) -> dict[str, Any]:
    """Raises UnreadableSettingsError."""
    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableSettingsError(
            str(path), f"can't be read: {error.strerror}; name the settings file with -c"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnreadableSettingsError(str(path), f"is not YAML: {' '.join(str(error).split())}") from error
    if content is not None and not isinstance(content, dict):
        raise UnreadableSettingsError(str(path), "must be a mapping of settings")
    return content or {}


def of_environment(environment: Mapping[str, str], sections: Collection[str]) -> dict[str, Any]:
    """ZONEBRIDGE_SPOOL__MAX_BYTES is spool.maxBytes.

    What Kubernetes sets for a Service of our name (ZONEBRIDGE_SERVICE_HOST) begins with no section and is passed over.
    Raises UnreadableSettingsError.
    """
    content: dict[str, Any] = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX):
            continue
        first, *rest = variable.removeprefix(PREFIX).lower().split("__")
        if first in sections:
            value: Any = _value(variable, text)
            for part in reversed([first, *rest]):
                value = {_camel(part): value}
            content = merged(content, value)
    return content


def written(path: Path | None, environment: Mapping[str, str], sections: Collection[str]) -> dict[str, Any]:
    """The file with the environment over it; of that, only these sections. Raises UnreadableSettingsError."""
    return merged(read(path), of_environment(environment, sections))


def read_for(model: type[BaseModel], path: Path | None, environment: Mapping[str, str]) -> SettingsText:
    """What there is for a model, under its keys. Raises UnreadableSettingsError."""
    sections = {
        _snake(key) for field in model.model_fields.values() for key in (field.alias or "", *former_keys(field))
    }
    file, in_file = renamed(model, read(path))
    variables, in_environment = renamed(model, of_environment(environment, sections))
    notices = (f"{path}: {notice}" for notice in in_file), (f"the environment: {notice}" for notice in in_environment)
    return SettingsText(file, variables, tuple(notice for source in notices for notice in source))


def renamed(
    model: type[BaseModel], content: Mapping[str, Any], location: tuple[int | str, ...] = ()
) -> tuple[dict[str, Any], list[str]]:
    """The same with today's keys for former ones, and what to say of each that had one.

    Where both are there, the former one stays, which the model then refuses as unknown.
    """
    result, notices = dict(content), []
    for name, field in model.model_fields.items():
        key = field.alias or name
        for former in former_keys(field):
            if former in result and key not in result:
                result[key] = result.pop(former)
                old, new = place((*location, former)), place((*location, key))
                notices.append(f"{old} is called {new} now; the next release will refuse the old name")
        value = result.get(key)
        sections = list(_sections(field.annotation))
        if isinstance(value, list | tuple):
            items = [_item(sections, item, (*location, key, at)) for at, item in enumerate(value)]
            result[key] = [item for item, _ in items]
            notices += [notice for _, said in items for notice in said]
        elif sections and value is not None:
            result[key], said = _item(sections, value, (*location, key))
            notices += said
    return result, notices


def _item(
    sections: list[type[BaseModel]],
    value: Any,  # noqa: ANN401 - as it is written
    location: tuple[int | str, ...],
) -> tuple[Any, list[str]]:
    """A section as it is written, by the model for its `type` where there are several."""
    models = [model for model in sections if len(sections) == 1 or _is_of_type(model, value)]
    return renamed(models[0], value, location) if models and isinstance(value, dict) else (value, [])


def _is_of_type(model: type[BaseModel], value: Any) -> bool:  # noqa: ANN401 - as it is written
    kind = model.model_fields.get("type")
    return kind is not None and isinstance(value, dict) and value.get("type") in get_args(kind.annotation)


def former_keys(field: FieldInfo) -> Iterator[str]:
    return (mark.key for mark in field.metadata if isinstance(mark, Formerly))


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any type
    """The models that a type is made of."""
    if hasattr(annotation, "model_fields"):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Sections are merged key by key; of anything else, `above` counts."""
    result = dict(below)
    for key, value in above.items():
        lower = result.get(key)
        result[key] = merged(lower, value) if isinstance(lower, dict) and isinstance(value, dict) else value
    return result


def faults(error: ValidationError) -> Iterator[str]:
    """All of them, each with its path in the file."""
    for fault in error.errors(include_url=False, include_input=False):
        path = place(fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        message = "is not a setting" if fault["type"] == "extra_forbidden" else message
        yield f"{path}: {message}" if path else message


# Which kind of destination was checked: a part of a fault's place, after the index, but of no path in the file.
_KINDS = frozenset({"hec", "syslog", "file", "cloudwatch"})


def place(location: tuple[int | str, ...]) -> str:
    """`destinations[0].url`, as a reader of the file would write it."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not (text.endswith("]") and part in _KINDS):
            text += f".{part}" if text else part
    return text


def files(settings: BaseModel) -> Iterator[tuple[str, Path]]:
    """Every file that the settings name, with its path in the settings file."""
    return ((where, value) for where, value in _values(settings, ()) if isinstance(value, Path))


def variables(settings: BaseModel) -> Iterator[tuple[str, str]]:
    """Every environment variable that they name for a secret: the settings whose keys end in `Env`."""
    return (
        (where, value) for where, value in _values(settings, ()) if isinstance(value, str) and where.endswith("Env")
    )


def unset_variables(settings: BaseModel, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Where they are named, and the fault."""
    for where, variable in variables(settings):
        if not environment.get(variable):
            yield where, f"the environment variable {variable} is not set"


def _values(value: object, location: tuple[int | str, ...]) -> Iterator[tuple[str, object]]:
    if isinstance(value, tuple):
        for at, item in enumerate(value):
            yield from _values(item, (*location, at))
    elif hasattr(type(value), "model_fields"):
        section: type[BaseModel] = type(value)  # type: ignore[assignment] # what else has fields
        for name, field in section.model_fields.items():
            yield from _values(getattr(value, name), (*location, field.alias or name))
    else:
        yield place(location), value


def _value(variable: str, text: str) -> Any:  # noqa: ANN401 - whatever the variable holds
    if not text.startswith(("[", "{")) or _IPV6_ADDRESS.fullmatch(text):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UnreadableSettingsError(variable, f"is not YAML: {' '.join(str(error).split())}") from error


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _snake(name: str) -> str:
    return re.sub("(?=[A-Z])", "_", name).lower()
