from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import schedules
from zones.schedule import Absolute, Schedule, Weekly

MONDAY = 0
instants = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))


def at(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("moment", "active"),
    [
        ("2026-11-23T07:59:59Z", False),
        ("2026-11-23T08:00:00Z", True),
        ("2026-11-23T16:59:59Z", True),
        ("2026-11-23T17:00:00Z", False),
        ("2026-11-24T09:00:00Z", False),
    ],
)
def test_the_start_is_in_and_the_end_is_out(moment, active):
    assert Schedule("s", (Weekly(MONDAY, time(8), time(17)),)).active(at(moment)) is active


@pytest.mark.parametrize(
    ("moment", "active"),
    [("2026-11-23T23:00:00Z", True), ("2026-11-24T04:59:00Z", True), ("2026-11-23T04:00:00Z", False)],
)
def test_a_window_may_cross_midnight(moment, active):
    assert Schedule("s", (Weekly(MONDAY, time(22), time(5)),)).active(at(moment)) is active


def test_times_are_of_the_schedules_zone():
    berlin = Schedule("s", (Absolute(datetime(2026, 7, 1, 8), datetime(2026, 7, 1, 9)),), "Europe/Berlin")
    assert berlin.active(at("2026-07-01T06:30:00Z"))
    assert not berlin.active(at("2026-07-01T08:30:00Z"))
    assert berlin.active(datetime(2026, 7, 1, 8, 30, tzinfo=ZoneInfo("Europe/Berlin")))


@given(schedules, instants)
def test_nothing_changes_before_the_next_change(schedule, now):
    change = schedule.next_change(now)
    until = change if change is not None else now + timedelta(days=400)
    middle = now + (until - now) / 2
    assert change is None or change > now
    assert schedule.active(middle) == schedule.active(now)
