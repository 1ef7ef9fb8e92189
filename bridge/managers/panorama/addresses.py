"""Address objects, groups, EDLs and regions: a name to what it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address, ip_network
from xml.etree.ElementTree import Element

from bridge.managers.panorama import feeds
from bridge.managers.panorama.document import members, text_of
from bridge.managers.panorama.tagfilter import FilterError, parse_filter
from bridge.managers.panorama.tree import Scope, flatten
from zones.net import AddressSet, union, wildcard
from zones.rules import AddressObject, Feed, Unresolved

KINDS = ("address", "address-group", "external-list", "region")
PROVIDED = "is a list that Palo Alto Networks provides to its firewalls; its content is not in the configuration"


@dataclass(slots=True)
class Addresses:
    """Looks names up in a scope, once each. `registered` are the IPs that User-ID or the API tagged, ip -> tags.

    `feeds` gathers, by name, the FQDNs and external lists that were looked up.
    """

    scope: Scope
    registered: Mapping[str, frozenset[str]] = field(default_factory=dict)
    time_zone: str = "UTC"
    feeds: dict[str, Feed] = field(default_factory=dict)
    _known: dict[str, AddressObject] = field(default_factory=dict)

    def member(self, name: str) -> AddressObject:
        """What a rule's source or destination member stands for: an object of that name, or a literal address."""
        if name not in self._known:
            leaves = [self._leaf(leaf) for leaf in flatten(name, self._static_members)]
            is_leaf = len(leaves) == 1 and leaves[0].name == name
            self._known[name] = leaves[0] if is_leaf else _union(name, leaves)
        return self._known[name]

    def _static_members(self, name: str) -> tuple[str, ...]:
        found = self.scope.find(name, *KINDS)
        if found is None or found[0] != "address-group":
            return ()
        return members(found[1].find("static"))

    def _leaf(self, name: str) -> AddressObject:
        found = self.scope.find(name, *KINDS)
        if found is None:
            return _unresolved(name, PROVIDED) if _is_provided(name) else _literal(name)
        kind, entry = found
        readers: dict[str, Callable[[str, Element], AddressObject]] = {
            "address": self._address,
            "address-group": self._group,
            "external-list": self._external_list,
            "region": self._region,
        }
        return readers[kind](name, entry)

    def _group(self, name: str, entry: Element) -> AddressObject:
        """A dynamic group, or one that holds nothing."""
        dynamic = entry.find("dynamic")
        if dynamic is None:
            return AddressObject(name, hollow=True)
        return self._dynamic(name, text_of(dynamic, "filter") or "")

    def _dynamic(self, name: str, expression: str) -> AddressObject:
        try:
            matches = parse_filter(expression)
        except FilterError as error:
            return _unresolved(name, f"has a filter that can't be read: {error}")
        # A nearer group or list of the same name takes the object's place here too.
        objects = {name: entry for name, (kind, entry) in self.scope.all_of(*KINDS).items() if kind == "address"}
        tagged = [self._address(each, entry) for each, entry in objects.items() if matches(_tags(entry))]
        registered = [_literal(ip) for ip, tags in self.registered.items() if matches(tags)]
        return _union(name, tagged + registered)

    def _address(self, name: str, entry: Element) -> AddressObject:
        host = text_of(entry, "fqdn")
        return _address(name, entry) if host is None else self._feed(feeds.fqdn(name, host))

    def _external_list(self, name: str, entry: Element) -> AddressObject:
        found = feeds.external_list(name, entry, self.time_zone)
        return _unresolved(name, found) if isinstance(found, str) else self._feed(found)

    def _feed(self, feed: Feed) -> AddressObject:
        self.feeds[feed.name] = feed
        return AddressObject(feed.name, feeds=(feed.name,))

    def _region(self, name: str, entry: Element) -> AddressObject:
        return _union(name, [_literal(member) for member in members(entry.find("address"))])


def _tags(entry: Element) -> frozenset[str]:
    return frozenset(members(entry.find("tag")))


def _union(name: str, parts: list[AddressObject]) -> AddressObject:
    return AddressObject(
        name,
        space=union(part.space for part in parts),
        feeds=tuple(dict.fromkeys(feed for part in parts for feed in part.feeds)),
        unresolved=tuple(dict.fromkeys(each for part in parts for each in part.unresolved)),
        hollow=not parts or any(part.hollow for part in parts),
    )


def _is_provided(name: str) -> bool:
    """Whether a name is that of a predefined list, as panw-known-ip-list."""
    return name.startswith("panw-") and name.endswith("-list")


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
    if len(text) == 2 and text.isascii() and text.isupper():  # noqa: PLR2004 - ISO 3166's two letters
        return _unresolved(text, "is a country, whose addresses only firewalls know")
    return _unresolved(text, "is defined nowhere and is no address")


def _netmask(text: str) -> AddressSet:
    """A bare address, or a prefix whose host bits may be set."""
    try:
        return AddressSet.of([ip_network(text, strict=False)])
    except ValueError:
        raise ValueError("it is no IPv4 or IPv6 address or prefix") from None


def _range(text: str) -> AddressSet:
    first, dash, last = text.partition("-")
    if not dash:
        raise ValueError("it has no '-'")
    start, end = ip_address(first.strip()), ip_address(last.strip())
    if int(start) > int(end):
        raise ValueError("it ends before it starts")
    return AddressSet.between(start, end)


def _wildcard(text: str) -> AddressSet:
    address, slash, mask = text.partition("/")
    if not slash:
        raise ValueError("it has no wildcard mask")
    return wildcard(IPv4Address(address.strip()), IPv4Address(mask.strip()))
