"""How flows are worded in a preview: ends, traffic, moments. Pure text, which tables and pages share."""

from __future__ import annotations

from collections.abc import Sequence

from zones.difference import EVERY_ICMP_TYPE, EVERY_NAME, EVERY_PROTOCOL, Box, NameSet, ScheduleMoment
from zones.net import ANY_ADDRESS, ICMP, ICMP6, PROTOCOLS_WITH_PORTS, AddressSet, protocol_name
from zones.rule_wording import l4_text
from zones.rules import L4

ANY_OTHER_ZONE = "any other zone"
_MOST_PREFIXES = 5


def source_text(box: Box) -> str:
    """`app web namespace shop 10.0.0.0/8`, `any`."""
    return _end(box.sources, box.source_workloads, box.source_namespaces)


def destination_text(box: Box) -> str:
    return _end(box.destinations, box.destination_workloads, box.destination_namespaces)


def _end(addresses: AddressSet, workloads: NameSet, namespaces: NameSet) -> str:
    named = "" if workloads == EVERY_NAME else f"app {workloads}"
    placed = "" if namespaces == EVERY_NAME else f"namespace {namespaces}"
    return " ".join(filter(None, (named, placed, addresses_text(addresses)))) or "any"


def addresses_text(addresses: AddressSet) -> str:
    """The shorter of what is in the set and what isn't, a few of the prefixes; "" for all addresses."""
    if addresses == ANY_ADDRESS:
        return ""
    inside, outside = addresses.prefixes, addresses.complement().prefixes
    prefixes, before = (outside, "all but ") if len(outside) < len(inside) else (inside, "")
    more = f" and {len(prefixes) - _MOST_PREFIXES} more" if len(prefixes) > _MOST_PREFIXES else ""
    return before + ", ".join(prefixes[:_MOST_PREFIXES]) + more


def traffic_text(box: Box) -> str:
    """`tcp/80,443`, `icmp type 8`, `any`."""
    if box.protocols == EVERY_PROTOCOL:
        return "any"
    numbers = [number for first, last in box.protocols.spans for number in range(first, last + 1)]
    if len(numbers) > len(PROTOCOLS_WITH_PORTS):
        return f"protocols {box.protocols}"
    return " and ".join(_protocol(number, box) for number in numbers)


def _protocol(number: int, box: Box) -> str:
    if number in {ICMP, ICMP6} and box.icmp_types != EVERY_ICMP_TYPE:
        return f"{protocol_name(number)} type {box.icmp_types}"
    return l4_text(L4(number, box.ports, box.source_ports))


def when_text(box: Box, moments: Sequence[ScheduleMoment]) -> str:
    """` while night-shift`; "" for always."""
    if len(box.moments) == len(moments):
        return ""
    return " while " + " or ".join(
        " and ".join(sorted(schedule.name for schedule in moments[at].active)) or "no schedule"
        for at in sorted(box.moments)
    )
