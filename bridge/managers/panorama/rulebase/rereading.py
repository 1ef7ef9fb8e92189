"""Reads a device group again after a commit: objects and rules that say the same are not read anew.

Levels are compared as text, entry by entry. A rule is what it was where it says the same, and every name in it stands
for the same. What a name stands for depends on the definitions of that name and of all names below it, so it is looked
up again where one of these changed. The result is always that of `read_scope`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from xml.etree.ElementTree import Element, tostring

from bridge.managers.panorama.objects import addresses, applications, services
from bridge.managers.panorama.rulebase.document import members
from bridge.managers.panorama.rulebase.indexed_text import IndexedText, Window
from bridge.managers.panorama.rulebase.rulebase import (
    ReadOptions,
    RuleEntry,
    read_rule,
    reader_of,
    rulebase_of,
    scope_entries,
)
from bridge.managers.panorama.rulebase.rules import RuleReader
from bridge.managers.panorama.rulebase.tree import Level, ObjectScope, names_above, rules_path
from zones.rules import Applications, Rule, Rulebase, ServiceChoice

# So many names more than rules use may be known before all are forgotten.
FORGOTTEN = 20_000


class _KnownRule(NamedTuple):
    """A rule as it was read, the names in its list of applications, and those of all else that it draws on."""

    rule: Rule
    applications: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, rule: Rule, element: Element) -> _KnownRule:
        drawn = [member.name for side in (rule.sources, rule.destinations) for member in side.members]
        if not isinstance(rule.services, ServiceChoice):
            drawn += [service.name for service in rule.services]
        if rule.schedule is not None:
            drawn.append(rule.schedule.name)
        return cls(rule, members(element.find("application")), tuple(drawn))


@dataclass(frozen=True, slots=True)
class _LastCommit:
    """All that is known of the last commit. It holds no element. `rules` are in the order of `scope_entries`."""

    options: ReadOptions
    texts: Mapping[str, IndexedText]
    predefined: bytes
    addresses: addresses.KnownAddresses
    services: services.KnownServices
    applications: dict[tuple[str, ...], Applications]
    rules: Mapping[tuple[str, str], Sequence[_KnownRule]]
    has_wildcards: bool
    rulebase: Rulebase


class _Changes(NamedTuple):
    """Which entries of each level may differ from the last commit's."""

    texts: Mapping[str, tuple[IndexedText, IndexedText, Window]]

    def names(self, kinds: Iterable[str]) -> set[str]:
        """The names of objects of these kinds that may have another definition, or another place."""
        paths = {(kind,) for kind in kinds}
        return {
            text.names[at]
            for before, now, window in self.texts.values()
            for text, places in ((before, window.before), (now, window.now))
            for at in places
            if text.paths[at] in paths
        }

    def rules(self, level: str, rulebase: str, known: Sequence[_KnownRule]) -> list[_KnownRule | None]:
        """What is known of each rule of a level, by what was known of those before; None of one that says else."""
        before, now, window = self.texts[level]
        path = rules_path(rulebase)
        places = before.at_path.get(path, ())
        said: dict[bytes, _KnownRule] = {}
        first = last = 0
        for number, at in enumerate(places):
            if at < window.before.start:
                first = last = number + 1
            elif at < window.before.stop:
                last = number + 1
                said[before.said(at)] = known[number]
        new = (said.get(now.said(at)) for at in window.now if now.paths[at] == path)
        return [*known[:first], *new, *known[last:]]


@dataclass(slots=True)
class Rereader:
    """Of one device group. Not for use by two threads."""

    _last: _LastCommit | None = field(default=None, repr=False)

    def text(self, level: str) -> IndexedText | None:
        """A level as it was read last."""
        return None if self._last is None else self._last.texts.get(level)

    def application_lists(self, scope: ObjectScope) -> Iterator[tuple[str, ...]]:
        """The lists of applications of a scope's rules."""
        known = {} if self._last is None else _known_rules(self._last, _changes(self._last, scope.levels))
        for entry in scope_entries(scope):
            same = known[entry.level, entry.rulebase][entry.at] if known else None
            yield members(entry.element.find("application")) if same is None else same.applications

    def read(self, scope: ObjectScope, options: ReadOptions) -> Rulebase:
        """The rulebase of a scope. Rules that are as they were are the same objects, and so is the whole."""
        last = self._last
        if last is not None and replace(last.options, registered=options.registered) != options:
            last = None
        now = _read(scope, options, last)
        if last is not None and now.addresses.contested:
            now = _read(scope, options, None)
        used = sum(len(known.names) for rules in now.rules.values() for known in rules)
        forget = now.addresses.contested or len(now.addresses.own) > 2 * used + FORGOTTEN
        self._last = None if forget else now
        return now.rulebase


def _read(scope: ObjectScope, options: ReadOptions, last: _LastCommit | None) -> _LastCommit:
    entries = tuple(scope_entries(scope))
    reader = reader_of(scope, options, entries)
    predefined = b"" if scope.predefined is None else tostring(scope.predefined)
    changes = None if last is None else _changes(last, scope.levels)
    known: Mapping[tuple[str, str], Sequence[_KnownRule | None]] = {}
    still: _Still = _nothing_still
    if last is not None and changes is not None:
        known = _known_rules(last, changes)
        reader, still = _knowing(reader, last, changes, same_content=predefined == last.predefined)
    rules: dict[tuple[str, str], list[_KnownRule]] = {}
    for entry in entries:
        place = entry.level, entry.rulebase
        was = known[place][entry.at] if known else None
        rules.setdefault(place, []).append(_rule(reader, entry, was, still))
    in_order = tuple([rule.rule for place_rules in rules.values() for rule in place_rules])
    rulebase = rulebase_of(scope, reader, in_order)
    if last is not None and last.rulebase == rulebase:
        rulebase = last.rulebase
    texts = {level.name: level.text for level in scope.levels if level.text is not None}
    return _LastCommit(
        options,
        texts,
        predefined,
        reader.addresses.known,
        reader.services.known,
        reader.applications.known,
        rules,
        reader.wildcards.may_be_contested,
        rulebase,
    )


_Still = Callable[[_KnownRule], bool]


def _nothing_still(_: _KnownRule) -> bool:
    return False


def _changes(last: _LastCommit, levels: Sequence[Level]) -> _Changes | None:
    """None where the levels are others, or one isn't known as text."""
    texts = {}
    for level in levels:
        before, now = last.texts.get(level.name), level.text
        if before is None or now is None:
            return None
        texts[level.name] = before, now, now.differing(before)
    return _Changes(texts) if len(texts) == len(last.texts) else None


def _known_rules(last: _LastCommit, changes: _Changes | None) -> dict[tuple[str, str], list[_KnownRule | None]]:
    """By level and rulebase, for each rule that there is now; nothing where the levels are others."""
    if changes is None:
        return {}
    return {
        (level, rulebase): changes.rules(level, rulebase, last.rules.get((level, rulebase), ()))
        for level in changes.texts
        for rulebase in ("pre", "post")
    }


def _knowing(
    reader: RuleReader, last: _LastCommit, changes: _Changes, *, same_content: bool
) -> tuple[RuleReader, _Still]:
    """A reader with what still holds of the last commit, and whether all that a rule draws on surely does."""
    stale = reader.addresses.keep(last.addresses, changes.names(addresses.KINDS))
    changed = changes.names(services.KINDS)
    known_services = last.services
    if changed:
        above = names_above(changed, last.services.below)
        known_services = last.services.without(changed, above)
        stale |= above
    stale |= changes.names(("schedule",))
    same_applications = same_content and not changes.names(applications.ALL_KINDS)
    contested = last.has_wildcards or reader.wildcards.may_be_contested
    reader = replace(
        reader,
        services=services.ServiceObjects(reader.scope, known_services),
        applications=applications.ApplicationObjects(reader.scope, last.applications if same_applications else {}),
    )

    def still(known: _KnownRule) -> bool:
        return not contested and (same_applications or known.applications == ("any",)) and stale.isdisjoint(known.names)

    return reader, still


def _rule(reader: RuleReader, entry: RuleEntry, was: _KnownRule | None, still: _Still) -> _KnownRule:
    if was is None or not (still(was) or reader.would_read(entry.element, was.rule, was.applications)):
        return _KnownRule.of(read_rule(reader, entry), entry.element)
    if was.rule.number == entry.number:
        return was
    return was._replace(rule=replace(was.rule, number=entry.number))
