"""Reading a tier again: only parts that are new are checked and parsed; what they make together always is. Pure.

`zones.tiers.native.parse` reads one from nothing, and means the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from zones.canonical import Json
from zones.net import AddressSet, union
from zones.policy import Entry, Policy
from zones.rules import Origin
from zones.tiers import native
from zones.tiers.native import ADDRESS_SET, POLICY_CHUNK


class Texts(Protocol):
    """Parts by name, each as text that is made an object of only where it is asked for."""

    def __contains__(self, name: object) -> bool: ...

    def __getitem__(self, name: str) -> Json: ...

    def text(self, name: str) -> bytes:
        """What is there under this name, byte for byte."""
        ...


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A PolicyChunk that was found whole. `sets`: the AddressSets that its entries draw on."""

    text: bytes
    entries: tuple[Entry, ...]
    sets: frozenset[str]


@dataclass(slots=True)
class _Read:
    """The parts of one revision. `spaces`: what several AddressSets make together, by their names."""

    chunks: dict[str, _Chunk] = field(default_factory=dict)
    sets: dict[str, tuple[bytes, AddressSet]] = field(default_factory=dict)
    spaces: dict[tuple[str, ...], AddressSet] = field(default_factory=dict)


class TierReader:
    """Keeps the parts of the last revision that could be read. One for a tier, and for one thread at a time.

    A part is not checked again only where what stands under its name is, byte for byte, what was checked; its name and
    the Tier's digest say the rest, and that digest is computed each time. Entries that say the same stay the same
    objects, also where the part around them is new.
    """

    def __init__(self) -> None:
        self._read = _Read()

    def policy(self, tier: Json, parts: Texts, like: Policy | None = None) -> Policy:
        """As `native.parse`, with the same errors; what was read before stays read where it raises one.

        `like`: a policy that much of this one may be equal to, where nothing was read before.
        """
        return native.policy_of(tier, parts, lambda spec: self._entries(spec, parts, like))

    def _entries(self, spec: Json, parts: Texts, like: Policy | None) -> Iterable[Entry]:
        fresh_read = _Read()
        for name in spec["addressSets"]:
            fresh_read.sets[name] = self._set(name, parts)
        fresh_read.spaces = self._spaces_of(fresh_read)
        fresh = {name for name in spec["policyChunks"] if not self._is_read(name, parts)}
        former = _Former(self._gone(spec["policyChunks"], fresh, like))
        for name in dict.fromkeys(spec["policyChunks"]):
            fresh_read.chunks[name] = (
                _chunk(name, parts, fresh_read, former) if name in fresh else self._read.chunks[name]
            )
            lacking = fresh_read.chunks[name].sets - fresh_read.sets.keys()
            if lacking:
                raise KeyError(min(lacking))
        self._read = fresh_read
        return [entry for name in spec["policyChunks"] for entry in fresh_read.chunks[name].entries]

    def _set(self, name: str, parts: Texts) -> tuple[bytes, AddressSet]:
        text, before = parts.text(name), self._read.sets.get(name)
        if before is not None and before[0] == text:
            return before
        return text, AddressSet.parse(native.verified(name, ADDRESS_SET, parts)["prefixes"])

    def _spaces_of(self, fresh_read: _Read) -> dict[tuple[str, ...], AddressSet]:
        """What was made of sets of the last revision that are the same in this one."""
        same = {name for name, content in fresh_read.sets.items() if self._read.sets.get(name) is content}
        return {names: space for names, space in self._read.spaces.items() if same.issuperset(names)}

    def _is_read(self, name: str, parts: Texts) -> bool:
        before = self._read.chunks.get(name)
        return before is not None and before.text == parts.text(name)

    def _gone(self, names: Sequence[str], fresh: Collection[str], like: Policy | None) -> Iterable[Entry]:
        """The entries of which a new chunk may say the same."""
        if not fresh:
            return
        if not self._read.chunks and like is not None:
            yield from like.entries
        kept = set(names).difference(fresh)
        for name, chunk in self._read.chunks.items():
            if name not in kept:
                yield from chunk.entries


class _Former:
    """Entries by what is quickly compared."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._by_origin: dict[Origin, list[Entry]] = {}
        for entry in entries:
            self._by_origin.setdefault(entry.origin, []).append(entry)

    def same(self, entry: Entry) -> Entry:
        """The one that was there before, if it says the same."""
        alike = self._by_origin.get(entry.origin, ())
        former = next((candidate for candidate in alike if candidate == entry), None)
        return entry if former is None else former


def _chunk(name: str, parts: Texts, fresh_read: _Read, former: _Former) -> _Chunk:
    text, values = parts.text(name), native.verified(name, POLICY_CHUNK, parts)["entries"]
    used: set[str] = set()

    def space(names: list[str]) -> AddressSet:
        key = tuple(names)
        used.update(key)
        if key not in fresh_read.spaces:
            fresh_read.spaces[key] = union(fresh_read.sets[name_][1] for name_ in key)
        return fresh_read.spaces[key]

    entries = tuple(former.same(native.entry_of(value, space)) for value in values)
    return _Chunk(text, entries, frozenset(used))
