"""Every call of the agent to the API server and to the SIEM fails, one after the other, in every way that calls fail.

Which calls there are isn't written here: they are those that the agent makes as the world around it stirs. Each failure
is named in a problem, no half of anything is ever applied, and afterwards all is as it should be.
"""

import asyncio
import json
import os

import pytest

from enforcer import service
from enforcer.cluster import event_writer, slice_writer
from enforcer.settings.models import PodEventSettings
from enforcer.status import node_state
from mocks.kubernetes import ApiError
from mocks.kubernetes.calls import Call
from mocks.siem import Siem, Token
from tests.enforcer import smallcluster as world
from tests.enforcer.smallcluster import eventually
from tests.enforcer.test_service import SECRET, denied, kubernetes, running, settings, siem  # noqa: F401 - fixtures
from tests.saboteur import KINDS, Saboteur
from zones.kube import client, watch
from zones.runtime.backoff import Backoff
from zones.tiers import slices

QUICK = Backoff(0.01, 0.05)


def harmless(call, kind):
    """What is to be gone and isn't there; a version that can't be told; half of an answer that nobody needs."""
    verb, place = call
    if kind == "half of its JSON":
        return verb in {"POST", "DELETE"} or (verb == "PATCH" and "podslices" not in place)
    return (verb, kind) in {("DELETE", "404"), ("version", "410")}


class World:
    """What changes around the agent, and what it must come to then."""

    def __init__(self, stage):
        self.stage, self.server = stage, stage.kubernetes
        self.revision = 0
        self.policies = [None]
        self.pods = {"web-1", "db-0"}

    def stir(self):
        """Give it a reason for every call that it knows."""
        self.revision += 1
        port = 5000 + self.revision
        self.policies.append(world.policy(port))
        world.publish(self.server, world.tier(self.revision, port))
        name = f"late-{self.revision}"
        self.pods.add(name)
        world.add_pod(self.server, world.pod(name, f"10.1.0.{30 + self.revision % 200}", "web"))
        if len(self.pods) > 12:
            gone = min(self.pods - {"web-1", "db-0", name}, key=lambda each: int(each.split("-")[1]))
            self.pods.discard(gone)
            self.server.delete(world.pod(gone, "", ""))
        self.stray()
        self.forget_state()
        self.server.close_watches(broken=self.revision % 2 == 1)
        if self.revision % 2 == 0:
            self.server.compact()
        self.stage.log.put(denied(port=6000 + self.revision))

    def stray(self):
        """A slice of this node that nobody needs any more."""
        world.create_once(self.server, slices.render(world.TIER, slices.own_name("n1", 7), "n1", [], []))

    def forget_state(self):
        try:
            self.server.delete(
                {"apiVersion": "zonebridge.io/v1alpha1", "kind": "NodeState", "metadata": {"name": "n1"}}
            )
        except ApiError:
            return

    def state(self):
        resource = self.server.catalog.by_kind("zonebridge.io/v1alpha1", "NodeState")
        try:
            return self.server.verbs.get(Call(resource, "", "n1")).body.get("status") or {}
        except ApiError:
            return {}

    def right(self):
        kernel = self.stage.kernel
        assert all(policy in self.policies for policy, _, _ in kernel.passes)
        return (
            kernel.revision == self.revision
            and kernel.passes[-1][0] == self.policies[-1]
            and kernel.pods() == self.pods
            and self.state().get("revision") == self.revision
        )


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for module, name, value in (
        (watch, "BRIEF_SECONDS", 0.02),
        (watch, "STEADY_SECONDS", 0.3),
        (client, "SLOW_SECONDS", 0.2),
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(event_writer, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(slice_writer, "_LOOK_SECONDS", 0.02)


def test_a_failure_that_lasts_is_in_the_status_within_ten_seconds(monkeypatch):
    monkeypatch.undo()
    assert max(watch.BRIEF_SECONDS, client.SLOW_SECONDS) + service._SURVEY <= 10
    assert node_state._TICK <= service._SURVEY


def chosen(calls, number):
    """All of them in the long profile; else so that each call fails in three of the ways, and each way is met."""
    if os.environ.get("HYPOTHESIS_PROFILE") == "long":
        return calls
    return [call for at, call in enumerate(calls) if (at + number) % 4 == 0]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_every_call_to_the_api_server_may_fail(settings, kubernetes, siem, monkeypatch, kind):  # noqa: F811
    async def run():
        talkative = settings.model_copy(update={"pod_events": PodEventSettings(per_minute=600, per_pod=100)})
        async with running(talkative, kubernetes, siem, monkeypatch) as stage:
            parts = stage.service.parts
            parts.event_writer.backoff = parts.slice_writer.backoff = QUICK
            saboteur, around = Saboteur(kubernetes.faults), World(stage)
            for _ in range(3):
                around.stir()
                await eventually(around.right)
            calls = sorted(saboteur.seen)
            assert len(calls) >= 27, calls
            for call in chosen(calls, list(KINDS).index(kind)):
                if not harmless(call, kind):
                    await fails(stage, around, saboteur, call, kind)

    asyncio.run(run())


async def fails(stage, around, saboteur, call, kind):
    saboteur.target, saboteur.hits = (call, KINDS[kind]), 0
    place = call[1].split("*")[0].rstrip("/")
    stirred = 0

    def named():
        nonlocal stirred
        if saboteur.hits == 0 and stirred < 6:  # what is called now and then is called in the end
            stirred += 1
            around.stir()
        return any(place in problem for problem in stage.service.survey.status["problems"])

    try:
        await eventually(named, 10)
    except AssertionError:
        problems = stage.service.survey.status["problems"]
        raise AssertionError(f"{kind} of {call} ({saboteur.hits} times) is in no problem: {problems}") from None
    saboteur.target = None
    await eventually(around.right)
    await eventually(lambda: stage.service.survey.status["problems"] == [], 20)
    assert json.dumps(stage.service.survey.status)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("kind", KINDS)
def test_every_call_to_the_siem_may_fail(settings, kubernetes, monkeypatch, kind):  # noqa: F811
    """Its destination's trouble names it, and every record is there in the end."""
    (destination,) = settings.destinations

    async def run(strict):
        where = {"url": strict.hec.url, "ca_file": strict.ca_file}
        trusting = destination.model_copy(update=where | {"acknowledge": True, "timeout_seconds": 0.5})
        ours = settings.model_copy(update={"destinations": (trusting,)})
        async with running(ours, kubernetes, strict, monkeypatch) as stage:
            saboteur, around = Saboteur(strict.hec.faults), World(stage)

            def trouble():
                return (stage.service.survey.status.get("destinations") or [{"trouble": ""}])[0]["trouble"]

            around.stir()
            await eventually(around.right)  # before that, no rule is known that could have logged anything
            stage.log.put(denied(port=6999))
            await eventually(lambda: len(saboteur.seen) == 2)
            for number, call in enumerate(sorted(saboteur.seen)):
                saboteur.target = call, KINDS[kind]
                stage.log.put(*(denied(port=7000 + 10 * number + each) for each in range(3)))
                await eventually(trouble, 10)
                saboteur.target = None
                await eventually(lambda: trouble() == "")
            ports = {7000 + 10 * number + each for number in range(2) for each in range(3)}
            await eventually(lambda: ports <= {each["destination"]["port"] for each in stage.records("flow")})
            await eventually(lambda: stage.service.parts.outbox.backlog("siem") == 0)
            assert (stage.service.parts.deliveries[0].progress.refused, stage.service.losses.totals) == (0, {})

    with Siem(Token(SECRET, use_ack=True)) as strict:
        asyncio.run(run(strict))
