"""What enforcement costs a packet, as a ratio to bare connection tracking on the same node in the same minutes.

Every ruleset has a node of its own, with a table beside it that only tracks connections. One of the two is awake at a
time, by turns, and the nodes take turns too, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from tests.bench.enforcer import loads, scale
from tests.bench.enforcer.loads import Load
from tests.bench.enforcer.streams import throughput
from tests.bench.enforcer.turns import compared, costs
from tests.bench.enforcer.wire import BATCH, OURS, Wire, Wires
from tests.bench.figures import Figure

ROUNDS = 15
LATER_ROUNDS = 2000
BARE, AGAIN = "bare", "again"
FULL = "10000 rules in one pair"


def figures() -> Iterator[Figure]:
    """One node has a second bare table: how far its ratio is from 1 is what the figures are worth."""
    with Wires() as wires:
        rigged = {load.name: (_wire(wires, load), load) for load in _loads()}
        wire, load = rigged[FULL]
        wire.bare(AGAIN)
        yield from _first_packets(rigged)
        yield from _later_packets(wire, load)
        yield from throughput(wire, {"bare conntrack again": AGAIN, FULL: OURS}, BARE)


def _loads() -> Iterator[Load]:
    for rules in (10, 100, 1_000, 10_000):
        yield loads.spread(rules)
        yield loads.hot(rules)
        yield loads.mixed(rules)
    for addresses in (1_000, 150_000):
        load = loads.spread(1_000, addresses=addresses)
        yield replace(load, name=f"{addresses} addresses")
    for zones in (2, 200):
        load = loads.spread(1_000, zones=zones)
        yield replace(load, name=f"{zones} zones")
    for load in (loads.spread(10_000, conversations=loads.PACKETS), loads.hot(10_000, loads.PACKETS)):
        yield replace(load, name=f"{load.name}, all in use")


def _wire(wires: Wires, load: Load) -> Wire:
    wire = wires.wire(load.name)
    wire.home(load.clients())
    wire.bare(BARE)
    wire.enforce(load.policy, scale.population(load.addresses, load.zones) | load.own())
    return wire


def _first_packets(rigged: Mapping[str, tuple[Wire, Load]]) -> Iterator[Figure]:
    """Each packet begins a connection, the same packets with and without rules."""
    found: dict[str, dict[str, list[float]]] = {
        name: {table: [] for table in rigged[name][0].tables} for name in rigged
    }
    for _ in range(ROUNDS):
        for name, (wire, load) in rigged.items():
            for table, cost in costs({each: partial(_first, wire, load, each) for each in wire.tables}, 1).items():
                found[name][table] += cost
    alone = [cost for each in found.values() for cost in each[BARE]]
    yield Figure("first packet, bare conntrack", round(1e9 * statistics.median(alone)), "ns")
    yield from compared("first packet, bare conntrack again", found[FULL][BARE], found[FULL][AGAIN])
    rate: dict[str, float] = {}
    for name, each in found.items():
        ratio, *sure = compared(f"first packet, {name}", each[BARE], each[OURS])
        rate[name] = ratio.value
        yield from (ratio, *sure)
    for what, many, few in (
        ("10000 rules to 10", "10000 rules", "10 rules"),
        ("10000 rules to 10, in one pair", "10000 rules in one pair", "10 rules in one pair"),
        ("10000 mixed rules to 10, in one pair", "10000 mixed rules in one pair", "10 mixed rules in one pair"),
        ("150000 addresses to 1000", "150000 addresses", "1000 addresses"),
        ("200 zones to 2", "200 zones", "2 zones"),
    ):
        yield Figure(f"first packet, {what}", round(rate[many] / rate[few], 3), "ratio of rates")


def _first(wire: Wire, load: Load, table: str) -> float:
    """A burst of which anything was dropped has measured nothing."""
    wire.only(table)
    wire.forget()
    cost = wire.send(load.burst)
    if (tracked := wire.tracked()) < load.burst.many:
        raise RuntimeError(f"{wire.name}, {table}: of {load.burst.many} connections {tracked} were allowed")
    return cost


def _later_packets(wire: Wire, load: Load) -> Iterator[Figure]:
    """The packets of connections that were accepted."""
    wire.only(OURS)
    wire.forget()
    wire.send(load.burst)
    found = costs({table: partial(_later, wire, load, table) for table in wire.tables}, LATER_ROUNDS)
    for name, table in (("bare conntrack again", AGAIN), (wire.name, OURS)):
        yield from compared(f"later packets, {name}", found[BARE], found[table])


def _later(wire: Wire, load: Load, table: str) -> float:
    wire.only(table)
    return wire.send(load.burst, BATCH)
