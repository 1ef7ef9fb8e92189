"""What enforcement costs a packet, as a ratio to bare connection tracking on the same machine in the same minutes.

Every ruleset has a node of its own; all of them take turns, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tests.bench.enforcer import loads, scale
from tests.bench.enforcer.figures import Figure
from tests.bench.enforcer.loads import Load
from tests.bench.enforcer.streams import throughput
from tests.bench.enforcer.wire import Wire, Wires

ROUNDS = 11
BARE = "bare"
RATIO = "ratio to bare conntrack"


def figures() -> Iterator[Figure]:
    with Wires() as wires:
        made = {load.name: load for load in _loads()}
        rigged = {name: (_wire(wires, load), load) for name, load in made.items()}
        bare = wires.wire(BARE)
        bare.bare()
        yield from _first_packets(bare, rigged)
        yield from _later_packets(bare, rigged)
        yield from throughput(bare, rigged["10000 rules in one pair"][0])


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
    wire.enforce(load.policy, scale.population(load.addresses, load.zones))
    return wire


def _first_packets(bare: Wire, rigged: Mapping[str, tuple[Wire, Load]]) -> Iterator[Figure]:
    """Each packet begins a connection, the same packets with and without rules."""
    ratios: dict[str, list[float]] = {name: [] for name in rigged}
    alone: list[float] = []
    for _ in range(ROUNDS):
        for name, (wire, load) in rigged.items():
            bare.forget()
            wire.forget()
            alone.append(bare.send(load.burst))
            cost = wire.send(load.burst)
            _all_passed(wire, load)
            ratios[name].append(alone[-1] / cost)
    yield Figure("first packet, bare conntrack", round(1e9 * statistics.median(alone)), "ns")
    rate = {name: statistics.median(each) for name, each in ratios.items()}
    yield from (Figure(f"first packet, {name}", round(value, 3), RATIO) for name, value in rate.items())
    for what, many, few in (
        ("10000 rules to 10", "10000 rules", "10 rules"),
        ("10000 rules to 10, in one pair", "10000 rules in one pair", "10 rules in one pair"),
        ("10000 mixed rules to 10, in one pair", "10000 mixed rules in one pair", "10 mixed rules in one pair"),
        ("150000 addresses to 1000", "150000 addresses", "1000 addresses"),
        ("200 zones to 2", "200 zones", "2 zones"),
    ):
        yield Figure(f"first packet, {what}", round(rate[many] / rate[few], 3), "ratio of rates")


def _all_passed(wire: Wire, load: Load) -> None:
    """A burst of which anything was dropped has measured nothing."""
    if (tracked := wire.tracked()) < load.burst.many:
        raise RuntimeError(f"{wire.name}: of {load.burst.many} connections {tracked} were allowed")


def _later_packets(bare: Wire, rigged: Mapping[str, tuple[Wire, Load]]) -> Iterator[Figure]:
    """The packets of connections that were accepted."""
    wire, load = rigged["10000 rules in one pair"]
    ratios = []
    for each in (bare, wire):
        each.forget()
        each.send(load.burst)
    for number in range(4 * ROUNDS):
        costs = {each.name: each.send(load.burst) for each in ((bare, wire) if number % 2 else (wire, bare))}
        ratios.append(costs[bare.name] / costs[wire.name])
    yield Figure("later packets, 10000 rules in one pair", round(statistics.median(ratios), 3), RATIO)
