"""Every call of the bridge to Panorama, to the servers of lists and to the DNS fails, one after the other, in every way.

Which calls there are isn't written here: they are those that the whole service makes as rules, App-ID content, tags and
lists change, and as its own device group and its pods' addresses are registered. Each failure is named by a warning
within ten seconds; afterwards the newest commit is published, and every pod and list is as it should be.
"""

import asyncio
import os
import re
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import httpx
import pytest
import structlog
import yaml
from aiohttp import web
from tenacity import wait_none

from bridge import registration, service
from bridge.feeds import FeedLimits, Feeds, Fetcher, fetch, keeper
from bridge.managers.panorama.registration import jobs
from bridge.managers.panorama.session import api
from bridge.settings.file import Purpose, load
from mocks.kubernetes.calls import Call
from mocks.panorama import Panorama, PanoramaServer
from mocks.serving import Fault, Faults, Server
from tests.bridge.test_registration import Service, cluster, run_pod, settings_of
from tests.bridge.test_registration import tagged as registered
from tests.panorama_xml import config_text, entry, rule, rulebase, section
from tests.saboteur import KINDS, Saboteur
from zones.net import AddressSet
from zones.rules import Feed, FeedKind
from zones.tiers import native

__all__ = ["cluster"]
GROUPS = "/config/devices/entry[@name='localhost.localdomain']/device-group"
RULES = f"{GROUPS}/entry[@name='k8s-prod']/pre-rulebase/security/rules"
RCODES = ("SERVFAIL", "REFUSED", "FORMERR", "NOTIMP")
DNS_FAILURES = (
    "no answer",
    "no name",
    "no address",
    "another's id",
    "another question",
    "cut short",
    "half of it",
    *RCODES,
)
TAG = "k8s.cl_prod.zone_web"
# pan-python counts in whole seconds; more than the bridge waits for.
NO_ANSWER = 1.3


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for module in (service, registration):
        monkeypatch.setattr(module, "FIRST_RETRY", 0.05)
        monkeypatch.setattr(module, "LONGEST_RETRY", 0.2)
    for module in (api, fetch):
        monkeypatch.setattr(module, "Backoff", lambda *_: wait_none())
    monkeypatch.setattr(registration, "LONGEST_REST", 0.1)
    monkeypatch.setattr(jobs, "JOB_POLL", 0.05)
    monkeypatch.setattr(keeper, "RETRY", 0.1)
    monkeypatch.setattr(keeper, "next_due", lambda _, after: after + timedelta(seconds=0.1))


class Lists:
    """The server of one external list, with one address that changes."""

    def __init__(self):
        self.faults = Faults()
        self.address = "203.0.113.1"
        app = web.Application(middlewares=[self.faults.middleware])
        app.router.add_get("/list.txt", self._list)
        self.server = Server(app)

    async def _list(self, _):
        return web.Response(text=f"{self.address}\n")


def configuration(port):
    url = f"<url>http://127.0.0.1:{port}/list.txt</url><recurring><five-minute/></recurring>"
    shared = (
        section("external-list", entry("partners", f"<type><ip>{url}</ip></type>"))
        + section("address-group", entry("tagged", f"<dynamic><filter>'{TAG}'</filter></dynamic>"))
        + rulebase(
            "pre",
            rule("browse", application="web-browsing"),
            rule("by tag", source="tagged"),
            rule("from partners", source="partners"),
            rule("from the site", source="panw-known-ip-list"),
        )
    )
    return config_text(shared=shared, groups={"clusters": "", "k8s-prod": ""}, parents={"k8s-prod": "clusters"})


class Names(asyncio.DatagramProtocol):
    """A name server on loopback, whose one name has an address that changes. `failure`: how it answers instead."""

    def __init__(self):
        self.address, self.failure, self.hits = "192.0.2.1", None, 0

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, whom):
        query = dns.message.from_wire(data)
        self.hits += self.failure is not None
        if self.failure == "no answer":
            return
        answer = dns.message.make_response(query)
        (asked,) = query.question
        if self.failure == "no name":
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif self.failure in RCODES:
            answer.set_rcode(dns.rcode.from_text(self.failure))
        elif asked.rdtype == dns.rdatatype.A and self.failure != "no address":
            answer.answer.append(dns.rrset.from_text(asked.name, 1, "IN", "A", self.address))
        wire = answer.to_wire()
        if self.failure == "another's id":
            wire = bytes([wire[0] ^ 1]) + wire[1:]
        elif self.failure == "cut short":
            wire = wire[:7]
        elif self.failure == "half of it":
            wire = wire[:-3]
        elif self.failure == "another question":
            wire = dns.message.make_response(
                dns.message.make_query("evil.example.", asked.rdtype, id=query.id)
            ).to_wire()
        self.transport.sendto(wire, whom)


@asynccontextmanager
async def serving(names):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: names, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


class World:
    """Panorama, the list's server and the cluster as they change, and what the tier must come to."""

    def __init__(self, panorama, lists, cluster, site):
        self.panorama, self.lists, self.cluster, self.site = panorama, lists, cluster, site
        self.number, self.pods = 0, {}
        self.stir()

    def stir(self):
        """A commit, new App-ID content, another address in each list; another pod; nobody described our group."""
        self.number += 1
        running = self.panorama.panorama
        running.identity = replace(running.identity, app_version=f"{9000 + self.number}-9999")
        if running.running.find(".//device-group/entry[@name='k8s-prod']/description") is not None:
            running.delete(f"{GROUPS}/entry[@name='k8s-prod']/description")
        running.set(RULES, rule(f"commit {self.number}"))
        running.commit()
        running.finish_jobs()
        self.lists.address = f"203.0.113.{self.number % 200 + 1}"
        self.provide()
        for made in self.pods.values():
            self.cluster.delete(made)
        ip = f"10.0.0.{self.number % 200 + 1}"
        self.pods = {ip: run_pod(self.cluster, f"web-{self.number}", ip)}

    def provide(self):
        self.site.write_text(f"198.51.100.{self.number % 200 + 1}\n")

    def _objects(self, kind):
        resource = self.cluster.catalog.by_kind(native.API_VERSION, kind)
        return {each["metadata"]["name"]: each for each in self.cluster.verbs.list(Call(resource, "")).body["items"]}

    def right(self):
        tier = self._objects(native.TIER).get("panorama")
        if tier is None:
            return False
        parts = self._objects(native.POLICY_CHUNK) | self._objects(native.ADDRESS_SET)
        try:
            entries = {each.origin.name: each for each in native.parse(tier, parts).entries}
        except native.TierError:
            return False
        number = self.number % 200 + 1
        return (
            f"commit {self.number}" in entries
            and sources(entries, "from partners") == f"203.0.113.{number}/32"
            and sources(entries, "from the site") == f"198.51.100.{number}/32"
            and registered(self.panorama) == self.pods.keys()
        )


def sources(entries, name):
    return str(entries[name].sources) if name in entries else ""


def call_of(method, path):
    """A call's name: what is asked, without numbers that change and elements that are made up."""
    parts = urlsplit(path)
    query = {key: value for key, value in parse_qsl(parts.query) if key not in {"element", "cmd"}}
    if "type" not in query:
        return method, parts.path
    command = dict(parse_qsl(parts.query)).get("cmd", "") if query["type"] == "op" else ""
    asked = re.sub(r"<(id|start-point)>[0-9]+<", r"<\1>N<", command) or query.get("xpath", "")
    return query["type"], f"{query.get('action', '')} {asked}".strip()


def words_of(call):
    """What a message says of a call."""
    kind, asked = call
    if kind == "GET":
        return re.compile(rf"fetching the list http://127\.0\.0\.1:[0-9]+{asked}: ")
    if "high-availability" in asked:
        return re.compile(r"for its HA state: ")
    said = {"keygen": "a new API key", "commit": "a commit", "user-id": "User-ID changes", "op": f"op {asked}"}
    pattern = re.escape(said.get(kind, asked)).replace(">N<", ">[0-9]+<")
    return re.compile(rf"asking Panorama (127\.0\.0\.1|localhost) for {pattern}: ")


class PanoramaSaboteur(Saboteur):
    def __call__(self, method, path):
        called = call_of(method, path)
        self.seen[called] += 1
        if self.target is None or called != self.target[0]:
            return None
        self.hits += 1
        return self.target[1]()


def failure(kind):
    return Fault("slow", seconds=NO_ANSWER) if kind == "no answer" else KINDS[kind]()


def service_settings(tmp_path, panorama, cluster, site):
    """As the registration's tests have it: with HA peers, of which the first is active, and a list of the site's own."""
    settings_of(tmp_path, panorama, cluster, enabled=True, parent="clusters", username="zonebridge", passwordFile=...)
    path = tmp_path / "zonebridge.yaml"
    written = yaml.safe_load(path.read_text())
    written["panorama"] |= {"hosts": [f"127.0.0.1:{panorama.port}", f"localhost:{panorama.port}"], "timeout": "1s"}
    written["registration"]["resync"] = "500ms"
    written["feeds"] = {"provided": {"panw-known-ip-list": str(site)}, "timeout": "1s"}
    path.write_text(yaml.safe_dump(written))
    return load(path, {}, Purpose.SERVICE)


def chosen(calls, number):
    """All of them in the long profile; else each call in one of the ways, and each way of some calls."""
    if os.environ.get("HYPOTHESIS_PROFILE") == "long":
        return calls
    return [call for at, call in enumerate(calls) if (at + number) % 12 == 0]


async def until(condition, seconds=30):
    """Looked at rarely: it reads the whole tier."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.fixture
def world(tmp_path, cluster):
    lists, users = Lists(), {"reader": "secret", "zonebridge": "secret"}
    with lists.server:
        config = Panorama(configuration(lists.server.port), users=users, commit_seconds=0)
        with PanoramaServer(config) as panorama:
            yield World(panorama, lists, cluster, tmp_path / "site.txt")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("ways", [tuple(KINDS)[at::4] for at in range(4)], ids=" ".join)
def test_every_call_to_panorama_and_to_a_lists_server_may_fail(tmp_path, world, cluster, ways):
    saboteur, of_lists = PanoramaSaboteur(world.panorama.faults), PanoramaSaboteur(world.lists.faults)
    settings = service_settings(tmp_path, world.panorama, cluster, world.site)
    with structlog.testing.capture_logs() as logs:

        async def scenario(_):
            await until(world.right)
            world.stir()
            await until(world.right)
            calls = [(saboteur, call) for call in sorted(saboteur.seen)] + [(of_lists, ("GET", "/list.txt"))]
            assert len(calls) >= 18, sorted(saboteur.seen)
            for kind in ways:
                for server, call in chosen(calls, list(KINDS).index(kind)):
                    await fails(world, server, call, kind, logs)
                    await until(world.right)

        Service(settings).run(scenario)


async def fails(world, saboteur, call, kind, logs):
    saboteur.target, saboteur.hits = (call, lambda: failure(kind)), 0
    before, words = len(logs), words_of(call)
    deadline, stirred = time.monotonic() + 10, 0.0
    try:
        while not any(is_said(each, words) for each in logs[before:]):
            assert time.monotonic() < deadline, (
                f"{kind} of {call} ({saboteur.hits} times): nothing says {words.pattern}: {logs[before:][-5:]}"
            )
            if saboteur.hits == 0 and time.monotonic() - stirred > 1:  # what is called now and then
                stirred = time.monotonic()
                if call[0] == "keygen":
                    world.panorama.panorama.expire_keys()
                world.stir()
            await asyncio.sleep(0.02)
    finally:
        saboteur.target = None


def is_said(each, words):
    return each["log_level"] in {"warning", "error"} and words.search(" ".join(map(str, each.values()))) is not None


@pytest.mark.parametrize("spoil", [Path.unlink, lambda site: (site.unlink(), site.mkdir())], ids=["gone", "a folder"])
def test_a_provided_list_that_cannot_be_read_is_named(tmp_path, world, cluster, spoil):
    with structlog.testing.capture_logs() as logs:

        async def scenario(_):
            await until(world.right)
            spoil(world.site)
            named = re.compile(rf"reading the list {re.escape(str(world.site))}: ")
            await until(lambda: any(is_said(each, named) for each in logs))
            assert world.right()
            if world.site.is_dir():
                world.site.rmdir()
            world.stir()
            await until(world.right)

        Service(service_settings(tmp_path, world.panorama, cluster, world.site)).run(scenario)


@pytest.mark.parametrize("failure", DNS_FAILURES)
def test_a_name_that_cannot_be_resolved_is_named_and_keeps_its_last_addresses(failure):
    names, changes = Names(), []
    feed = Feed("portal", FeedKind.FQDN, "portal.example.com")

    def addresses():
        return feeds.contents().get("portal")

    async def scenario():
        nonlocal feeds
        async with serving(names) as port, httpx.AsyncClient() as client:
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers, resolver.port = ["127.0.0.1"], port
            limits = FeedLimits(timeout=0.5, least_ttl=0.1)
            feeds = Feeds(Fetcher(client, resolver, limits).fetch, lambda: changes.append(1))
            await feeds.want([feed])
            task = asyncio.create_task(feeds.run())
            assert addresses() == AddressSet.parse(["192.0.2.1"])
            names.address, names.failure = "192.0.2.9", failure
            await until(lambda: "portal" in feeds.troubles(), 10)
            assert names.hits
            assert feeds.troubles()["portal"].startswith("resolving portal.example.com: ")
            assert addresses() == AddressSet.parse(["192.0.2.1"])
            assert changes == []
            names.failure = None
            await until(lambda: addresses() == AddressSet.parse(["192.0.2.9"]), 10)
            assert feeds.troubles() == {}
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    feeds = None
    with structlog.testing.capture_logs() as logs:
        asyncio.run(scenario())
    named = re.compile(r"resolving portal\.example\.com: ")
    assert any(is_said(each, named) for each in logs)
