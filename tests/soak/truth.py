"""What must hold: the kernel does what decide() says of the company as it is, and the SIEM has what it was told of.

The steady connections are decided the same way at every time of the week and by every policy that the soak commits:
they are watched without a pause.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from mocks.lab import Outcome, Probe, measure
from tests.demo.company import NODES, Company, PodSpec
from tests.demo.matrix import OUTCOMES, Connection, connection, connections, measured, policy_of
from tests.demo.world import TIER
from tests.soak.stage import AGENTS, Stage
from zones.policy import Policy, Verdict

STEADY_OF_EACH = 4
HOURS_OF_A_WEEK = 168
PROBE_SECONDS = MATRIX_SECONDS = 1.5
# So often in a row must an allowed connection fail before it counts: this machine may be busy.
FAILURES = 3
WATCH_EVERY = 0.5
# A status file is written every five seconds.
FRESH_SECONDS = 20.0


class BrokenError(AssertionError):
    """An invariant is broken; says which, and what was seen."""


def truth(stage: Stage) -> tuple[Company, Policy]:
    """The company and its policy as they are now."""
    company = replace(stage.company, panorama=stage.truth_file)
    return company, policy_of(company)


class Steady:
    """Connections that nothing may change: some that always pass, and some that never do."""

    def __init__(self, stage: Stage, namespaces: frozenset[str], chance: random.Random) -> None:
        self._stage = stage
        pods = tuple(pod for pod in stage.company.pods if pod.namespace in namespaces)
        self._company = replace(stage.company, pods=pods, hosts=())
        policy = policy_of(stage.company)
        found = connections(self._company, policy, stage.machines)
        chance.shuffle(found)
        self.connections: list[Connection] = []
        for verdict in (Verdict.ALLOW, Verdict.DENY):
            always = (each for each in found if each.decision.verdict is verdict and self._always(policy, each))
            self.connections += [each for each, _ in zip(always, range(STEADY_OF_EACH), strict=False)]

    def holds(self, candidate: Company) -> bool:
        """Whether a configuration leaves all of them as they are, at every time."""
        policy = policy_of(candidate)
        return all(self._always(policy, each) for each in self.connections)

    def _always(self, policy: Policy, wanted: Connection) -> bool:
        pods = {pod.name: pod for pod in self._company.pods}
        pair = pods[wanted.source], pods[wanted.destination]
        now = datetime.now(UTC)
        return all(
            self._outcome(policy, pair, wanted, now + timedelta(hours=hour)) is wanted.expected
            for hour in range(HOURS_OF_A_WEEK)
        )

    def _outcome(self, policy: Policy, pair: tuple[PodSpec, PodSpec], wanted: Connection, at: datetime) -> Outcome:
        family = 6 if ":" in wanted.ip else 4
        return connection(self._company, policy, self._stage.machines, pair, wanted.port, family, at).expected


class Watch:
    """Looks at the steady connections and at what is said to be sent, from `with` to its end. `broken`: what it saw."""

    def __init__(self, stage: Stage, steady: Steady) -> None:
        self.broken: list[str] = []
        self.seen: Counter[str] = Counter()
        self._stage, self._steady = stage, steady
        self._failed: Counter[int] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def require(self) -> None:
        if self.broken:
            raise BrokenError("; ".join(self.broken))

    def _work(self) -> None:
        while not self._stop.wait(WATCH_EVERY):
            self._look_at_connections()
            self._look_at_records()

    def _look_at_connections(self) -> None:
        wanted = self._steady.connections
        machines = self._stage.machines
        outcomes = measure([Probe(machines[each.source], each.ip, each.port) for each in wanted], PROBE_SECONDS)
        self.seen["steady connections"] += len(wanted)
        for number, (each, outcome) in enumerate(zip(wanted, outcomes, strict=True)):
            name = f"{each.source} -> {each.destination} {each.ip} tcp/{each.port}"
            if each.expected is not Outcome.ALLOWED:
                if outcome is Outcome.ALLOWED:
                    self.broken.append(f"always denied, and passed: {name}")
                continue
            self._failed[number] = 0 if outcome is Outcome.ALLOWED else self._failed[number] + 1
            self.seen["allowed connections that failed once"] += self._failed[number] == 1
            if self._failed[number] == FAILURES:
                self.broken.append(f"always allowed, and cut off ({outcome}) {FAILURES} times in a row: {name}")

    def _look_at_records(self) -> None:
        for node, sent in self._stage.count_sent().items():
            arrived = self._stage.receivers.ledger.arrivals(node)
            self.seen["looks at what is said to be sent"] += 1
            if sent > arrived:
                self.broken.append(f"{node} says that {sent} records are acknowledged, and {arrived} are indexed")


def differences(stage: Stage) -> list[str]:
    """Every real connection that is not what decide() says by the clocks of the nodes it passes."""
    company, policy = truth(stage)
    known = {pod.name: pod for pod in company.pods}
    by_node = {
        name: {_key(each): each for each in _at(company, policy, stage, agent)}
        for name, agent in zip(NODES, AGENTS, strict=True)
    }
    wanted = connections(company, policy, stage.machines)
    wrong = []
    for results in measured(wanted, stage.machines, MATRIX_SECONDS):
        for result in results:
            nodes = {
                known[end].node for end in (result.connection.source, result.connection.destination) if end in known
            }
            said = {by_node[node][_key(result.connection)].decision.verdict for node in nodes}
            if result.outcome not in _possible(said):
                wrong.append(
                    f"{result.connection.source} ({result.connection.from_zone}) -> {result.connection.destination} "
                    f"({result.connection.to_zone}) {result.connection.ip} tcp/{result.connection.port} is "
                    f"{result.outcome}, '{result.connection.decision.origin.name}' says {sorted(map(str, said))}"
                )
    return wrong


def _at(company: Company, policy: Policy, stage: Stage, agent: str) -> list[Connection]:
    """Every connection as decided by the clock of one node."""
    now = stage.clocks[agent].now()
    ends: list[Any] = [*company.pods, *company.hosts]
    return [
        connection(company, policy, stage.machines, (source, target), port, family, now)
        for family in (4, 6)
        for source in ends
        for target in company.pods
        if source is not target
        for port in company.ports
    ]


def _possible(said: set[Verdict]) -> set[Outcome]:
    """Nodes with different clocks may say different things: a connection passes where both let it pass."""
    refusing = {OUTCOMES[verdict] for verdict in said if verdict is not Verdict.ALLOW}
    return refusing or {Outcome.ALLOWED}


def _key(each: Connection) -> tuple[str, str, int]:
    return each.source, each.ip, each.port


def unwell(stage: Stage) -> list[str]:
    """What the programs, the nodes and the tier say of themselves that is not well, or isn't so."""
    faults = [f"{name} ended" for name in stage.ended()]
    tier = stage.object(f"tiers/{TIER}")
    nodes = tier.get("status", {}).get("nodes", {})
    if (nodes.get("total"), nodes.get("inSync")) != (len(NODES), len(NODES)):
        faults.append(f"the Tier's status counts nodes as {nodes}")
    if tier.get("status", {}).get("digest") != tier.get("spec", {}).get("digest"):
        faults.append("the Tier's status is of another digest than its spec")
    if not stage.in_sync():
        faults.append("not every NodeState is of the Tier's revision")
    for agent in AGENTS:
        status, age = stage.status(agent)
        if age > FRESH_SECONDS or not status:
            faults.append(f"{agent}'s status is {age:.0f} s old")
        faults += [f"{agent}: {problem}" for problem in status.get("problems", ())]
        if status.get("revision") != tier.get("spec", {}).get("revision"):
            faults.append(f"{agent} says to enforce revision {status.get('revision')}")
    return faults


def undelivered(stage: Stage, since: float, written: dict[str, int]) -> list[str]:
    """What is missing at the SIEM: what agents had written by then, and gaps in their numbers that no alert explains.

    `since`, by time.time(): statuses from before it say nothing. `written`: how many records each node had by its first
    status after that; empty at first. What comes later is the next quiet moment's, since denied packets never pause.
    """
    faults = []
    ledger = stage.receivers.ledger
    for agent, node in zip(AGENTS, NODES, strict=True):
        status, age = stage.status(agent)
        for each in status.get("destinations", ()):
            if time.time() - age >= since:
                written.setdefault(node, each["sent"] + each["backlog"])
            late = written.get(node, 0) - each["sent"]
            if late > 0 or each["trouble"]:
                faults.append(f"{node} has {late} records waiting: {each['trouble'] or 'no trouble'}")
            if each["refused"] or each["lost"]:
                faults.append(f"{node}: {each['refused']} refused, {each['lost']} lost")
        if time.time() - age < since:
            faults.append(f"{node} has not said yet what waits")
        explained = sum(alert["count"] for alert in ledger.losses if alert["node"] == node)
        gaps = ledger.gaps(node)
        missing = sum(after - before - 1 for before, after in gaps)
        if missing > explained:
            faults.append(f"{node}: {missing} records are missing at {gaps[:5]}, of which {explained} were told")
    return faults
