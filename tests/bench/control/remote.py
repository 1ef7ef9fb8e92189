"""A pod's change on one node until the kernel of another has it: two agents, a real API server, no bridge between them.

A pod of the first node comes into a zone that may talk to a pod of the second, from which packets then answer. Both nodes judge; the second hears of it through
the first one's PodSlice. Alone; and while so many other pods as `CHURN` says change their zone every second, whose nodes a bridge speaks for.
At the end the second node's kernel has every pod where the API server has it.
"""

from __future__ import annotations

import random
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path

from mocks.lab.kubelet import MERGE
from tests.bench.commit import LEVEL, Administrator, bridge
from tests.bench.control import tiers
from tests.bench.control.probes import Change, Probes, lags
from tests.bench.control.scene import ELSEWHERE, spread
from tests.bench.control.stage import A_NODE, NAMESPACE, ZONES, Stage, busy, load, network
from tests.bench.enforcer import scale
from tests.bench.figures import Figure
from tests.bench.panorama import configuration, panorama
from tests.panorama_xml import entry, rule

# Pods of other nodes, how many of them change each second, and for how many seconds.
SIZES = ((1_000, 200, 20.0), (10_000, 200, 60.0))
RULES, TIMES, REST = 1_000, 30, 0.8
CONNECTIONS = 4
LEFT = 120.0
_PLACED = re.compile(r'(\d+\.\d+\.\d+\.\d+) : [^,{}"]*"([^"]+)"')


def figures(sizes: Sequence[tuple[int, int, float]] = SIZES) -> Iterator[Figure]:
    for others, churn, seconds in sizes:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory, ExitStack() as stack:
            for figure in _Scene(stack, Path(directory), others).figures(churn, seconds):
                yield Figure(f"remote.{others}_pods.{figure.name}", figure.value, figure.unit)


class _Scene:
    def __init__(self, stack: ExitStack, directory: Path, others: int) -> None:
        self.stage = stage = Stage(stack, directory, "rmt", nodes=2)
        self.zone_of: dict[str, str] = {}
        self.address_of: dict[str, str] = {}
        first, second = stage.nodes
        self.far = stage.pod(first, "far", ELSEWHERE)
        self.server = stage.pod(second, "server", tiers.SERVER_ZONE)
        self._fill(others)
        exported = directory / "running.xml"
        exported.write_text(configuration(RULES))
        host, ca_file = stack.enter_context(panorama(exported, 0.2))
        administrator = Administrator(host, ca_file)
        service = entry("edited", f"<protocol><udp><port>{tiers.PORT}</port></udp></protocol>")
        administrator.api.set(f"{LEVEL}/service", service)
        allow = rule("edited rule", from_=tiers.CLIENT_ZONE, to=tiers.SERVER_ZONE, service="edited")
        administrator.api.set(f"{LEVEL}/pre-rulebase/security/rules", allow)
        administrator.commit()
        self.bridge = stack.enter_context(bridge(directory, host, ca_file, stage.kube))
        stage.wait(lambda: stage.revision() > 0, "the first revision published")
        for node in stage.nodes:
            stage.start_agent(node)
        stage.wait(lambda: stage.in_force(stage.revision()), "the first revision in force on both nodes")
        stage.wait(lambda: not self._missing(), "every pod in the second node's kernel")

    def _fill(self, others: int) -> None:
        """Pods of nodes without an agent, for which the bridge speaks."""
        places = []
        for number in range(1, others // A_NODE + 1):
            node, addresses = self.stage.other_node(number), ip_network(network(number))
            places += [(f"pod-{number}-{n}", node, str(addresses[n + 2]), f"zone-{(number + n) % ZONES}") for n in range(A_NODE)]  # fmt: skip
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(lambda place: self.stage.bare_pod(*place), places))
        for name, _, address, zone in places:
            self.zone_of[name], self.address_of[name] = zone, address

    def figures(self, churn: int, seconds: float) -> Iterator[Figure]:
        yield from self._changes("alone", TIMES * 2 * REST)
        processes = {"bridge": self.bridge.pid} | {name: agent.pid for name, agent in self.stage.agents.items()}
        before, began = {name: busy(pid) for name, pid in processes.items()}, time.monotonic()
        over, done = threading.Event(), [0] * CONNECTIONS
        threads = [threading.Thread(target=self._churn, args=(part, churn / CONNECTIONS, over, done)) for part in range(CONNECTIONS)]  # fmt: skip
        for thread in threads:
            thread.start()
        try:
            yield from self._changes("amid_changes", seconds)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        took = time.monotonic() - began
        yield Figure(
            "amid_changes.rate", round(sum(done) / took, 1), f"changes a second for {took:.0f} s; wanted {churn}"
        )
        for name, pid in processes.items():
            yield Figure(f"amid_changes.{name}", round((busy(pid) - before[name]) / took * 100, 1), "% of a core")
        ended, missing = time.monotonic(), len(self.zone_of)
        while missing and time.monotonic() < ended + LEFT:
            missing = self._missing()
        yield Figure("settled", round(time.monotonic() - ended, 2), "s after the last change, looking included")
        yield Figure("missing", missing, f"of {len(self.zone_of)} pods in the second node's kernel")
        yield load()

    def _changes(self, what: str, seconds: float) -> Iterator[Figure]:
        """What is denied ends with the first of both nodes that knows, so that only what is allowed tells of the second one."""
        with Probes(self.far, self.server, tiers.PORT) as probes:
            time.sleep(REST)
            changes: list[Change] = []
            until = time.monotonic() + seconds
            while time.monotonic() < until or len(changes) % 2:
                allows = len(changes) % 2 == 0
                changes.append(Change(time.monotonic(), allows))
                self.stage.relabel(self.far.name, tiers.CLIENT_ZONE if allows else ELSEWHERE)
                time.sleep(REST)
            sent = probes.end()
        took = [lag for change, lives, lag in lags(sent, changes) if change.allows and not lives]
        yield from spread(f"{what}.until_the_other_node", took)

    def _churn(self, part: int, rate: float, over: threading.Event, done: list[int]) -> None:
        """One administrator with a connection of its own, who gives ever other pods another zone."""
        chance, mine = (
            random.Random(part),
            [name for number, name in enumerate(self.zone_of) if number % CONNECTIONS == part],
        )
        began = time.monotonic()
        with self.stage.kube.client() as client:
            while not over.wait(max(0.0, began + done[part] / rate - time.monotonic())):
                name, zone = chance.choice(mine), f"zone-{chance.randrange(ZONES)}"
                body = {"metadata": {"labels": {scale.LABEL: zone}}}
                path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}"
                client.patch(path, json=body, headers=MERGE).raise_for_status()
                self.zone_of[name] = zone
                done[part] += 1

    def _missing(self) -> int:
        """How many of the other nodes' pods the second node's kernel doesn't have in their zones."""
        listed = self.stage.nodes[1].nft("list map inet zonebridge addresses4")
        placed = zones_in(listed)
        return sum(placed.get(self.address_of[name]) != zone for name, zone in self.zone_of.items())


def zones_in(listed: str) -> dict[str, str]:
    """The zone of each address in a map as nft lists it."""
    return dict(_PLACED.findall(listed))
