"""Addresses with wildcard masks that overlap: for them a firewall doesn't go from the top down, unless it is set to.

It takes the rule with the longest prefix in its mask and looks at no other: where `deny 10.0.5.0/0.255.0.255` stands
below `allow 10.0.0.0/0.255.255.255`, 10.1.5.1 is denied. So such an allow is left without what another rule may take
from it; a deny stays as it is written, which blocks no less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from typing import NamedTuple
from xml.etree.ElementTree import Element

from bridge.managers.panorama.objects.addresses import AddressResolver
from bridge.managers.panorama.rulebase.document import members, text_of, yes

SIDES = ("source", "destination")
LAST = 2**32 - 1


class Wildcard(NamedTuple):
    """An address in the bits that count."""

    address: int
    counts: int

    @classmethod
    def of(cls, text: str) -> Wildcard:
        """Raises ValueError."""
        address, _, mask = text.partition("/")
        counts = ~int(IPv4Address(mask.strip())) & LAST
        return cls(int(IPv4Address(address.strip())) & counts, counts)

    def may_yield_to(self, other: Wildcard) -> bool:
        """Whether some address is in both, and the other, counting a bit that this one doesn't, may be the longer."""
        overlap = not (self.address ^ other.address) & self.counts & other.counts
        return overlap and bool(other.counts & ~self.counts)


class _Use(NamedTuple):
    """A rule that uses wildcards on one side."""

    rule: Element
    side: str
    wildcards: dict[str, Wildcard]


@dataclass(frozen=True)
class Wildcards:
    """Which wildcards of an allow other rules may take from it. `rules`: all that the device group has, when asked."""

    rules: Callable[[], Iterable[Element]]
    addresses: AddressResolver
    top_down: bool = False

    def contested(self, rule: Element, side: str) -> frozenset[str]:
        """The names of address objects below this side of a rule."""
        own = next((use for use in self._uses if use.rule is rule and use.side == side), None)
        if own is None or text_of(rule, "action") != "allow" or yes(rule, f"negate-{side}"):
            return frozenset()
        others = [
            use for use in self._uses if use.side == side and use.rule is not rule and _zones_meet(use.rule, rule)
        ]
        against = {wildcard for use in others for wildcard in use.wildcards.values()}
        return frozenset(name for name, wildcard in own.wildcards.items() if any(map(wildcard.may_yield_to, against)))

    @cached_property
    def may_be_contested(self) -> bool:
        """Whether what a rule holds may depend on other rules."""
        return not self.top_down and self.addresses.has_wildcards

    @cached_property
    def _uses(self) -> tuple[_Use, ...]:
        if not self.may_be_contested:
            return ()
        uses = (_Use(rule, side, self._below(rule, side)) for rule in self.rules() for side in SIDES)
        return tuple(use for use in uses if use.wildcards and not yes(use.rule, "disabled"))

    def _below(self, rule: Element, side: str) -> dict[str, Wildcard]:
        masks: dict[str, Wildcard] = {}
        for name in members(rule.find(side)):
            for member, text in self.addresses.wildcards_below(name):
                with suppress(ValueError):
                    masks[member] = Wildcard.of(text)
        return masks


def _zones_meet(one: Element, other: Element) -> bool:
    return all(_meet(members(one.find(tag)), members(other.find(tag))) for tag in ("from", "to"))


def _meet(one: Iterable[str], other: Iterable[str]) -> bool:
    """No zone at all is every zone, as a malformed rule's or the destination of an intrazone rule."""
    some, others = set(one), set(other)
    return not some or not others or "any" in some | others or bool(some & others)
