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


def verified_json(found: Verified, copies: VerifiedCopies) -> Json:
    """`breaks`: of seals, then of copied revisions."""
    last = None if found.last is None else {"day": date_text(found.last.day), "chain": found.last.chain}
    breaks = [*found.breaks, *copies.breaks]
    revisions = {"copied": copies.revisions, "first": copies.first, "last": copies.last, "since": copies.since or None}
    whole = bool(found.days) and not breaks
    about = {"whole": whole, "days": found.days, "let_go": found.let_go, "last": last}
    return about | {"revisions": revisions, "breaks": breaks}


def verified_lines(found: Verified, copies: VerifiedCopies) -> Iterable[str]:
    breaks = [*found.breaks, *copies.breaks]
    if not found.days or found.last is None:
        yield "Nothing is sealed yet: a day is, an hour after it is over"
    if breaks:
        yield f"BROKEN, first {printable(breaks[0])}"
        yield from (f"and {printable(each)}" for each in breaks[1:])
    elif found.last is not None:
        yield f"Whole: {found.days} days up to {date_text(found.last.day)}; chain digest {found.last.chain}"
        if found.let_go:
            yield f"Of these, {found.let_go} of their kinds are no longer kept and can't be compared"
    if copies.revisions:
        yield f"Copied revisions: {copies.revisions} ({copies.first} to {copies.last}), the oldest of {copies.since}"
