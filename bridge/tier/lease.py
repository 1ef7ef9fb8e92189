"""Which of several bridges writes to a cluster: a Lease in that cluster, renewed while we lead.

It never trusts another machine's clock, only how long a holder has shown no sign. `bridge.service` waits on it.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog

from bridge.tier.cluster import LeaseCluster
from zones.kube.errors import ClusterConflictError, ClusterError

Json = dict[str, Any]
_T = TypeVar("_T")
_log = structlog.get_logger()
# No holder is waited for longer, whatever it says of itself.
LONGEST_DURATION = 60.0


class LeadershipLostError(Exception):
    """Another bridge may lead by now; what was going on was stopped."""


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """Where the Lease is, who we are, and times in seconds; the usual ones are those of Kubernetes' own leaders.

    `duration`: how long the others bear our silence; `renew`: how often we give a sign; `renew_deadline`: how long we
    lead without having renewed, two thirds of the duration unless given.
    """

    namespace: str
    name: str
    identity: str
    duration: float = 15.0
    renew: float = 2.0
    renew_deadline: float | None = None

    @property
    def deadline(self) -> float:
        return self.duration * 2 / 3 if self.renew_deadline is None else self.renew_deadline


@dataclass(frozen=True, slots=True)
class Observed:
    """A holder's last sign, and when we saw it by our own clock."""

    sign: tuple[str, str]
    at: float


def claim(lease: Json | None, terms: LeaseTerms, observed: Observed | None, clock: float, now: datetime) -> Json | None:
    """The Lease to write where we may lead; None where another bridge holds it and still gives signs."""
    spec = (lease or {}).get("spec", {})
    holder = spec.get("holderIdentity") or ""
    ours = holder == terms.identity
    if holder and not ours:
        patience = min(float(spec.get("leaseDurationSeconds") or terms.duration), max(LONGEST_DURATION, terms.duration))
        if observed is None or clock - observed.at < patience:
            return None
    moment = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    metadata = (lease or {}).get("metadata") or {"name": terms.name, "namespace": terms.namespace}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            "holderIdentity": terms.identity,
            "leaseDurationSeconds": math.ceil(terms.duration),
            "acquireTime": spec.get("acquireTime", moment) if ours else moment,
            "renewTime": moment,
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (0 if ours or lease is None else 1),
        },
    }


def sign_of(lease: Json | None) -> tuple[str, str]:
    """What changes whenever a holder renews."""
    spec = (lease or {}).get("spec", {})
    return str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")


class Leadership:
    """Our standing in one cluster. `keep` must run for it to change."""

    def __init__(self, cluster: LeaseCluster, terms: LeaseTerms, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._terms = terms
        self._clock = clock
        self._observed: Observed | None = None
        self._renewed = self._answered = -math.inf
        self.term = ""
        """Since when we hold the Lease, as it says itself: the same as long as nobody else has held it."""
        self.trouble = ""
        """What keeps us from the Lease at the moment, where the cluster doesn't answer as it should."""
        self._leads = asyncio.Event()
        self._follows = asyncio.Event()
        self._follows.set()

    @property
    def leading(self) -> bool:
        return self._leads.is_set()

    @property
    def silent_for(self) -> float:
        """Seconds since the cluster last let us read or write the Lease; infinite where it never has."""
        return self._clock() - self._answered

    async def wait(self) -> None:
        """Until we lead."""
        await self._leads.wait()

    async def keep(self) -> None:
        """Seek the lead and hold it, for ever."""
        while True:
            try:
                await self.step()
            except Exception:  # noqa: BLE001 - one cluster's bug must not end the others
                _log.exception("lease not renewed")
                self._stand(leading=self.leading and self._left() > 0)
            pause = self._terms.renew * random.uniform(0.8, 1.0)  # noqa: S311 - spread, not secrecy
            await asyncio.sleep(min(pause, max(self._left(), 0.0)) if self.leading else pause)

    async def step(self) -> None:
        """One try to take or renew the Lease. We stop leading before anybody else may start."""
        asked = self._clock()
        try:
            # One that hangs leaves time for another.
            longest = self._terms.deadline / 2
            async with asyncio.timeout(min(longest, self._left()) if self.leading else longest):
                ours = await self._try()
            self._answered = self._clock()
            if ours:
                self._renewed = asked
            self._stand(leading=ours)
            self.trouble = ""
        except (ClusterError, TimeoutError) as error:
            trouble = str(error) or f"renewing Lease {self._terms.namespace}/{self._terms.name}: no answer in time"
            if trouble != self.trouble:
                _log.warning("lease not renewed", lease=self._terms.name, error=trouble)
            self.trouble = trouble
        if self._left() <= 0:
            self._stand(leading=False)

    def _left(self) -> float:
        """Seconds for which we still may lead."""
        return self._renewed + self._terms.deadline - self._clock()

    async def during(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do it while we lead; stopped where we lose the lead. Raises LeadershipLostError."""
        task = asyncio.create_task(work)
        lost = asyncio.create_task(self._follows.wait())
        try:
            await asyncio.wait({task, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise LeadershipLostError
            return task.result()
        finally:
            for running in (task, lost):
                running.cancel()
            await asyncio.gather(task, lost, return_exceptions=True)

    async def release(self) -> None:
        """Let another bridge lead at once."""
        if not self.leading:
            return
        self._stand(leading=False)
        lease = await self._cluster.lease(self._terms.namespace, self._terms.name)
        if lease is not None and sign_of(lease)[0] == self._terms.identity:
            lease["spec"]["holderIdentity"] = ""
            await self._cluster.write_lease(lease)

    async def _try(self) -> bool:
        lease = await self._cluster.lease(self._terms.namespace, self._terms.name)
        clock, sign = self._clock(), sign_of(lease)
        if self._observed is None or self._observed.sign != sign:
            self._observed = Observed(sign, clock)
        wanted = claim(lease, self._terms, self._observed, clock, datetime.now(UTC))
        if wanted is None:
            return False
        try:
            await self._cluster.write_lease(wanted)
        except ClusterConflictError:
            return False
        self.term = str(wanted["spec"]["acquireTime"])
        return True

    def _stand(self, *, leading: bool) -> None:
        if leading != self.leading:
            _log.info("leading" if leading else "not leading", lease=self._terms.name, identity=self._terms.identity)
        if leading:
            self._leads.set()
            self._follows.clear()
        else:
            self._leads.clear()
            self._follows.set()
