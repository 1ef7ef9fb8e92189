"""The configuration tree: Shared and the device groups, and what a name means seen from one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from xml.etree.ElementTree import Element

from bridge.errors import UnknownDeviceGroupError
from bridge.managers.panorama.document import entries, text_of

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
    "tag",
)


@dataclass(frozen=True)
class Level:
    """Shared, or one device group: its element (several where an export was merged by hand) and its name."""

    name: str
    elements: tuple[Element, ...]

    @cached_property
    def objects(self) -> dict[str, dict[str, Element]]:
        """Kind -> name -> entry. Of two entries of a name the first stands."""
        found: dict[str, dict[str, Element]] = {kind: {} for kind in OBJECT_KINDS}
        for element in self.elements:
            for kind in OBJECT_KINDS:
                for name, entry in entries(element, kind):
                    found[kind].setdefault(name, entry)
        return found

    def rules(self, rulebase: str) -> Iterator[Element]:
        """The security rules of the pre or the post rulebase, in order."""
        for element in self.elements:
            for rules in element.findall(f"{rulebase}-rulebase/security/rules"):
                yield from rules.findall("entry")

    def default_rule(self, name: str) -> Element | None:
        """This level's override of `intrazone-default` or `interzone-default`."""
        for element in self.elements:
            for found, entry in entries(element, "post-rulebase/default-security-rules/rules"):
                if found == name:
                    return entry
        return None


@dataclass(frozen=True)
class Scope:
    """What a device group sees. `levels` run from the device group up to Shared.

    The nearest definition of a name wins, or the farthest where `ancestors_win` (Panorama's own setting of that name).
    """

    levels: tuple[Level, ...]
    predefined: Element | None = None
    ancestors_win: bool = False
    zones: frozenset[str] = frozenset()

    @property
    def device_group(self) -> str:
        return self.levels[0].name

    @cached_property
    def by_precedence(self) -> tuple[Level, ...]:
        return self.levels[::-1] if self.ancestors_win else self.levels

    def find(self, name: str, *kinds: str) -> tuple[str, Element] | None:
        """The kind and entry that a name stands for among these kinds; None where it is defined nowhere."""
        for level in self.by_precedence:
            for kind in kinds:
                entry = level.objects[kind].get(name)
                if entry is not None:
                    return kind, entry
        return None

    def all_of(self, *kinds: str) -> dict[str, tuple[str, Element]]:
        """Every name of these kinds that the device group sees, with what it stands for."""
        seen: dict[str, tuple[str, Element]] = {}
        for level in self.by_precedence:
            for kind in kinds:
                for name, entry in level.objects[kind].items():
                    seen.setdefault(name, (kind, entry))
        return seen


def flatten(name: str, members_of: Callable[[str], tuple[str, ...]]) -> Iterator[str]:
    """The leaves below a name, each once, in order; `members_of` a leaf is empty. A circle adds nothing."""
    seen = {name}
    waiting = [name]
    while waiting:
        each = waiting.pop()
        below = members_of(each)
        if not below:
            yield each
        fresh = dict.fromkeys(member for member in below if member not in seen)
        seen.update(fresh)
        waiting.extend(reversed(fresh))


def scope_of(config: Element, device_group: str, *, ancestors_win: bool = False) -> Scope:
    """The scope of a device group in a whole configuration. Raises UnknownDeviceGroupError."""
    groups = _device_groups(config)
    if device_group not in groups:
        raise unknown_device_group(device_group, groups)
    chain = _ancestry(device_group, _parents(config), groups)
    shared = Level(SHARED, tuple(config.findall("shared")))
    return Scope(
        levels=(*(Level(name, tuple(groups[name])) for name in chain), shared),
        predefined=config.find("predefined"),
        ancestors_win=ancestors_win,
        zones=frozenset(_template_zones(config)),
    )


def unknown_device_group(name: str, there: Iterable[str]) -> UnknownDeviceGroupError:
    """The error for a device group that the configuration doesn't have, with those that come near."""
    known = sorted(there)
    near = get_close_matches(name, known, n=3, cutoff=0.4) or known[:5]
    hint = f"did you mean {' or '.join(repr(each) for each in near)}?" if near else "it has no device group at all"
    return UnknownDeviceGroupError(f"looking up device group '{name}': the configuration has none of that name; {hint}")


def _device_groups(config: Element) -> dict[str, list[Element]]:
    groups: dict[str, list[Element]] = {}
    for name, entry in entries(config, "devices/entry/device-group"):
        groups.setdefault(name, []).append(entry)
    return groups


def _parents(config: Element) -> dict[str, str]:
    """Device group -> parent, from Panorama's read-only part. Top-level ones have none."""
    found = entries(config, "readonly/devices/entry/device-group")
    return {name: parent for name, entry in found if (parent := text_of(entry, "parent-dg"))}


def _ancestry(device_group: str, parents: dict[str, str], groups: dict[str, list[Element]]) -> list[str]:
    chain = [device_group]
    while (parent := parents.get(chain[-1])) is not None:
        if parent in chain or parent not in groups:
            raise UnknownDeviceGroupError(
                f"looking up the ancestors of device group '{device_group}': the parent '{parent}' of '{chain[-1]}' is "
                "not there or goes in a circle; export the whole configuration again"
            )
        chain.append(parent)
    return chain


def _template_zones(config: Element) -> Iterator[str]:
    for kind in ("template", "template-stack"):
        for name, _ in entries(config, f"devices/entry/{kind}/entry/config/devices/entry/vsys/entry/zone"):
            yield name
