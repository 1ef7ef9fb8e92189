"""Reviews (who looked at a report, and when the next one is due) and what came of verifying seals, as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bridge.evidence.store import micros
from bridge.history.verification import Break
from bridge.intervals.seals import Verified, date_text
from bridge.intervals.store import Review
from bridge.reports.forms import report_digest
from bridge.reports.model import Json, Report, ReportScope, moment_text
from bridge.reports.sections import is_overdue, of_scope
from zones.runtime.output import printable

__all__ = ["copies_of", "micros", "review_of", "reviews_json", "row", "verified_json", "verified_lines"]


def review_of(seen: Report, reviewer: str, note: str, due: datetime) -> Review:
    """Of what a report says of an instant."""
    zones = tuple(sorted(seen.scope.zones))
    digest = report_digest(seen)
    return Review(seen.period.begin, micros(due), reviewer.strip(), zones, note, seen.revision or 0, digest)


def reviews_json(reviews: Iterable[Review], scope: ReportScope, now: datetime) -> Json:
    """`overdue`: none of this scope is in date."""
    some = list(reviews)
    rows = [
        {
            "at": moment_text(review.at),
            "reviewer": review.reviewer,
            "zones": list(review.zones),
            "note": review.note,
            "revision": review.revision,
            "digest": review.digest,
            "due": moment_text(review.due),
        }
        for review in of_scope(some, scope)
    ]
    return {"reviews": rows, "overdue": is_overdue(some, scope, micros(now))}


def row(review: Json) -> tuple[str, ...]:
    zones = ",".join(review["zones"]) or "all zones"
    return (review["at"], review["reviewer"], zones, str(review["revision"]), review["due"], review["note"])


@dataclass(frozen=True, slots=True)
class VerifiedCopies:
    """What came of verifying copies of revisions: how many, from which to which, a sentence for each break."""

    revisions: int
    first: int | None
    last: int | None
    since: str
    breaks: tuple[str, ...]


def copies_of(raws: Sequence[Json], breaks: Iterable[Break]) -> VerifiedCopies:
    specs = [raw["spec"] for raw in raws]
    first, last = (specs[0].get("revision"), specs[-1].get("revision")) if specs else (None, None)
    since = min((str(spec.get("recorded", "")) for spec in specs), default="")
    return VerifiedCopies(len(specs), first, last, since, tuple(map(str, breaks)))


def verified_json(verified: Verified, copies: VerifiedCopies) -> Json:
    """`breaks`: of seals, then of copied revisions."""
    last = None if verified.last is None else {"day": date_text(verified.last.day), "chain": verified.last.chain}
    breaks = [*verified.breaks, *copies.breaks]
    revisions = {"copied": copies.revisions, "first": copies.first, "last": copies.last, "since": copies.since or None}
    intact = bool(verified.days) and not breaks
    about = {"whole": intact, "days": verified.days, "let_go": verified.let_go, "last": last}
    return about | {"revisions": revisions, "breaks": breaks}


def verified_lines(verified: Verified, copies: VerifiedCopies) -> Iterable[str]:
    breaks = [*verified.breaks, *copies.breaks]
    if not verified.days or verified.last is None:
        yield "Nothing is sealed yet: a day is, an hour after it is over"
    if breaks:
        yield f"BROKEN, first {printable(breaks[0])}"
        yield from (f"and {printable(fault)}" for fault in breaks[1:])
    elif verified.last is not None:
        yield f"Whole: {verified.days} days up to {date_text(verified.last.day)}; chain digest {verified.last.chain}"
        if verified.let_go:
            yield f"Of these, {verified.let_go} of their kinds are no longer kept and can't be compared"
    if copies.revisions:
        yield f"Copied revisions: {copies.revisions} ({copies.first} to {copies.last}), the oldest of {copies.since}"
