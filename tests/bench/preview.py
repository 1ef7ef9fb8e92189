"""`make bench-preview`: what a preview costs at full size, by kind of edit. Processor time, as machines are busy.

10,000 rules, 200 zones, 5,000 workloads; figures are JSON lines in build/bench/preview.jsonl too. Every case runs in a
process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

from bridge.preview import Configuration, compared, preview_json, projected
from bridge.preview.population import Resident
from tests.bridge.world import rule, rulebase
from zones.compile import compile_policy
from zones.net import AddressSet, Ranges
from zones.policy import usual_infrastructure
from zones.rules import L4, Action, Addresses, AddressObject, Application, Applications, Rule, Service
from zones.zone import Zoning

_T = TypeVar("_T")
RESULTS = Path("build/bench/preview.jsonl")
ANY_ZONE = 0.01
RULES, ZONES, WORKLOADS, EDITS = 10_000, 200, 5_000, 10
AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
NAMES = [f"zone-{number}" for number in range(ZONES)]
PORTS = (22, 53, 80, 443, 1433, 3306, 5432, 5672, 6379, 8080, 8443, 9092, 9200, 27017)


SYSTEM = frozenset({"kube-system"})
INFRASTRUCTURE = usual_infrastructure(SYSTEM, SYSTEM, frozenset({"coredns"}), frozenset({"konnectivity-agent"}))


def service(port: int) -> Service:
    return Service(f"tcp-{port}", (L4(6, Ranges(((port, port),))),))


def application(number: int) -> Applications:
    return Applications((Application(f"app-{number}", f"app-{number}"),))


def rulebase_rule(number: int, chance: random.Random) -> Rule:
    """One to three zones on each side, or any in one of a hundred; a third names addresses, a third a workload."""
    fields: dict[str, object] = {
        side: frozenset(chance.sample(NAMES, chance.randint(1, 3))) if chance.random() > ANY_ZONE else None
        for side in ("from_zones", "to_zones")
    } | {
        "services": tuple(service(port) for port in chance.sample(PORTS, chance.randint(1, 3))),
    }
    if number % 3 == 0:
        base = IPv4Address("10.0.0.0") + chance.randrange(2**16) * 256
        fields["destinations"] = Addresses((AddressObject(f"net-{number}", AddressSet.parse([f"{base}/24"])),))
    elif number % 3 == 1:
        fields["applications"] = application(chance.randrange(WORKLOADS))
    return rule(f"rule {number}", Action.ALLOW if chance.random() < 0.9 else Action.DENY, **fields)


def edited(rules: Sequence[Rule], broad: Rule | None) -> list[Rule]:
    """Ten edits all over the rulebase: ports, zones, actions, one rule less, one moved; the first may be a broad one."""
    changed = list(rules)
    step = len(rules) // EDITS
    for number in range(2, EDITS - 1):
        at = number * step
        if number % 3 == 0:
            changed[at] = replace(changed[at], services=(service(4433),))
        elif number % 3 == 1:
            changed[at] = replace(changed[at], to_zones=frozenset({NAMES[number]}))
        else:
            changed[at] = replace(changed[at], action=Action.DENY)
    changed.insert(step, changed.pop(3 * step + 1))
    del changed[step // 2]
    if broad is not None:
        changed.insert(step // 3, broad)
    return changed


def residents() -> tuple[Resident, ...]:
    return tuple(
        Resident(
            f"team-{number % 100}",
            f"app-{number}-0",
            NAMES[number % ZONES],
            f"app-{number}",
            (IPv4Address("10.0.0.0") + number * 13,),
        )
        for number in range(WORKLOADS)
    )


CASES: dict[str, Rule | None] = {
    "10 narrow edits": None,
    "10 edits, one an any-to-any deny of one port": rule("no 8080", Action.DENY, services=(service(8080),)),
    "10 edits, one an any-to-any deny of all ports": rule("nothing", Action.DENY),
    "10 edits, one an any-to-any allow": rule("everything", Action.ALLOW),
}


def measure(name: str) -> list[dict[str, object]]:
    """One case, in a process that has nothing else."""
    chance = random.Random(1)
    rules = [rulebase_rule(number, chance) for number in range(RULES)]
    sides = []
    for each in (rules, edited(rules, CASES[name])):
        base = rulebase(*each, zones=NAMES)
        sides.append(Configuration(base, compile_policy(base, Zoning(), infrastructure=INFRASTRUCTURE)))
    pods = residents()
    begun = _peak()
    figures: list[dict[str, object]] = []

    def tell(what: str, value: float, unit: str) -> None:
        figures.append({"name": f"{name}: {what}", "value": round(value, 3), "unit": unit})

    seconds, result = _timed(lambda: compared(sides[0], sides[1], AT))
    assert result.flows is not None
    tell("difference", seconds, "s of processor")
    more, projection = _timed(lambda: projected(result.flows, pods, Zoning()))
    tell("workloads", more, "s of processor")
    tell("difference and workloads", seconds + more, "s of processor")
    seconds, text = _timed(lambda: json.dumps(preview_json(replace(result, projection=projection), most=10_000)))
    tell("as JSON, 10,000 rows of each list", seconds, "s of processor")
    tell("JSON", len(text) / 2**20, "MiB")
    tell("zone pairs that change", len(result.flows.zones), "pairs")
    tell("pieces", sum(len(change.pieces) for change in result.flows.zones), "pieces")
    tell("workload pairs that change", sum(change.pairs for change in projection.changes), "pairs")
    tell("peak memory, both rulebases included", _peak(), "MB")
    tell("memory before", begun, "MB")
    return figures


def _timed(call: Callable[[], _T]) -> tuple[float, _T]:
    started = time.process_time()
    result = call()
    return time.process_time() - started, result


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(names: Sequence[str]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w") as file, multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name in names:
            for figure in pool.apply(measure, (name,)):
                line = json.dumps(figure)
                print(line, flush=True)
                file.write(line + "\n")


if __name__ == "__main__":
    main(sys.argv[1:] or tuple(CASES))
