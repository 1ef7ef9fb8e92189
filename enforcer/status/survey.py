"""What holds on this node now: the conditions that alerts tell of, and the status. It only looks.

`enforcer.service` asks; what costs a look at every pod is looked at in `take`, and remembered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

from enforcer.cluster import pod_events
from enforcer.cluster.bridge_liveness import Renewal
from enforcer.cluster.tier import TierStanding
from enforcer.cluster.view import View, WatchedKind
from enforcer.rules.options import Mode
from enforcer.service_parts import ServiceParts
from enforcer.status import gauges, problems, status
from zones.policy import Policy
from zones.siem.alerts import Condition
from zones.siem.records import Json

# A bridge may be replaced, and Panorama restarted, before every node says that nobody is at work: times `staleSeconds`.
_RENEWALS = 3


@dataclass(slots=True)
class NodeSurvey:
    """`heard`: when each kind of objects was last told of; `lost`: records, by where. Both are others' and grow.

    `status` is what was found last. `serve_problem`: why the metrics can't be had; `report_problem`: why the NodeState
    can't be written.
    """

    parts: ServiceParts
    heard: Mapping[str, float]
    lost: Mapping[str, int]
    renewal: Renewal
    status: Json = field(default_factory=dict)
    serve_problem: str = ""
    report_problem: Callable[[], str] = lambda: ""
    _waiting_since: float | None = None
    _population: tuple[Condition, ...] = ()
    _unseen: list[str] = field(default_factory=list)
    _misplaced: str = ""

    def conditions(self) -> Iterator[Condition]:
        """All that hold now."""
        parts, alerts = self.parts, self.parts.settings.alerts
        enforcement, now = parts.enforcement, time.monotonic()
        applied = enforcement.applied.problems if enforcement.applied else ()
        waiting = enforcement.judgement.standing is TierStanding.WAITING
        self._waiting_since = (self._waiting_since or now) if waiting else None
        waited = now - (self._waiting_since or now)
        return chain(
            problems.of_tier(enforcement.tier, enforcement.judgement),
            problems.of_sync(self.heard, now, alerts.stale_seconds),
            problems.of_bridge(enforcement.tier, self.renewal.at, now, _RENEWALS * alerts.stale_seconds),
            problems.of_waiting(enforcement.tier, enforcement.judgement, waited, alerts.stale_seconds),
            self._population,
            self._of_quarantines(),
            problems.of_addresses(parts.view.holders.disputed(), parts.settings.node_name),
            problems.of_node([*applied, *parts.view.problems(), *self._own_problems()]),
            problems.of_node(filter(None, [enforcement.without_tier, enforcement.strange_zones])),
            problems.of_destinations((delivery.progress for delivery in parts.deliveries), now, alerts.stale_seconds),
        )

    def _of_quarantines(self) -> Iterator[Condition]:
        view, observes = self.parts.view, self.parts.enforcement.mode is Mode.OBSERVE
        return problems.of_quarantines(view.quarantines, view.own_pods(), observes=observes)

    def standing(self) -> Json:
        """What is in force, and everything that is wrong here: what the status and the NodeState both tell."""
        standing = status.of_enforcement(self.parts.enforcement) | {
            "mode": self.parts.enforcement.mode.value,
            "enforcedZones": sorted(self.parts.enforcement.zones),
        }
        standing["problems"] += [*self._own_problems(), *self._of_api_server()]
        return standing

    def _of_api_server(self) -> Iterator[str]:
        """What it doesn't answer. No alert by itself, since API servers are restarted: `sync-stale` comes in time."""
        writer = self.parts.event_writer
        yield from filter(None, [self.parts.cluster.problem, "" if writer is None else writer.problem])

    def take(self, ages: Mapping[str, float]) -> None:
        """Look at every pod of this node, and at every kind of pod. `ages`: each destination's oldest record's."""
        parts, view, revision = self.parts, self.parts.view, self.parts.enforcement.last_good
        policy = revision.policy if revision else None
        self._unseen = parts.unseen(at for pod in view.own_pods() if pod.holds_addresses for at in pod.addresses)
        self._misplaced = problems.misplaced_problem(list(view.holders.pod_address_conflicts(parts.settings.node_name)))
        self._population = tuple(self._of_population(view, policy)) if view.complete else ()
        if view.complete and parts.event_writer is not None:
            texts = pod_events.of_pods(view, policy, parts.settings.node_name)
            parts.event_writer.events.states(texts, time.time())
        standing = self.standing()
        standing["problems"] += filter(None, [self.report_problem()])  # a NodeState can't tell of itself
        self.status = {
            "time": datetime.now(UTC).isoformat(),
            "cluster": parts.settings.cluster,
            "node": parts.settings.node_name,
            **standing,
            **status.of_population(view.holders, view.count(WatchedKind.NODES), policy.zoning if policy else None),
            **self._of_records(ages),
        }

    def _of_records(self, ages: Mapping[str, float]) -> Json:
        """From the kernel's log to the destinations: counts, queues, losses and delays."""
        parts = self.parts
        progress = [delivery.progress for delivery in parts.deliveries]
        backlogs = {one.name: parts.outbox.backlog(one.name) for one in progress}
        asides = {one.name: one.aside_bytes for one in parts.deliveries}
        connections = None if parts.ends is None else parts.ends.connections
        return {
            **status.of_records(parts.reporter.counts, self.lost),
            "sequence": parts.reporter.latest_number,
            "spool_bytes": parts.outbox.size,
            "spool_capacity": int(parts.settings.spool.max_bytes),
            "destinations": status.of_destinations(progress, backlogs, self.lost, ages, asides),
            **gauges.of_delays(parts.enforcement, self.heard, time.monotonic()),
            **gauges.of_log(parts.log.source),
            **gauges.of_queues(parts.log.intake, parts.reporter, connections, parts.outbox, parts.event_writer),
            **gauges.of_alerts(parts.reporter),
            **gauges.of_pod_events(parts.event_writer),
            **gauges.of_detection(parts.detection),
        }

    def _of_population(self, view: View, policy: Policy | None) -> Iterator[Condition]:
        node = self.parts.settings.node_name
        if policy is not None:
            yield from problems.of_zones(policy, view.own_pods())
        yield from problems.of_places(view.holders.pod_address_conflicts(node), node)
        yield from problems.of_intruders(view.holders.node_address_conflicts(node), node)
        yield from problems.of_networks(view.holders.doubted(node), node)

    def _own_problems(self) -> list[str]:
        spool = self.parts.outbox.trouble
        spool_problem = spool and f"the spool's disk takes nothing ({spool}): what is recorded is kept in memory"
        ends_problem = "" if self.parts.ends is None else self.parts.ends.problem
        slices_problem = "" if self.parts.slice_writer is None else self.parts.slice_writer.problem
        problems = (
            self.parts.log.problem,
            slices_problem,
            ends_problem,
            "" if self.parts.seen is None else self.parts.seen.problem,
            *(() if self.parts.detection is None else self.parts.detection.problems),
            self.serve_problem,
            spool_problem,
            self._misplaced,
            *self._unseen,
        )
        return [problem for problem in problems if problem]
