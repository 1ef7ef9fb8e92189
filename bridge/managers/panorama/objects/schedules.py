"""Schedule objects: `<schedule-type>` to `zones.schedule.Schedule`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import MAXYEAR, MINYEAR, datetime, time, timedelta
from xml.etree.ElementTree import Element

from bridge.managers.panorama.rulebase.document import members
from bridge.managers.panorama.rulebase.shapes import is_list
from bridge.managers.panorama.rulebase.tree import ObjectScope
from zones.rules import Unresolved
from zones.schedule import Absolute, Schedule, Weekly

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MOMENT = "%Y/%m/%d@%H:%M"


def schedule(name: str, scope: ObjectScope, time_zone: str) -> Schedule | Unresolved:
    """The schedule that a rule names."""
    definition = scope.object(name, "schedule")
    if definition is None:
        return Unresolved(name, "is defined nowhere")
    try:
        windows = tuple(_windows(definition.entry))
    except ValueError as error:
        return Unresolved(name, f"can't be read: {error}")
    return Schedule(name, windows, time_zone) if windows else Unresolved(name, "has no time")


def _windows(entry: Element) -> Iterator[Absolute | Weekly]:
    kind = entry.find("schedule-type")
    if kind is None or len(kind) != 1 or kind[0].tag not in {"recurring", "non-recurring"}:
        raise ValueError("it is neither recurring nor non-recurring")
    if kind[0].tag == "non-recurring":
        yield from map(_absolute, _times(kind[0]))
        return
    for days in kind[0]:
        if days.tag == "daily":
            yield from (window for text in _times(days) for window in _weekly(text, range(7)))
        elif days.tag == "weekly":
            yield from _days_of_week(days)
        else:
            raise ValueError(f"unknown element '{days.tag}'")


def _times(element: Element) -> tuple[str, ...]:
    if not is_list(element):
        raise ValueError(f"'{element.tag}' is no list of members")
    return members(element)


def _days_of_week(weekly: Element) -> Iterator[Weekly]:
    for day in weekly:
        if day.tag not in DAYS:
            raise ValueError(f"unknown day '{day.tag}'")
        for text in _times(day):
            yield from _weekly(text, [DAYS.index(day.tag)])


def _absolute(text: str) -> Absolute:
    start, dash, end = text.partition("-")
    if not dash:
        raise ValueError(f"'{text}' has no end")
    window = Absolute(_moment(start), _moment(end))
    if window.end <= window.start:
        raise ValueError(f"'{text}' ends before it starts")
    return window


def _moment(text: str) -> datetime:
    """`24:00` is the next midnight. The result is naive: its time zone is the schedule's."""
    day, at, clock = text.strip().partition("@")
    midnight = clock == "24:00"
    moment = datetime.strptime(f"{day}@00:00" if midnight else f"{day}{at}{clock}", _MOMENT)  # noqa: DTZ007
    if not MINYEAR < moment.year < MAXYEAR:
        raise ValueError(f"'{text}' is beyond what a calendar holds")
    return moment + timedelta(days=1) if midnight else moment


def _weekly(text: str, days: range | list[int]) -> Iterator[Weekly]:
    start, dash, end = text.partition("-")
    if not dash:
        raise ValueError(f"'{text}' has no end")
    return (Weekly(day, _clock(start), _clock(end)) for day in days)


def _clock(text: str) -> time:
    return time(0, 0) if text.strip() == "24:00" else datetime.strptime(text.strip(), "%H:%M").time()  # noqa: DTZ007
