"""Reads the settings file and the environment over it, and tells every fault at once, each with its path.

Only `bridge.cli` calls it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bridge.settings.models import BridgeSettings, ClusterSettings
from zones.runtime import settings_file
from zones.runtime.errors import InputError, SettingsError
from zones.runtime.settings_file import UnreadableSettingsError

# These may come from the environment, never from the file.
_SECRETS = {"apiKey": ("apiKeyFile", "apiKeyEnv"), "password": ("passwordFile", "passwordEnv")}
_SECRETIVE = ("panorama", "registration")


class Purpose(Enum):
    """SERVICE needs a Panorama and a cluster; OFFLINE commands need neither."""

    SERVICE = "service"
    OFFLINE = "offline"


def load(path: Path | None, environment: Mapping[str, str], purpose: Purpose) -> BridgeSettings:
    """The settings of a file with the environment over it. Raises SettingsError with every fault."""
    where = "the environment" if path is None else str(path)
    try:
        text = settings_file.read_for(BridgeSettings, path, environment)
    except UnreadableSettingsError as error:
        raise SettingsError(error.where, (error.fault,)) from error
    faults = list(_written_secrets(text.file))
    content = settings_file.merged(*_one_secret_each(_without_secrets(text.file), text.environment))
    if purpose is Purpose.SERVICE:
        faults += _missing_sections(content)
    try:
        settings = BridgeSettings.noted(content, text.notices)
    except ValidationError as error:
        raise SettingsError(where, (*faults, *settings_file.faults(error))) from error
    if purpose is Purpose.SERVICE:
        faults += _missing_files(settings)
        faults += (f"{place}: {fault}" for place, fault in settings_file.unset_variables(settings, environment))
    if faults:
        raise SettingsError(where, tuple(faults))
    return settings


def cluster_named(settings: BridgeSettings, name: str | None) -> ClusterSettings:
    """That cluster, or the only one. Raises InputError where it isn't clear which is meant."""
    named = [cluster for cluster in settings.clusters if name in {None, cluster.name}]
    if len(named) != 1:
        known = ", ".join(cluster.name for cluster in settings.clusters) or "none"
        raise InputError(f"give --cluster: the settings have {known}")
    return named[0]


def _written_secrets(written: dict[str, Any]) -> Iterator[str]:
    for section in _SECRETIVE:
        for name in _SECRETS.keys() & _section(written, section).keys():
            instead = _SECRETS[name][0]
            yield f"{section}.{name}: a secret must not stand in this file; put it in a file and name that as {instead}"


def _without_secrets(written: dict[str, Any]) -> dict[str, Any]:
    return _without(written, {section: set(_SECRETS) for section in _SECRETIVE})


def _one_secret_each(written: dict[str, Any], environment: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A secret from the environment takes the place of the file or variable that the settings name for it."""
    secrets = {section: _section(environment, section).keys() & _SECRETS.keys() for section in _SECRETIVE}
    names = {section: {name for key in keys for name in _SECRETS[key]} for section, keys in secrets.items()}
    return _without(written, names), environment


def _section(content: dict[str, Any], name: str) -> dict[str, Any]:
    section = content.get(name)
    return section if isinstance(section, dict) else {}


def _without(content: dict[str, Any], names: Mapping[str, set[str]]) -> dict[str, Any]:
    """The same without these keys of these sections."""
    changed = {
        section: {name: value for name, value in _section(content, section).items() if name not in keys}
        for section, keys in names.items()
        if keys & _section(content, section).keys()
    }
    return content | changed


def _missing_sections(content: dict[str, Any]) -> Iterator[str]:
    if not content.get("panorama"):
        yield "panorama: is missing; it says which Panorama to read"
    if not content.get("clusters"):
        yield "clusters: is missing; it says which clusters to write, and the device group of each"


def _missing_files(settings: BridgeSettings) -> Iterator[str]:
    """Files that the settings name but that aren't there."""
    for where, path in settings_file.files(settings):
        if not path.is_file():
            yield f"{where}: there is no file {path}"
