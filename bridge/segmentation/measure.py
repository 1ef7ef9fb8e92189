"""Measures a cluster's zones by pods that live for minutes. It makes and deletes these, and changes nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bridge.errors import BridgeError
from bridge.explain.answer import live_policy
from bridge.nodes.enforcement import states_of
from bridge.segmentation import pods
from bridge.segmentation.attempts import Attempt, PortChoice, ProbeEnd, attempts, judged, pod_zones, ports_among
from bridge.segmentation.matrix import Measured
from bridge.segmentation.probe import MOST_TARGETS, Outcome, targets_text
from bridge.tier.reader import ClusterReader
from zones.kube.api import Api
from zones.kube.errors import ClusterConflictError
from zones.policy import Policy
from zones.rules import Origin
from zones.runtime.errors import InputError
from zones.verdict import UndeterminedError
from zones.zone import allowed_zones

Json = dict[str, Any]
_LOOK_SECONDS = 1.0
# A new pod is known on every node after a second; what stands in a busy cluster's way takes a few.
_SETTLE_SECONDS, _ANSWER_SECONDS = 5, 3
_ROOT = f"/api/v1/namespaces/{pods.NAMESPACE}"
_PODS = f"{_ROOT}/pods"


class MeasurementError(BridgeError):
    """It could not be measured; no probe pod is left but by its own expiry."""


@dataclass(frozen=True, slots=True)
class MeasurementPlan:
    """What to measure. `zones`: None for all that pods can be in; `ports`: so many of each pair and family.

    `most_pods`: the budget. `patience`: seconds until pods must be ready, and again until they must have ended.
    """

    tier: str
    zones: frozenset[str] | None = None
    ports: int = 8
    most_pods: int = 50
    patience: float = 180.0


@dataclass(frozen=True, slots=True)
class SegmentationResult:
    """`revision`: 0 where it changed meanwhile, and `changed` says so; `observing`: nodes of probes that don't enforce.

    `left_out`: rules between these zones that decided no attempt.
    """

    begun: datetime
    ended: datetime
    revision: int
    digest: str
    probes: tuple[ProbeEnd, ...]
    results: tuple[Measured, ...]
    left_out: tuple[Origin, ...]
    observing: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(slots=True)
class Measurement:
    """One run. `say`: what it is doing, for who waits."""

    api: Api
    plan: MeasurementPlan
    say: Callable[[str], None]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    doubts: list[str] = field(default_factory=list)

    async def run(self) -> SegmentationResult:
        """Raises MeasurementError, ClusterError, InputError."""
        reader, begun = ClusterReader(self.api), self.clock()
        image = await self._image()
        policy = await live_policy(reader, self.plan.tier)
        zones = self._zones(policy)
        before = await reader.tier(self.plan.tier) or {}
        async with self._cleaned():
            ends, results = await self._measured(policy, zones, image, begun)
        after = await reader.tier(self.plan.tier) or {}
        revision, digest = _published(before)
        if (revision, digest) != _published(after):
            self.doubts.append("another revision was published meanwhile: what differs may be that")
        states = states_of(await reader.node_states(), self.plan.tier)
        observing = _not_enforcing(ends, states, revision)
        if observing:
            named = ", ".join(observing)
            self.doubts.append(f"nodes of probes that don't enforce revision {revision}: {named}")
        deciding = {result.attempt.decision.origin for result in results if result.outcome is not None}
        between = (entry for entry in policy.entries if any(entry.pairs(a, b) for a in zones for b in zones))
        left_out = tuple(dict.fromkeys(entry.origin for entry in between if entry.origin not in deciding))
        times = begun, self.clock()
        return SegmentationResult(
            *times, revision, digest, tuple(ends), tuple(results), left_out, observing, tuple(self.doubts)
        )

    async def _image(self) -> str:
        namespace = await self.api.get(_ROOT, f"namespace {pods.NAMESPACE}")
        annotations = ((namespace or {}).get("metadata") or {}).get("annotations") or {}
        image = annotations.get(pods.IMAGE_ANNOTATION)
        if not image:
            raise InputError(
                f"verify: there is no namespace {pods.NAMESPACE} with the annotation {pods.IMAGE_ANNOTATION}: install "
                "the chart with verify.enabled=true"
            )
        if "*" not in (allowed_zones(annotations) or ()):
            raise InputError(
                f"verify: namespace {pods.NAMESPACE} may not use every zone: it needs zonebridge.io/zones: '*'"
            )
        return str(image)

    def _zones(self, policy: Policy) -> tuple[str, ...]:
        known = pod_zones(policy)
        unknown = sorted((self.plan.zones or frozenset()) - set(known))
        if unknown:
            raise InputError(f"verify: no pods can be in zone {', '.join(unknown)}; there are: {', '.join(known)}")
        zones = tuple(zone for zone in known if self.plan.zones is None or zone in self.plan.zones)
        if 2 * len(zones) > self.plan.most_pods:
            raise InputError(
                f"verify: {len(zones)} zones take {2 * len(zones)} pods, and the budget is {self.plan.most_pods}: give "
                "--scope, or a larger --most-pods (and verify.pods in the chart)"
            )
        return zones

    async def _measured(
        self, policy: Policy, zones: Sequence[str], image: str, at: datetime
    ) -> tuple[list[ProbeEnd], list[Measured]]:
        label, ports = policy.zoning.label_key, ports_among(policy, zones)
        self.say(f"{len(zones)} listeners on {len(ports)} ports")
        wanted = [pods.listener(number, zone, label, image, ports) for number, zone in enumerate(zones)]
        listening = await self._started(wanted, pods.is_ready, "be ready")
        listeners = [pods.end_of(pod, zone) for pod, zone in zip(listening, zones, strict=True)]
        choice = PortChoice(frozenset(ports), self.plan.ports)
        planned: list[list[Attempt]] = []
        for end in listeners:  # the caller of its zone will be like it, but for the address
            try:
                planned.append(list(attempts(policy, end, listeners, choice, at)))
            except UndeterminedError as error:
                raise MeasurementError(f"verify: {error}, which a probe doesn't have") from error
        most = max(map(len, planned))
        if most > MOST_TARGETS:
            raise InputError(f"verify: {most} connections for one probe, {MOST_TARGETS} fit: give --ports or --scope")
        self.say(f"{sum(map(len, planned))} connections")
        texts = [targets_text([(str(attempt.address), attempt.port) for attempt in some]) for some in planned]
        words = [[str(_SETTLE_SECONDS), str(_ANSWER_SECONDS), text] for text in texts]
        callers = [pods.caller(number, zone, label, image, words[number]) for number, zone in enumerate(zones)]
        ended = await self._started(callers, pods.has_ended, "end")
        gone = await self._gone(listening)
        ends, results = list(listeners), list[Measured]()
        for pod, zone, some, text in zip(ended, zones, planned, texts, strict=True):
            end, outcomes = pods.end_of(pod, zone), pods.answers(pod, text)
            ends.append(end)
            if isinstance(outcomes, str):
                self.doubts.append(f"nothing is known from zone '{zone}': {end.name}: {outcomes}")
            results += self._beside(policy, end, some, outcomes, gone, at)
        return ends, results

    @staticmethod
    def _beside(  # noqa: PLR0917 - all of one caller
        policy: Policy,
        end: ProbeEnd,
        planned: Sequence[Attempt],
        outcomes: Sequence[Outcome] | str,
        gone: frozenset[str],
        at: datetime,
    ) -> list[Measured]:
        """What a caller found, judged by the address that it had. Of a listener that was gone nothing is known."""
        results = []
        for place, plan in enumerate(planned):
            attempt = judged(policy, end, plan.destination, plan.port, plan.address.version, at) or plan
            outcome = None if isinstance(outcomes, str) or plan.destination.name in gone else outcomes[place]
            results.append(Measured(attempt, outcome))
        return results

    async def _started(self, wanted: Sequence[Json], done: Callable[[Json], bool], what: str) -> list[Json]:
        """Create pods and wait until all are done, or what is known of those that aren't. Raises MeasurementError."""
        for pod in wanted:
            await self._create(pod)
        names = [pod["metadata"]["name"] for pod in wanted]
        deadline = asyncio.get_running_loop().time() + self.plan.patience
        while True:
            existing = await self._existing()
            if all(name in existing and done(existing[name]) for name in names):
                return [existing[name] for name in names]
            if asyncio.get_running_loop().time() > deadline:
                late = next(name for name in names if name not in existing or not done(existing[name]))
                why = pods.waiting(existing[late]) if late in existing else "it is gone"
                raise MeasurementError(f"verify: pod {late} did not {what} in {self.plan.patience:.0f} s: {why}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _create(self, pod: Json) -> None:
        name = pod["metadata"]["name"]
        try:
            answer = await self.api.call("POST", _PODS, f"creating pod {name}", body=pod)
        except ClusterConflictError as error:
            raise MeasurementError(
                f"verify: pod {pods.NAMESPACE}/{name} exists: another measurement is under way"
            ) from error
        if answer is None:
            raise MeasurementError(f"verify: namespace {pods.NAMESPACE} is gone")

    async def _existing(self) -> dict[str, Json]:
        query = {"labelSelector": pods.PROBE_LABEL}
        listed = await self.api.get(_PODS, f"pods of {pods.NAMESPACE}", query) or {}
        return {pod["metadata"]["name"]: pod for pod in listed.get("items") or ()}

    async def _gone(self, listening: Sequence[Json]) -> frozenset[str]:
        """Listeners that did not listen all the time."""
        now = await self._existing()
        gone = []
        for pod in listening:
            name, current = pod["metadata"]["name"], now.get(pod["metadata"]["name"])
            if current is None or current["metadata"]["uid"] != pod["metadata"]["uid"] or not pods.is_ready(current):
                gone.append(name)
                self.doubts.append(f"{name} did not listen to the end; nothing is known of what was sent to it")
        return frozenset(gone)

    @asynccontextmanager
    async def _cleaned(self) -> AsyncIterator[None]:
        """What a measurement that was killed has left is taken away first, once its time is over."""
        for name, pod in (await self._existing()).items():
            if not pods.has_ended(pod):
                raise MeasurementError(
                    f"verify: pod {pods.NAMESPACE}/{name} exists: another measurement is under way, or was killed; "
                    f"it ends by itself within {pods.EXPIRY} s"
                )
            await self._delete(name)
        try:
            yield
        finally:
            for name in await self._existing():
                await self._delete(name)

    async def _delete(self, name: str) -> None:
        await self.api.call("DELETE", f"{_PODS}/{name}", f"deleting pod {name}", query={"gracePeriodSeconds": "0"})


def _published(tier: Mapping[str, Any]) -> tuple[int, str]:
    spec = tier.get("spec") or {}
    return int(spec.get("revision") or 0), str(spec.get("digest") or "")


def _not_enforcing(ends: Sequence[ProbeEnd], states: Mapping[str, Json], revision: int) -> tuple[str, ...]:
    """Nodes on which a probe ran, and that don't say that they enforce this revision for its zone."""
    behind = set()
    for end in ends:
        state = states.get(end.node) or {}
        zones = state.get("enforcedZones")  # none: all
        enforces = state.get("mode") == "enforce" and (not zones or end.zone in zones)
        if state.get("revision") != revision or not enforces:
            behind.add(end.node)
    return tuple(sorted(behind))
