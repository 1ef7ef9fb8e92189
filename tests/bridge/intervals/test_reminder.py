"""A review that is due soon is told once, until there is a newer one; who never reviewed hears nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from bridge.alerts import Alerts
from bridge.evidence.store import micros
from bridge.intervals.reminder import SOON, ReviewReminder
from bridge.intervals.store import Review
from tests.bridge.world import RecordingSink
from zones.siem.alerts import AlertKind

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def review(at, due, zones=()):
    return Review(micros(at), micros(due), "Ann", zones, "", 1, "d" * 64)


def test_it_is_told_in_time_and_ends_with_the_next_review(intervals):
    sink = RecordingSink()
    reminder = ReviewReminder(intervals, "c", Alerts("c", "panorama", [sink]))

    def look(after):
        asyncio.run(reminder.look(NOW + after))
        return [(each.kind, each.over) for each in sink.alerts]

    assert look(timedelta()) == []  # nobody ever has
    intervals.add_review("c", review(NOW, NOW + timedelta(days=100), ("cde",)))
    intervals.add_review("c", review(NOW, NOW + timedelta(days=500)))
    intervals.add_review("other", review(NOW, NOW))
    assert look(timedelta(days=100) - SOON - timedelta(seconds=1)) == []
    told = look(timedelta(days=100) - SOON)
    assert told == [(AlertKind.REVIEW_DUE, False)]
    assert "zones cde by 2026-06-09" in sink.alerts[0].message
    assert look(timedelta(days=200)) == told  # once
    intervals.add_review("c", review(NOW + timedelta(days=200), NOW + timedelta(days=382), ("cde",)))
    assert look(timedelta(days=201)) == [*told, (AlertKind.REVIEW_DUE, True)]
