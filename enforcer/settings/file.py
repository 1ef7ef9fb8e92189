"""What was written into the settings file and the environment, as it stands there: nothing is checked or filled in.

Imports little, so that a start needn't wait for it. `enforcer.settings.models` makes settings of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from enforcer.errors import SettingsError

PREFIX = "ZONEBRIDGE_"
STATE_DIR = Path("/var/lib/zonebridge")


def given(path: Path | None, environment: Mapping[str, str], names: Collection[str]) -> dict[str, Any]:
    """The file with the environment over it; of that, only settings with these names. Raises SettingsError."""
    return merged({} if path is None else _read(path), of_environment(environment, names))


def of_environment(environment: Mapping[str, str], names: Collection[str]) -> dict[str, Any]:
    """ZONEBRIDGE_SPOOL__MAX_BYTES is spool.maxBytes. Kubernetes' own ZONEBRIDGE_SERVICE_HOST and such are not ours.

    Raises SettingsError.
    """
    found: dict[str, Any] = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX):
            continue
        first, *rest = variable.removeprefix(PREFIX).lower().split("__")
        if first in names:
            value: Any = _value(variable, text)
            for part in reversed([first, *rest]):
                value = {_camel(part): value}
            found = merged(found, value)
    return found


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(below)
    for key, value in above.items():
        held = made.get(key)
        made[key] = merged(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return made


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(str(path), (f"can't be read: {error.strerror}; name the settings file with -c",)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), (f"is not YAML: {' '.join(str(error).split())}",)) from error
    if content is not None and not isinstance(content, dict):
        raise SettingsError(str(path), ("must be a mapping of settings",))
    return content or {}


def _value(variable: str, text: str) -> Any:  # noqa: ANN401 - whatever the variable holds
    if not text.startswith(("[", "{")):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(variable, (f"is not YAML: {' '.join(str(error).split())}",)) from error


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(each.title() for each in rest)
