"""The rulebase of a device group: rules of every level in PAN-OS order, then the default rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

from bridge.errors import ConfigurationFileError
from bridge.managers.panorama.objects.addresses import AddressResolver
from bridge.managers.panorama.objects.applications import ApplicationObjects
from bridge.managers.panorama.objects.services import ServiceObjects
from bridge.managers.panorama.objects.wildcard_masks import Wildcards
from bridge.managers.panorama.rulebase import document
from bridge.managers.panorama.rulebase.document import children_of, text_of
from bridge.managers.panorama.rulebase.rules import RuleReader, log_of, misshapen, unknown_elements
from bridge.managers.panorama.rulebase.tree import FROM_THE_FILE, SHARED, Ancestry, ObjectScope, scope_of
from zones.rules import Action, Log, Origin, Rule, Rulebase, RuleType

# In the order in which Panorama numbers them.
DEFAULT_ACTIONS = {"intrazone-default": Action.ALLOW, "interzone-default": Action.DENY}


class RuleEntry(NamedTuple):
    """A rule: where among `rules` it stands, its rulebase and level, and its number there as Panorama shows it."""

    rules: Sequence[Element]
    at: int
    rulebase: str
    level: str
    number: int

    @property
    def element(self) -> Element:
        return self.rules[self.at]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a site reads its Panorama: its precedence setting, its schedules' time zone, and what an export doesn't hold.

    `wildcard_top_down`: a firewall's setting for wildcard masks that overlap. `registered`: the IPs tagged at run time,
    None where they aren't known; `predefined`: App-ID content; `ancestry`: which device group is under which;
    `provided`: where the site has Palo Alto Networks' own lists, by their names.
    """

    ancestors_win: bool = False
    time_zone: str = "UTC"
    wildcard_top_down: bool = False
    registered: Mapping[str, frozenset[str]] | None = None
    predefined: Element | None = None
    ancestry: Ancestry = FROM_THE_FILE
    provided: Mapping[str, str] = field(default_factory=dict)


def read_file(path: Path, device_group: str, options: ReadOptions | None = None) -> Rulebase:
    """The rulebase of a device group in an exported configuration.

    Raises ConfigurationFileError or UnknownDeviceGroupError.
    """
    options = options or ReadOptions()
    try:
        config = document.read(path)
    except document.DocumentError as error:
        raise ConfigurationFileError(f"reading Panorama configuration '{path}': {error}") from error
    scope = scope_of(config, device_group, ancestors_win=options.ancestors_win, ancestry=options.ancestry)
    return read_scope(scope if options.predefined is None else replace(scope, predefined=options.predefined), options)


def read_scope(scope: ObjectScope, options: ReadOptions) -> Rulebase:
    """The rulebase of a scope: pre rules from Shared down, post rules from the device group up, then the defaults."""
    entries = tuple(scope_entries(scope))
    reader = reader_of(scope, options, entries)
    return rulebase_of(scope, reader, tuple([read_rule(reader, entry) for entry in entries]))


def read_rule(reader: RuleReader, entry: RuleEntry) -> Rule:
    return reader.read(entry.element, entry.rulebase, entry.level, entry.number)


def reader_of(scope: ObjectScope, options: ReadOptions, entries: tuple[RuleEntry, ...]) -> RuleReader:
    """For the rules of a scope, which are all of `entries`."""
    addresses = AddressResolver(scope, options.registered, options.time_zone, options.provided)
    wildcards = Wildcards(lambda: (entry.element for entry in entries), addresses, options.wildcard_top_down)
    return RuleReader(scope, addresses, ServiceObjects(scope), ApplicationObjects(scope), wildcards, options.time_zone)


def rulebase_of(scope: ObjectScope, reader: RuleReader, rules: tuple[Rule, ...]) -> Rulebase:
    """The whole of it. Feeds come in the order in which rules draw on them."""
    zones = {zone for rule in rules for zones in (rule.from_zones, rule.to_zones) if zones for zone in zones}
    members = [member for rule in rules for side in (rule.sources, rule.destinations) for member in side.members]
    feeds = dict.fromkeys([feed for member in members for feed in member.feeds])
    return Rulebase(
        device_group=scope.device_group,
        rules=rules,
        intrazone=_default_rule(scope, "intrazone-default"),
        interzone=_default_rule(scope, "interzone-default"),
        zones=scope.zones | zones,
        feeds=tuple([reader.addresses.known.feeds[feed] for feed in feeds]),
    )


def scope_entries(scope: ObjectScope) -> Iterator[RuleEntry]:
    """Each rule with its number as Panorama shows it: inherited rules count too."""
    for rulebase, levels in (("pre", scope.levels[::-1]), ("post", scope.levels)):
        number = 0
        for level in levels:
            rules = level.rules(rulebase)
            for at in range(len(rules)):
                number += 1
                yield RuleEntry(rules, at, rulebase, level.name, number)


def _default_rule(scope: ObjectScope, name: str) -> Rule:
    """Each attribute from the nearest level that sets it; what nobody sets is PAN-OS's own default."""
    overrides = [(level.name, entry) for level in scope.levels if (entry := level.default_rule(name)) is not None]
    action: Action | None = DEFAULT_ACTIONS[name]
    log = Log()
    malformed: tuple[str, ...] = ()
    unknown: list[str] = []
    for _, entry in reversed(overrides):
        children = children_of(entry)
        log = log_of(children, log)
        unknown.extend((*unknown_elements(entry, children), *misshapen(entry, children)))
        text = text_of(entry, "action")
        if text is not None:
            action, malformed = _read_action(text)
    return Rule(
        origin=_default_origin(name, overrides),
        action=action,
        rule_type=RuleType.INTRAZONE if name == "intrazone-default" else RuleType.UNIVERSAL,
        log=log,
        malformed=(*malformed, *unknown),
        number=list(DEFAULT_ACTIONS).index(name) + 1,
    )


def _read_action(text: str) -> tuple[Action | None, tuple[str, ...]]:
    try:
        return Action(text), ()
    except ValueError:
        return None, (f"its action '{text}' is not known",)


def _default_origin(name: str, overrides: list[tuple[str, Element]]) -> Origin:
    if not overrides:
        return Origin(name, None, "default", SHARED)
    level, entry = overrides[0]
    return Origin(name, entry.get("uuid"), "default", level)
