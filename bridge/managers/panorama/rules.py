"""Security rules: a rule's XML to `zones.rules.Rule`, strictly. What is not known is said, never guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from bridge.managers.panorama import addresses, applications, services
from bridge.managers.panorama.document import entries, members, text_of, yes
from bridge.managers.panorama.schedules import schedule
from bridge.managers.panorama.shapes import is_list
from bridge.managers.panorama.tree import Scope
from bridge.managers.panorama.wildcards import Wildcards
from zones import rules
from zones.rules import Action, Log, Origin, Rule, RuleType, ServiceChoice, Services, Target, Unresolved
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
SWITCHES = ("disabled", "negate-source", "negate-destination", "target/negate")


@dataclass(frozen=True)
class RuleReader:
    """Reads rules as one device group sees their objects."""

    scope: Scope
    addresses: addresses.Addresses
    services: services.ServiceObjects
    applications: applications.ApplicationObjects
    wildcards: Wildcards
    time_zone: str = "UTC"

    def read(self, entry: Element, rulebase: str, device_group: str, number: int) -> Rule:
        """A rule of the pre or the post rulebase of a level."""
        origin = Origin(entry.get("name") or "(nameless)", entry.get("uuid"), rulebase, device_group)
        rule_type, bad_type = _rule_type(entry)
        return Rule(
            origin=origin,
            action=_action(entry),
            rule_type=rule_type,
            from_zones=_zones(entry, "from"),
            to_zones=None if rule_type is RuleType.INTRAZONE else _zones(entry, "to"),
            sources=self._addresses(entry, "source"),
            destinations=self._addresses(entry, "destination"),
            applications=self.applications.members(members(entry.find("application"))),
            services=self._services(members(entry.find("service"))),
            schedule=self._schedule(entry),
            disabled=yes(entry, "disabled"),
            target=_target(entry),
            tags=frozenset(members(entry.find("tag"))),
            log=log_of(entry, Log(end=True)),
            conditions=tuple(_conditions(entry)),
            malformed=(*_malformed(entry, rule_type), *bad_type, *misshapen(entry)),
            number=number,
            notes=tuple(note for tag, note in NOTED.items() if entry.find(tag) is not None),
        )

    def _addresses(self, entry: Element, side: str) -> rules.Addresses:
        names = members(entry.find(side))
        negate = yes(entry, f"negate-{side}")
        if "any" in names:
            return rules.Addresses(any=True, negate=negate)
        contested = self.wildcards.contested(entry, side)
        return rules.Addresses(tuple(self.addresses.member(name, contested) for name in names), negate=negate)

    def _services(self, names: tuple[str, ...]) -> Services:
        for choice in ServiceChoice:
            if choice in names:
                return choice
        return tuple(self.services.member(name) for name in names)

    def _schedule(self, entry: Element) -> Schedule | Unresolved | None:
        name = text_of(entry, "schedule")
        return None if name is None else schedule(name, self.scope, self.time_zone)


def _action(entry: Element) -> Action | None:
    text = text_of(entry, "action")
    return Action(text) if text in {action.value for action in Action} else None


def log_of(entry: Element, inherited: Log) -> Log:
    """A rule's log settings, each attribute for itself; an absent one keeps the inherited."""
    start, end = text_of(entry, "log-start"), text_of(entry, "log-end")
    return Log(
        start=inherited.start if start is None else start == "yes",
        end=inherited.end if end is None else end == "yes",
        profile=text_of(entry, "log-setting") or inherited.profile,
    )


def _rule_type(entry: Element) -> tuple[RuleType, tuple[str, ...]]:
    text = text_of(entry, "rule-type") or RuleType.UNIVERSAL.value
    if text in {kind.value for kind in RuleType}:
        return RuleType(text), ()
    return RuleType.UNIVERSAL, (f"its rule-type '{text}' is not known",)


def _zones(entry: Element, side: str) -> frozenset[str] | None:
    names = members(entry.find(side))
    return None if "any" in names else frozenset(names)


def _target(entry: Element) -> Target | None:
    serials = frozenset(serial for serial, _ in entries(entry, "target/devices"))
    return Target(serials, negate=yes(entry, "target/negate")) if serials else None


def _conditions(entry: Element) -> Iterator[str]:
    for tag, what in NARROWING.items():
        names = [name for name in members(entry.find(tag)) if name != "any"]
        if names:
            yield f"a cluster can't know its {what}: {', '.join(names)}"
    if members(entry.find("target/tags")):
        yield "it targets firewalls by tag, which a cluster doesn't carry"
    yield from unknown_elements(entry)


def unknown_elements(entry: Element) -> Iterator[str]:
    """What this version can't read of a rule, one clause each. A list of nothing but `any` narrows nothing."""
    known = READ | SILENT | NOTED.keys() | NARROWING.keys()
    for tag in dict.fromkeys(child.tag for child in entry if child.tag not in known and not _only_any(child)):
        yield f"its element '{tag}' is not known to this version"


def _only_any(element: Element) -> bool:
    return bool(len(element)) and all(
        child.tag == "member" and (child.text or "").strip() == "any" for child in element
    )


def misshapen(entry: Element) -> Iterator[str]:
    """What of a rule's known elements has not the shape that PAN-OS gives it, one clause each."""
    for tag, times in Counter(child.tag for child in entry).items():
        if times > 1:
            yield f"it has '{tag}' {times} times"
    for tag in LISTS:
        if not is_list(entry.find(tag)):
            yield f"its '{tag}' is no list of members"
    for path in SWITCHES:
        text = text_of(entry, path)
        if text not in {None, "yes", "no"}:
            yield f"its '{path}' is '{text}', neither yes nor no"
    devices = entry.find("target/devices")
    if not is_list(devices, "entry") or any(not each.get("name") for each in entry.findall("target/devices/entry")):
        yield "its 'target/devices' is no list of firewalls"
    for child in entry.findall("target/*"):
        if child.tag not in {"devices", "tags", "negate"}:
            yield f"its target's element '{child.tag}' is not known to this version"


def _malformed(entry: Element, rule_type: RuleType) -> Iterator[str]:
    action = text_of(entry, "action")
    if action is None:
        yield "it has no action"
    elif _action(entry) is None:
        yield f"its action '{action}' is not known"
    needed = ["from", "source", "destination", "application", "service"]
    if rule_type is not RuleType.INTRAZONE:
        needed.insert(1, "to")
    for tag in needed:
        if not members(entry.find(tag)):
            yield f"it has no '{tag}'"
    services = members(entry.find("service"))
    if "application-default" in services and "any" not in services and len(set(services)) > 1:
        yield "its service list has 'application-default' beside other services"
