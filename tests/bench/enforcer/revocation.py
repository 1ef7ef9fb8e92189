"""Ten thousand live flows, a thousand of which a revision denies: when the last of them answers, what the others lose.

UDP, so that a lost packet is a lost answer: nothing sends it again.
"""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

from enforcer.kernel.reconcile import Applied, Reconciler
from enforcer.rules.members.address_delta import AddressDelta
from mocks.lab import Lab
from mocks.lab.machines import Pod
from tests.bench.enforcer import scale
from tests.bench.figures import Figure
from zones.addresses.inventory import Holder
from zones.net import UDP, AddressSet, IPAddress, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict
from zones.rules import Origin, RuleType

FLOWS, REVOKED = 10_000, 1_000
RULES = 1_000
_BEFORE, _AFTER = 2, 6.0  # rounds before, seconds after
_AT_ONCE = 20  # revoked flows in a step, and nine times as many others
_LOST_AFTER = 5.0
_KEPT_PORT, _REVOKED_PORT = 7000, 7001
_NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
_ECHO = """
import selectors, socket, sys
chosen = selectors.DefaultSelector()
for port in (7000, 7001):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, 33, 64 * 2**20)
    made.bind(("0.0.0.0", port))
    chosen.register(made, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in chosen.select():
        data, sender = key.fileobj.recvfrom(64)
        key.fileobj.sendto(data, sender)
"""


def figures() -> Iterator[Figure]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, FLOWS + 1_000)), hard))
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("rvk"))
        node = lab.node(scale.NODE)
        client, server = node.pod("client"), node.pod("server")
        _serve(stack, server)
        holders: dict[IPAddress, Holder] = {
            ip_address(pod.ip): scale.kind(zone, node=scale.NODE) for pod, zone in ((client, "web"), (server, "data"))
        }
        feed = AddressDelta.by_address(holders, AddressSet.of([ip_network(node.pod_cidr)]), replaces_all=True)
        stack.enter_context(node.netns.inside())
        kernel = Reconciler(scale.NODE)
        stack.callback(kernel.stop)
        _ensure(kernel.apply(_policy(_KEPT_PORT, _REVOKED_PORT), feed, _NOW, revision=1))
        flows = [_flow(stack, client, server.ip, number) for number in range(FLOWS)]
        yield from _measured(flows, lambda: _ensure(kernel.apply(_policy(_KEPT_PORT), feed, _NOW, revision=2)))


def _serve(stack: ExitStack, server: Pod) -> None:
    command = server.command([sys.executable, "-c", _ECHO])
    echo = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(echo.kill)
    if echo.stdout is None or not echo.stdout.readline():
        raise RuntimeError("the echo server did not start")


def _ensure(applied: Applied) -> None:
    if applied.problems:
        raise RuntimeError(str(applied.problems))


def _policy(*ports: int) -> Policy:
    """These ports may be reached, and many rules are there besides."""
    allow = Entry(
        Origin("allowed", None, "pre", "k8s"), Verdict.ALLOW, RuleType.UNIVERSAL, frozenset({"web"}),
        frozenset({"data"}), traffic=(Traffic(UDP, Ranges.of((port, port) for port in ports)),),
    )  # fmt: skip
    others = scale.policy(RULES)
    return Policy(others.zoning, others.infrastructure, (allow, *others.entries), others.known_zones)


def _flow(stack: ExitStack, client: Pod, server: str, number: int) -> socket.socket:
    made = client.netns.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stack.callback(made.close)
    made.settimeout(0 if number < REVOKED else _LOST_AFTER)
    made.connect((server, _REVOKED_PORT if number < REVOKED else _KEPT_PORT))
    return made


def _measured(flows: list[socket.socket], revoke: Callable[[], None]) -> Iterator[Figure]:
    """Every flow talks in turn, all the time; the rules change in the middle of it."""
    revoked, kept = flows[:REVOKED], flows[REVOKED:]
    talk = _Talk(revoked, kept)
    while talk.rounds < _BEFORE:
        talk.go_on()
    if talk.lost or not talk.last_answer:
        raise RuntimeError(f"{talk.lost} answers were lost before anything was revoked")
    change = threading.Thread(target=revoke)
    began = time.perf_counter()
    change.start()
    while change.is_alive() or time.perf_counter() - began < _AFTER:
        talk.go_on()
    change.join()
    yield Figure("revocation.last_answer", round(max(0.0, talk.last_answer - began), 3), "s")
    yield Figure("revocation.lost_by_others", talk.lost, "packets")
    yield Figure("revocation.sent_by_others", talk.sent, "packets")


class _Talk:
    """Some flows of both kinds say something, and what comes back is counted."""

    def __init__(self, revoked: list[socket.socket], kept: list[socket.socket]) -> None:
        self._revoked, self._kept = revoked, kept
        self._steps = len(revoked) // _AT_ONCE
        self._step = 0
        self.rounds = self.lost = self.sent = 0
        self.last_answer = 0.0

    def go_on(self) -> None:
        revoked, kept = self._revoked[self._step :: self._steps], self._kept[self._step :: self._steps]
        for each in (*revoked, *kept):
            with suppress(OSError):
                each.send(b"?")
        for each in kept:
            self.sent += 1
            try:
                each.recv(64)
            except TimeoutError:
                self.lost += 1
        for each in revoked:
            with suppress(BlockingIOError):
                each.recv(64)
                self.last_answer = time.perf_counter()
        self._step = (self._step + 1) % self._steps
        self.rounds += self._step == 0
