"""Security rules: a rule's XML to `zones.rules.Rule`, strictly. What is not known is said, never guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from xml.etree.ElementTree import Element

from bridge.managers.panorama.objects import addresses, applications, services
from bridge.managers.panorama.objects.schedules import schedule
from bridge.managers.panorama.objects.wildcard_masks import Wildcards
from bridge.managers.panorama.rulebase.document import children_of, entries, members, text_of, yes
from bridge.managers.panorama.rulebase.own_tags import is_own_tag
from bridge.managers.panorama.rulebase.shapes import is_list
from bridge.managers.panorama.rulebase.tree import ObjectScope
from zones import rules
from zones.rules import Action, Log, Origin, Rule, RuleType, ServiceChoice, Services, TargetFirewalls, Unresolved
from zones.schedule import Schedule

# Elements that only describe, or act on what is allowed: no effect on the verdict.
SILENT = frozenset({"description", "group-tag", "disable-inspect", "icmp-unreachable", "audit-comment"})
NOTED = {
    "profile-setting": "security profiles",
    "option": "options",
    "qos": "QoS marking",
}
# Elements that narrow a rule by what a cluster can't see, unless they say `any`.
NARROWING = {
    "source-user": "user",
    "category": "URL category",
    "hip-profiles": "HIP profile",
    "source-hip": "source device",
    "destination-hip": "destination device",
    "source-imsi": "subscriber",
    "source-imei": "equipment",
    "source-nw-slice": "network slice",
    "saas-user-list": "SaaS user",
    "saas-tenant-list": "SaaS tenant",
}
READ = frozenset(
    {
        "target",
        "from",
        "to",
        "source",
        "destination",
        "application",
        "service",
        "action",
        "rule-type",
        "negate-source",
        "negate-destination",
        "disabled",
        "schedule",
        "tag",
        "log-start",
        "log-end",
        "log-setting",
    }
)
LISTS = ("from", "to", "source", "destination", "application", "service", "tag", *NARROWING)
SWITCHES = ("disabled", "negate-source", "negate-destination")
DEFAULT_LOG = Log(end=True)
Children = Mapping[str, Element]


KNOWN = READ | SILENT | NOTED.keys() | NARROWING.keys()
NEEDED = ("from", "to", "source", "destination", "application", "service")
_ACTIONS = {action.value: action for action in Action}
_RULE_TYPES = {kind.value: kind for kind in RuleType}
# One object for all rules that name the same zones or tags, log alike, or have any address.
_names = lru_cache(4096)(frozenset[str])
_log = lru_cache(4096)(Log)
_any_address = {negate: rules.Addresses(any=True, negate=negate) for negate in (False, True)}


@dataclass(frozen=True)
class RuleReader:
    """Reads rules as one device group sees their objects."""

    scope: ObjectScope
    addresses: addresses.AddressResolver
    services: services.ServiceObjects
    applications: applications.ApplicationObjects
    wildcards: Wildcards
    time_zone: str = "UTC"

    def read(self, entry: Element, rulebase: str, device_group: str, number: int) -> Rule:
        """A rule of the pre or the post rulebase of a level."""
        children = children_of(entry)
        lists = {tag: members(children.get(tag)) for tag in NEEDED}
        rule_type, bad_type = _rule_type(children)
        return Rule(
            origin=Origin(entry.get("name") or "(nameless)", entry.get("uuid"), rulebase, device_group),
            action=_ACTIONS.get(_text(children, "action") or ""),
            rule_type=rule_type,
            from_zones=_zones(lists["from"]),
            to_zones=None if rule_type is RuleType.INTRAZONE else _zones(lists["to"]),
            sources=self._addresses(entry, children, "source", lists["source"]),
            destinations=self._addresses(entry, children, "destination", lists["destination"]),
            applications=self.applications.members(lists["application"]),
            services=self._services(lists["service"]),
            schedule=self._schedule(children),
            disabled=_text(children, "disabled") == "yes",
            target=_target(entry) if "target" in children else None,
            tags=_names(tuple([name for name in members(children.get("tag")) if not is_own_tag(name)])),
            log=log_of(children, DEFAULT_LOG),
            conditions=tuple(_conditions(entry, children)),
            malformed=(*_malformed(children, lists, rule_type), *bad_type, *misshapen(entry, children)),
            number=number,
            notes=tuple([note for tag, note in NOTED.items() if tag in children]),
            description=_text(children, "description") or "",
        )

    def would_read(self, entry: Element, rule: Rule, applications: tuple[str, ...]) -> bool:
        """Whether what a rule names still stands for what it did when it was read from an element that said the same.

        `applications`: the names in its list of these.
        """
        return (
            self._still_addresses(entry, "source", rule.sources)
            and self._still_addresses(entry, "destination", rule.destinations)
            and _same(self.applications.members(applications), rule.applications)
            and (
                isinstance(rule.services, ServiceChoice)
                or all(_same(self.services.member(service.name), service) for service in rule.services)
            )
            and (rule.schedule is None or schedule(rule.schedule.name, self.scope, self.time_zone) == rule.schedule)
        )

    def _still_addresses(self, entry: Element, side: str, known: rules.Addresses) -> bool:
        if known.any:
            return True
        contested = self.wildcards.contested(entry, side)
        return all(_same(self.addresses.member(member.name, contested), member) for member in known.members)

    def _addresses(self, entry: Element, children: Children, side: str, names: tuple[str, ...]) -> rules.Addresses:
        negate = _text(children, f"negate-{side}") == "yes"
        if "any" in names:
            return _any_address[negate]
        contested = self.wildcards.contested(entry, side)
        return rules.Addresses(tuple([self.addresses.member(name, contested) for name in names]), negate=negate)

    def _services(self, names: tuple[str, ...]) -> Services:
        if ServiceChoice.ANY in names:
            return ServiceChoice.ANY
        if ServiceChoice.APPLICATION_DEFAULT in names:
            return ServiceChoice.APPLICATION_DEFAULT
        return tuple([self.services.member(name) for name in names])

    def _schedule(self, children: Children) -> Schedule | Unresolved | None:
        name = _text(children, "schedule")
        return None if name is None else schedule(name, self.scope, self.time_zone)


def _same(one: object, other: object) -> bool:
    """Equal; mostly it is the very same object."""
    return one is other or one == other


def _text(children: Children, tag: str) -> str | None:
    child = children.get(tag)
    return None if child is None else (child.text or "").strip() or None


def log_of(children: Children, inherited: Log) -> Log:
    """A rule's log settings, each attribute for itself; an absent one keeps the inherited."""
    start, end = _text(children, "log-start"), _text(children, "log-end")
    return _log(
        inherited.start if start is None else start == "yes",
        inherited.end if end is None else end == "yes",
        _text(children, "log-setting") or inherited.profile,
    )


def _rule_type(children: Children) -> tuple[RuleType, tuple[str, ...]]:
    text = _text(children, "rule-type") or RuleType.UNIVERSAL.value
    if text in _RULE_TYPES:
        return _RULE_TYPES[text], ()
    return RuleType.UNIVERSAL, (f"its rule-type '{text}' is not known",)


def _zones(names: tuple[str, ...]) -> frozenset[str] | None:
    return None if "any" in names else _names(names)


def _target(entry: Element) -> TargetFirewalls | None:
    serials = frozenset(serial for serial, _ in entries(entry, "target/devices"))
    return TargetFirewalls(serials, negate=yes(entry, "target/negate")) if serials else None


def _conditions(entry: Element, children: Children) -> Iterator[str]:
    for tag, what in NARROWING.items():
        if tag in children:
            names = [name for name in members(children[tag]) if name != "any"]
            if names:
                yield f"a cluster can't know its {what}: {', '.join(names)}"
    if "target" in children and members(entry.find("target/tags")):
        yield "it targets firewalls by tag, which a cluster doesn't carry"
    yield from unknown_elements(entry, children)


def unknown_elements(entry: Element, children: Children) -> Iterator[str]:
    """What this version can't read of a rule, one clause each. A list of nothing but `any` narrows nothing."""
    if children.keys() <= KNOWN:
        return
    for tag in dict.fromkeys(child.tag for child in entry if child.tag not in KNOWN and not _only_any(child)):
        yield f"its element '{tag}' is not known to this version"


def _only_any(element: Element) -> bool:
    return bool(len(element)) and all(
        child.tag == "member" and (child.text or "").strip() == "any" for child in element
    )


def misshapen(entry: Element, children: Children) -> Iterator[str]:
    """What of a rule's known elements has not the shape that PAN-OS gives it, one clause each."""
    if len(children) != len(entry):
        for tag, times in Counter(child.tag for child in entry).items():
            if times > 1:
                yield f"it has '{tag}' {times} times"
    for tag in LISTS:
        if tag in children and not is_list(children[tag]):
            yield f"its '{tag}' is no list of members"
    for tag in SWITCHES:
        yield from _no_switch(tag, _text(children, tag))
    if "target" in children:
        yield from _misshapen_target(entry)


def _no_switch(path: str, text: str | None) -> Iterator[str]:
    if text not in {None, "yes", "no"}:
        yield f"its '{path}' is '{text}', neither yes nor no"


def _misshapen_target(entry: Element) -> Iterator[str]:
    yield from _no_switch("target/negate", text_of(entry, "target/negate"))
    devices = entry.find("target/devices")
    if not is_list(devices, "entry") or any(not device.get("name") for device in entry.findall("target/devices/entry")):
        yield "its 'target/devices' is no list of firewalls"
    for child in entry.findall("target/*"):
        if child.tag not in {"devices", "tags", "negate"}:
            yield f"its target's element '{child.tag}' is not known to this version"


def _malformed(children: Children, lists: Mapping[str, tuple[str, ...]], rule_type: RuleType) -> Iterator[str]:
    action = _text(children, "action")
    if action is None:
        yield "it has no action"
    elif action not in _ACTIONS:
        yield f"its action '{action}' is not known"
    for tag, names in lists.items():
        if not (names or (tag == "to" and rule_type is RuleType.INTRAZONE)):
            yield f"it has no '{tag}'"
    services = lists["service"]
    if "application-default" in services and "any" not in services and len(set(services)) > 1:
        yield "its service list has 'application-default' beside other services"
