"""A policy as our custom resources and back: the contract between bridge and enforcer. Pure.

Chunks and address sets are named by what they hold, so they never change; the Tier names exactly the ones it is made
of. A reader that has them all has that revision, and can't have a mixture.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from zones import canonical
from zones.canonical import Json, digest
from zones.net import ANY_ADDRESS, AddressSet
from zones.policy import Entry, Policy

GROUP = "zonebridge.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
TIER, POLICY_CHUNK, ADDRESS_SET = "Tier", "PolicyChunk", "AddressSet"
PLURALS = {TIER: "tiers", POLICY_CHUNK: "policychunks", ADDRESS_SET: "addresssets"}
TIER_LABEL = f"{GROUP}/tier"

# A chunk's end depends on what it holds, so an edit moves no other chunk's end.
CHUNK_ENTRIES = (32, 256)
SET_PREFIXES = (512, 4096)
CHUNK_BYTES = 256 * 1024  # an etcd object is at most 1.5 MiB
INLINE_PREFIXES = 64
_NAME_DIGITS = 32

_Item = TypeVar("_Item")


class TierError(Exception):
    """The tier can't be read; the last good one stays."""


class IncompleteError(TierError):
    """Objects that the tier names are not there yet. `missing` are their names."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(f"{len(missing)} objects of the tier are missing, '{missing[0]}' among them; waiting for them")
        self.missing = tuple(missing)


class DigestError(TierError):
    """An object's content is not what its name or the tier's digest says: it was changed or damaged."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a tier comes from, for people: the manager, its device group, its configuration's version."""

    manager: str = ""
    device_group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A tier as objects: `parts` first, `tier` (the pointer) last. `digest` is of the content, not of the revision."""

    tier: Json
    parts: tuple[Json, ...]

    @property
    def digest(self) -> str:
        return str(self.tier["spec"]["digest"])

    @property
    def revision(self) -> int:
        return int(self.tier["spec"]["revision"])


@dataclass(slots=True)
class _Renderer:
    tier: str
    sets: dict[str, Json] = field(default_factory=dict)
    set_names: dict[AddressSet, list[str]] = field(default_factory=dict)

    def entry(self, entry: Entry) -> Json:
        return canonical.entry_json(entry, self._addresses(entry.sources), self._addresses(entry.destinations))

    def _addresses(self, space: AddressSet) -> Json | None:
        if space == ANY_ADDRESS:
            return None
        if len(space.prefixes) <= INLINE_PREFIXES:
            return {"prefixes": list(space.prefixes)}
        if space not in self.set_names:
            self.set_names[space] = [self._set(chunk) for chunk in _chunks(space.prefixes, SET_PREFIXES)]
        return {"addressSets": self.set_names[space]}

    def _set(self, prefixes: Sequence[str]) -> str:
        part = _part(ADDRESS_SET, self.tier, {"prefixes": list(prefixes)})
        name: str = part["metadata"]["name"]
        self.sets[name] = part
        return name


def render(policy: Policy, tier: str, revision: int, source: Source | None = None) -> Rendered:
    """The objects of a policy. `tier` is the Tier's name, `revision` its target revision (1, 2, …)."""
    renderer = _Renderer(tier)
    entries = [renderer.entry(entry) for entry in policy.entries]
    chunks = [_part(POLICY_CHUNK, tier, {"entries": list(chunk)}) for chunk in _chunks(entries, CHUNK_ENTRIES)]
    content = {
        "zoning": canonical.zoning_json(policy.zoning),
        "infrastructure": [canonical.infrastructure_json(rule) for rule in policy.infrastructure],
        "knownZones": sorted(policy.known_zones),
        "policyChunks": [chunk["metadata"]["name"] for chunk in chunks],
        "addressSets": sorted(renderer.sets),
        "counts": {"entries": len(entries), "policyChunks": len(chunks), "addressSets": len(renderer.sets)},
    }
    spec = content | {"revision": revision, "digest": digest(content), "source": _source_json(source or Source())}
    parts = {part["metadata"]["name"]: part for part in [*renderer.sets.values(), *chunks]}
    return Rendered(_object(TIER, tier, spec, {}), tuple(parts.values()))


def parse(tier: Json, parts: Mapping[str, Json]) -> Policy:
    """The policy of a Tier, given at least the parts that it names, by name.

    Raises IncompleteError where parts are missing, DigestError where content was changed, TierError where it makes
    no sense.
    """
    spec = tier["spec"]
    try:
        _check_digest(spec)
        held = {name: _verified(name, kind, parts) for name, kind in _references(spec, parts)}
        sets = {name: held[name]["prefixes"] for name in spec["addressSets"]}
        entries = [_entry(each, sets) for name in spec["policyChunks"] for each in held[name]["entries"]]
        return Policy(
            zoning=canonical.zoning_of(spec["zoning"]),
            infrastructure=tuple(canonical.infrastructure_of(each) for each in spec.get("infrastructure", ())),
            entries=tuple(entries),
            known_zones=frozenset(spec.get("knownZones", ())),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise TierError(f"tier '{tier['metadata']['name']}' can't be read: {error!r}; it was not made by us") from error


def _check_digest(spec: Json) -> None:
    content = {name: value for name, value in spec.items() if name not in {"revision", "digest", "source"}}
    if digest(content) != spec["digest"]:
        raise DigestError(f"the digest of revision {spec['revision']} is not that of its content")


def _references(spec: Json, parts: Mapping[str, Json]) -> list[tuple[str, str]]:
    names = [(name, ADDRESS_SET) for name in spec["addressSets"]]
    names += [(name, POLICY_CHUNK) for name in spec["policyChunks"]]
    missing = [name for name, _ in names if name not in parts]
    if missing:
        raise IncompleteError(missing)
    return names


def _verified(name: str, kind: str, parts: Mapping[str, Json]) -> Json:
    spec: Json = parts[name]["spec"]
    if not name.endswith(f"-{_content_name(kind, spec)}"):
        raise DigestError(f"{kind} '{name}' holds other content than its name says")
    return spec


def _entry(value: Json, sets: Mapping[str, list[str]]) -> Entry:
    return canonical.entry_of(
        value, _addresses_of(value.get("sources"), sets), _addresses_of(value.get("destinations"), sets)
    )


def _addresses_of(value: Json | None, sets: Mapping[str, list[str]]) -> AddressSet:
    if value is None:
        return ANY_ADDRESS
    if "addressSets" in value:
        return AddressSet.parse(prefix for name in value["addressSets"] for prefix in sets[name])
    return AddressSet.parse(value["prefixes"])


def _chunks(items: Sequence[_Item], sizes: tuple[int, int]) -> Iterator[Sequence[_Item]]:
    """Split where an item's own digest says so, between the least and the largest size, or where it grows too large."""
    least, largest = sizes
    start = weight = 0
    for at, item in enumerate(items, 1):
        text = canonical.text(item)
        weight += len(text)
        size = at - start
        if size >= largest or weight >= CHUNK_BYTES or (size >= least and zlib.crc32(text.encode()) % least == 0):
            yield items[start:at]
            start, weight = at, 0
    if start < len(items):
        yield items[start:]


def _part(kind: str, tier: str, spec: Json) -> Json:
    return _object(kind, f"{tier}-{_content_name(kind, spec)}", spec, {TIER_LABEL: tier})


def _content_name(kind: str, spec: Json) -> str:
    return digest([kind, spec])[:_NAME_DIGITS]


def _object(kind: str, name: str, spec: Json, labels: dict[str, str]) -> Json:
    metadata: dict[str, Any] = {"name": name} | ({"labels": labels} if labels else {})
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _source_json(source: Source) -> Json:
    return {"manager": source.manager, "deviceGroup": source.device_group, "version": source.version}
