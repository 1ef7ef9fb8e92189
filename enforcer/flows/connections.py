"""Connections whose rule logs their end: remembered from their beginning, told when they are over. Pure.

What a record says of zones, names and rule is as it was when the connection began. Of one that was found living, by an
agent that has just started, the rule alone is certain: an address that nobody is known to have now may have been a
pod's then. `enforcer.flows.end_reader` feeds it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from enforcer.flows.flows import UNKNOWN_ZONE, FlowEnd, FlowMoment, FlowNames, LoggedPacket, NamedPacket, circumstances
from enforcer.netlink.conntrack import ConntrackEntry, ConntrackEvent, ConntrackMessage, FlowTuple, TcpState, connection
from enforcer.rules import connlabel
from enforcer.rules.chains.verdict_chains import VerdictChain
from enforcer.rules.connmark import REVOKED, ConnmarkLayout
from zones.net import TCP, IPAddress
from zones.siem.records import Stamp, text, timestamp

_MOST_KINDS, _MOST_RULES = 1 << 14, 1 << 15


class Beginning(NamedTuple):
    """A connection that lives, as the kernel tells of it. `start`: epoch seconds, where the kernel noted it."""

    key: int
    rule: str
    source: IPAddress
    destination: IPAddress
    start: float | None = None


class Begun(NamedTuple):
    """What was so when a connection began. One for all that are alike, as there may be hundreds of thousands.

    `revision` is 0 where nobody saw it begin.
    """

    rule: str
    source: FlowEnd
    destination: FlowEnd
    tier: str
    revision: int


def beginning(message: ConntrackMessage) -> Beginning | None:
    """None where it has no label, and so ends unnoticed."""
    entry = connection(message) if message.label else None
    if entry is None:
        return None
    return Beginning(message.key, connlabel.rule(message.label), entry.original.source, entry.reply.source, entry.start)


_FINISHED = frozenset({TcpState.FIN_WAIT, TcpState.CLOSE_WAIT, TcpState.LAST_ACK, TcpState.TIME_WAIT})


@dataclass(slots=True)
class Connections:
    """At most `capacity` at a time: the oldest is forgotten for the newest. `lost` counts those.

    `timed`: the kernel says when connections begin and end. `remembered`: the seconds for which it remembers a closed
    TCP connection, by its state.
    """

    marks: ConnmarkLayout
    capacity: int = 1 << 18
    timed: bool = True
    remembered: Mapping[int, float] = field(default_factory=dict)
    lost: int = 0
    unattributed: int = 0
    _living: dict[int, Begun] = field(default_factory=dict)
    _since: dict[int, float] = field(default_factory=dict)
    _kinds: dict[Begun, Begun] = field(default_factory=dict)
    _rules: dict[str, VerdictChain] = field(default_factory=dict)
    _written: dict[tuple[object, ...], str] = field(default_factory=dict)
    _meanwhile: set[int] | None = None

    def __len__(self) -> int:
        return len(self._living)

    def learn(self, terminals: Mapping[str, VerdictChain]) -> None:
        """The rules in force. Those that are gone are remembered: their connections may last."""
        for rule, terminal in terminals.items():
            if terminal.log.end:
                self._rules.pop(rule, None)
                self._rules[rule] = terminal
        while len(self._rules) > max(_MOST_RULES, len(terminals)):
            del self._rules[next(iter(self._rules))]

    def take(self, messages: Iterable[ConntrackMessage], names: FlowNames, stamp: Stamp, now: float) -> Iterator[bytes]:
        """The records of those that are over, as the spool holds them."""
        for message in messages:
            if self._meanwhile is not None:
                self._meanwhile.add(message.key)
            if message.event is ConntrackEvent.ENDED:
                begun, since = self._living.pop(message.key, None), self._since.pop(message.key, now)
                if begun is not None:
                    yield from self._ended(message, _named_by_now(message, begun, names), since, stamp, now)
            elif (known := beginning(message)) is not None:
                self._remember(known.key, _as_of_now(known, names))
                if not self.timed:
                    self._since[message.key] = now

    def forget(self) -> None:
        """Nobody wants to hear of them any more."""
        self._living.clear()
        self._since.clear()
        self._kinds.clear()

    # Those that were not heard of

    def count_anew(self) -> frozenset[int]:
        """Before the kernel is asked who lives: who is known to, so far."""
        self._meanwhile = set()
        return frozenset(self._living)

    def counted(self, before: Collection[int], living: Iterable[Beginning], names: FlowNames, now: float) -> None:
        """What the kernel said at `now`, in epoch seconds."""
        meanwhile, self._meanwhile = self._meanwhile or set(), None
        alive = {begun.key: begun for begun in living if begun.key not in meanwhile}
        for key in before:
            if key not in alive and key not in meanwhile:
                self._forget(key)
        for key, start in alive.items():
            if key not in self._living:
                self._remember(key, _as_of_before(start, names))
                if start.start is None:
                    self._since[key] = now

    def _remember(self, key: int, begun: Begun) -> None:
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        if len(self._living) >= self.capacity:
            self._forget(next(iter(self._living)))
            self.lost += 1
        self._living[key] = self._kinds.setdefault(begun, begun)

    def _forget(self, key: int) -> None:
        self._living.pop(key, None)
        self._since.pop(key, None)

    # Records

    def _ended(
        self, message: ConntrackMessage, begun: Begun, since: float, stamp: Stamp, now: float
    ) -> Iterator[bytes]:
        terminal, entry = self._rules.get(begun.rule), connection(message)
        if terminal is None or entry is None:
            self.unattributed += 1
            return
        forward, back = entry.original, entry.reply
        source = begun.source.text(forward.source_port)[:-1] + _translated(forward, back)
        destination = begun.destination.text(back.source_port)[:-1] + _translated(back, forward)
        start = entry.start or since
        end = max(start, self._last_packet(message, entry, now))
        yield (
            f'{stamp.begun("flow", timestamp(start))},"source":{source}}},"destination":{destination}}}'
            f',{self._circumstances(begun, terminal, entry)},"end":"{timestamp(end)}","moment":"{FlowMoment.END.value}"'
            f',"reason":"{self._reason(message, entry)}"{_traffic(entry)}}}'
        ).encode()

    def _circumstances(self, begun: Begun, terminal: VerdictChain, entry: ConntrackEntry) -> str:
        """All but the ends and the numbers, written: few differ at a time."""
        forward = entry.original
        key = begun.rule, begun.tier, begun.revision, forward.protocol, forward.icmp_type
        written = self._written.get(key)
        if written is None:
            if len(self._written) >= _MOST_KINDS:
                self._written.clear()
            written = self._written[key] = text(circumstances(_named(begun, terminal, entry)))[1:-1]
        return written

    def _last_packet(self, message: ConntrackMessage, entry: ConntrackEntry, now: float) -> float:
        """The kernel tells when it gave a connection up; where that closed, it is known how long it waited before."""
        over = entry.stop or now
        closed = entry.original.protocol == TCP and not message.by_program
        return over - self.remembered.get(entry.state or 0, 0.0) if closed else over

    def _reason(self, message: ConntrackMessage, entry: ConntrackEntry) -> str:
        """In PAN-OS's words, as far as the kernel tells."""
        if self.marks.mask and self.marks.number(entry.mark) == REVOKED:
            return "policy-deny"
        if message.by_program:
            return "unknown"
        return _of_tcp(entry) if entry.original.protocol == TCP else "aged-out"


def _as_of_now(start: Beginning, names: FlowNames) -> Begun:
    ends = names.end(start.source), names.end(start.destination)
    return Begun(start.rule, *ends, names.tier, names.revision)


def _as_of_before(start: Beginning, names: FlowNames) -> Begun:
    """It began before it was heard of: who has which address now need not be who had it then.

    10.244.2.4 was a pod's that is gone. Nobody has it now, which is no reason to say that it was outside; or another
    pod has it, which is no reason to say that it was that one's.
    """
    ends = names.end_of_before(start.source, start.start), names.end_of_before(start.destination, start.start)
    return Begun(start.rule, *ends, names.tier, 0)


def _named_by_now(message: ConntrackMessage, begun: Begun, names: FlowNames) -> Begun:
    """A connection that was found before everything was listed has names at its end, where there are any by then."""
    if begun.source.zone != UNKNOWN_ZONE or not names.known:
        return begun
    over = connection(message)
    start = None if over is None else over.start
    first = Beginning(message.key, begun.rule, begun.source.address, begun.destination.address, start)
    return _as_of_before(first, names)


def _of_tcp(entry: ConntrackEntry) -> str:
    if entry.state is None:
        return "unknown"
    if entry.state == TcpState.CLOSE:
        return _reset(entry)
    return "tcp-fin" if entry.state in _FINISHED else "aged-out"


def _reset(entry: ConntrackEntry) -> str:
    """Whose it was is only certain where one side sent nothing else."""
    if entry.received is not None and entry.received.packets == 0:
        return "tcp-rst-from-client"
    if entry.sent is not None and entry.sent.packets == 1:
        return "tcp-rst-from-server"
    return "tcp-rst"


def _named(begun: Begun, terminal: VerdictChain, entry: ConntrackEntry) -> NamedPacket:
    forward, back = entry.original, entry.reply
    ends = forward.source, back.source
    seen = LoggedPacket(0.0, 0, terminal, None, begun.rule, *ends, forward.protocol, icmp_type=forward.icmp_type)
    return NamedPacket(
        seen, begun.source, forward.source_port, begun.destination, back.source_port, begun.tier, begun.revision
    )


def _translated(way: FlowTuple, seen: FlowTuple) -> str:
    """By what the other end knows an end, where that is something else: an end's own way, and the way to it."""
    if (way.source, way.source_port) == (seen.destination, seen.port):
        return ""
    port = "" if seen.port is None else f',"natPort":{seen.port}'
    return f',"natAddress":"{seen.destination}"{port}'


def _traffic(entry: ConntrackEntry) -> str:
    """Nothing where the kernel didn't count."""
    sent, received = entry.sent, entry.received
    if sent is None or received is None:
        return ""
    return (
        f',"packets":{sent.packets + received.packets},"bytes":{sent.octets + received.octets}'
        f',"sent":{{"packets":{sent.packets},"bytes":{sent.octets}}}'
        f',"received":{{"packets":{received.packets},"bytes":{received.octets}}}'
    )
