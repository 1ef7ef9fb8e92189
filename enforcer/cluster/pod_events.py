"""What an application team reads at its own pod: why a connection was refused, and why a pod is cut off. Pure.

Many denials are one Event with a count, and all Events together are few. It tells of this node's pods alone, and of the
other end only what its own side of the connection knows. `enforcer.cluster.event_writer` writes what is due.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass

from enforcer.cluster.view import View
from enforcer.flows.flows import FlowEnd, NamedPacket
from enforcer.rules.chains.verdict_chains import BY_PACKET
from zones.addresses.inventory import Holder, Pod
from zones.net import IPAddress, protocol_name
from zones.policy import Policy
from zones.runtime.rate_budget import RateBudget
from zones.siem.records import Json, timestamp

CONTROLLER = "zonebridge.io/zone-enforcer"
DENIED, WOULD_DENY = "ZoneDenied", "ZoneWouldDeny"
NOT_ENTITLED, UNKNOWN, NOT_TRUSTED = "ZoneNotEntitled", "ZoneUnknown", "ZoneAddressNotTrusted"
IN_QUARANTINE = "ZoneQuarantined"
# An Event lives an hour in a usual API server.
REMIND_SECONDS, UPDATE_SECONDS, QUIET_SECONDS = 2400.0, 120.0, 600.0
MOST_SERIES = 2_000
_KEPT_FOR_NEW = 0.3
_LONGEST_NOTE, _LONGEST_NAME, _LONGEST_INSTANCE = 1000, 200, 128
_MANY = "many"


@dataclass(frozen=True, slots=True)
class PodEventLimits:
    """`per_minute`: written Events of the whole node. `per_pod`: different denials that one pod is told at a time."""

    per_minute: float = 30.0
    per_pod: int = 5
    rules: bool = True


@dataclass(frozen=True, slots=True)
class EventText:
    """What an Event says."""

    reason: str
    action: str
    note: str
    warning: bool = True


@dataclass(slots=True)
class Series:
    """One Event: what is told of one pod, and how often it has come to that. `written`: the count that was written.

    `first` and `last` are epoch seconds; `heard` (of it last) and `written_at` are times of a clock that nobody sets.
    """

    namespace: str
    pod: str
    uid: str
    address: IPAddress | None
    text: EventText
    name: str
    first: float
    last: float
    count: int
    heard: float
    written: int = 0
    written_at: float = 0.0

    def due(self, steady: float) -> bool:
        return self.count > self.written and (not self.written or steady - self.written_at >= UPDATE_SECONDS)

    def event(self, node: str) -> Json:
        """For events.k8s.io/v1."""
        body: Json = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "eventTime": timestamp(self.first),
            "reportingController": CONTROLLER,
            "reportingInstance": f"zone-enforcer-{node}"[:_LONGEST_INSTANCE],
            "regarding": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": self.namespace,
                "name": self.pod,
                "uid": self.uid,
            },
            "action": self.text.action,
            "reason": self.text.reason,
            "type": "Warning" if self.text.warning else "Normal",
            "note": self.text.note,
        }
        if self.count > 1:
            body["series"] = {"count": self.count, "lastObservedTime": timestamp(max(self.first, self.last))}
        return body


class PodEvents:
    """`holder` says whose an address is now. `clock` is one that nobody sets: what is due goes by it."""

    def __init__(
        self,
        node: str,
        holder: Callable[[IPAddress], Holder | None],
        limits: PodEventLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.node = node
        self._holder = holder
        self._clock = clock
        self._limits = limits or PodEventLimits()
        self._budget = RateBudget(self._limits.per_minute / 60, self._limits.per_minute)
        self._series: dict[Hashable, Series] = {}
        self._of_pod: Counter[tuple[str, str]] = Counter()
        self.suppressed = 0

    def __len__(self) -> int:
        return len(self._series)

    @property
    def waiting(self) -> int:
        """How many Events have something that isn't written."""
        return sum(series.count > series.written for series in self._series.values())

    def denied(self, named: NamedPacket) -> None:
        """A denied packet, to the pods of this node that it is from or to."""
        if named.source.node == self.node and named.source.pod:
            self._denied(named, named.source, named.destination, "Connect")
        if named.destination.node == self.node and named.destination.pod:
            self._denied(named, named.destination, named.source, "Accept")

    def states(self, states: Iterable[tuple[Pod, EventText]], now: float) -> None:
        """What holds of pods now, looked at again and again. It is told when it is seen a second time, and then again.

        What a pod may do is known a moment later than the pod, where its namespace is new.
        """
        steady = self._clock()
        for pod, event_text in states:
            key = pod.uid, event_text
            series = self._series.get(key)
            if series is None:
                self._begin(key, pod, event_text, now, count=0)
            else:
                series.last, series.heard = now, steady
                series.count = max(series.count, 1)
                if series.written and steady - series.written_at >= REMIND_SECONDS:
                    series.count = series.written + 1

    def due(self) -> Iterator[Series]:
        """What is to be written now, as many as may be. What is new goes before what has only happened again."""
        steady = self._clock()
        self._forget(steady)
        for key, series in sorted(self._series.items(), key=lambda entry: entry[1].written > 0):
            if not series.due(steady):
                continue
            if not self._is_there(series):
                self._drop(key)
            elif self._budget.take(steady, _KEPT_FOR_NEW if series.written else 0.0):
                yield series
            else:
                return

    def wrote(self, series: Series, count: int) -> None:
        series.written, series.written_at = count, self._clock()

    def _denied(self, named: NamedPacket, end: FlowEnd, other: FlowEnd, action: str) -> None:
        seen = named.seen
        pod = end.namespace, end.pod
        key: Hashable = (pod, action, seen.rule, other.workload or other.zone, named.port, seen.protocol)
        series = self._series.get(key)
        many = series is None and self._of_pod[pod] >= self._limits.per_pod
        if many:
            key = pod, _MANY
            series = self._series.get(key)
        if series is not None:
            series.count += 1
            series.last, series.heard = seen.at, self._clock()
        elif seen.origin not in BY_PACKET:
            self._begin(key, end, _many(action) if many else self._told(named, end, other, action), seen.at)

    def _begin(self, key: Hashable, who: Pod | FlowEnd, event_text: EventText, at: float, count: int = 1) -> None:
        if len(self._series) >= MOST_SERIES:
            self.suppressed += 1
            return
        pod = who.name if isinstance(who, Pod) else who.pod
        digest = hashlib.sha256(repr((self.node, key, at)).encode()).hexdigest()[:16]
        name = f"{pod[:_LONGEST_NAME].rstrip('.-')}.{digest}"
        uid, address = (who.uid, None) if isinstance(who, Pod) else ("", who.address)
        self._series[key] = Series(who.namespace, pod, uid, address, event_text, name, at, at, count, self._clock())
        self._of_pod[who.namespace, pod] += 1

    def _told(self, named: NamedPacket, end: FlowEnd, other: FlowEnd, action: str) -> EventText:
        """The other end's name is for its own namespace; its address and zone are seen by who talks to it."""
        seen = named.seen
        port = "" if named.port is None else f"/{named.port}"
        by = f"by rule '{seen.origin.name}'" if self._limits.rules else "by the firewall"
        name = f", workload '{other.workload}'" if other.workload and other.namespace == end.namespace else ""
        other_end = f"{other.address} (zone '{other.zone}'{name})"
        what = f"{protocol_name(seen.protocol)}{port} {'to' if action == 'Connect' else 'from'} {other_end}"
        did, reason = ("denied", DENIED) if seen.enforced else ("would be denied", WOULD_DENY)
        note = f"{what} {did} {by}; this pod is in zone '{end.zone}'"
        return EventText(reason, action, _note(note), warning=seen.enforced)

    def _is_there(self, series: Series) -> bool:
        """Whether the pod still has the address. Another one of its name is another pod."""
        if series.address is None:
            return True
        holder = self._holder(series.address)
        if not isinstance(holder, Pod) or (holder.namespace, holder.name) != (series.namespace, series.pod):
            return False
        series.uid = series.uid or holder.uid
        return series.uid == holder.uid

    def _forget(self, steady: float) -> None:
        """What has not happened for a while; the next time it is an Event of its own."""
        for key in [key for key, series in self._series.items() if steady - series.heard >= QUIET_SECONDS]:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        series = self._series.pop(key)
        pod = series.namespace, series.pod
        self._of_pod[pod] -= 1
        if not self._of_pod[pod]:
            del self._of_pod[pod]


def of_pods(view: View, policy: Policy | None, node: str) -> Iterator[tuple[Pod, EventText]]:
    """What holds of this node's pods now that their teams should know."""
    yield from of_places(view.holders.pod_address_conflicts(node), node)
    if policy is not None:
        yield from of_zones(policy, view.own_pods())


def of_zones(policy: Policy, pods: Iterable[Pod]) -> Iterator[tuple[Pod, EventText]]:
    """Pods of this node whose zone is not what their team thinks."""
    zoning = policy.zoning
    for pod in pods:
        if not pod.holds_addresses:
            continue
        if pod.quarantined:
            yield pod, EventText(IN_QUARANTINE, "Zone", "the security team has this pod in quarantine: it is cut off")
            continue
        zone = zoning.claimed(pod.labels)
        if not zoning.entitled(zone, pod.allowed):
            note = (
                f"namespace '{pod.namespace}' isn't entitled to the zone '{zone}': this pod is cut off from all others"
            )
            yield pod, EventText(NOT_ENTITLED, "Zone", _note(note))
        elif policy.known_zones and zone not in policy.known_zones and zone != zoning.default:
            note = f"no firewall rule knows the zone '{zone}': only rules for any zone allow this pod anything"
            yield pod, EventText(UNKNOWN, "Zone", _note(note))


def of_places(misplaced: Iterable[tuple[IPAddress, Pod]], node: str) -> Iterator[tuple[Pod, EventText]]:
    for address, pod in misplaced:
        note = f"{address} is in no pod network of the node {node}: this pod is not trusted to have it"
        yield pod, EventText(NOT_TRUSTED, "Zone", _note(note))


def _many(action: str) -> EventText:
    return EventText(
        DENIED, action, "more connections denied than are told one by one; the security team's log has them all"
    )


def _note(text: str) -> str:
    """Bounded, and in one line, whatever somebody has named a rule."""
    return "".join(letter if letter.isprintable() else "_" for letter in text)[:_LONGEST_NOTE]
