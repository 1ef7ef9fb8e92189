"""A settings file with the environment over it, as it stands there, and where its faults are.

Imports little, so that a start needn't wait for it: the programs' own models make settings of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

PREFIX = "ZONEBRIDGE_"


class UnreadableSettingsError(Exception):
    """The file, or a variable, can't be read as settings. `where` is its name."""

    def __init__(self, where: str, fault: str) -> None:
        super().__init__(f"{where}: {fault}")
        self.where, self.fault = where, fault


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
    settings: dict[str, Any] = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX):
            continue
        first, *rest = variable.removeprefix(PREFIX).lower().split("__")
        if first in sections:
            value: Any = _value(variable, text)
            for part in reversed([first, *rest]):
                value = {_camel(part): value}
            settings = merged(settings, value)
    return settings


def written(path: Path | None, environment: Mapping[str, str], sections: Collection[str]) -> dict[str, Any]:
    """The file with the environment over it; of that, only these sections. Raises UnreadableSettingsError."""
    return merged(read(path), of_environment(environment, sections))


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Sections are merged key by key; of anything else, `above` counts."""
    result = dict(below)
    for key, value in above.items():
        lower = result.get(key)
        result[key] = merged(lower, value) if isinstance(lower, dict) and isinstance(value, dict) else value
    return result


def faults(error: ValidationError) -> Iterator[str]:
    """All of them, each with its path in the file."""
    for each in error.errors(include_url=False, include_input=False):
        path = place(each["loc"])
        message = each["msg"].removeprefix("Value error, ")
        message = "is not a setting" if each["type"] == "extra_forbidden" else message
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


def files(settings: BaseModel, location: tuple[int | str, ...] = ()) -> Iterator[tuple[str, Path]]:
    """Every file that the settings name, with its path in the settings file."""
    for name, field in type(settings).model_fields.items():
        yield from _files(getattr(settings, name), (*location, field.alias or name))


def _files(value: object, location: tuple[int | str, ...]) -> Iterator[tuple[str, Path]]:
    if isinstance(value, Path):
        yield place(location), value
    elif isinstance(value, tuple):
        for at, each in enumerate(value):
            yield from _files(each, (*location, at))
    elif hasattr(type(value), "model_fields"):
        yield from files(value, location)  # type: ignore[arg-type] # a section


def _value(variable: str, text: str) -> Any:  # noqa: ANN401 - whatever the variable holds
    if not text.startswith(("[", "{")):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UnreadableSettingsError(variable, f"is not YAML: {' '.join(str(error).split())}") from error


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(each.title() for each in rest)
