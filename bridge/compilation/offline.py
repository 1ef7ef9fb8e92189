"""An exported configuration, compiled without any network: what `compile` and offline `explain` stand on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import yaml

from bridge.compilation.report import report_json
from bridge.managers.panorama import read_file
from bridge.managers.panorama.rulebase.tree import SHARED, Ancestry
from bridge.settings.models import BridgeSettings
from bridge.wiring.clusters import options, read_options
from zones.compile import Compiled, compile_policy
from zones.net import AddressSet
from zones.policy import InfrastructureRule, Policy
from zones.rules import Rulebase
from zones.runtime.errors import InputError
from zones.tiers import native
from zones.tiers.native import Rendered

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Supplement:
    """What an export doesn't hold, and the user gives beside it.

    `feeds`: the content of FQDNs and EDLs; `predefined`: App-ID content; `ancestry`: which device group is under which.
    """

    feeds: Mapping[str, AddressSet] = field(default_factory=dict)
    predefined: Element | None = None
    ancestry: Ancestry = field(default_factory=Ancestry)


NOTHING_MORE = Supplement()


def compile_file(
    path: Path,
    device_group: str,
    settings: BridgeSettings,
    infrastructure: tuple[InfrastructureRule, ...] = (),
    supplement: Supplement = NOTHING_MORE,
) -> Compiled:
    """What the configuration in a file means for a device group. Raises InputError."""
    rulebase = rulebase_in_file(path, device_group, settings, supplement)
    return compile_rulebase(rulebase, device_group, settings, infrastructure, supplement)


def rulebase_in_file(path: Path, device_group: str, settings: BridgeSettings, supplement: Supplement) -> Rulebase:
    """Raises InputError."""
    reading = replace(read_options(settings), predefined=supplement.predefined, ancestry=supplement.ancestry)
    return read_file(path, device_group, reading)


def compile_rulebase(
    rulebase: Rulebase,
    device_group: str,
    settings: BridgeSettings,
    infrastructure: tuple[InfrastructureRule, ...],
    supplement: Supplement,
) -> Compiled:
    compile_options = options(settings, settings.cluster_of(device_group))
    return compile_policy(rulebase, settings.zones.zoning(), compile_options, infrastructure, supplement.feeds)


def prefixes(texts: Sequence[str], option: str) -> AddressSet:
    """Addresses as an option names them. Raises InputError."""
    try:
        return AddressSet.parse(texts)
    except ValueError as error:
        raise InputError(f"{option}: {error}; write a prefix like 10.96.0.0/12") from None


def ancestry_of(parents: Sequence[str], *, flat: bool) -> Ancestry:
    """The hierarchy as `--parent DG=PARENT` and `--flat` tell it. Raises InputError."""
    known: dict[str, str] = {}
    for text in parents:
        name, equals, parent = (part.strip() for part in text.partition("="))
        if not (name and equals and parent):
            raise InputError(f"--parent '{text}': write it as DEVICE-GROUP=PARENT, Shared for none")
        known[name] = SHARED if parent.lower() == SHARED.lower() else parent
    return Ancestry(known, flat=flat)


def known_infrastructure(settings: BridgeSettings) -> tuple[InfrastructureRule, ...]:
    """Those that need no live cluster, which alone tells where its API server is and which pod the bridge is."""
    section = settings.infrastructure
    return (*section.rules(), *section.api_server.rules()) if section.enabled else ()


def rendered(policy: Policy, device_group: str, settings: BridgeSettings) -> Rendered:
    """The tier's objects as a first revision."""
    cluster = settings.cluster_of(device_group)
    tier = cluster.tier if cluster else "panorama"
    return native.render(policy, tier, 1, native.TierSource("panorama", device_group))


def objects(tier: Rendered) -> Iterator[Json]:
    """In the order they would be applied."""
    yield from tier.parts
    yield tier.tier


def yaml_text(tier: Rendered) -> str:
    return yaml.safe_dump_all(objects(tier), sort_keys=False, allow_unicode=True, width=120)


def compiled_json(compiled: Compiled, tier: Rendered | None, device_group: str) -> Json:
    """The report, and the objects where there are any."""
    return report_json(compiled, device_group) | {"objects": [] if tier is None else list(objects(tier))}


def read_text(path: Path, option: str) -> str:
    """A file that an option names. Raises InputError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{option} '{path}': {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{option} '{path}': it is no UTF-8 text") from error


def lines_of(path: Path, option: str) -> Iterator[str]:
    """The lines of a file that an option names, one at a time. Raises InputError."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file
    except OSError as error:
        raise InputError(f"{option} '{path}': {error.strerror}") from error


def read_prefixes(path: Path) -> dict[str, AddressSet]:
    """The content of FQDNs and EDLs, name -> prefixes, from JSON or YAML. Raises InputError."""
    what = f"reading prefixes '{path}'"
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{what}: {error.strerror}; name a file with --prefixes") from error
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{what}: it is neither JSON nor YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{what}: it must map each name to a list of prefixes")
    return {str(name): _prefixes(what, str(name), value) for name, value in content.items()}


def _prefixes(what: str, name: str, value: object) -> AddressSet:
    if not isinstance(value, list):
        raise InputError(f"{what}: {name}: must be a list of prefixes")
    try:
        return AddressSet.parse(map(str, value))
    except ValueError as error:
        raise InputError(f"{what}: {name}: {error}; write prefixes like 10.0.0.0/8") from error
