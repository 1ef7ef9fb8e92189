"""Address objects, groups, EDLs and regions: a name to what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_address, ip_network
from xml.etree.ElementTree import Element

from bridge.managers.panorama import feeds
from bridge.managers.panorama.countries import COUNTRIES
from bridge.managers.panorama.document import members, text_of, yes
from bridge.managers.panorama.shapes import misshapen
from bridge.managers.panorama.tagfilter import FilterError, Matcher, parse_filter
from bridge.managers.panorama.tree import KIND_WORDS, Definition, Scope, ambiguous, walk
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


@dataclass(slots=True)
class Addresses:
    """Looks names up in a scope, once each.

    `registered` are the IPs that User-ID or the API tagged, ip -> tags, None where that isn't known; `feeds` gathers,
    by name, the FQDNs and external lists that were looked up. `provided`: where the site has Palo Alto Networks' lists.
    """

    scope: Scope
    registered: Mapping[str, frozenset[str]] | None = None
    time_zone: str = "UTC"
    provided: Mapping[str, str] = field(default_factory=dict)
    feeds: dict[str, Feed] = field(default_factory=dict)
    _known: dict[tuple[str, frozenset[str]], AddressObject] = field(default_factory=dict)
    _tagged: list[tuple[str, frozenset[str]]] | None = None

    def member(self, name: str, contested: frozenset[str] = frozenset()) -> AddressObject:
        """What a rule's source or destination member stands for: an object of that name, or a literal address.

        `contested`: the wildcards below it that another rule may take from this one.
        """
        key = name, contested
        if key not in self._known:
            parts = [part for each, below in walk(name, self._members) for part in self._parts(each, below, contested)]
            is_leaf = len(parts) == 1 and parts[0].name == name
            self._known[key] = parts[0] if is_leaf else _union(name, parts)
        return self._known[key]

    @property
    def has_wildcards(self) -> bool:
        return any(each.entry.find("ip-wildcard") is not None for each in self.scope.objects("address").values())

    def wildcards_below(self, name: str) -> Iterator[tuple[str, str]]:
        """Name and text of each address with a wildcard mask that a member holds."""
        for each, _ in walk(name, self._members):
            found = self._only(each)
            if found is not None and found.kind == "address" and misshapen(found.kind, found.entry) is None:
                text = text_of(found.entry, "ip-wildcard")
                if text is not None:
                    yield each, text

    def _only(self, name: str) -> Definition | None:
        """The object of a name; None where it stands for none, or for several."""
        found = self.scope.definitions(name, KINDS)
        return found[0] if len(found) == 1 and name not in COUNTRIES else None

    def _members(self, name: str) -> tuple[str, ...]:
        """The names that a group holds: those it lists, or those of the tagged objects that its filter selects."""
        found = self._only(name)
        if found is None or found.kind != "address-group" or misshapen(found.kind, found.entry):
            return ()
        matches = _filter(found.entry)
        if matches is None:
            return members(found.entry.find("static"))
        if isinstance(matches, str):
            return ()
        return tuple(dict.fromkeys(each for each, tags in self._tagged_objects() if each != name and matches(tags)))

    def _tagged_objects(self) -> list[tuple[str, frozenset[str]]]:
        """Addresses and address groups that carry tags. Groups are members too, as what they hold."""
        if self._tagged is None:
            every = (each for kind in TAGGED_KINDS for each in self.scope.objects(kind).items())
            self._tagged = [(name, tags) for name, each in every if (tags := _tags(each.entry))]
        return self._tagged

    def _parts(self, name: str, below: tuple[str, ...], contested: frozenset[str]) -> Iterator[AddressObject]:
        """What a name holds itself, beside the names below it."""
        found = self.scope.definitions(name, KINDS)
        if name in contested:
            yield _unresolved(name, CONTESTED)
        elif len(found) > 1 or (found and name in COUNTRIES):
            yield _unresolved(name, _ambiguous(name, found))
        elif not found:
            built_in = feeds.provided_name(name)
            yield _literal(name) if built_in is None else self._feed(feeds.provided(built_in, self.provided))
        elif (flaw := misshapen(found[0].kind, found[0].entry)) is not None:
            yield _unresolved(name, flaw)
        elif found[0].kind == "address-group":
            yield from self._own(name, found[0].entry, below)
        else:
            yield self._object(name, found[0])

    def _object(self, name: str, found: Definition) -> AddressObject:
        if found.kind == "address":
            return self._address(name, found.entry)
        if found.kind == "external-list":
            return self._external_list(name, found.entry)
        return _union(name, [_literal(member) for member in members(found.entry.find("address"))])

    def _own(self, name: str, group: Element, below: tuple[str, ...]) -> Iterator[AddressObject]:
        """Of a dynamic group the registered addresses; of a group without anything, that it is empty."""
        matches = _filter(group)
        if isinstance(matches, str):
            yield _unresolved(name, f"has a filter that can't be read: {matches}")
            return
        tagged = () if matches is None else (self.registered or {}).items()
        registered = [_literal(ip) for ip, tags in tagged if matches is not None and matches(tags)]
        yield from registered
        if not (registered or below):
            unknown = matches is not None and self.registered is None
            yield AddressObject(name, hollow=True, hint=NOT_IN_AN_EXPORT if unknown else "")

    def _address(self, name: str, entry: Element) -> AddressObject:
        host = text_of(entry, "fqdn")
        return _address(name, entry) if host is None else self._feed(feeds.fqdn(name, host))

    def _external_list(self, name: str, entry: Element) -> AddressObject:
        found = feeds.external_list(name, entry, self.time_zone, self.provided)
        if isinstance(found, str):
            return _unresolved(name, found)
        listed = self._feed(found)
        more = (Unresolved(name, SUBDOMAINS),) if yes(entry, "type/domain/expand-domain") else ()
        return replace(listed, unresolved=more)

    def _feed(self, feed: Feed) -> AddressObject:
        self.feeds[feed.name] = feed
        return AddressObject(feed.name, feeds=(feed.name,))


def _filter(group: Element) -> Matcher | str | None:
    """A dynamic group's filter, or why it can't be read; None for a static group."""
    if group.find("dynamic") is None:
        return None
    try:
        return parse_filter(text_of(group, "dynamic/filter") or "")
    except FilterError as error:
        return str(error)


def _ambiguous(name: str, found: tuple[Definition, ...]) -> str:
    if name not in COUNTRIES:
        return ambiguous(found)
    return f"is both {KIND_WORDS[found[0].kind]} ({found[0].level}) and a country; rename the object"


def _tags(entry: Element) -> frozenset[str]:
    return frozenset(tag for each in entry.findall("tag") for tag in members(each))


def _union(name: str, parts: list[AddressObject]) -> AddressObject:
    return AddressObject(
        name,
        space=union(part.space for part in parts),
        feeds=tuple(dict.fromkeys(feed for part in parts for feed in part.feeds)),
        unresolved=tuple(dict.fromkeys(each for part in parts for each in part.unresolved)),
        hollow=not parts or any(part.hollow for part in parts),
    )


def _unresolved(name: str, why: str) -> AddressObject:
    return AddressObject(name, unresolved=(Unresolved(name, why),))


def _address(name: str, entry: Element) -> AddressObject:
    readers: dict[str, Callable[[str], AddressSet]] = {
        "ip-netmask": _netmask,
        "ip-range": _range,
        "ip-wildcard": _wildcard,
    }
    for kind, reader in readers.items():
        text = text_of(entry, kind)
        if text is not None:
            try:
                return AddressObject(name, reader(text))
            except ValueError as error:
                return _unresolved(name, f"has {kind} '{text}', which can't be read: {error}")
    return _unresolved(name, "has no address")


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
        spoken = str(ip_network(text, strict=False).netmask) if "." in mask else mask
        space = AddressSet.parse([text])
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
