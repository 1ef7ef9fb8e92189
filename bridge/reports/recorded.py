"""Reviews (who looked at a report, and when the next one is due) and what came of verifying seals, as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bridge.commands.output import printable
from bridge.evidence.store import micros
from bridge.intervals.seals import Verified, date_text
from bridge.intervals.store import Review
from bridge.reports.forms import report_digest
from bridge.reports.model import Json, Report, ReportScope, moment_text
from bridge.reports.sections import is_overdue, of_scope

__all__ = ["micros", "review_of", "reviews_json", "row", "verified_json", "verified_lines"]


def review_of(seen: Report, reviewer: str, note: str, due: datetime) -> Review:
    """Of what a report says of an instant."""
    zones = tuple(sorted(seen.scope.zones))
    digest = report_digest(seen)
    return Review(seen.period.begin, micros(due), reviewer.strip(), zones, note, seen.revision or 0, digest)


def reviews_json(found: Iterable[Review], scope: ReportScope, now: datetime) -> Json:
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


def verified_json(found: Verified) -> Json:
    last = None if found.last is None else {"day": date_text(found.last.day), "chain": found.last.chain}
    whole = bool(found.days) and not found.breaks
    return {"whole": whole, "days": found.days, "let_go": found.let_go, "last": last, "breaks": list(found.breaks)}


def verified_lines(found: Verified) -> Iterable[str]:
    if not found.days or found.last is None:
        yield "Nothing is sealed yet: a day is, an hour after it is over"
    elif found.breaks:
        yield f"BROKEN, first {printable(found.breaks[0])}"
        yield from (f"and {printable(each)}" for each in found.breaks[1:])
    else:
        yield f"Whole: {found.days} days up to {date_text(found.last.day)}; chain digest {found.last.chain}"
        if found.let_go:
            yield f"Of these, {found.let_go} of their kinds are no longer kept and can't be compared"
