"""Address objects, groups, EDLs and regions: a name to what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_address, ip_network
from typing import NamedTuple
from xml.etree.ElementTree import Element

from bridge.managers.panorama.objects import feeds
from bridge.managers.panorama.objects.countries import COUNTRIES
from bridge.managers.panorama.objects.tag_filter import Matcher, TagFilterError, parse_filter
from bridge.managers.panorama.rulebase.document import members, text_of, yes
from bridge.managers.panorama.rulebase.shapes import misshapen
from bridge.managers.panorama.rulebase.tree import KIND_WORDS, Definition, ObjectScope, ambiguous, names_above, walk
from zones.net import AddressSet, union, wildcard
from zones.rules import AddressObject, Feed, Unresolved

KINDS = ("address", "address-group", "external-list", "region")
TAGGED_KINDS = ("address", "address-group")
SUBDOMAINS = "stands for every subdomain of its names too, which can't be resolved"
CONTESTED = (
    "has a wildcard mask that overlaps another rule's: a firewall takes the rule of the longer one, wherever it "
    "stands, unless it is set to match from the top down (objects.wildcardTopDown)"
)
NOT_IN_AN_EXPORT = "no object has tags that its filter selects; IPs tagged at run time are not in an export"


class _AddressGroup(NamedTuple):
    """What a group holds itself, and the names below it."""

    parts: tuple[AddressObject, ...]
    below: tuple[str, ...]


@dataclass(slots=True)
class KnownAddresses:
    """What names were found to stand for. It holds no element, so that it may be kept from one commit to the next.

    `own`: each name by itself, `members`: with all that is below it. `feeds`: the FQDNs and external lists that were
    read, by the name that address objects give them; `filtered`: the groups that select by `tagged`, the objects' tags.
    `contested`: two objects have feeds of one name, and which of them stands depends on the order of reading.
    """

    own: dict[str, AddressObject | _AddressGroup] = field(default_factory=dict)
    members: dict[str, AddressObject] = field(default_factory=dict)
    feeds: dict[str, Feed] = field(default_factory=dict)
    filtered: set[str] = field(default_factory=set)
    tagged: list[tuple[str, frozenset[str]]] | None = None
    registered: Mapping[str, frozenset[str]] | None = None
    contested: bool = False

    def above(self, changed: set[str]) -> set[str]:
        """The names that stand for something else where these do."""
        return names_above(
            changed, {name: own.below for name, own in self.own.items() if isinstance(own, _AddressGroup)}
        )

    def without(self, changed: set[str], stale: set[str]) -> KnownAddresses:
        """What of it still holds where the definitions of some names have `changed`, and `stale` are all above them."""
        kept = {name: own for name, own in self.own.items() if name not in changed}
        objects = (own for own in kept.values() if isinstance(own, AddressObject))
        return KnownAddresses(
            kept,
            {name: member for name, member in self.members.items() if name not in stale},
            {feed: self.feeds[feed] for own in objects for feed in own.feeds},
            self.filtered - changed,
        )


@dataclass(slots=True)
class AddressResolver:
    """Looks names up in a scope, once each.

    `registered` are the IPs that User-ID or the API tagged, ip -> tags, None where that isn't known. `provided`: where
    the site has Palo Alto Networks' lists. `known`: what needn't be looked up.
    """

    scope: ObjectScope
    registered: Mapping[str, frozenset[str]] | None = None
    time_zone: str = "UTC"
    provided: Mapping[str, str] = field(default_factory=dict)
    known: KnownAddresses = field(default_factory=KnownAddresses)
    _contested: dict[tuple[str, frozenset[str]], AddressObject] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known.registered = self.registered

    def keep(self, last: KnownAddresses, changed: set[str]) -> set[str]:
        """Know what was known of another commit, but for the names that may stand for something else now: these."""
        tagged = last.tagged
        if changed:
            tagged = self._tagged_objects() if last.filtered else None
        if last.filtered and (last.registered != self.registered or last.tagged != tagged):
            changed = changed | last.filtered
        stale = last.above(changed) if changed else set()
        self.known = last.without(changed, stale) if changed else replace(last)
        self.known.registered, self.known.tagged = self.registered, tagged
        return stale

    def member(self, name: str, contested: frozenset[str] = frozenset()) -> AddressObject:
        """What a rule's source or destination member stands for: an object of that name, or a literal address.

        `contested`: the wildcards below it that another rule may take from this one.
        """
        if contested:
            if (name, contested) not in self._contested:
                self._contested[name, contested] = self._member(name, contested)
            return self._contested[name, contested]
        known = self.known.members.get(name)
        if known is None:
            known = self.known.members[name] = self._member(name, contested)
        return known

    def _member(self, name: str, contested: frozenset[str]) -> AddressObject:
        parts = self._parts(name, contested)
        return parts[0] if len(parts) == 1 and parts[0].name == name else _union(name, parts)

    @property
    def has_wildcards(self) -> bool:
        return any(True for level in self.scope.levels for _ in level.objects_with("address", "ip-wildcard"))

    def wildcards_below(self, name: str) -> Iterator[tuple[str, str]]:
        """Name and text of each address with a wildcard mask that a member holds."""
        for member, _ in walk(name, self._below):
            definitions = self.scope.definitions(member, KINDS)
            if len(definitions) != 1 or definitions[0].kind != "address" or member in COUNTRIES:
                continue
            if misshapen("address", definitions[0].entry) is None:
                text = text_of(definitions[0].entry, "ip-wildcard")
                if text is not None:
                    yield member, text

    def _parts(self, name: str, contested: frozenset[str]) -> Sequence[AddressObject]:
        """What a name and all names below it hold."""
        own = self._own(name)
        if isinstance(own, AddressObject) and not contested:
            return (own,)
        parts: list[AddressObject] = []
        for member, _ in walk(name, self._below):
            if member in contested:
                parts.append(_unresolved(member, CONTESTED))
                continue
            own = self._own(member)
            parts += (own,) if isinstance(own, AddressObject) else own.parts
        return parts

    def _below(self, name: str) -> tuple[str, ...]:
        own = self._own(name)
        return () if isinstance(own, AddressObject) else own.below

    def _own(self, name: str) -> AddressObject | _AddressGroup:
        """What a name stands for, but for the names below it."""
        own = self.known.own.get(name)
        if own is None:
            own = self.known.own[name] = self._read(name)
        return own

    def _read(self, name: str) -> AddressObject | _AddressGroup:
        definitions = self.scope.definitions(name, KINDS)
        if not definitions:
            built_in = feeds.provided_name(name)
            return _literal(name) if built_in is None else self._feed(feeds.provided(built_in, self.provided))
        if len(definitions) > 1 or name in COUNTRIES:
            return _unresolved(name, _ambiguous(name, definitions))
        flaw = misshapen(definitions[0].kind, definitions[0].entry)
        if flaw is not None:
            return _unresolved(name, flaw)
        if definitions[0].kind == "address-group":
            return self._group(name, definitions[0].entry)
        return self._object(name, definitions[0])

    def _object(self, name: str, definition: Definition) -> AddressObject:
        if definition.kind == "address":
            return self._address(name, definition.entry)
        if definition.kind == "external-list":
            return self._external_list(name, definition.entry)
        return _union(name, [_literal(member) for member in members(definition.entry.find("address"))])

    def _group(self, name: str, group: Element) -> AddressObject | _AddressGroup:
        """The names that a group lists, or those of the tagged objects that its filter selects, and registered IPs."""
        matches = _filter(group)
        if matches is not None:
            self.known.filtered.add(name)
        if isinstance(matches, str):
            return _unresolved(name, f"has a filter that can't be read: {matches}")
        if matches is None:
            below = members(group.find("static"))
            return _AddressGroup((), below) if below else AddressObject(name, hollow=True)
        tagged = (tagged_name for tagged_name, tags in self._tagged_objects() if tagged_name != name and matches(tags))
        below = tuple(dict.fromkeys(tagged))
        registered = tuple(_literal(ip) for ip, tags in (self.registered or {}).items() if matches(tags))
        if registered or below:
            return _AddressGroup(registered, below)
        return AddressObject(name, hollow=True, hint=NOT_IN_AN_EXPORT if self.registered is None else "")

    def _tagged_objects(self) -> list[tuple[str, frozenset[str]]]:
        """Addresses and address groups that carry tags. Groups are members too, as what they hold."""
        if self.known.tagged is None:
            tagged = (item for kind in TAGGED_KINDS for item in self.scope.objects_with(kind, "tag"))
            self.known.tagged = [(name, tags) for name, entry in tagged if (tags := _tags(entry))]
        return self.known.tagged

    def _address(self, name: str, entry: Element) -> AddressObject:
        """Of an object that has no more than one of these."""
        for child in entry:
            text = (child.text or "").strip()
            if child.tag == "fqdn" and text:
                return self._feed(feeds.fqdn(name, text))
            reader = _READERS.get(child.tag)
            if reader is not None and text:
                try:
                    return AddressObject(name, reader(text))
                except ValueError as error:
                    return _unresolved(name, f"has {child.tag} '{text}', which can't be read: {error}")
        return _unresolved(name, "has no address")

    def _external_list(self, name: str, entry: Element) -> AddressObject:
        feed = feeds.external_list(name, entry, self.time_zone, self.provided)
        if isinstance(feed, str):
            return _unresolved(name, feed)
        listed = self._feed(feed)
        more = (Unresolved(name, SUBDOMAINS),) if yes(entry, "type/domain/expand-domain") else ()
        return replace(listed, unresolved=more)

    def _feed(self, feed: Feed) -> AddressObject:
        """An object that is a feed; several may be the same one."""
        self.known.contested |= self.known.feeds.get(feed.name, feed) != feed
        self.known.feeds[feed.name] = feed
        return AddressObject(feed.name, feeds=(feed.name,))


def _filter(group: Element) -> Matcher | str | None:
    """A dynamic group's filter, or why it can't be read; None for a static group."""
    if group.find("dynamic") is None:
        return None
    try:
        return parse_filter(text_of(group, "dynamic/filter") or "")
    except TagFilterError as error:
        return str(error)


def _ambiguous(name: str, definitions: tuple[Definition, ...]) -> str:
    if name not in COUNTRIES:
        return ambiguous(definitions)
    return f"is both {KIND_WORDS[definitions[0].kind]} ({definitions[0].level}) and a country; rename the object"


def _tags(entry: Element) -> frozenset[str]:
    return frozenset(tag for tag_list in entry.findall("tag") for tag in members(tag_list))


def _union(name: str, parts: Sequence[AddressObject]) -> AddressObject:
    return AddressObject(
        name,
        space=union([part.space for part in parts]),
        feeds=tuple(dict.fromkeys([feed for part in parts for feed in part.feeds])),
        unresolved=tuple(dict.fromkeys([problem for part in parts for problem in part.unresolved])),
        hollow=not parts or any(part.hollow for part in parts),
    )


def _unresolved(name: str, why: str) -> AddressObject:
    return AddressObject(name, unresolved=(Unresolved(name, why),))


def _literal(text: str) -> AddressObject:
    for reader in (_netmask, _range):
        try:
            return AddressObject(text, reader(text))
        except ValueError:
            continue
    if text in COUNTRIES:
        return _unresolved(text, "is a country, whose addresses only firewalls know")
    return _unresolved(text, "is defined nowhere and is no address")


def _netmask(text: str) -> AddressSet:
    """A bare address, or a prefix whose host bits may be set. A mask is a network's, never a wildcard's."""
    mask = text.partition("/")[2]
    try:
        space = AddressSet.of_prefix(text)
        spoken = str(ip_network(text, strict=False).netmask) if "." in mask else mask
    except ValueError:
        raise ValueError("it is no IPv4 or IPv6 address or prefix") from None
    if spoken != mask:
        raise ValueError(f"'{mask}' is no mask of a network")
    return space.with_embedded_ipv4()


def _range(text: str) -> AddressSet:
    first, dash, last = text.partition("-")
    if not dash:
        raise ValueError("it has no '-'")
    start, end = ip_address(first.strip()), ip_address(last.strip())
    if int(start) > int(end):
        raise ValueError("it ends before it starts")
    return AddressSet.between(start, end).with_embedded_ipv4()


def _wildcard(text: str) -> AddressSet:
    address, slash, mask = text.partition("/")
    if not slash:
        raise ValueError("it has no wildcard mask")
    return wildcard(IPv4Address(address.strip()), IPv4Address(mask.strip()))


_READERS: Mapping[str, Callable[[str], AddressSet]] = {
    "ip-netmask": _netmask,
    "ip-range": _range,
    "ip-wildcard": _wildcard,
}
