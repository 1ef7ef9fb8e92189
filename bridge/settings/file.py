"""Reads the settings file and the environment over it, and tells every fault at once, each with its path.

Only `bridge.cli` calls it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from bridge.errors import SettingsError
from bridge.settings.models import HecDestination, Settings

PREFIX = "ZONEBRIDGE_"
# These may come from the environment, never from the file.
_SECRETS = {"apiKey": "apiKeyFile", "password": "passwordFile"}
# Which of the alternatives was checked: a part of the fault's place, but of no path in the file.
_TYPES = {"hec", "syslog"}
_SECRETIVE = ("panorama", "registration")


class Purpose(Enum):
    """SERVICE needs a Panorama and a cluster; OFFLINE commands need neither."""

    SERVICE = "service"
    OFFLINE = "offline"


def load(path: Path | None, environment: Mapping[str, str], purpose: Purpose) -> Settings:
    """The settings of a file with the environment over it. Raises SettingsError with every fault."""
    where = "the environment" if path is None else str(path)
    written = {} if path is None else _read(path)
    faults = list(_written_secrets(written))
    given = _merged(*_one_secret_each(_without_secrets(written), _from_environment(environment)))
    if purpose is Purpose.SERVICE:
        faults += _missing_sections(given)
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError(where, (*faults, *_faults(error))) from error
    if purpose is Purpose.SERVICE:
        faults += _missing_files(settings)
    if faults:
        raise SettingsError(where, tuple(faults))
    return settings


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


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """ZONEBRIDGE_PANORAMA__API_KEY is panorama.apiKey.

    What Kubernetes sets for a Service of our name (ZONEBRIDGE_SERVICE_HOST) begins with no section and is passed over.
    """
    given: dict[str, Any] = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX):
            continue
        first, *rest = variable.removeprefix(PREFIX).lower().split("__")
        if first in Settings.model_fields:
            value: Any = yaml.safe_load(text) if text.startswith(("[", "{")) else text
            for part in reversed([first, *rest]):
                value = {to_camel(part): value}
            given = _merged(given, value)
    return given


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        held = merged.get(key)
        merged[key] = _merged(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return merged


def _written_secrets(written: dict[str, Any]) -> Iterator[str]:
    for section in _SECRETIVE:
        for name in [each for each in _SECRETS if each in _section(written, section)]:
            instead = _SECRETS[name]
            yield f"{section}.{name}: a secret must not stand in this file; put it in a file and name that as {instead}"


def _without_secrets(written: dict[str, Any]) -> dict[str, Any]:
    return _without(written, {section: set(_SECRETS) for section in _SECRETIVE})


def _one_secret_each(written: dict[str, Any], environment: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A secret from the environment takes the place of the file that the settings name for it."""
    given = {section: _section(environment, section).keys() & _SECRETS.keys() for section in _SECRETIVE}
    files = {section: {_SECRETS[name] for name in names} for section, names in given.items()}
    return _without(written, files), environment


def _section(given: dict[str, Any], name: str) -> dict[str, Any]:
    section = given.get(name)
    return section if isinstance(section, dict) else {}


def _without(given: dict[str, Any], names: Mapping[str, set[str]]) -> dict[str, Any]:
    """The same without these keys of these sections."""
    changed = {
        section: {name: value for name, value in _section(given, section).items() if name not in keys}
        for section, keys in names.items()
        if keys & _section(given, section).keys()
    }
    return given | changed


def _missing_sections(given: dict[str, Any]) -> Iterator[str]:
    if not given.get("panorama"):
        yield "panorama: is missing; it says which Panorama to read"
    if not given.get("clusters"):
        yield "clusters: is missing; it says which clusters to write, and the device group of each"


def _missing_files(settings: Settings) -> Iterator[str]:
    """Files that the settings name but that aren't there."""
    panorama = settings.panorama
    files = [(f"clusters[{at}].kubeconfig", cluster.kubeconfig) for at, cluster in enumerate(settings.clusters)]
    files += [
        ("feeds.caFile", settings.feeds.ca_file),
        ("registration.apiKeyFile", settings.registration.api_key_file),
        ("registration.passwordFile", settings.registration.password_file),
    ]
    for at, each in enumerate(settings.siem.destinations):
        named = {"caFile": each.ca_file, "certFile": each.cert_file, "keyFile": each.key_file}
        if isinstance(each, HecDestination):
            named["tokenFile"] = each.token_file
        files += [(f"siem.destinations[{at}].{name}", path) for name, path in named.items()]
    collector = None if settings.evidence is None else settings.evidence.collector
    for section, given in (
        ("wakeUp", settings.wake_up),
        ("preview", settings.preview),
        ("evidence.collector", collector),
    ):
        if given is not None:
            files += [
                (f"{section}.tokenFile", given.token_file),
                (f"{section}.certFile", given.cert_file),
                (f"{section}.keyFile", given.key_file),
            ]
    if settings.evidence is not None:
        files.append(("evidence.passwordFile", settings.evidence.password_file))
    if panorama is not None:
        files += [
            ("panorama.apiKeyFile", panorama.api_key_file),
            ("panorama.passwordFile", panorama.password_file),
            ("panorama.caFile", panorama.ca_file),
        ]
    for where, path in files:
        if path is not None and not path.is_file():
            yield f"{where}: there is no file {path}"


def _faults(error: ValidationError) -> Iterator[str]:
    for each in error.errors(include_url=False, include_input=False):
        path = _path(each["loc"])
        message = each["msg"].removeprefix("Value error, ")
        message = "is not a setting" if each["type"] == "extra_forbidden" else message
        yield f"{path}: {message}" if path else message


def _path(location: tuple[int | str, ...]) -> str:
    """`clusters[0].tier`, as a reader of the file would write it."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not (text.endswith("]") and part in _TYPES):
            text += f".{part}" if text else part
    return text
