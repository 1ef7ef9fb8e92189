"""Every call of the bridge to the API server fails, one after the other, in every way that calls fail.

Which calls there are isn't written here: they are those that the bridge makes as rules and objects change. Each failure
is named by a warning within ten seconds, with its verb and its kind; the Tier never names a part that isn't there, and
afterwards all is as it should be.
"""

import os
import re
import time

import pytest
import structlog

from bridge import service
from mocks.kubernetes import KubernetesServer
from mocks.kubernetes.calls import Call
from tests.bridge.running import CRDS, Bridge
from tests.bridge.world import FakeManager, rule
from tests.saboteur import KINDS, Saboteur
from zones.kube import client, watch
from zones.tiers import native

TIER = "panorama"
LASTING = [rule(f"rule {number}") for number in range(6)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(client, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(service, "FIRST_RETRY", 0.05)
    monkeypatch.setattr(service, "LONGEST_RETRY", 0.2)
    monkeypatch.setattr(watch, "FIRST_RETRY", 0.02)
    monkeypatch.setattr(watch, "LONGEST_RETRY", 0.1)


class World:
    """The cluster as it is stored, and what it must come to."""

    def __init__(self, server, manager):
        self.server, self.manager = server, manager
        self.commits = 0

    def objects(self, kind):
        resource = self.server.catalog.by_kind(native.API_VERSION, kind)
        return {each["metadata"]["name"]: each for each in self.server.verbs.list(Call(resource, "")).body["items"]}

    def stir(self):
        """A commit; somebody deletes a part; watches end, and are too old."""
        self.commits += 1
        self.manager.commit(*LASTING, rule(f"commit {self.commits}"))
        if self.commits % 2:
            self.server.close_watches(broken=self.commits % 4 == 1)
        else:
            self.server.compact()
            self.server.close_watches()

    def tamper(self):
        chunks = self.objects(native.POLICY_CHUNK)
        if chunks:
            self.server.delete(next(iter(chunks.values())))

    def forget_lease(self):
        resource = self.server.catalog.by_kind("coordination.k8s.io/v1", "Lease")
        for each in self.server.verbs.list(Call(resource, "default")).body["items"]:
            self.server.delete({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"} | each)

    def tier(self):
        return self.objects(native.TIER).get(TIER)

    def missing(self):
        """Parts that the Tier names and that aren't there."""
        tier = self.tier()
        if tier is None:
            return set()
        there = self.objects(native.POLICY_CHUNK).keys() | self.objects(native.ADDRESS_SET).keys()
        return {*tier["spec"]["policyChunks"], *tier["spec"].get("addressSets", ())} - there

    def right(self):
        if self.tier() is None or self.missing():
            return False
        parts = self.objects(native.POLICY_CHUNK) | self.objects(native.ADDRESS_SET)
        named = self.tier()["spec"]
        policy = native.parse(
            self.tier(), {name: parts[name] for name in (*named["policyChunks"], *named.get("addressSets", ()))}
        )
        return f"commit {self.commits}" in {entry.origin.name for entry in policy.entries}


def until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.01)


def chosen(calls, number):
    """All of them in the long profile; else so that each call fails in three of the ways."""
    if os.environ.get("HYPOTHESIS_PROFILE") == "long":
        return calls
    return [call for at, call in enumerate(calls) if (at + number) % 4 == 0]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_every_call_to_the_api_server_may_fail(kind):
    with KubernetesServer(bookmark_seconds=0.2) as server, structlog.testing.capture_logs() as logs:
        server.install([CRDS])
        manager = FakeManager(*LASTING)
        world, saboteur = World(server, manager), Saboteur(server.faults)
        with Bridge(server.kubeconfig, manager, TIER, timeout=0.4, interval_lease=(1.5, 0.3)):
            for _ in range(3):
                world.stir()
                until(world.right, 20, lambda: logs[-5:])
            world.tamper()
            until(world.right, 20, lambda: logs[-5:])
            calls = sorted(saboteur.seen)
            assert len(calls) >= 12, calls
            for call in chosen(calls, list(KINDS).index(kind)):
                fails(world, saboteur, call, kind, logs)


def fails(world, saboteur, call, kind, logs):
    saboteur.target, saboteur.hits = (call, KINDS[kind]), 0
    before, stirred, words = len(logs), 0.0, named_as(call)

    def named():
        nonlocal stirred
        if saboteur.hits == 0 and time.monotonic() - stirred > 1:  # what is called now and then is called in the end
            stirred = time.monotonic()
            world.stir()
            world.tamper()
            world.forget_lease()
        return any(
            each["log_level"] in {"warning", "error"} and words.search(" ".join(map(str, each.values())))
            for each in logs[before:]
        )

    if not harmless(call, kind):
        until(
            named, 10, lambda: f"{kind} of {call} ({saboteur.hits} times): nothing says {words}: {logs[before:][-5:]}"
        )
    saboteur.target = None
    until(world.right, 30, lambda: f"after {kind} of {call}: {world.missing()}, {logs[-5:]}")


VERBS = {
    "GET": "reading|listing",
    "version": "reading",
    "watch": "watching",
    "POST": "creating|writing|recording",
    "PUT": "writing",
    "PATCH": "applying|releasing|keeping|writing the status of",
    "DELETE": "deleting",
}


def named_as(call):
    """What a message says of a call: its verb, then its kind by the plural of its path or by its name."""
    verb, place = call
    plural = next(part for part in reversed(place.split("/")) if part in KINDS_BY_PLURAL)
    return re.compile(rf"({VERBS[verb]}) (the )?({plural}|{KINDS_BY_PLURAL[plural]})\b", re.IGNORECASE)


KINDS_BY_PLURAL = {plural: kind for kind, plural in native.PLURALS.items()} | {
    "nodestates": "NodeState",
    "leases": "Lease",
    "revisions": "Revision",
    "events": "event",
}


def harmless(call, kind):
    """A version that can't be told is listed again; a Lease that isn't there is made; what is to be gone may be."""
    verb, place = call
    missing = kind == "404" and (verb == "DELETE" or (verb == "GET" and "leases" in place))
    return (
        missing or (verb == "version" and kind == "410") or (verb in {"POST", "DELETE"} and kind == "half of its JSON")
    )
