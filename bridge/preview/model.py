"""The result of a preview: everything that a table, the JSON form or a page shows of it. Values only.

    Preview
    ├── running, candidate      Configuration: what was compiled, and what is known of where it comes from
    ├── rules, objects          RuleChange, ObjectChange: what was edited
    ├── flows                   zones.difference.Difference: the exact set of flows whose verdict changes
    ├── projection              Projection: the same for the workloads of a cluster, and pods that change their zone
    ├── seen                    SeenEffect: the same for connections that were really seen
    └── violations              Violation: guard rails that the candidate breaks

What was not asked for is None: `projection` without pods, `seen` without records. What is empty was asked for, and
nothing changes there. All tuples have a stable order: two previews of the same input are equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from bridge.guard_rail import GuardRail
from bridge.managers import Editor
from zones.compile import Compiled
from zones.difference import Box, Difference, Piece, RuleChangeKind
from zones.net import IPAddress, IPNetwork
from zones.policy import Verdict
from zones.problems import RuleReport
from zones.rules import Origin, Rulebase


@dataclass(frozen=True, slots=True)
class Configuration:
    """One of the two. `version` names its state at Panorama, "" of a file; `editors` are those of a candidate."""

    rulebase: Rulebase
    compiled: Compiled
    version: str = ""
    editors: tuple[Editor, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A rule that isn't what or where it was, with what became of it before and after (None: it isn't there)."""

    origin: Origin
    change: RuleChangeKind
    old: RuleReport | None
    new: RuleReport | None


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """An object that both configurations' rules name and whose content changes, once, with the rules that name it.

    `kind`: "address", "service" or "application", groups among them. `gained`: what it will hold and doesn't, `lost`
    the reverse; as text, each prefix, service or name by itself.
    """

    kind: str
    name: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    rules: tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """All pods of one workload in one zone. `namespace` and `name` "": hosts outside of the cluster, or nodes."""

    zone: str
    namespace: str
    name: str
    pods: int = 0

    @property
    def is_pods(self) -> bool:
        return bool(self.namespace or self.name)


@dataclass(frozen=True, slots=True)
class WorkloadChange:
    """One piece of the exact difference for the workloads that are there: each source with each destination.

    An end that is no pod, of a zone of `networks` say, is the one Workload with an empty name; `piece.box` has its
    addresses. Of a workload it may be some pods alone, where rules name addresses.
    """

    from_zone: str
    to_zone: str
    sources: tuple[Workload, ...]
    destinations: tuple[Workload, ...]
    piece: Piece

    @property
    def pairs(self) -> int:
        """How many pairs of workloads; a workload with itself is one."""
        return len(self.sources) * len(self.destinations)

    def each_pair(self) -> Iterator[tuple[Workload, Workload]]:
        for source in self.sources:
            for destination in self.destinations:
                yield source, destination


@dataclass(frozen=True, slots=True)
class PodMove:
    """A pod whose zone is another one in the pods that are coming (`--pods-then`) than in those that are there."""

    namespace: str
    pod: str
    old_zone: str
    new_zone: str


@dataclass(frozen=True, slots=True)
class Projection:
    """What changes for the pods that are there. `pods` and `workloads`: how many were looked at."""

    pods: int
    workloads: int
    changes: tuple[WorkloadChange, ...]
    moves: tuple[PodMove, ...] = ()


@dataclass(frozen=True, slots=True)
class LoggedEnd:
    """One end of what was seen. `workload` and `namespace` "": no pod. `node`: where it is, "" if unknown.

    `address`: of what was counted and not logged the network, None for a pod.
    """

    zone: str
    address: IPAddress | IPNetwork | None
    namespace: str = ""
    workload: str = ""
    node: str = ""
    is_node: bool = False


@dataclass(frozen=True, slots=True)
class LoggedFlow:
    """Connections that were seen between two ends, with `connections` of them from `first` to `last` (aware).

    `protocol` is an IANA number, `port` the server's. The client's port and address are those of one of them.
    """

    source: LoggedEnd
    destination: LoggedEnd
    protocol: int
    port: int | None
    icmp_type: int | None
    connections: int
    first: datetime
    last: datetime
    source_port: int | None = None


@dataclass(frozen=True, slots=True)
class SeenChange:
    """A flow that was seen and is judged otherwise by the candidate: always, or while the piece's schedules say so.

    `depends`: what isn't known of it, so that some of its connections may stay as they are.
    """

    flow: LoggedFlow
    piece: Piece
    depends: tuple[str, ...] = ()

    @property
    def denied(self) -> bool:
        return self.piece.old.verdict is Verdict.ALLOW


@dataclass(frozen=True, slots=True)
class SeenEffect:
    """What changes of what was seen; `since` is where the records begin: nothing is said of what was before.

    `flows` and `connections`: how much was looked at. `unread`: lines that are no record. `nodes`: those with records.
    `counted`: by nodes, whether a rule logs or not; `missing`: connections of which nodes know that they did not.
    """

    flows: int
    connections: int
    since: datetime | None
    until: datetime | None
    changes: tuple[SeenChange, ...]
    unread: int = 0
    nodes: tuple[str, ...] = ()
    missing: int = 0
    counted: bool = False

    @property
    def denied(self) -> tuple[LoggedFlow, ...]:
        """What the candidate would deny and the running one allows, each flow once, most connections first."""
        flows = dict.fromkeys(change.flow for change in self.changes if change.denied)
        return tuple(sorted(flows, key=lambda flow: -flow.connections))


@dataclass(frozen=True, slots=True)
class Violation:
    """A guard rail that a policy breaks: `rule` allows the flows of `box`. `existing`: they are allowed today."""

    rail: GuardRail
    rule: Origin
    box: Box
    existing: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """What a candidate configuration changes. `flows` is None where one of both is refused: then nothing changes.

    `at`: from when on schedules count. `known` and `unknown`: zones that Panorama comes to know, and that it forgets.
    """

    running: Configuration
    candidate: Configuration
    at: datetime
    rules: tuple[RuleChange, ...]
    objects: tuple[ObjectChange, ...] = ()
    flows: Difference | None = None
    projection: Projection | None = None
    seen: SeenEffect | None = None
    violations: tuple[Violation, ...] = ()
    known: tuple[str, ...] = field(default=())
    unknown: tuple[str, ...] = field(default=())

    @property
    def refused(self) -> bool:
        """Whether the candidate would be refused: then nothing of it comes into force."""
        return self.candidate.compiled.policy is None

    @property
    def running_refused(self) -> bool:
        """Whether what is committed is refused as it is, so that there are no verdicts to compare with."""
        return self.running.compiled.policy is None
