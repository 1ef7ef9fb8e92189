"""`python -m tests.enforcer.churner SEED < pods.json`: an agent's kernel part that never rests, until it is killed.

Every pass is another revision, other pods, or both. From web to data always passes, from guest to data never does; all
else changes. One line is printed for each pass.
"""

import json
import random
import sys
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from itertools import count

from enforcer.rules.ruleset import RulesetOptions
from tests.enforcer.world import Enforced
from zones.addresses.inventory import Inventory, Node, Pod
from zones.net import TCP, UDP, AddressSet, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict, usual_infrastructure
from zones.rules import Log, Origin, RuleType
from zones.zone import ANY_ZONE, Zoning

PORT = 5300
STEADY = {"p0": "web", "q0": "web", "p2": "data", "q1": "data"}
UNSTEADY = {"p1": (None, "guest", "visitor", "isolated")}
OTHERS = [f"zone-{n}" for n in range(12)]
INFRASTRUCTURE = usual_infrastructure(*[frozenset()] * 3)
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def described(world):
    """What the churner has to know of a world, as JSON."""
    return {
        "pods": {
            name: [machine.node.name, machine.ip, machine.ip6]
            for name, machine in world.machines.items()
            if name in STEADY | UNSTEADY
        },
        "nodes": {node.name: [node.ip, node.ip6, node.pod_cidr, node.pod_cidr6] for node in (world.n1, world.n2)},
    }


class Churn:
    """Draws policies and pods."""

    def __init__(self, chance, told):
        self.chance = chance
        self.pods = told["pods"]
        self.nodes = {
            name: Node(name, (ip_address(ip), ip_address(ip6)), (ip_network(cidr), ip_network(cidr6)))
            for name, (ip, ip6, cidr, cidr6) in told["nodes"].items()
        }

    def policy(self):
        steady = [
            self._entry("steady allow", Verdict.ALLOW, "web", "data", Traffic(UDP), Traffic(TCP)),
            self._entry("steady deny", Verdict.DENY, "guest", "data"),
        ]
        fillers = [self._filler(n) for n in range(self.chance.choice([0, 3, 30, 120]))]
        for entry in steady:
            fillers.insert(self.chance.randint(0, len(fillers)), entry)
        return Policy(Zoning(), self.chance.choice([(), INFRASTRUCTURE]), (*fillers, self._entry("rest", Verdict.DENY)))

    def _filler(self, n):
        """A rule that never concerns what is steady: other zones, or other ports and addresses of its pairs."""
        chance = self.chance
        verdict = chance.choice(list(Verdict))
        ports = Traffic(chance.choice([TCP, UDP]), Ranges(((n + 1, n + 1), (6000 + n, 6100 + n))))
        if chance.random() < 0.5:
            pair = chance.sample([*OTHERS, "web", "data"], 2)
            if pair != ["web", "data"]:
                return self._entry(f"filler {n}", verdict, *pair, ports)
        entry = self._entry(f"filler {n}", verdict, "web" if chance.random() < 0.5 else None, "data", ports)
        if chance.random() < 0.3:
            return replace(entry, sources=AddressSet.of([ip_network(f"198.18.{n % 250}.0/24")]))
        return entry

    def _entry(self, name, verdict, source=None, target=None, *traffic):
        zones = [None if each is None else frozenset({each}) for each in (source, target)]
        log = Log(start=self.chance.random() < 0.2)
        return Entry(
            Origin(name, None, "pre", "dg"),
            verdict,
            RuleType.UNIVERSAL,
            *zones,
            traffic=traffic or (Traffic(),),
            log=log,
        )

    def inventory(self):
        chance = self.chance
        pods = {name: self._pod(name, zone) for name, zone in STEADY.items()}
        for name, states in UNSTEADY.items():
            state = chance.choice(states)
            if state == "isolated":
                pods[name] = self._pod(name, "web", allowed=frozenset({"guest"}))
            elif state is not None:
                pods[name] = self._pod(name, state)
        for n in chance.sample(range(100, 200), chance.choice([0, 5, 60])):
            node = chance.choice(["n1", "n2"])
            net = node[1]
            addresses = (ip_address(f"10.244.{net}.{n}"), ip_address(f"fd00:10:244:{net}::{n:x}"))
            pods[f"{node}-{n}"] = self._made(f"{node}-{n}", node, addresses, chance.choice(OTHERS))
        return Inventory(pods, self.nodes)

    def _pod(self, name, zone, **changes):
        node, *addresses = self.pods[name]
        return self._made(name, node, tuple(map(ip_address, addresses)), zone, **changes)

    def _made(self, name, node, addresses, zone, allowed=frozenset({ANY_ZONE})):
        labels = {"zonebridge.io/zone": zone, "turn": str(self.chance.randint(0, 3))}
        workload = self.chance.choice([name, "other"])
        return Pod(name, "shop", name, node, "Running", addresses, labels, workload=workload, allowed=allowed)


def main():
    churn = Churn(random.Random(int(sys.argv[1])), json.load(sys.stdin))
    agent = Enforced.on_this_node(RulesetOptions(log_rate=1, log_burst=1))
    policy, inventory = churn.policy(), churn.inventory()
    for turn in count(1):
        kind = churn.chance.choice(["policy", "pods", "pods", "both"])
        policy = churn.policy() if kind != "pods" else policy
        inventory = churn.inventory() if kind != "policy" else inventory
        applied = agent.enforce(policy, inventory, NOW, revision=turn)
        print(f"{turn} {kind}: {applied.action}", flush=True)


if __name__ == "__main__":
    main()
