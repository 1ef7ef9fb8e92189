"""What is done to the product, each a method of `Faults`; which and when is drawn by the seed. It judges nothing.

What must be right again without help afterwards stays broken until then: connections that fell silent are only let pass
again after the quiet moment.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import httpx

from tests.bridge.processes import ROOT as OBJECTS
from tests.demo.company import Company
from tests.demo.matrix import RefusedError, policy_of
from tests.demo.world import TIER
from tests.soak import filters
from tests.soak.stage import AGENTS, BRIDGES, STALE_SECONDS, Stage

MERGE = {"Content-Type": "application/merge-patch+json"}
# Their pods are those of the steady connections.
STEADY = frozenset({"shop", "payments"})
# The API server lets nobody delete it.
IMMORTAL = frozenset({"kube-system"})
ZONES = ("web", "app", "data", "payments", "monitoring", "ops", "batch", "sandbox", "infra", None)
BUSY = 9  # HEC's code for a server that takes nothing just now
FARTHEST_STEP = 6 * 3600.0
_GROUP = "devices/entry/device-group/entry[@name='{}']/pre-rulebase/security/rules/entry"
_GROUP_XPATH = (
    "/config/devices/entry[@name='localhost.localdomain']/device-group/entry[@name='{}']"
    "/pre-rulebase/security/rules/entry[@name='{{}}']"
)
RULES = (
    ("shared/pre-rulebase/security/rules/entry", "/config/shared/pre-rulebase/security/rules/entry[@name='{}']"),
    (_GROUP.format("EMEA"), _GROUP_XPATH.format("EMEA")),
    (_GROUP.format("Kubernetes"), _GROUP_XPATH.format("Kubernetes")),
)
# Steps of a whole cut-off are as long as a node may take to say so.
CUT_OFF_SECONDS = STALE_SECONDS + 40


class Faults:
    """`done` counts; `history` has the last ones, with seconds since the start. `steady(policy)`: whether a policy may be
    committed.
    """

    def __init__(self, stage: Stage, chance: random.Random, steady: Callable[[Company], bool]) -> None:
        self.stage = stage
        self.chance = chance
        self.done: Counter[str] = Counter()
        self.history: list[str] = []
        self._steady = steady
        self._started = time.monotonic()
        self._backed_up: Company | None = None
        self._weights: list[tuple[Callable[[], None], int]] = [
            (self.commit, 14),
            (self.relabel_pod, 10),
            (self.entitle_namespace, 8),
            (self.remake_namespace, 6),
            (self.remake_node, 5),
            (self.step_clock, 14),
            (self.kill_agent, 6),
            (self.kill_bridge, 5),
            (self.tamper, 8),
            (self.restart_api_server, 3),
            (self.pause_etcd, 3),
            (self.restore_etcd, 3),
            (self.rotate_authority, 3),
            (self.rotate_hec_token, 5),
            (self.silence_connections, 8),
            (self.relist_while_remaking, 4),
            (self.spread_requests, 5),
            (self.break_collector, 10),
            (self.stop_collector, 4),
        ]

    def trouble(self, seconds: float) -> None:
        """Some of everything, for so long."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            (act,) = self.chance.choices([act for act, _ in self._weights], [weight for _, weight in self._weights])
            self.act(act)
            time.sleep(self.chance.uniform(0.05, 1.0))

    def act(self, act: Callable[[], None]) -> None:
        """One of them. An API server that can't answer just now is no fault of what was done to it."""
        name = act.__name__.replace("_", " ")
        try:
            act()
        except httpx.TransportError as error:
            self.note(f"{name}: {type(error).__name__}")
        else:
            self.done[name] += 1

    def note(self, text: str) -> None:
        self.history.append(f"{time.monotonic() - self._started:.1f} s: {text}")
        del self.history[:-60]

    # -- what administrators and teams do

    def commit(self) -> None:
        """Switch one to three rules off or on; never one that the steady connections are decided by."""
        panorama, stage = self.stage.panorama.panorama, self.stage
        for _ in range(self.chance.randint(1, 3)):
            path, xpath = self.chance.choice(RULES)
            name = self.chance.choice([each.get("name") or "" for each in panorama.candidate.findall(path)])
            disabled = self.chance.choice(["yes", "no"])
            panorama.set(xpath.format(name), f"<disabled>{disabled}</disabled>")
            self.note(f"commit: '{name}' disabled={disabled}")
        candidate = replace(stage.company, panorama=stage.candidate_file())
        try:
            policy_of(candidate)
        except RefusedError:
            panorama.revert()
            return
        if not self._steady(candidate):
            panorama.revert()
            return
        panorama.commit()
        stage.truth_file.write_bytes(candidate.panorama.read_bytes())

    def relabel_pod(self) -> None:
        pods = [pod for pod in self.stage.company.pods if pod.namespace not in STEADY]
        pod, zone = self.chance.choice(pods), self.chance.choice(ZONES)
        self.note(f"pod {pod.name} is labelled {zone}")
        self.stage.relabel(pod.name, zone)

    def _some_namespace(self) -> tuple[str, str]:
        namespaces = {pod.namespace for pod in self.stage.company.pods} - STEADY - IMMORTAL
        zones = self.chance.sample([zone for zone in ZONES if zone], self.chance.randint(1, 4))
        return self.chance.choice(sorted(namespaces)), ",".join(zones)

    def entitle_namespace(self) -> None:
        namespace, zones = self._some_namespace()
        self.note(f"namespace {namespace} may use {zones}")
        self.stage.entitle(namespace, zones)

    def remake_namespace(self) -> None:
        namespace, zones = self._some_namespace()
        self.note(f"namespace {namespace} is made anew, and may use {zones}")
        self.stage.remake_namespace(namespace, zones)

    def remake_node(self) -> None:
        node = self.chance.choice(self.stage.nodes)
        self.note(f"node {node.name} is made anew")
        self.stage.remake_node(node)

    def tamper(self) -> None:
        """Somebody with rights deletes, spoils and forges."""
        client, name = self.stage.client, f"{OBJECTS}/tiers/{TIER}"
        kind = self.chance.choice(["policychunks", "addresssets", "spoil", "forge"])
        self.note(f"tampering: {kind}")
        with suppress(httpx.HTTPStatusError, IndexError):
            if kind == "forge":
                body = {"status": {"nodes": {"total": 9000, "inSync": 9000}}}
                client.patch(f"{name}/status", json=body, headers=MERGE).raise_for_status()
            elif kind == "spoil":
                spec = client.get(name).raise_for_status().json()["spec"]
                spec |= {"revision": spec["revision"] + 1, "policyChunks": spec["policyChunks"][1:]}
                client.patch(name, json={"spec": spec}, headers=MERGE).raise_for_status()
            else:
                part = self.chance.choice(self.stage.parts(kind))
                client.delete(f"{OBJECTS}/{kind}/{part}").raise_for_status()

    # -- clocks, kills

    def step_clock(self) -> None:
        """Forth and back by up to hours, and to the right time again; bridges' and agents'."""
        name = self.chance.choice([*AGENTS, *BRIDGES])
        far = self.chance.choice([2.0, 60.0, 900.0, FARTHEST_STEP])
        ahead = self.chance.choice([0.0, self.chance.uniform(-far, far), self.chance.uniform(-far, far)])
        self.note(f"the clock of {name} is set from {self.stage.clocks[name].ahead:+.1f} s to {ahead:+.1f} s")
        self.stage.clocks[name].set(ahead)

    def kill_agent(self) -> None:
        self._kill(self.chance.choice(AGENTS))

    def kill_bridge(self) -> None:
        self._kill(self.chance.choice(BRIDGES))

    def _kill(self, name: str) -> None:
        self.note(f"{name} is killed")
        self.stage.kill(name)
        time.sleep(self.chance.uniform(0, 1))
        self.stage.start(name)

    # -- the API server

    def restart_api_server(self) -> None:
        self.note("the API server is restarted")
        self.stage.kube.stop_apiserver(0.2)
        self.stage.kube.start_apiserver()
        self.stage.meet_again()

    def pause_etcd(self) -> None:
        self.note("etcd hangs")
        self.stage.kube.pause_etcd()
        time.sleep(self.chance.uniform(0.5, 4))
        self.stage.kube.resume_etcd()

    def restore_etcd(self) -> None:
        """A backup at the first time and after each restore; then, later, back to it, and life goes on from there."""
        if self._backed_up is None:
            self.note("etcd is backed up")
            self.stage.kube.back_up()
            self._backed_up = self.stage.company
        else:
            self.note("etcd is restored from the backup")
            self.stage.kube.restore()
            self.stage.company, self._backed_up = self._backed_up, None
            self.done["restores"] += 1
        self.stage.meet_again()

    def rotate_authority(self) -> None:
        self.note("authority, certificates and tokens of the API server are others")
        self.stage.kube.rotate()
        self.stage.meet_again()

    def silence_connections(self) -> None:
        """Connections to the API server or the SIEM that are open stay so, and nothing comes of them any more."""
        program = self.chance.choice([*AGENTS, *AGENTS, BRIDGES[0]])
        ports = [self.stage.kube.port] if program in BRIDGES else [self.stage.kube.port, self.stage.siem_port]
        port = self.chance.choice(ports)
        which = "API server" if port == self.stage.kube.port else "SIEM"
        count = filters.silence_open(self.stage.machine_of(program), port)
        self.note(f"{count} open connections of {program} to the {which} fall silent")
        self.done["connections that fell silent"] += count

    def relist_while_remaking(self) -> None:
        """While nothing passes, a namespace and a node are made anew; the API server that is back has no history."""
        machines = [*self.stage.nodes, self.stage.lab.control]
        self.note("nothing passes to the API server")
        for machine in machines:
            filters.silence_all(machine, self.stage.kube.port)
        try:
            self.remake_namespace()
            self.remake_node()
            self.relabel_pod()
            self.restart_api_server()
        finally:
            for machine in machines:
                filters.clear(machine)
            self.note("it passes again")

    def cut_off(self) -> str:
        """One node hears nothing of the API server, for so long that it must say so. Returns the node's name."""
        program = self.chance.choice(AGENTS)
        node = self.stage.machine_of(program)
        self.note(f"{program} is cut off from the API server for {CUT_OFF_SECONDS:.0f} s")
        filters.silence_all(node, self.stage.kube.port)
        try:
            time.sleep(CUT_OFF_SECONDS)
        finally:
            filters.clear(node)
        self.done["cut off"] += 1
        return node.name

    # -- the SIEM

    def rotate_hec_token(self) -> None:
        self.note("the HEC token is another")
        self.stage.receivers.rotate_token()

    def spread_requests(self) -> None:
        balancer = self.stage.receivers.balancer
        balancer.sticky = not balancer.sticky
        self.note(f"the balancer {'keeps to one collector by cookie' if balancer.sticky else 'spreads requests'}")

    def break_collector(self) -> None:
        """What is indexed is not answered, what is answered is not indexed, or neither for a while."""
        collector = self.chance.choice(self.stage.receivers.collectors)
        kind = self.chance.choice(["reset after commit", "stall after commit", "busy", "lose"])
        self.note(f"a collector: {kind}")
        self.done[f"collector: {kind}"] += 1
        times = self.chance.randint(1, 5)
        if kind == "reset after commit":
            collector.reset_after_commit(times)
        elif kind == "stall after commit":
            collector.stall_after_commit(self.chance.uniform(1, 15), times)
        elif kind == "busy":
            collector.answer(BUSY, times=times, retry_after=self.chance.choice([None, 1, 5]))
        else:
            collector.lose(times)

    def stop_collector(self) -> None:
        collector = self.chance.choice(self.stage.receivers.collectors)
        self.note("a collector is away")
        collector.stop()
        time.sleep(self.chance.uniform(0.5, 5))
        collector.start()

    # -- the end of trouble

    def clear(self) -> None:
        """What fell silent passes again, and whatever a collector still was to do wrong is forgotten."""
        for machine in (*self.stage.nodes, self.stage.lab.control):
            filters.clear(machine)

    def calm_collectors(self) -> None:
        for collector in self.stage.receivers.collectors:
            collector.script.steps.clear()
