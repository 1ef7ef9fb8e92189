"""What the manager says, compiled: asked for again and again, worked out only where something has changed.

It writes nothing anywhere. `bridge.tier.sync` looks at the beginning of every pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from bridge.errors import BridgeError, ManagerAnswerError, ManagerError, RevisionRefusedError, UnknownDeviceGroupError
from bridge.managers import Manager, Provenance
from bridge.tier.plan import SafetyLimits
from zones.compile import Compiled, CompileOptions, compile_policy
from zones.net import AddressSet
from zones.policy import InfrastructureRule
from zones.rules import Feed, FeedKind, Rulebase
from zones.zone import Zoning

_T = TypeVar("_T")


class FeedSource(Protocol):
    """What changes without a commit: the last good content of each feed, and a number that rises with every change.

    `troubles`: what keeps feeds from newer content, by name.
    """

    version: int

    async def want(self, feeds: Sequence[Feed], /) -> None: ...
    def contents(self) -> Mapping[str, AddressSet]: ...
    def troubles(self) -> Mapping[str, str]: ...


AskInfrastructure = Callable[[], Awaitable[tuple[InfrastructureRule, ...]]]


async def nothing_more() -> tuple[InfrastructureRule, ...]:
    """For a cluster whose infrastructure the settings tell in whole."""
    return ()


class RunBlocking(Protocol):
    """Runs one of the manager's blocking calls elsewhere, one at a time."""

    def __call__(self, call: Callable[[], _T], /) -> Awaitable[_T]: ...


@dataclass(frozen=True, slots=True)
class CompileTarget:
    """What a cluster's tier is made of, from the settings. `manager` is a name for people."""

    cluster: str
    tier: str
    device_group: str
    zoning: Zoning
    options: CompileOptions = field(default_factory=CompileOptions)
    infrastructure: tuple[InfrastructureRule, ...] = ()
    guards: SafetyLimits = field(default_factory=SafetyLimits)
    stale_after: timedelta = timedelta(minutes=10)
    manager: str = "panorama"


@dataclass(frozen=True, slots=True)
class CompiledReading:
    """What the manager said last, compiled."""

    version: str
    rulebase: Rulebase
    feeds_version: int
    compiled: Compiled
    infrastructure: tuple[InfrastructureRule, ...] = ()
    provenance: Provenance = Provenance()  # noqa: RUF009 - frozen


class RulebaseReader:
    """The reading of one cluster's device group. `last` is the newest that could be read, `answered` when.

    `infrastructure` asks the cluster for the rules that only it can tell, besides those of the target.
    """

    def __init__(
        self,
        target: CompileTarget,
        manager: Manager,
        feeds: FeedSource,
        run_blocking: RunBlocking,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        infrastructure: AskInfrastructure = nothing_more,
    ) -> None:
        self._infrastructure = infrastructure
        self._target = target
        self._manager = manager
        self._feeds = feeds
        self._run_blocking = run_blocking
        self._now = now
        self._clock = clock
        self._heard = 0.0
        self.accepted = False
        """Whether the manager has ever taken this process's credentials, whatever it answered and whoever leads."""
        self.infrastructure: tuple[InfrastructureRule, ...] | None = None
        """What it is to be from now on; None before anybody was asked."""
        self.last: CompiledReading | None = None
        self.answered: datetime | None = None

    def forget(self) -> None:
        self.last = self.answered = None

    @property
    def feed_troubles(self) -> Mapping[str, str]:
        """The feeds whose newest content isn't known."""
        return self._feeds.troubles()

    @property
    def silent_for(self) -> timedelta | None:
        """How long ago the last answer came, whatever the machine's time was set to meanwhile."""
        return None if self.answered is None else timedelta(seconds=self._clock() - self._heard)

    async def look(self) -> BridgeError | None:
        """Read and compile the configuration, where it may have changed. What keeps us from it is returned.

        Raises ClusterError where the cluster's infrastructure can't be asked for and never was known.
        """
        self.infrastructure = infrastructure = (*self._target.infrastructure, *await self._infrastructure())
        problem = await self._ask(infrastructure)
        if problem is not None and self.last is not None:
            await self._read(self.last.version, self.last.rulebase, infrastructure, self.last.provenance)
        return problem

    async def introduce(self) -> BridgeError | None:
        """Ask for the version alone: whether the manager is there, and takes our credentials."""
        try:
            await self._run_blocking(self._manager.version)
        except (UnknownDeviceGroupError, ManagerAnswerError) as error:
            self.accepted = True
            return error
        except ManagerError as error:
            return error
        self.accepted = True
        return None

    async def _ask(self, infrastructure: tuple[InfrastructureRule, ...]) -> BridgeError | None:
        try:
            version = await self._run_blocking(self._manager.version)
            rulebase, provenance = await self._rulebase(version)
        except UnknownDeviceGroupError as error:
            self.accepted = True
            return RevisionRefusedError("UnknownDeviceGroup", str(error))
        except ManagerAnswerError as error:
            self.accepted = True
            return RevisionRefusedError("UnusableAnswer", str(error))
        except ManagerError as error:
            return error
        self.accepted = True
        self.answered, self._heard = self._now(), self._clock()
        await self._read(version, rulebase, infrastructure, provenance)
        return None

    async def _rulebase(self, version: str) -> tuple[Rulebase, Provenance]:
        if self.last is not None and self.last.version == version:
            return self.last.rulebase, self.last.provenance
        rulebase = await self._run_blocking(self._manager.rulebase)
        provenance = await self._run_blocking(self._manager.provenance)
        await self._feeds.want([feed for feed in rulebase.feeds if feed.kind is not FeedKind.PROVIDED])
        return rulebase, provenance

    async def _read(
        self,
        version: str,
        rulebase: Rulebase,
        infrastructure: tuple[InfrastructureRule, ...],
        provenance: Provenance,
    ) -> None:
        """Compile, unless rulebase, feeds' contents and infrastructure are those of the last reading."""
        feeds_version, contents = self._feeds.version, self._feeds.contents()
        before = self.last
        if (
            before is None
            or before.rulebase is not rulebase
            or (before.feeds_version, before.infrastructure) != (feeds_version, infrastructure)
        ):
            target = self._target
            compiled = await asyncio.to_thread(
                compile_policy,
                rulebase,
                target.zoning,
                target.options,
                infrastructure,
                contents,
                before=None if before is None else before.compiled,
            )
            self.last = CompiledReading(version, rulebase, feeds_version, compiled, infrastructure, provenance)
        elif before.version != version:
            self.last = replace(before, version=version, provenance=provenance)
