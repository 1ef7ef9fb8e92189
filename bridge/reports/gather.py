"""Reads what a report is made of: intervals, counts and reviews of the database, revisions and their copies."""

from __future__ import annotations

from datetime import datetime, timedelta

from bridge.evidence.store import micros
from bridge.history.archive import Archive
from bridge.history.revision import Recorded
from bridge.intervals.store import IntervalStore
from bridge.reports.model import Json, ReportEvidence, ReportPeriod, ReportScope
from bridge.segmentation.store import Measurements, RecordedMeasurement
from zones.runtime.errors import InputError

_FOREVER = 2**62
# A bridge looks every ten seconds: what it saw longer ago is no basis for a review.
_FRESH = timedelta(minutes=10)


async def gathered(
    store: IntervalStore, measured: Measurements, archive: Archive, period: ReportPeriod, scope: ReportScope
) -> ReportEvidence:
    """Raises EvidenceError, ClusterError, and ClusterError too where a record or a part was changed."""
    name = scope.cluster
    in_force = [record for record in reversed(archive.in_force) if _since(record) < period.end]
    policy, missing = None, ""
    if in_force:
        policy = await archive.policy(in_force[-1].revision)
    else:
        missing = (
            "No record says which revision was in force then: it isn't kept any more (evidence.retention), or none was"
        )
    revisions: list[Json] = [archive.raw(record.revision) for record in in_force]
    newest = store.looks(name, 0, _FOREVER)
    return ReportEvidence(
        intervals=store.between(name, period.begin, period.end),
        looks=[(first, last + 1) for first, last in store.looks(name, period.begin, period.end)],
        last_look=newest[-1][1] if newest else 0,
        counts=store.counts(name, period.begin, period.end),
        reviews=store.reviews(name, period.begin - 1 if period.instant else period.end - 1),
        revisions=revisions,
        policy=policy,
        missing=missing,
        measurements=_measurements(measured, name, period),
    )


def period_of(at: datetime | None, begin: datetime | None, end: datetime | None, now: datetime) -> ReportPeriod:
    """Raises InputError where they are no instant and no range, or lie ahead."""
    if (at is None) == (begin is None and end is None) or (begin is None) != (end is None):
        raise InputError("report: give --at TIME, or --from TIME and --to TIME")
    if at is not None:
        period = ReportPeriod(micros(at), micros(at) + 1)
    elif begin is not None and end is not None:
        period = ReportPeriod(micros(begin), micros(end))
    if period.begin >= period.end:
        raise InputError("report: --from must be before --to")
    if period.end - 1 > micros(now):
        raise InputError("report: what is to come isn't known; give times that are past")
    return period


def last_look(store: IntervalStore, cluster: str, now: datetime) -> ReportPeriod:
    """The second in which the bridge looked last. Raises InputError where that is long ago, or never was."""
    looks = store.looks(cluster, 0, micros(now))
    at = looks[-1][1] // 1_000_000 * 1_000_000 if looks else 0
    if at < max(micros(now - _FRESH), looks[-1][0] if looks else 0):
        raise InputError(f"review: no bridge has recorded anything of cluster '{cluster}' in the last ten minutes")
    return ReportPeriod(at, at + 1)


def _measurements(measured: Measurements, cluster: str, period: ReportPeriod) -> list[RecordedMeasurement]:
    if period.instant:
        return measured.between(cluster, 0, period.end)[-1:]
    return measured.between(cluster, period.begin, period.end)


def _since(recorded: Recorded) -> int:
    return micros(recorded.recorded)
