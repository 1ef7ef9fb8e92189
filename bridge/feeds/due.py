"""When a list is due again. Pure."""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from zones.rules import Feed, Period, Recurring

_INTERVALS = {Period.FIVE_MINUTE: timedelta(minutes=5), Period.HOURLY: timedelta(hours=1)}


# These are due at a time of day, the others after a while.
OF_THE_CALENDAR = frozenset(Period) - _INTERVALS.keys()


def next_due(feed: Feed, after: datetime) -> datetime:
    """The first time after `after` (aware) at which the list is to be fetched."""
    recurring = feed.recurring
    if recurring.period in _INTERVALS:
        return after + _INTERVALS[recurring.period]
    local = after.astimezone(ZoneInfo(feed.time_zone))
    candidate = local.replace(hour=recurring.hour, minute=0, second=0, microsecond=0)
    while candidate <= local or not _on_day(recurring, candidate):
        candidate += timedelta(days=1)
    return candidate


def _on_day(recurring: Recurring, at: datetime) -> bool:
    if recurring.period is Period.WEEKLY:
        return at.weekday() == recurring.day
    if recurring.period is Period.MONTHLY:
        last = calendar.monthrange(at.year, at.month)[1]
        return at.day == min(max(recurring.day, 1), last)
    return True
