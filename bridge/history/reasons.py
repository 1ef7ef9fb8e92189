"""Why a revision comes to be: what changed since the one before was last seen to be right. Pure, without guesses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bridge.compilation.recompile import CompiledReading
from bridge.compilation.report import origin_json
from bridge.history.revision import Reasons, Recorded
from bridge.tier.status import camel, rule_counts
from zones.policy import InfrastructureRule
from zones.problems import RuleReport, RuleStatus

Json = dict[str, Any]
MOST_PROBLEMS, MOST_REASONS, LONGEST_REASON = 50, 2, 300
_TOLD = {RuleStatus.NOT_ENFORCED, RuleStatus.ENFORCED_IN_PART}


class Cause(StrEnum):
    """What made a revision necessary."""

    FIRST = "first"
    COMMIT = "commit"
    MANAGER = "manager"
    FEEDS = "feeds"
    INFRASTRUCTURE = "infrastructure"
    REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class SeenReading:
    """The newest reading of which the revision in force was found to be what it says."""

    version: str
    feeds_version: int
    infrastructure: tuple[InfrastructureRule, ...]
    job: int

    @classmethod
    def of(cls, reading: CompiledReading) -> SeenReading:
        return cls(reading.version, reading.feeds_version, reading.infrastructure, reading.provenance.newest_job)


@dataclass(frozen=True, slots=True)
class PublishSituation:
    """`before`: the record of the live Tier, or the last one; `seen`: since this process leads. None: there is none."""

    before: Recorded | None
    seen: SeenReading | None
    reading: CompiledReading | None
    first: bool


def reasons(situation: PublishSituation, digest: str) -> Reasons:
    """Of publishing this content over the live Tier."""
    before, seen, reading = situation.before, situation.seen, situation.reading
    if before is not None and before.digest == digest:
        return Reasons((Cause.REPAIR,))
    if reading is None:
        return Reasons((Cause.INFRASTRUCTURE,), unknown="the manager has not answered this bridge yet")
    job = seen.job if seen is not None else None if before is None else before.job
    commits, unknown = reading.provenance.since(job)
    causes = tuple(_causes(situation, reading, commits=bool(commits)))
    why = [] if not unknown or not (commits or job is not None) else [unknown]
    if not reading.provenance.serial:
        why.append("which machine answered isn't known: the manager didn't say")
    if not causes:
        why.append("the cause isn't known: this bridge was started after the revision before, or has other settings")
    reports = reading.compiled.reports
    return Reasons(
        causes=causes,
        commits=commits,
        provenance=reading.provenance,
        unknown="; ".join(why),
        rules=rule_counts(reports),
        problems=tuple(_problems(reports)),
    )


def _causes(situation: PublishSituation, reading: CompiledReading, *, commits: bool) -> Iterator[Cause]:
    seen = situation.seen
    if situation.first:
        yield Cause.FIRST
        return
    if commits:
        yield Cause.COMMIT
    if seen is None:
        return
    if not commits and seen.version != reading.version:
        yield Cause.MANAGER
    if seen.feeds_version != reading.feeds_version:
        yield Cause.FEEDS
    if seen.infrastructure != reading.infrastructure:
        yield Cause.INFRASTRUCTURE


def _problems(reports: Sequence[RuleReport]) -> Iterator[Json]:
    reported = [report for report in reports if report.status in _TOLD]
    for report in reported[:MOST_PROBLEMS]:
        origin = {name: value for name, value in camel(origin_json(report.origin)).items() if value}
        reasons = [reason[:LONGEST_REASON] for reason in report.reasons[:MOST_REASONS]]
        yield origin | {"action": report.action, "status": report.status.value, "reasons": reasons}
