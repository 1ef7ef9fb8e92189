"""App-IDs: custom applications (workloads), predefined ones (ports), groups, filters and containers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from xml.etree.ElementTree import Element

from bridge.managers.panorama.objects.application_filters import ApplicationFilterError, Selector, selector
from bridge.managers.panorama.objects.content import PredefinedContent
from bridge.managers.panorama.objects.default_ports import default_ports, port_member
from bridge.managers.panorama.rulebase.document import members, text_of
from bridge.managers.panorama.rulebase.seed import SEED_PORTS
from bridge.managers.panorama.rulebase.shapes import misshapen
from bridge.managers.panorama.rulebase.tree import KIND_WORDS, Definition, ObjectScope, ambiguous, flatten, walk
from zones.rules import EVERY_APPLICATION, Application, Applications, Unresolved
from zones.workload import normalise, split_namespace

# A namespace is a DNS label: no name of one begins with a colon or a hyphen.
TAG_NAMESPACE = re.compile("k8s-namespace[:-](.*)", re.IGNORECASE | re.DOTALL)
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
KINDS = ("application", "application-group", "application-filter")
# What lists of applications depend on.
ALL_KINDS = (*KINDS, "application-status", "application-tag")
# What a firewall calls traffic that it can't name. No content has ports for them.
UNNAMED = frozenset(
    {"unknown-tcp", "unknown-udp", "unknown-p2p", "non-syn-tcp", "incomplete", "insufficient-data", "not-applicable"}
)
NOT_IN_AN_EXPORT = (
    "is no object of this configuration, and App-ID content is not in an export: the service asks Panorama for it, "
    "offline --predefined gives it"
)


@dataclass(frozen=True)
class ApplicationObjects:
    """Looks application names up in a scope, then in the predefined content, then in the seed table; each list once.

    `known`: the lists that needn't be looked up.
    """

    scope: ObjectScope
    known: dict[tuple[str, ...], Applications] = field(default_factory=dict)

    def members(self, names: tuple[str, ...]) -> Applications:
        """What a rule's application list stands for."""
        if "any" in names:
            return EVERY_APPLICATION
        if names not in self.known:
            self.known[names] = self._members(names)
        return self.known[names]

    def _members(self, names: tuple[str, ...]) -> Applications:
        parts = [part for name in names for part in self._member(name)]
        return Applications(
            tuple(dict.fromkeys(part for part in parts if isinstance(part, Application))),
            tuple(dict.fromkeys(part for part in parts if isinstance(part, Unresolved))),
        )

    def predefined_names(self, names: tuple[str, ...]) -> tuple[frozenset[str], bool]:
        """The names that predefined content may have, and whether a filter selects among all of it."""
        below = {member for name in names if name != "any" for member, _ in walk(name, self._group_members)}
        kinds = {member: [definition.kind for definition in self._definitions(member)] for member in below}
        filtered = any("application-filter" in definition for definition in kinds.values())
        return frozenset(member for member, definition in kinds.items() if definition != ["application"]), filtered

    @cached_property
    def _content(self) -> PredefinedContent:
        return PredefinedContent(self.scope.predefined)

    @cached_property
    def _disabled(self) -> frozenset[str]:
        """The App-IDs that an administrator has switched off after a content update."""
        status = self.scope.objects("application-status").items()
        return frozenset(name for name, definition in status if _status(definition.entry) == "disabled")

    def _definitions(self, name: str) -> tuple[Definition, ...]:
        return self.scope.definitions(name, KINDS)

    def _member(self, name: str) -> Iterator[Application | Unresolved]:
        for leaf in flatten(name, self._group_members):
            yield from self._leaf(leaf)

    def _group_members(self, name: str) -> tuple[str, ...]:
        definitions = self._definitions(name)
        if not definitions:
            return self._content.containers.get(name, ())
        if (
            len(definitions) > 1
            or definitions[0].kind != "application-group"
            or self._also_predefined(name, definitions[0])
        ):
            return ()
        well_formed = misshapen("application-group", definitions[0].entry) is None
        return members(definitions[0].entry.find("members")) if well_formed else ()

    def _also_predefined(self, name: str, definition: Definition) -> str:
        """What the content has of another kind by the name of an object; "" where it has none."""
        if name in self._content.containers:
            return "an application container"
        is_application = name in self._content.applications or name in SEED_PORTS
        return "an App-ID" if is_application and definition.kind != "application" else ""

    def _leaf(self, name: str) -> Iterator[Application | Unresolved]:
        definitions = self._definitions(name)
        if len(definitions) > 1:
            yield Unresolved(name, ambiguous(definitions))
        elif not definitions:
            yield self._predefined_member(name)
        elif also := self._also_predefined(name, definitions[0]):
            word, level = KIND_WORDS[definitions[0].kind], definitions[0].level
            yield Unresolved(name, f"is both {word} ({level}) and {also} of Palo Alto Networks; rename the object")
        elif definitions[0].kind == "application":
            yield self._custom(name, definitions[0].entry)
        elif definitions[0].kind == "application-filter":
            yield from self._filter(name, definitions[0].entry)
        elif (flaw := misshapen("application-group", definitions[0].entry)) is not None:
            yield Unresolved(name, flaw)

    def _custom(self, name: str, entry: Element) -> Application | Unresolved:
        """A workload, of the namespaces that its tags name, or that is part of its name: `shop/orders`."""
        at_site = self.scope.object(name, "application-tag")
        tags = _tags(entry) | (_tags(at_site.entry) if at_site is not None else frozenset())
        tagged = {match[1].strip().lower() for tag in tags if (match := TAG_NAMESPACE.fullmatch(tag.strip()))}
        named, workload = split_namespace(normalise(name))
        namespaces = sorted(tagged | {named} if "/" in name else tagged)
        if wrong := [namespace for namespace in namespaces if not _NAMESPACE.fullmatch(namespace)]:
            return Unresolved(name, f"is to be of namespace '{wrong[0]}', which is no name of one; its tags say it")
        ports, unresolved = default_ports(entry)
        return Application(name, workload, ports, unresolved, namespaces=tuple(namespaces))

    def _predefined_member(self, name: str) -> Application | Unresolved:
        if name in UNNAMED:
            return Unresolved(name, "is traffic that App-ID can't name, which only a firewall can tell")
        if name in self._content.applications:
            return self._predefined(name, self._content.applications[name])
        if name in self._content.containers:
            return Unresolved(name, "is an application container without applications")
        if name in SEED_PORTS:
            ports = tuple(l4 for text in SEED_PORTS[name] for l4 in port_member(text))
            return Application(name, None, ports, disabled=name in self._disabled)
        if not self._content:
            return Unresolved(name, NOT_IN_AN_EXPORT)
        return Unresolved(name, "is defined nowhere: no custom application and not in the predefined content")

    def _predefined(self, name: str, entry: Element) -> Application:
        ports, unresolved = default_ports(entry)
        if not ports and not unresolved:
            unresolved = (Unresolved(name, "has no default port"),)
        return Application(name, None, ports, unresolved, disabled=name in self._disabled)

    def _filter(self, name: str, entry: Element) -> Iterator[Application | Unresolved]:
        site_tags = {
            application: _tags(definition.entry)
            for application, definition in self.scope.objects("application-tag").items()
        }
        try:
            select = selector(entry, tags_known=self._content.has_tags or bool(site_tags))
        except ApplicationFilterError as error:
            yield Unresolved(name, str(error))
            return
        if not self._content:
            yield Unresolved(name, f"is a filter, and selects among what {NOT_IN_AN_EXPORT.partition(', and ')[2]}")
        yield from self._selected(name, select, site_tags)

    def _selected(
        self, name: str, select: Selector, site_tags: dict[str, frozenset[str]]
    ) -> Iterator[Application | Unresolved]:
        """What the filter selects for certain; where it may select more, that this isn't known."""
        doubtful = False
        for application, entry in self._candidates():
            tags = _tags(entry) | site_tags.get(application, frozenset())
            if select.selects(entry, tags):
                yield from self._leaf(application)
            elif select.may_select(entry, tags):
                doubtful = True
        if doubtful:
            yield Unresolved(name, select.doubt)

    def _candidates(self) -> Iterator[tuple[str, Element]]:
        """Every application that a name stands for: an object of that name takes the place of a predefined one."""
        custom = self.scope.objects("application")
        for name, definition in custom.items():
            yield name, definition.entry
        for name, entry in self._content.applications.items():
            if name not in custom:
                yield name, entry


def _tags(entry: Element) -> frozenset[str]:
    return frozenset(tag for tag_list in entry.findall("tag") for tag in members(tag_list))


def _status(entry: Element) -> str:
    return entry.get("status") or text_of(entry, "status") or ""
