"""The configuration tree: Shared and the device groups, and what a name means seen from one of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import NamedTuple, Protocol, overload
from xml.etree.ElementTree import Element

from bridge.errors import ConfigurationFileError, UnknownDeviceGroupError
from bridge.managers.panorama.rulebase.document import entries, text_of
from bridge.managers.panorama.rulebase.indexed_text import IndexedText

SHARED = "Shared"
DEVICE = "devices/entry[@name='localhost.localdomain']"
OBJECT_KINDS = (
    "address",
    "address-group",
    "external-list",
    "region",
    "service",
    "service-group",
    "application",
    "application-group",
    "application-filter",
    "schedule",
    "application-status",
    "application-tag",
    "tag",
)
KIND_WORDS = {
    "address": "an address",
    "address-group": "an address group",
    "external-list": "an external dynamic list",
    "region": "a region",
    "service": "a service",
    "service-group": "a service group",
    "application": "an application",
    "application-group": "an application group",
    "application-filter": "an application filter",
}
FIRST_WITH_HIERARCHIES = 7
_DEFAULT_RULES = ("post-rulebase", "default-security-rules", "rules")


class Level(Protocol):
    """Shared, or one device group."""

    @property
    def name(self) -> str: ...

    @property
    def text(self) -> IndexedText | None:
        """What it says, where that is known as text."""

    @property
    def objects(self) -> Mapping[str, Mapping[str, Element]]:
        """Kind -> name -> entry. Of two entries of a name the first stands."""

    def objects_with(self, kind: str, tag: str) -> Iterator[tuple[str, Element]]:
        """Name and entry of those objects of a kind that have a child of this tag, in order."""

    def rules(self, rulebase: str) -> Sequence[Element]:
        """The security rules of the pre or the post rulebase, in order."""

    def default_rule(self, name: str) -> Element | None:
        """This level's override of `intrazone-default` or `interzone-default`."""


@dataclass(frozen=True)
class ElementLevel:
    """A level as its element: several where an export was merged by hand."""

    name: str
    elements: tuple[Element, ...]
    text: IndexedText | None = None

    @cached_property
    def objects(self) -> Mapping[str, Mapping[str, Element]]:
        by_kind: dict[str, dict[str, Element]] = {kind: {} for kind in OBJECT_KINDS}
        for element in self.elements:
            for kind in OBJECT_KINDS:
                for name, entry in entries(element, kind):
                    by_kind[kind].setdefault(name, entry)
        return by_kind

    def objects_with(self, kind: str, tag: str) -> Iterator[tuple[str, Element]]:
        return ((name, entry) for name, entry in self.objects[kind].items() if entry.find(tag) is not None)

    def rules(self, rulebase: str) -> Sequence[Element]:
        lists = (rules for element in self.elements for rules in element.findall("/".join(rules_path(rulebase))))
        return [entry for rules in lists for entry in rules.findall("entry")]

    def default_rule(self, name: str) -> Element | None:
        for element in self.elements:
            for rule_name, entry in entries(element, "/".join(_DEFAULT_RULES)):
                if rule_name == name:
                    return entry
        return None


@dataclass(frozen=True)
class TextLevel:
    """A level as text: an entry is an element only while somebody looks at it."""

    name: str
    text: IndexedText

    @cached_property
    def objects(self) -> Mapping[str, _Entries]:
        return {kind: _Entries(self.text, self.text.at_path.get((kind,), ())) for kind in OBJECT_KINDS}

    def objects_with(self, kind: str, tag: str) -> Iterator[tuple[str, Element]]:
        opening = f"<{tag}".encode()
        objects = self.objects[kind]
        for at in self.text.at_path.get((kind,), ()):
            if opening in self.text.said(at):
                name, entry = self.text.names[at], self.text.element(at)
                if entry.find(tag) is not None and name and objects.stands(name, at):
                    yield name, entry

    def rules(self, rulebase: str) -> Sequence[Element]:
        return _Elements(self.text, self.text.at_path.get(rules_path(rulebase), ()))

    def default_rule(self, name: str) -> Element | None:
        places = (at for at in self.text.at_path.get(_DEFAULT_RULES, ()) if self.text.names[at] == name)
        first = next(places, None)
        return None if first is None else self.text.element(first)


class _Entries(Mapping[str, Element]):
    """The entries of one kind in a text by name. Of two entries of a name the first stands."""

    def __init__(self, text: IndexedText, places: Sequence[int]) -> None:
        self._text = text
        self._places: dict[str, int] = {}
        for at in places:
            if name := text.names[at]:
                self._places.setdefault(name, at)

    def __getitem__(self, name: str) -> Element:
        return self._text.element(self._places[name])

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def stands(self, name: str, at: int) -> bool:
        """Whether the entry at a place is the one that stands for its name."""
        return self._places.get(name) == at


class _Elements(Sequence[Element]):
    """Some entries of a text. What was looked at once stays the same element."""

    def __init__(self, text: IndexedText, places: Sequence[int]) -> None:
        self._text = text
        self._places = places
        self._known: dict[int, Element] = {}

    @overload
    def __getitem__(self, number: int) -> Element: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Element]: ...
    def __getitem__(self, number: int | slice) -> Element | Sequence[Element]:
        if isinstance(number, slice):
            return [self[at] for at in range(*number.indices(len(self)))]
        at = self._places[number]
        if at not in self._known:
            self._known[at] = self._text.element(at)
        return self._known[at]

    def __len__(self) -> int:
        return len(self._places)


def rules_path(rulebase: str) -> tuple[str, ...]:
    """Where the security rules of the pre or the post rulebase are, below a level."""
    return f"{rulebase}-rulebase", "security", "rules"


class Definition(NamedTuple):
    """What a name stands for as one kind of object, and at which level it does."""

    kind: str
    level: str
    entry: Element


@dataclass(frozen=True)
class ObjectScope:
    """What a device group sees. `levels` run from the device group up to Shared.

    Of one kind, the nearest definition of a name wins, or the farthest where `ancestors_win` (Panorama's own setting of
    that name). A name of two kinds has two definitions, wherever they are: which one PAN-OS takes is not documented.
    """

    levels: tuple[Level, ...]
    predefined: Element | None = None
    ancestors_win: bool = False
    zones: frozenset[str] = frozenset()

    @property
    def device_group(self) -> str:
        return self.levels[0].name

    @cached_property
    def _by_kind(self) -> dict[str, list[tuple[str, Mapping[str, Element]]]]:
        """Kind -> the levels that have objects of it, the winning one first, each with these objects by name."""
        levels = self.levels[::-1] if self.ancestors_win else self.levels
        return {
            kind: [(level.name, objects) for level in levels if (objects := level.objects[kind])]
            for kind in OBJECT_KINDS
        }

    def objects(self, kind: str) -> Mapping[str, Definition]:
        """Every object of a kind that the device group sees, by name."""
        winning: dict[str, Definition] = {}
        for level, objects in self._by_kind[kind]:
            for name, entry in objects.items():
                winning.setdefault(name, Definition(kind, level, entry))
        return winning

    def objects_with(self, kind: str, tag: str) -> Iterator[tuple[str, Element]]:
        """Those of them that have a child of this tag, in the order of `objects`."""
        levels = self.levels[::-1] if self.ancestors_win else self.levels
        for number, level in enumerate(levels):
            above = [objects for other in levels[:number] if (objects := other.objects[kind])]
            for name, entry in level.objects_with(kind, tag):
                if not any(name in objects for objects in above):
                    yield name, entry

    def object(self, name: str, kind: str) -> Definition | None:
        """What a name stands for as one kind of object."""
        for level, objects in self._by_kind[kind]:
            entry = objects.get(name)
            if entry is not None:
                return Definition(kind, level, entry)
        return None

    def definitions(self, name: str, kinds: Iterable[str]) -> tuple[Definition, ...]:
        """What a name stands for among these kinds: nothing, one object, or several where it is ambiguous."""
        return tuple([definition for kind in kinds if (definition := self.object(name, kind)) is not None])


def ambiguous(definitions: Iterable[Definition]) -> str:
    """Why a name of several kinds stands for nothing, as a clause."""
    places = " and ".join(f"{KIND_WORDS[definition.kind]} ({definition.level})" for definition in definitions)
    return f"is both {places}, and which of them a firewall takes is not documented; rename one"


def walk(name: str, members_of: Callable[[str], tuple[str, ...]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A name and every name below it with its members, each once, in order; a leaf has none. A circle adds nothing."""
    seen = {name}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        below = members_of(current)
        yield current, below
        fresh = dict.fromkeys(member for member in below if member not in seen)
        seen.update(fresh)
        waiting.extend(reversed(fresh))


def names_above(names: Iterable[str], below: Mapping[str, tuple[str, ...]]) -> set[str]:
    """These names and every group that holds one of them at any depth. `below`: group -> its members."""
    above: dict[str, list[str]] = {}
    for group, members_ in below.items():
        for member in members_:
            above.setdefault(member, []).append(group)
    reached = set(names)
    waiting = list(reached)
    while waiting:
        fresh = [group for group in above.get(waiting.pop(), ()) if group not in reached]
        reached.update(fresh)
        waiting.extend(fresh)
    return reached


def flatten(name: str, members_of: Callable[[str], tuple[str, ...]]) -> Iterator[str]:
    """The leaves below a name, each once, in order."""
    return (member for member, below in walk(name, members_of) if not below)


@dataclass(frozen=True, slots=True)
class Ancestry:
    """What a site says of a hierarchy that the configuration doesn't hold: parents by name, or that there is none."""

    parents: Mapping[str, str] = field(default_factory=dict)
    flat: bool = False


FROM_THE_FILE = Ancestry()


def scope_of(
    config: Element, device_group: str, *, ancestors_win: bool = False, ancestry: Ancestry = FROM_THE_FILE
) -> ObjectScope:
    """The scope of a device group in a whole configuration.

    Raises UnknownDeviceGroupError, and ConfigurationFileError where its ancestors can't be known.
    """
    groups = _device_groups(config)
    if device_group not in groups:
        raise unknown_device_group(device_group, groups)
    chain = _chain(device_group, _parents(config, ancestry, groups), groups)
    shared = ElementLevel(SHARED, tuple(config.findall("shared")))
    return ObjectScope(
        levels=(*(ElementLevel(name, tuple(groups[name])) for name in chain), shared),
        predefined=config.find("predefined"),
        ancestors_win=ancestors_win,
        zones=frozenset(_template_zones(config)),
    )


def unknown_device_group(name: str, existing: Iterable[str]) -> UnknownDeviceGroupError:
    """The error for a device group that the configuration doesn't have, with those that come near."""
    known = sorted(existing)
    if name.lower() == SHARED.lower():
        return UnknownDeviceGroupError(
            f"looking up device group '{name}': Shared is no device group; what it holds applies to all of them: "
            f"give one of them{': ' + _quoted(known[:5]) if known else ''}"
        )
    near = get_close_matches(name, known, n=3, cutoff=0.4) or known[:5]
    hint = f"did you mean {_quoted(near)}?" if near else "it has no device group at all"
    return UnknownDeviceGroupError(f"looking up device group '{name}': the configuration has none of that name; {hint}")


def _quoted(names: Iterable[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _device_groups(config: Element) -> dict[str, list[Element]]:
    groups: dict[str, list[Element]] = {}
    for name, entry in entries(config, "devices/entry/device-group"):
        groups.setdefault(name, []).append(entry)
    return groups


def _parents(config: Element, ancestry: Ancestry, groups: Collection[str]) -> dict[str, str]:
    """Device group -> parent (Shared at the top), as far as it is known: Panorama's read-only part first."""
    known: dict[str, str] = {}
    for name, entry in entries(config, "readonly/devices/entry/device-group"):
        parent = text_of(entry, "parent-dg") or SHARED
        if known.setdefault(name, parent) != parent:
            raise ConfigurationFileError(
                f"looking up the ancestors of device group '{name}': the configuration says that it is under "
                f"'{known[name]}' and under '{parent}'; export it again"
            )
    for name, parent in ancestry.parents.items():
        if name not in groups:
            raise unknown_device_group(name, groups)
        if known.setdefault(name, parent) != parent:
            raise ConfigurationFileError(
                f"looking up the ancestors of device group '{name}': --parent says '{parent}', the configuration says "
                f"'{known[name]}'; leave --parent out"
            )
    if ancestry.flat or len(groups) == 1 or _before_hierarchies(config):
        return dict.fromkeys(groups, SHARED) | known
    return known


def _before_hierarchies(config: Element) -> bool:
    """Whether it is of a release in which device groups had no parents: before 7.0."""
    major = (config.get("version") or "").partition(".")[0]
    return major.isascii() and major.isdigit() and int(major[:3]) < FIRST_WITH_HIERARCHIES


def _chain(device_group: str, parents: dict[str, str], groups: Collection[str]) -> list[str]:
    """A device group and its ancestors, nearest first, without Shared."""
    chain = [device_group]
    while (parent := parents.get(chain[-1])) != SHARED:
        what = f"looking up the ancestors of device group '{device_group}'"
        if parent is None:
            raise ConfigurationFileError(
                f"{what}: the configuration doesn't say what '{chain[-1]}' is under: its <readonly> part, which holds "
                f"the hierarchy, is missing or cut; export it whole, or say it with --parent '{chain[-1]}=PARENT' "
                "(Shared where it has none), or with --flat if no device group is under another"
            )
        if parent in chain or parent not in groups:
            raise UnknownDeviceGroupError(
                f"{what}: the parent '{parent}' of '{chain[-1]}' is not there or goes in a circle; export the whole "
                "configuration again"
            )
        chain.append(parent)
    return chain


def _template_zones(config: Element) -> Iterator[str]:
    for kind in ("template", "template-stack"):
        for name, _ in entries(config, f"devices/entry/{kind}/entry/config/devices/entry/vsys/entry/zone"):
            yield name
