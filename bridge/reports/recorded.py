"""Reviews: who looked at a report, at which revision, with which digest, and when the next one is due. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bridge.evidence.store import micros
from bridge.intervals.store import Review
from bridge.reports.forms import report_digest
from bridge.reports.model import Json, Report, Scope, moment_text
from bridge.reports.sections import is_overdue, of_scope

__all__ = ["micros", "review_of", "reviews_json", "row"]


def review_of(seen: Report, reviewer: str, note: str, due: datetime) -> Review:
    """Of what a report says of an instant."""
    zones = tuple(sorted(seen.scope.zones))
    digest = report_digest(seen)
    return Review(seen.period.begin, micros(due), reviewer.strip(), zones, note, seen.revision or 0, digest)


def reviews_json(found: Iterable[Review], scope: Scope, now: datetime) -> Json:
    """`overdue`: none of this scope is in date."""
    some = list(found)
    rows = [
        {
            "at": moment_text(each.at),
            "reviewer": each.reviewer,
            "zones": list(each.zones),
            "note": each.note,
            "revision": each.revision,
            "digest": each.digest,
            "due": moment_text(each.due),
        }
        for each in of_scope(some, scope)
    ]
    return {"reviews": rows, "overdue": is_overdue(some, scope, micros(now))}


def row(review: Json) -> tuple[str, ...]:
    zones = ",".join(review["zones"]) or "all zones"
    return (review["at"], review["reviewer"], zones, str(review["revision"]), review["due"], review["note"])
