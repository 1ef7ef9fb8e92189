"""Reads a device group again after a commit: objects and rules that say the same are not read anew.

A rule is what it was where its element says the same, and every name in it stands for the same. What a name stands for
depends on the definitions of that name and of all names below it, so it is looked up again where one of these changed.
The result is always that of `read_scope`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bridge.managers.panorama.objects import addresses, applications, services
from bridge.managers.panorama.rulebase.document import members
from bridge.managers.panorama.rulebase.fingerprints import changed, fingerprint, of_objects
from bridge.managers.panorama.rulebase.rulebase import ReadOptions, RuleEntry, reader_of, rulebase_of, scope_entries
from bridge.managers.panorama.rulebase.rules import RuleReader
from bridge.managers.panorama.rulebase.tree import ObjectScope
from zones.rules import Applications, Rule, Rulebase

# So many names more than rules use may be known before all are forgotten.
FORGOTTEN = 20_000


class _Known(NamedTuple):
    """A rule as it was read, and the names in its list of applications."""

    rule: Rule
    applications: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Objects:
    """What objects say, by name; of applications their order matters too."""

    addresses: dict[str, bytes]
    services: dict[str, bytes]
    applications: list[tuple[str, bytes]]

    @classmethod
    def of(cls, scope: ObjectScope) -> _Objects:
        content = [] if scope.predefined is None else [("", fingerprint(scope.predefined))]
        return cls(
            of_objects(scope, addresses.KINDS),
            of_objects(scope, services.KINDS),
            [*of_objects(scope, applications.ALL_KINDS).items(), *content],
        )


@dataclass(frozen=True, slots=True)
class _LastCommit:
    """All that is known of the last commit. It holds no element."""

    options: ReadOptions
    objects: _Objects
    addresses: addresses.KnownAddresses
    services: services.KnownServices
    applications: dict[tuple[str, ...], Applications]
    rules: dict[bytes, _Known]
    rulebase: Rulebase


@dataclass(slots=True)
class Rereader:
    """Of one device group. Not for use by two threads."""

    _last: _LastCommit | None = field(default=None, repr=False)

    def read(self, scope: ObjectScope, options: ReadOptions) -> Rulebase:
        """The rulebase of a scope. Rules that are as they were are the same objects, and so is the whole."""
        last = self._last
        if last is not None and replace(last.options, registered=options.registered) != options:
            last = None
        now = _read(scope, options, last)
        if last is not None and now.addresses.contested:
            now = _read(scope, options, None)
        used = sum(len(side.members) for rule in now.rulebase.rules for side in (rule.sources, rule.destinations))
        forget = now.addresses.contested or len(now.addresses.own) > 2 * used + FORGOTTEN
        self._last = None if forget else now
        return now.rulebase


def _read(scope: ObjectScope, options: ReadOptions, last: _LastCommit | None) -> _LastCommit:
    entries = tuple(scope_entries(scope))
    objects = _Objects.of(scope)
    reader = reader_of(scope, options, entries)
    if last is not None:
        reader = _knowing(reader, objects, last)
    known: dict[bytes, _Known] = {}
    rules = tuple([_rule(reader, entry, {} if last is None else last.rules, known) for entry in entries])
    rulebase = rulebase_of(scope, reader, rules)
    if last is not None and last.rulebase == rulebase:
        rulebase = last.rulebase
    return _LastCommit(
        options, objects, reader.addresses.known, reader.services.known, reader.applications.known, known, rulebase
    )


def _knowing(reader: RuleReader, objects: _Objects, last: _LastCommit) -> RuleReader:
    """With what still holds of the last commit."""
    reader.addresses.keep(last.addresses, changed(last.objects.addresses, objects.addresses))
    known_services = last.services.without(changed(last.objects.services, objects.services))
    same = last.objects.applications == objects.applications
    return replace(
        reader,
        services=services.ServiceObjects(reader.scope, known_services),
        applications=applications.ApplicationObjects(reader.scope, last.applications if same else {}),
    )


def _rule(reader: RuleReader, rule_entry: RuleEntry, last: dict[bytes, _Known], known: dict[bytes, _Known]) -> Rule:
    entry, rulebase, level, number = rule_entry
    key = fingerprint(entry, rulebase, level)
    was = last.get(key)
    if was is not None and reader.would_read(entry, was.rule, was.applications):
        now = was if was.rule.number == number else _Known(replace(was.rule, number=number), was.applications)
    else:
        now = _Known(reader.read(*rule_entry), members(entry.find("application")))
    known[key] = now
    return now.rule
