"""Watches one cluster's configuration, and alerts as results change. It runs while this bridge leads.

Nothing is told before every list was heard of once: listed, or refused.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

import structlog

from bridge.alerts import Alerts
from bridge.posture.check import CheckOutcome, CheckResult
from bridge.posture.evaluation import Evaluation
from bridge.posture.exceptions import PostureException, with_exceptions
from bridge.posture.fold import PostureFold
from bridge.posture.gather import READINGS
from bridge.posture.snapshot import Input, PostureTerms
from bridge.posture.transitions import transitions
from zones.kube.client import ApiServer
from zones.kube.errors import ClusterError, ClusterMissingError
from zones.kube.watch import Change, Listed, follow
from zones.siem.alerts import AlertKind

# Changes come in bursts (a chart is installed); what they add up to is judged.
SETTLE_SECONDS = 1.0
# Exceptions end at midnight, whether or not anything changes.
LOOK_SECONDS = 300.0
REFUSED_SECONDS = 60.0
_log = structlog.get_logger()


class PostureFollower:
    """One cluster's. `benchmark`: the version that alerts cite."""

    def __init__(  # noqa: PLR0917 - what it needs
        self,
        api: ApiServer,
        terms: PostureTerms,
        exceptions: Sequence[PostureException],
        benchmark: str,
        alerts: Alerts,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        settle: float = SETTLE_SECONDS,
    ) -> None:
        self._api = api
        self._terms = terms
        self._exceptions = tuple(exceptions)
        self._benchmark = benchmark
        self._alerts = alerts
        self._now = now
        self._settle = settle
        self._last: dict[str, CheckOutcome] = {}

    async def run(self, report: Callable[[Mapping[str, int]], None] = lambda _: None) -> None:
        """Until cancelled. `report` hears how many checks have which result."""
        fold, changed = PostureFold(self._terms), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for kind in READINGS:
                group.create_task(self._follow(fold, kind, changed), name=f"posture {kind.value}")
            await self._judge(fold, changed, report)

    async def close(self) -> None:
        await self._api.close()

    async def _follow(self, fold: PostureFold, kind: Input, changed: asyncio.Event) -> None:
        """A right that is missing hides this list alone, until it is there."""
        reading, folded = READINGS[kind], fold.of(kind)
        while True:
            try:
                async with aclosing(follow(self._api, reading.source(kind))) as changes:
                    async for change in changes:
                        _take(change, fold, kind)
                        changed.set()
            except ClusterMissingError as error:
                if reading.optional:
                    folded.list_page((), first=True, last=True)
                else:
                    folded.hide(str(error))
            except ClusterError as error:
                _log.warning("list for the posture not read", kind=kind.value, error=str(error))
                folded.hide(str(error))
            changed.set()
            await asyncio.sleep(REFUSED_SECONDS)

    async def _judge(
        self, fold: PostureFold, changed: asyncio.Event, report: Callable[[Mapping[str, int]], None]
    ) -> None:
        evaluation = Evaluation()
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await changed.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(self._settle)
            changed.clear()
            if fold.unasked:
                continue
            judged = await asyncio.to_thread(evaluation.outcomes, fold.snapshot())
            outcomes, _ = with_exceptions(judged, self._exceptions, self._now().date())
            counted = Counter(outcome.result for outcome in outcomes)
            report({result.value: counted[result] for result in CheckResult})
            await self._tell(outcomes)

    async def _tell(self, outcomes: Sequence[CheckOutcome]) -> None:
        kind = AlertKind.CONFIGURATION_DRIFT
        for change in transitions(self._last, outcomes, self._benchmark):
            if change.over:
                await self._alerts.clear(kind, change.message, subject=change.check)
            else:
                await self._alerts.raise_(
                    kind, change.message, change.about, subject=change.check, severity=change.severity
                )
        self._last = {outcome.check.id: outcome for outcome in outcomes}


def _take(change: Change, fold: PostureFold, kind: Input) -> None:
    folded = fold.of(kind)
    if isinstance(change, Listed):
        folded.list_page(change.objects, first=change.first, last=change.last)
    else:
        folded.change(change.raw, gone=change.gone)
