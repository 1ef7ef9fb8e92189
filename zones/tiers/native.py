"""A policy as our custom resources and back: the contract between bridge and enforcer. Pure.

Chunks and address sets are named by what they hold, so they never change; the Tier names exactly the ones it is made
of. A reader that has them all has that revision, and can't have a mixture.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from zones import canonical
from zones.canonical import Json, digest
from zones.net import ANY_ADDRESS, AddressSet
from zones.policy import Entry, Policy
from zones.rules import Origin

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
class TierSource:
    """Where a tier comes from, for people: the manager, its device group, its configuration's version."""

    manager: str = ""
    device_group: str = ""
    version: str = ""


class RenderedPart(NamedTuple):
    """An entry, its JSON value, and that value's canonical text."""

    entry: Entry
    value: Json
    text: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A tier as objects: `parts` first, `tier` (the pointer) last. `digest` is of the content, not of the revision.

    `sets` are the parts that hold each large address set, `entries` each rule's entry with its JSON value and canonical
    text, so that the next rendering needn't make them again.
    """

    tier: Json
    parts: tuple[Json, ...]
    sets: Mapping[AddressSet, tuple[Json, ...]] = field(default_factory=dict, repr=False, compare=False)
    entries: Mapping[Origin, RenderedPart] = field(default_factory=dict, repr=False, compare=False)

    @property
    def digest(self) -> str:
        return str(self.tier["spec"]["digest"])

    @property
    def revision(self) -> int:
        return int(self.tier["spec"]["revision"])


@dataclass(slots=True)
class _Renderer:
    tier: str
    before: Rendered | None
    sets: dict[AddressSet, tuple[Json, ...]] = field(default_factory=dict)
    entries: dict[Origin, RenderedPart] = field(default_factory=dict)

    def entry(self, entry: Entry) -> RenderedPart:
        addresses = self._addresses(entry.sources), self._addresses(entry.destinations)
        rendered = None if self.before is None else self.before.entries.get(entry.origin)
        if rendered is None or (rendered.entry is not entry and rendered.entry != entry):
            value = canonical.entry_json(entry, *addresses)
            rendered = RenderedPart(entry, value, canonical.text(value))
        self.entries[entry.origin] = rendered
        return rendered

    def _addresses(self, space: AddressSet) -> Json | None:
        if space == ANY_ADDRESS:
            return None
        spans = len(space.v4.spans) + len(space.v6.spans)
        if spans <= INLINE_PREFIXES and len(space.prefixes) <= INLINE_PREFIXES:
            return {"prefixes": list(space.prefixes)}
        if space not in self.sets:
            self.sets[space] = (self.before and self.before.sets.get(space)) or self._parts(space)
        return {"addressSets": [part["metadata"]["name"] for part in self.sets[space]]}

    def _parts(self, space: AddressSet) -> tuple[Json, ...]:
        texts = [f'"{prefix}"' for prefix in space.prefixes]  # as canonical.text, which no prefix needs
        chunks = _chunks(space.prefixes, texts, SET_PREFIXES)
        return tuple(_part(ADDRESS_SET, self.tier, "prefixes", items, texts) for items, texts in chunks)


def render(
    policy: Policy, tier: str, revision: int, source: TierSource | None = None, before: Rendered | None = None
) -> Rendered:
    """The objects of a policy. `tier` is the Tier's name, `revision` its target revision (1, 2, …).

    `before`, a rendering for the same Tier, saves work and changes nothing.
    """
    renderer = _Renderer(tier, before)
    rendered = [renderer.entry(entry) for entry in policy.entries]
    entries, texts = [piece.value for piece in rendered], [piece.text for piece in rendered]
    chunks = [
        _part(POLICY_CHUNK, tier, "entries", items, texts) for items, texts in _chunks(entries, texts, CHUNK_ENTRIES)
    ]
    sets = {part["metadata"]["name"]: part for parts in renderer.sets.values() for part in parts}
    content = {
        "zoning": canonical.zoning_json(policy.zoning),
        "infrastructure": [canonical.infrastructure_json(rule) for rule in policy.infrastructure],
        "knownZones": sorted(policy.known_zones),
        "policyChunks": [chunk["metadata"]["name"] for chunk in chunks],
        "addressSets": sorted(sets),
        "counts": {"entries": len(entries), "policyChunks": len(chunks), "addressSets": len(sets)},
    }
    spec = content | {"revision": revision, "digest": digest(content), "source": _source_json(source or TierSource())}
    parts = sets | {part["metadata"]["name"]: part for part in chunks}
    return Rendered(_object(TIER, tier, spec, {}), tuple(parts.values()), renderer.sets, renderer.entries)


def parse(tier: Json, parts: Mapping[str, Json]) -> Policy:
    """The policy of a Tier, given at least the parts that it names, by name.

    Raises IncompleteError where parts are missing, DigestError where content was changed, TierError where it makes
    no sense.
    """
    return policy_of(tier, parts, lambda spec: _entries(spec, parts))


def policy_of(tier: Json, parts: Container[str], entries: Callable[[Json], Iterable[Entry]]) -> Policy:
    """The same; `entries` reads the parts of a Tier's spec, all of which are there by then."""
    spec = tier["spec"]
    try:
        _check_digest(spec)
        _require(spec, parts)
        return Policy(
            zoning=canonical.zoning_of(spec["zoning"]),
            infrastructure=tuple(canonical.infrastructure_of(rule) for rule in spec.get("infrastructure", ())),
            entries=tuple(entries(spec)),
            known_zones=frozenset(spec.get("knownZones", ())),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise TierError(f"tier '{tier['metadata']['name']}' can't be read: {error!r}; it was not made by us") from error


def _entries(spec: Json, parts: Mapping[str, Json]) -> Iterator[Entry]:
    sets = _AddressSets({name: verified(name, ADDRESS_SET, parts)["prefixes"] for name in spec["addressSets"]})
    # One chunk after the other: all at once would be many times the policy that comes of it.
    for name in spec["policyChunks"]:
        for entry in verified(name, POLICY_CHUNK, parts)["entries"]:
            yield entry_of(entry, sets.space)


def is_whole(tier: Json) -> bool:
    """Whether the Tier itself, apart from its parts, holds what its digest says."""
    try:
        _check_digest(tier["spec"])
    except (TierError, KeyError, TypeError):
        return False
    return True


def _check_digest(spec: Json) -> None:
    content = {name: value for name, value in spec.items() if name not in {"revision", "digest", "source"}}
    if digest(content) != spec["digest"]:
        raise DigestError(f"the digest of revision {spec['revision']} is not that of its content")


def _require(spec: Json, parts: Container[str]) -> None:
    missing = [name for name in (*spec["addressSets"], *spec["policyChunks"]) if name not in parts]
    if missing:
        raise IncompleteError(missing)


class NamedParts(Protocol):
    """Parts by name."""

    def __getitem__(self, name: str) -> Json: ...


def verified(name: str, kind: str, parts: NamedParts) -> Json:
    """What a part says. Raises DigestError where that is not what its name says."""
    spec: Json = parts[name]["spec"]
    if not name.endswith(f"-{_content_name(kind, spec)}"):
        raise DigestError(f"{kind} '{name}' holds other content than its name says")
    return spec


@dataclass(slots=True)
class _AddressSets:
    """The prefixes of each AddressSet by name, and what they make together: rules share large sets."""

    prefixes: Mapping[str, list[str]]
    spaces: dict[tuple[str, ...], AddressSet] = field(default_factory=dict)

    def space(self, names: list[str]) -> AddressSet:
        key = tuple(names)
        if key not in self.spaces:
            self.spaces[key] = AddressSet.parse(prefix for name in key for prefix in self.prefixes[name])
        return self.spaces[key]


def entry_of(value: Json, space: Callable[[list[str]], AddressSet]) -> Entry:
    """An entry of a PolicyChunk. `space`: what some AddressSets hold together."""
    sources, destinations = (_addresses_of(value.get(side), space) for side in ("sources", "destinations"))
    return canonical.entry_of(value, sources, destinations)


def _addresses_of(value: Json | None, space: Callable[[list[str]], AddressSet]) -> AddressSet:
    if value is None:
        return ANY_ADDRESS
    if "addressSets" in value:
        return space(value["addressSets"])
    return AddressSet.parse(value["prefixes"])


def _chunks(
    items: Sequence[_Item], texts: Sequence[str], sizes: tuple[int, int]
) -> Iterator[tuple[Sequence[_Item], Sequence[str]]]:
    """Split where an item's own digest says so, between the least and the largest size, or where it grows too large.

    `texts` are the items' canonical texts.
    """
    least, largest = sizes
    start = weight = 0
    for at, text in enumerate(texts, 1):
        weight += len(text)
        size = at - start
        if size >= largest or weight >= CHUNK_BYTES or (size >= least and zlib.crc32(text.encode()) % least == 0):
            yield items[start:at], texts[start:at]
            start, weight = at, 0
    if start < len(items):
        yield items[start:], texts[start:]


def _part(kind: str, tier: str, key: str, items: Sequence[object], texts: Sequence[str]) -> Json:
    """A part with its one list; named as `_content_name` names it."""
    name = canonical.digest_of_text(f'["{kind}",{{"{key}":[{",".join(texts)}]}}]')[:_NAME_DIGITS]
    return _object(kind, f"{tier}-{name}", {key: list(items)}, {TIER_LABEL: tier})


def _content_name(kind: str, spec: Json) -> str:
    return digest([kind, spec])[:_NAME_DIGITS]


def _object(kind: str, name: str, spec: Json, labels: dict[str, str]) -> Json:
    metadata: dict[str, Any] = {"name": name} | ({"labels": labels} if labels else {})
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _source_json(source: TierSource) -> Json:
    return {"manager": source.manager, "deviceGroup": source.device_group, "version": source.version}
