"""A month of a cluster is replayed, from what its kernels say to `usage`: it equals a count of the connections one by one.

Three nodes count by windows, their records come late and twice, a rule is renamed and edited in the middle of the month,
and connections last for days.
"""

from __future__ import annotations

import csv
import io
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from bridge.evidence.collector import records_of
from bridge.evidence.usage import rule_digests, rule_key, unused, usage
from bridge.evidence.usage_text import usage_csv
from enforcer.flows.flows import FlowNames, LoggedPacket, NamedPacket
from enforcer.flows.seen_table import SeenTable
from enforcer.netlink.conntrack import ConntrackEvent
from enforcer.rules.chains.verdict_chains import VerdictChain
from tests.enforcer.reports.test_connections import MARKS, ended, pod
from tests.enforcer.wire.test_conntrack import ports, way
from tests.strategies import INTERZONE
from zones.net import TCP, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict
from zones.rules import NO_LOG, Origin
from zones.seen import COUNTING, SEEN
from zones.siem.records import Stamp, encoded
from zones.verdict import Endpoint, Flow, decide
from zones.zone import Zoning

BEGIN = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
HOUR, DAY = 3600, 86400
WINDOW, MONTH = 3 * HOUR, 31 * DAY
EDIT = BEGIN + 15 * DAY
CONNECTIONS = 1500
OUTSIDE = "203.0.113.7"
PODS = {
    "10.0.1.1": replace(pod("front", "10.0.1.1", "web"), node="n1"),
    "10.0.2.2": replace(pod("db", "10.0.2.2", "data"), node="n2"),
    "10.0.3.3": replace(pod("job", "10.0.3.3", "batch"), node="n3"),
    "10.0.3.4": replace(pod("mail", "10.0.3.4", "web"), node="n3"),
}
HELD = {ip_address(address): each for address, each in PODS.items()}
NAMES = FlowNames(HELD.get, Zoning(), "panorama", 7)


def entry(name, uuid, ports, **zones):
    ends = {key: frozenset({zone}) for key, zone in zones.items()}
    return Entry(Origin(name, uuid, "pre", "dg"), Verdict.ALLOW, traffic=(Traffic(TCP, Ranges((ports,))),), **ends)


TO_DATA = entry("web to data", "uuid-1", (5432, 5432), from_zones="web", to_zones="data")
RENAMED = entry("shop to data", "uuid-1", (5432, 5433), from_zones="web", to_zones="data")
BATCH = entry("batch", None, (5000, 6000), from_zones="batch", to_zones="data")
INTO = entry("from outside", "uuid-3", (443, 443), from_zones="outside")
OUT = entry("to outside", "uuid-4", (443, 443), to_zones="outside")
IDLE = entry("idle", "uuid-5", (23, 23), from_zones="data", to_zones="web")
BEFORE = Policy(Zoning(), (), (TO_DATA, BATCH, INTO, OUT, IDLE, INTERZONE), frozenset())
AFTER = replace(BEFORE, entries=(RENAMED, *BEFORE.entries[1:]))


@dataclass(frozen=True)
class Connection:
    """Of the whole month, in seconds since the epoch. `rule`: which one decided when it began."""

    number: int
    source: str
    destination: str
    port: int
    begin: int
    end: int
    octets: int

    @property
    def judged(self):
        ends = (NAMES.end(ip_address(address)) for address in (self.source, self.destination))
        known = (Endpoint(end.zone, end.address, end.workload, end.namespace, end.node) for end in ends)
        at = datetime.fromtimestamp(self.begin, UTC)
        return decide(AFTER if self.begin >= EDIT else BEFORE, Flow(*known, TCP, self.port, 40000, at=at))

    @property
    def nodes(self):
        """Whose kernels know it."""
        return {HELD[ip_address(address)].node for address in (self.source, self.destination) if address in PODS}

    def message(self, *, over):
        source_port = 1024 + self.number
        there = way(self.source, self.destination, TCP, *ports(source_port, self.port))
        back = way(self.destination, self.source, TCP, *ports(self.port, source_port))
        times = (self.begin, self.end) if over else (self.begin,)
        message = ended(
            self.number, mark=MARKS.bits(70), sent=(3, self.octets), received=(0, 0), times=times, back=back
        )
        event = message.event if over else ConntrackEvent.CHANGED
        return message._replace(event=event, fields=message.fields | {1: there})


def month(chance):
    addresses = [*PODS, OUTSIDE]
    for number in range(CONNECTIONS):
        source, destination = chance.sample(addresses, 2)
        begin = int(BEGIN) + chance.randrange(MONTH)
        lasting = chance.choice((1, 60, HOUR, DAY, 6 * DAY))
        port = chance.choice((22, 443, 443, 5432, 5432, 5433, 5999))
        yield Connection(
            number, source, destination, port, begin, begin + chance.randrange(1, lasting + 1), number + 60
        )


def packet(connection, decision):
    """The denied one, on the node where it is denied: the first that it comes to."""
    ends = [NAMES.end(ip_address(address)) for address in (connection.source, connection.destination)]
    chain = VerdictChain(decision.origin, decision.verdict, NO_LOG)
    seen = LoggedPacket(
        connection.begin,
        connection.octets,
        chain,
        None,
        chain.id,
        ends[0].address,
        ends[1].address,
        TCP,
        40000,
        connection.port,
    )
    return NamedPacket(seen, ends[0], 40000, ends[1], connection.port, "panorama", 7)


def replayed(connections, node):
    """The records of a node, window by window, each window's as bytes."""
    table, stamp = SeenTable(node, MARKS), Stamp("prod", node, "boot", 1)
    table.learn(BEFORE)
    table.start(BEGIN)
    table.alive([], NAMES, BEGIN)
    mine = [one for one in connections if node in one.nodes and one.judged.verdict is Verdict.ALLOW]
    first = {
        one.number: min(one.nodes) if one.source == OUTSIDE else HELD[ip_address(one.source)].node
        for one in connections
    }
    denied = [one for one in connections if first[one.number] == node and one.judged.verdict is not Verdict.ALLOW]
    for start in range(int(BEGIN), int(BEGIN) + MONTH, WINDOW):
        stop = start + WINDOW
        table.learn(AFTER if start >= EDIT else BEFORE)
        for one in (one for one in denied if start <= one.begin < stop):
            table.denied(packet(one, one.judged))
        for one in sorted((one for one in mine if start < one.end <= stop), key=lambda one: one.end):
            table.ended(one.message(over=True), NAMES, one.end)
        table.look()
        table.alive([one.message(over=False) for one in mine if one.begin < stop < one.end], NAMES, stop)
        flows, counting = table.take(stop)
        contents = [*((SEEN, flow.json()) for flow in flows), (COUNTING, counting.json())]
        yield b"".join(b'{"event":' + encoded(stamp.record(kind, stop) | content) + b"}" for kind, content in contents)


def counted_one_by_one(connections):
    """Of each rule: hits, octets, first and last."""
    until, rules = int(BEGIN) + MONTH, {}
    for one in connections:
        decision = one.judged
        allowed = decision.verdict is Verdict.ALLOW
        octets = one.octets if not allowed or one.end <= until else 0
        last = min(one.end, until) if allowed else one.begin
        hits, before, first, latest = rules.get(rule_key(decision.origin), (0, 0, one.begin, last))
        rules[rule_key(decision.origin)] = hits + 1, before + octets, min(first, one.begin), max(latest, last)
    return rules


def test_usage_of_a_replayed_month_is_what_was_counted_one_by_one(store):
    chance = random.Random(75)
    connections = list(month(chance))
    now = datetime.fromtimestamp(BEGIN + MONTH, UTC)
    store.note_rules("prod", rule_digests(BEFORE), datetime.fromtimestamp(BEGIN, UTC))
    store.note_rules("prod", rule_digests(AFTER), datetime.fromtimestamp(EDIT, UTC))
    waiting = {node: list(replayed(connections, node)) for node in ("n1", "n2", "n3")}
    while any(waiting.values()):
        node = chance.choice([node for node, bodies in waiting.items() if bodies])
        some = b"".join(waiting[node][: chance.randrange(1, 12)])
        taken = records_of(some, {"prod"})["prod"]
        store.take("prod", taken, now)
        # An answer that was lost: the spool sends it once more, with what came after.
        if chance.random() < 0.7:
            del waiting[node][: some.count(b'"kind":"counting"')]

    used = usage(AFTER, store.seen("prod"), store.edited("prod"), now)
    wanted = counted_one_by_one(connections)
    assert {decision.judged.verdict for decision in connections} == {Verdict.ALLOW, Verdict.DENY}
    assert len(wanted) == 5, "all but the idle one"
    assert min(hits for hits, *_ in wanted.values()) > 20
    for rule in used.rules:
        hits, octets, first, last = wanted.get(rule_key(rule.origin), (0, 0, None, None))
        times = tuple(None if at is None else datetime.fromtimestamp(at, UTC) for at in (first, last))
        assert (rule.hits, rule.octets, rule.first, rule.last) == (hits, octets, *times), rule.origin.name
    assert sum(rule.hits for rule in used.rules) == CONNECTIONS
    assert {(node.missed, node.folded, node.unattributed, node.held_back) for node in used.seen.nodes.values()} == {
        (0,) * 4
    }
    assert used.since == datetime.fromtimestamp(BEGIN, UTC)
    edited = {rule.origin.name: rule.edited for rule in used.rules}
    assert (edited["shop to data"], edited["batch"]) == tuple(datetime.fromtimestamp(at, UTC) for at in (EDIT, BEGIN))
    rows = {row["rule"]: row for row in csv.DictReader(io.StringIO(usage_csv(used.rules)))}
    assert {name: int(row["hits"]) for name, row in rows.items()} == {
        rule.origin.name: rule.hits for rule in used.rules
    }
    assert [rule.origin.name for rule in unused(used, timedelta(days=31))] == [IDLE.origin.name]
