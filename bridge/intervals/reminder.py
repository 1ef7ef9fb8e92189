"""Tells of reviews of one cluster that are due soon or overdue. It asks the database; who never reviewed isn't told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bridge.alerts import Alerts
from bridge.evidence.store import micros
from bridge.intervals.store import IntervalStore, Review
from zones.siem.alerts import AlertKind

SOON = timedelta(days=14)
_TOLD = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ReviewReminder:
    """`cluster`: its name in the settings."""

    store: IntervalStore
    cluster: str
    alerts: Alerts

    async def look(self, now: datetime) -> None:
        """Tell where it is new. Raises EvidenceError."""
        reviews = await asyncio.to_thread(self.store.reviews, self.cluster, micros(now))
        due = due_soon(reviews, now)
        if not due:
            await self.alerts.clear(AlertKind.REVIEW_DUE, "every review that is kept up is in date")
            return
        named = "; ".join(f"{_scope(zones)} by {day:%F}" for zones, day in due[:_TOLD])
        more = f"; and {len(due) - _TOLD} more" if len(due) > _TOLD else ""
        message = f"the rules are to be reviewed again (zonebridge review --record): {named}{more}"
        about = {
            "count": len(due),
            "reviews": [{"zones": list(zones), "due": f"{day:%F}"} for zones, day in due[:_TOLD]],
        }
        await self.alerts.raise_(AlertKind.REVIEW_DUE, message, about)


def due_soon(reviews: list[Review], now: datetime) -> list[tuple[tuple[str, ...], datetime]]:
    """Each scope that was reviewed before and whose newest review isn't good for much longer; the earliest first."""
    newest = {review.zones: review for review in reviews}
    due = {zones: _EPOCH + timedelta(microseconds=review.due) for zones, review in newest.items()}
    return sorted(
        ((zones, day) for zones, day in due.items() if day - now <= SOON), key=lambda pair: (pair[1], pair[0])
    )


def _scope(zones: tuple[str, ...]) -> str:
    return f"zones {', '.join(zones)}" if zones else "all zones"
