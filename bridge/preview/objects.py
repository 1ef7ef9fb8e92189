"""Objects whose content changes, each once, with the rules that name it. Pure.

A rulebase has its objects looked up and flattened, so that an object is what its name stands for in this device group:
a group that grew because a group within it grew is told as the group that rules name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from bridge.preview.model import ObjectChange
from zones.net import NO_ADDRESS, AddressSet, union
from zones.rule_wording import l4_text
from zones.rules import AddressObject, Application, Origin, Rule, Rulebase, Service, Unresolved

ADDRESS, SERVICE, APPLICATION = "address", "service", "application"
_Named = AddressObject | Service | Application
_Key = tuple[str, str]


@dataclass(slots=True)
class _Used:
    """An object as one rulebase has it, and the rules that name it."""

    value: _Named
    rules: list[Origin] = field(default_factory=list)


def object_changes(old: Rulebase, new: Rulebase, feeds: Mapping[str, AddressSet]) -> tuple[ObjectChange, ...]:
    """What changed of the objects that rules of both name, by kind and name.

    Objects that no rule of one side names are no edit of an object: rules began or ceased to name them. `feeds`: the
    content of FQDNs and lists, by name.
    """
    return tuple(_changes(_used(old), _used(new), feeds))


def _changes(
    before: Mapping[_Key, _Used], after: Mapping[_Key, _Used], feeds: Mapping[str, AddressSet]
) -> Iterator[ObjectChange]:
    for key in sorted(before.keys() & after.keys()):
        old, new = before[key].value, after[key].value
        if isinstance(old, AddressObject) and isinstance(new, AddressObject):
            gained, lost = _addresses(old, new, feeds)
        elif old == new:
            continue
        else:
            mine, theirs = tuple(_traffic(old)), tuple(_traffic(new))
            gained, lost = _only(theirs, mine), _only(mine, theirs)
        if gained or lost:
            rules = tuple(dict.fromkeys((*before[key].rules, *after[key].rules)))
            yield ObjectChange(*key, gained, lost, rules)


def _addresses(
    old: AddressObject, new: AddressObject, feeds: Mapping[str, AddressSet]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prefixes that are new and that are gone, and members that could not be looked up."""
    if old == new:
        return (), ()
    mine, theirs = _space(old, feeds), _space(new, feeds)
    gained, lost = ((), ()) if mine == theirs else ((theirs - mine).prefixes, (mine - theirs).prefixes)
    unresolved = tuple(map(_unresolved, old.unresolved)), tuple(map(_unresolved, new.unresolved))
    return (*gained, *_only(unresolved[1], unresolved[0])), (*lost, *_only(*unresolved))


def _space(value: AddressObject, feeds: Mapping[str, AddressSet]) -> AddressSet:
    return union((value.space, *(feeds.get(name, NO_ADDRESS) for name in value.feeds)))


def _only(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    excluded = frozenset(other)
    return tuple(dict.fromkeys(item for item in one if item not in excluded))


def _traffic(value: _Named) -> Iterator[str]:
    if isinstance(value, Service):
        yield from map(l4_text, value.traffic)
    elif isinstance(value, Application):
        yield from map(l4_text, value.ports)
        if value.workload is not None:
            yield f"workload {value.workload}"
        yield from (f"namespace {namespace}" for namespace in value.namespaces)
        if value.disabled:
            yield "switched off"
    yield from map(_unresolved, value.unresolved)


def _unresolved(member: Unresolved) -> str:
    return f"{member.name} ({member.why})"


def _used(rulebase: Rulebase) -> dict[_Key, _Used]:
    used: dict[_Key, _Used] = {}
    for rule in rulebase.rules:
        for kind, value in _objects(rule):
            key = kind, value.name
            entry = used.get(key)
            if entry is None:
                entry = used[key] = _Used(value)
            if not entry.rules or entry.rules[-1] is not rule.origin:
                entry.rules.append(rule.origin)
    return used


def _objects(rule: Rule) -> Iterator[tuple[str, _Named]]:
    for address in chain(rule.sources.members, rule.destinations.members):
        yield ADDRESS, address
    if isinstance(rule.services, tuple):
        for service in rule.services:
            yield SERVICE, service
    for application in rule.applications.members:
        yield APPLICATION, application
