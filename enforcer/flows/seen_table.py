"""Counts connections by who spoke to whom and by which rule, for a window; bounded, and saying what it folded. Pure.

`enforcer.flows.seen_reader` feeds it with connections that ended and those that live, the reporter with denials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Protocol

from enforcer.flows.attribution import Attribution
from enforcer.flows.flows import FlowEnd, FlowNames, NamedPacket
from enforcer.netlink.conntrack import ConntrackEntry, ConntrackMessage, connection
from enforcer.rules.connmark import REVOKED, UNJUDGED, ConnmarkLayout
from zones.net import ICMP, ICMP6, IPAddress
from zones.policy import Policy, Verdict
from zones.seen import Counting, SeenEnd, SeenFlow, SeenKey

_NEAR = {4: 24, 6: 64}
_MARK = 8


class ConnectionWatcher(Protocol):
    """Who wants to hear of accepted connections: when one is first seen, and when it is over."""

    def accepted(self, key: SeenKey) -> None: ...

    def ended(self, key: SeenKey, lasted: float, octets: int) -> None:
        """`lasted`: seconds since it began."""


@dataclass(slots=True)
class _Row:
    first: float
    last: float
    connections: int = 0
    octets: int = 0
    living: int = 0


@dataclass(slots=True)
class SeenTable:
    """`node`: this one. `capacity`: the rows of a window; `most_living`: live connections that are known one by one.

    A connection that was accepted is known by its mark, as the agent's `marks` say; where no bit is ours, by its pod.

    From half of its capacity on an address that is no pod's is counted by the /24 or /64 that it is in, and from the
    whole on everything that is new by its zones and rule alone: `folded` counts those connections.
    """

    node: str
    marks: ConnmarkLayout
    capacity: int = 2_000
    most_living: int = 1 << 18
    watcher: ConnectionWatcher | None = None
    former: Callable[[IPAddress, FlowNames], FlowEnd | None] = lambda _, __: None
    since: float = 0.0
    begin: float = 0.0
    missed: int = 0
    folded: int = 0
    unattributed: int = 0
    held_back: int = 0
    _rows: dict[SeenKey, _Row] = field(default_factory=dict)
    _living: dict[int, SeenKey | None] = field(default_factory=dict)
    _ended: set[int] | None = None
    _first_look: bool = True
    _attribution: Attribution = field(default_factory=Attribution)

    def start(self, now: float) -> None:
        """Nothing is known of what was before."""
        self.since = self.begin = now
        self._living, self._first_look = {}, True

    def learn(self, policy: Policy | None) -> None:
        """The policy in force. The one before it is remembered: its connections may last."""
        self._attribution.learn(policy)

    def ended(self, message: ConntrackMessage, names: FlowNames, now: float) -> None:
        """A connection that is over. It counts unless it was counted when it lived, or began before we did."""
        if self.marks.mask and self._number(message) == UNJUDGED:
            return
        if self._ended is not None:
            self._ended.add(message.key)
        known = message.key in self._living
        key = self._living.pop(message.key, None)
        entry = connection(message)
        if entry is None:
            self.unattributed += 1
            return
        key = key or self._key(entry, names, now)
        if key is None:
            return
        before = entry.start is not None and entry.start < self.since
        octets = (entry.sent.octets if entry.sent else 0) + (entry.received.octets if entry.received else 0)
        begun = entry.start or now
        if self.watcher is not None:
            if not known:
                self.watcher.accepted(key)
            self.watcher.ended(key, max(0.0, now - begun), octets)
        counts = 0 if known or before else 1, octets, 0
        self._add(key, counts, max(begun, self.begin), max(entry.stop or now, begun))

    def denied(self, named: NamedPacket) -> None:
        """A connection that a rule denies, or would."""
        seen = named.seen
        key = SeenKey(
            _end(named.source),
            _end(named.destination),
            seen.protocol,
            named.port,
            seen.origin,
            seen.verdict,
            seen.enforced,
            seen.icmp_type if seen.protocol in {ICMP, ICMP6} else None,
        )
        self._add(key, (1, seen.length, 0), seen.at, seen.at)

    def look(self) -> None:
        """Before the kernel is asked who lives: who ends meanwhile is not among the living."""
        self._ended = set()

    def look_away(self) -> None:
        """The kernel could not be asked: who is known to live is known on."""
        self._ended = None

    def alive(self, living: Iterable[ConntrackMessage], names: FlowNames, now: float) -> None:
        """What the kernel said. Each counts once, when it is first seen to live; not those that are older than we."""
        ended, self._ended = self._ended or set(), None
        still: dict[int, SeenKey | None] = {}
        for message in living:
            if message.key in ended or (self.marks.mask and self._number(message) in {UNJUDGED, REVOKED}):
                continue
            known = message.key in self._living
            key = self._living.get(message.key)
            entry = None if key is not None else connection(message)
            key = key if entry is None else self._key(entry, names, now)
            if len(still) < self.most_living:
                still[message.key] = key
            elif not known:
                continue  # it is counted when it ends
            if key is not None:
                if not known and self.watcher is not None:
                    self.watcher.accepted(key)
                new = not known and not self._first_look
                begun = entry.start if new and entry is not None and entry.start is not None else now
                self._add(key, (int(new), 0, 1), max(begun, self.begin), now)
        self._living, self._first_look = still, False

    def take(self, now: float) -> tuple[list[SeenFlow], Counting]:
        """The window's rows, and what may be missing in them; then a new window begins."""
        flows = [
            SeenFlow(key, row.connections, row.octets, row.living, _time(row.first), _time(max(row.first, row.last)))
            for key, row in self._rows.items()
        ]
        missing = (self.missed, self.folded, self.unattributed, self.held_back)
        counting = Counting(_time(self.since), _time(self.begin), _time(now), *missing)
        self.missed = self.folded = self.unattributed = self.held_back = 0
        self._rows, self.begin = {}, now
        return flows, counting

    def _number(self, message: ConntrackMessage) -> int:
        """Under which rules it was accepted. The kernel knows many connections that no rule of ours is asked about."""
        return self.marks.number(int.from_bytes(message.fields.get(_MARK, b""), "big"))

    def _key(self, entry: ConntrackEntry, names: FlowNames, now: float) -> SeenKey | None:
        """None where another node counts it, or its rule isn't known, which is counted."""
        if not names.known:
            self.unattributed += 1
            return None
        forward, back = entry.original, entry.reply
        source, destination = self._named(forward.source, names), self._named(back.source, names)
        if not self.marks.mask and not (source.workload or destination.workload):
            return None
        if not self._is_ours(source, destination, translated=back.destination != forward.source):
            return None
        rule = self._attribution.rule(source, destination, forward, back.source_port, entry.start or now)
        if rule is None:
            self.unattributed += 1
            return None
        icmp_type = forward.icmp_type if forward.protocol in {ICMP, ICMP6} else None
        ends = _end(source), _end(destination)
        return SeenKey(*ends, forward.protocol, back.source_port, rule, Verdict.ALLOW, icmp_type=icmp_type)

    def _named(self, address: IPAddress, names: FlowNames) -> FlowEnd:
        """A pod that is gone is known by what it was, for a while."""
        end = names.end(address)
        return end if end.workload or end.node else self.former(address, names) or end

    def _is_ours(self, source: FlowEnd, destination: FlowEnd, *, translated: bool) -> bool:
        """The server's node counts; another only where that one sees another client, or there is no such node."""
        if destination.node:
            return destination.node == self.node or translated
        return source.node in {"", self.node}

    def _add(self, key: SeenKey, counts: tuple[int, int, int], first: float, last: float) -> None:
        """`counts`: connections, octets, and those that live."""
        connections, octets, living = counts
        row = self._rows.get(key) or self._row(key, connections, first, last)
        if row is None:
            self.unattributed += connections
            return
        row.first, row.last = min(row.first, first), max(row.last, last)
        row.connections += connections
        row.octets += octets
        row.living += living

    def _row(self, key: SeenKey, connections: int, first: float, last: float) -> _Row | None:
        folded = key
        if len(self._rows) >= self.capacity:
            folded = _by_zones(key)
        elif len(self._rows) >= self.capacity // 2:
            folded = replace(key, source=_near(key.source), destination=_near(key.destination))
        if folded != key:
            self.folded += connections
        row = self._rows.get(folded)
        if row is None and len(self._rows) < 2 * self.capacity:
            row = self._rows[folded] = _Row(first, last)
        return row


def _end(end: FlowEnd) -> SeenEnd:
    if end.workload:
        return SeenEnd(end.zone, end.namespace, end.workload)
    return SeenEnd(end.zone) if end.node else SeenEnd(end.zone, network=ip_network(end.address))


def _near(end: SeenEnd) -> SeenEnd:
    if end.network is None:
        return end
    return replace(end, network=ip_network((end.network.network_address, _NEAR[end.network.version]), strict=False))


def _by_zones(key: SeenKey) -> SeenKey:
    ends = SeenEnd(key.source.zone), SeenEnd(key.destination.zone)
    return SeenKey(*ends, key.protocol, None, key.rule, key.verdict, key.enforced)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
