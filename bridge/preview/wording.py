"""How flows are worded in a preview: ends, traffic, moments. Pure text, which tables and pages share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from zones.difference import EVERY_ICMP_TYPE, EVERY_NAME, EVERY_PROTOCOL, Box, NameSet, ScheduleMoment
from zones.net import ANY_ADDRESS, ICMP, ICMP6, PROTOCOLS_WITH_PORTS, AddressSet, protocol_name
from zones.rule_wording import l4_text
from zones.rules import L4
from zones.schedule import Absolute, Schedule

ANY_OTHER_ZONE = "any other zone"
_MOST_PREFIXES = 5
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


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
    """` while night-shift`; "" for always. Where each policy has other windows under a name, they stand by it."""
    if len(box.moments) == len(moments):
        return ""
    schedules = schedules_in(moments)
    return " while " + " or ".join(_moment_text(moments[at], schedules) for at in sorted(box.moments))


def schedules_in(moments: Sequence[ScheduleMoment]) -> tuple[Schedule, ...]:
    """All that are active at one of the moments, by name; two of one name where an edit changed the windows."""
    distinct = {schedule for moment in moments for schedule in moment.active}
    return tuple(sorted(distinct, key=lambda schedule: (schedule.name, windows_text(schedule))))


def windows_text(schedule: Schedule) -> str:
    """`22:00-05:00 UTC`, `Mon Tue 09:00-17:00 Europe/Berlin`, `2026-12-01 10:00 to 2026-12-02 10:00 UTC`."""
    days: dict[str, set[int]] = {}
    absolute = []
    for window in schedule.windows:
        if isinstance(window, Absolute):
            absolute.append(f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M}")
        else:
            days.setdefault(f"{window.start:%H:%M}-{window.end:%H:%M}", set()).add(window.day)
    weekly = [
        hours if len(on) == len(_DAYS) else f"{' '.join(_DAYS[day] for day in sorted(on))} {hours}"
        for hours, on in days.items()
    ]
    return f"{', '.join([*weekly, *absolute]) or 'never'} {schedule.time_zone}"


def _moment_text(moment: ScheduleMoment, schedules: Iterable[Schedule]) -> str:
    texts = []
    for name, versions in groupby(schedules, key=lambda schedule: schedule.name):
        active: list[str] = []
        inactive: list[str] = []
        for schedule in versions:
            (active if schedule in moment.active else inactive).append(windows_text(schedule))
        if active:
            windows = f" ({' and '.join(active)}, not {' or '.join(inactive)})" if inactive else ""
            texts.append(name + windows)
    return " and ".join(texts) or "no schedule"
