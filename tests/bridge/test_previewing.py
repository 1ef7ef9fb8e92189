"""The bridge keeps a preview of the candidate ready, serves it, and tells the SIEM once of each candidate."""

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import wraps
from types import SimpleNamespace

import httpx
import pytest

from bridge.alerts import Alerts
from bridge.compilation import worker_process
from bridge.compilation.recompile import CompiledReading, CompileTarget
from bridge.errors import BridgeError, ManagerUnreachableError
from bridge.evidence.seen import Evidence
from bridge.guard_rail import GuardRail
from bridge.listeners.preview import previews
from bridge.listeners.wakeup import ListenAddress
from bridge.managers import Editor
from bridge.preview.follow import READ_AGAIN, Previewing, Sources
from bridge.preview.population import Resident
from bridge.preview.prepared import prepare
from bridge.service import answer_of
from bridge.siem.record import RecordStamp
from bridge.siem.sink import SiemSink
from tests.bridge.evidence.rows import counting, flow
from tests.bridge.world import RecordingSink, inexpressible, rule, rulebase
from zones.compile import compile_policy
from zones.policy import Verdict
from zones.seen import SeenEnd, SeenKey
from zones.siem.alerts import Severity
from zones.zone import Zoning


def in_a_loop(test):
    @wraps(test)
    def run(*args, **fixtures):
        asyncio.run(test(*args, **fixtures))

    return run


WEB = frozenset({"web"})
DB = frozenset({"db"})
ALLOW = rule("web to db", from_zones=WEB, to_zones=DB)
PODS = (Resident("shop", "cart", "web", "cart"), Resident("data", "postgres", "db", "postgres"))


class Panorama:
    """What is asked of the manager; `edits` are the candidate's rules, None while it is what is committed."""

    def __init__(self):
        self.edits = None
        self.version = 1
        self.reads = 0
        self.trouble = None

    def pending(self):
        if self.trouble:
            raise self.trouble
        if self.edits is None:
            return None
        return SimpleNamespace(version=f"v{self.version}", editors=(Editor("anna", 2),))

    def candidate(self):
        self.reads += 1
        return rulebase(*self.edits)

    def edit(self, *rules):
        self.edits, self.version = rules, self.version + 1


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


async def in_place(question):
    return prepare(question)


async def directly(call):
    return call()


@pytest.fixture
def world():
    """A manager, the previewing of its one cluster, its clock, and what was told."""
    base = rulebase(ALLOW)
    reading = CompiledReading("7", base, 1, compile_policy(base, Zoning()))
    manager, sink, clock = Panorama(), RecordingSink(), Clock()
    feeds = SimpleNamespace(contents=dict)
    target = CompileTarget("c1", "panorama", "dg", Zoning())
    rails = (GuardRail("db", "web"),)
    sources = Sources(target, manager, lambda: reading, feeds, lambda: PODS, directly, rails)
    previewing = Previewing(sources, Alerts("c1", "panorama", (sink,)), make=in_place, clock=clock)
    return SimpleNamespace(manager=manager, previewing=previewing, clock=clock, told=sink)


def answer(world):
    found = world.previewing.answer("c1")
    return found.unavailable or json.loads(found.text)


@in_a_loop
async def test_a_candidate_is_ready_and_told_once_with_who_edits(world):
    assert answer(world) == "the candidate was not looked at yet"
    await world.previewing.look()
    assert answer(world) == {"cluster": "c1", "pending": False}
    world.manager.edit()
    await world.previewing.look()
    await world.previewing.look()
    seen = answer(world)
    assert (seen["pending"], seen["summary"]["zone_pairs_closed"], seen["summary"]["workload_pairs"]) == (True, 1, 1)
    assert seen["candidate"]["admins"] == [{"admin": "anna", "changes": 2, "locks": []}]
    (alert,) = world.told.alerts
    assert alert.message.startswith("anna is about to change 1 rules in Panorama")
    assert (alert.severity, alert.about["zone_pairs_closed"], alert.about["admins"]) == (Severity.LOW, 1, ["anna"])
    assert world.manager.reads == 1, "nothing was new"
    world.manager.edits = None
    await world.previewing.look()
    assert answer(world) == {"cluster": "c1", "pending": False}
    assert len(world.told.alerts) == 1


@in_a_loop
async def test_another_candidate_is_told_again_and_one_that_means_the_same_is_not(world):
    world.manager.edit()
    await world.previewing.look()
    tag = world.previewing.answer("c1").tag
    world.manager.edit(rule("for nobody", disabled=True))
    await world.previewing.look()
    assert (len(world.told.alerts), world.previewing.answer("c1").tag) == (1, tag)
    world.manager.edit(rule("db to web", from_zones=DB, to_zones=WEB))
    await world.previewing.look()
    assert world.previewing.answer("c1").tag != tag
    assert [alert.severity for alert in world.told.alerts] == [Severity.LOW, Severity.HIGH], "a guard rail breaks"
    world.manager.edit(inexpressible())
    await world.previewing.look()
    assert world.told.alerts[-1].about["refused"]
    assert answer(world)["refused"]


@in_a_loop
async def test_edits_without_any_effect_here_are_served_and_not_told(world):
    world.manager.edit(ALLOW)
    await world.previewing.look()
    assert (answer(world)["changes"], world.told.alerts) == ([], [])


@in_a_loop
async def test_what_this_bridge_itself_is_about_to_tag_is_no_candidate(world):
    """Tags of its own: the rulebase is as it was. What somebody edits under its name all the same is one."""
    world.previewing.sources = replace(world.previewing.sources, own_admin="anna")
    world.manager.edit(ALLOW)
    await world.previewing.look()
    assert answer(world) == {"cluster": "c1", "pending": False}
    world.manager.edit()
    await world.previewing.look()
    assert answer(world)["pending"] is True
    world.previewing.sources = replace(world.previewing.sources, own_admin="zonebridge")
    world.manager.edit(ALLOW)
    await world.previewing.look()
    assert answer(world)["pending"] is True, "somebody else edits, without any effect here"


@in_a_loop
async def test_a_candidate_is_read_again_after_a_while(world):
    world.manager.edit()
    await world.previewing.look()
    world.manager.edits = (rule("db to web", from_zones=DB, to_zones=WEB),)
    await world.previewing.look()
    assert world.manager.reads == 1
    world.clock.now += READ_AGAIN
    await world.previewing.look()
    assert (world.manager.reads, len(world.told.alerts)) == (2, 2)


@in_a_loop
async def test_trouble_leaves_the_last_preview_and_says_why_there_is_no_newer_one(world):
    world.manager.edit()
    await world.previewing.look()
    world.manager.trouble = ManagerUnreachableError("no answer")
    await world.previewing.look()
    assert (answer(world)["pending"], answer(world)["trouble"]) == (True, "no answer")
    world.manager.trouble = None
    await world.previewing.look()
    assert "trouble" not in answer(world)


@in_a_loop
async def test_nobody_is_reminded_of_a_candidate(world):
    shipped, clock = [], Clock()
    shipper = SimpleNamespace(offer=shipped.append, name="s", take_lost=dict)
    siem = SiemSink([shipper], RecordStamp("n1", 1), clock=time.time, steady=clock)
    world.previewing.alerts = Alerts("c1", "panorama", (siem,))
    world.manager.edit()
    await world.previewing.look()
    clock.now += 7200
    siem.look()
    (record,) = shipped
    assert (record["alert"], record["severity"], record["about"]["rules"]) == ("candidate-changes", "low", 1)


@asynccontextmanager
async def served(world, *, leading=True, token="secret"):
    work = SimpleNamespace(cluster="c1", previewing=world.previewing, leadership=SimpleNamespace(leading=leading))
    door = ListenAddress(("127.0.0.1", 0), lambda: token)
    async with (
        previews(door, lambda name: answer_of([work], name)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client


@in_a_loop
async def test_it_is_served_to_whoever_has_the_token_and_only_once_for_each_change(world):
    world.manager.edit()
    await world.previewing.look()
    with_token = {"Authorization": "Bearer secret"}
    async with served(world) as client:
        assert (await client.get("/preview")).status_code == 401
        assert (await client.get("/preview", headers={"Authorization": "Bearer other"})).status_code == 401
        assert (await client.post("/preview", headers=with_token)).status_code == 405
        found = await client.get("/preview", headers=with_token)
        assert (found.status_code, found.json()["cluster"]) == (200, "c1")
        again = await client.get("/preview?cluster=c1", headers=with_token | {"If-None-Match": found.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await client.get("/preview?cluster=c9", headers=with_token)).status_code == 404
        world.manager.edit(rule("db to web", from_zones=DB, to_zones=WEB))
        await world.previewing.look()
        again = await client.get("/preview", headers=with_token | {"If-None-Match": found.headers["ETag"]})
        assert again.status_code == 200
    async with served(world, leading=False) as client:
        assert (await client.get("/preview", headers=with_token)).status_code == 503
    async with served(world, token="") as client:
        assert (await client.get("/preview", headers={"Authorization": "Bearer"})).status_code == 401


def fails(_):
    raise ValueError("no")


def eats(size):
    return len(bytearray(size))


def dies(code):
    os._exit(code)


@in_a_loop
async def test_a_worker_is_bounded_and_its_end_is_told():
    assert await asyncio.to_thread(worker_process.run, eats, 2**20, worker_process.Bounds()) == 2**20
    for call, given, bounds, what in (
        (fails, 0, worker_process.Bounds(), "unexpected ValueError: no"),
        (eats, 2**30, worker_process.Bounds(memory=256 * 2**20), "more than 256 MiB"),
        (dies, 3, worker_process.Bounds(), "ended without a result"),
        (time.sleep, 60, worker_process.Bounds(seconds=0.1), "more than 0.1 s"),
    ):
        with pytest.raises(worker_process.WorkerError, match=what):
            await asyncio.to_thread(worker_process.run, call, given, bounds)


@in_a_loop
async def test_a_browser_gets_the_page_and_what_nodes_counted_is_in_both(world):
    """With the token as a password; a new count is another answer."""
    counts = [41]

    def seen():
        key = SeenKey(SeenEnd("web", "shop", "front"), SeenEnd("db", "data", "pg"), 6, 443, ALLOW.origin, Verdict.ALLOW)
        return Evidence((flow(counts[0], key=key),), {"n1": counting()})

    world.previewing.sources = replace(world.previewing.sources, seen=seen)
    world.manager.edit()  # without the only allow
    await world.previewing.look()
    as_a_browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with served(world) as client:
        refused = await client.get("/preview", headers=as_a_browser)
        assert (refused.status_code, "Basic" in refused.headers["WWW-Authenticate"]) == (401, True)
        page = await client.get("/preview", headers=as_a_browser, auth=("anybody", "secret"))
        assert page.headers["Content-Type"].startswith("text/html")
        assert "shop/front" in page.text
        assert "frame-ancestors" in page.headers["Content-Security-Policy"]
        found = await client.get("/preview", auth=("anybody", "secret"))
        assert found.json()["summary"]["seen_denied"] == 41
        assert found.headers["ETag"] != page.headers["ETag"]
        counts[0], world.clock.now = 42, READ_AGAIN + 1
        await world.previewing.look()
        known = {"If-None-Match": found.headers["ETag"]}
        again = await client.get("/preview", headers=known, auth=("anybody", "secret"))
        assert (again.status_code, again.json()["summary"]["seen_denied"]) == (200, 42)
        world.manager.pending = lambda: None
        await world.previewing.look()
        nothing = await client.get("/preview", headers=as_a_browser, auth=("anybody", "secret"))
        assert "nothing would change" in nothing.text
    (alert,) = world.told.alerts
    assert (alert.about["seen_denied"], "41 connections that were seen" in alert.message) == (41, True)


@in_a_loop
async def test_a_database_that_is_away_keeps_nobody_from_a_preview(world):
    def away():
        raise BridgeError("evidence database: no answer")

    world.previewing.sources = replace(world.previewing.sources, seen=away)
    world.manager.edit()
    await world.previewing.look()
    assert world.previewing.ready is not None
    assert json.loads(world.previewing.ready.text)["summary"]["seen_denied"] is None


@in_a_loop
async def test_where_there_is_no_memory_for_the_page_the_json_is_served(world, monkeypatch):
    def too_large(*_):
        raise MemoryError

    monkeypatch.setattr("bridge.preview.prepared.pages.preview_page", too_large)
    world.manager.edit()
    await world.previewing.look()
    with_token = {"Authorization": "Bearer secret"}
    async with served(world) as client:
        assert (await client.get("/preview", headers=with_token)).json()["pending"] is True
        refused = await client.get("/preview", headers=with_token | {"Accept": "text/html"})
        assert (refused.status_code, "ask for JSON" in refused.text) == (503, True)
