"""A running bridge whose Panorama goes bad: it says what is wrong, leaves the tier as it is, and goes on afterwards.

The manager and the sync are the real ones, the Panorama is the mock, the cluster is in memory.
"""

import asyncio
import json
import resource
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web

from bridge.errors import ManagerRefusedError, ManagerUnreachableError
from bridge.managers.panorama import PanoramaAccess, PanoramaApi, PanoramaManager
from bridge.managers.panorama.rulebase.document import MAX_BYTES
from bridge.managers.panorama.session.transport import AnswerLimits
from bridge.tier.outcome import Result
from bridge.tier.plan import SafetyLimits
from mocks.panorama import Panorama, make_app
from mocks.panorama.server import described
from mocks.serving import Authority, Fault, Faults, Server
from tests.bridge.world import World
from tests.panorama_xml import config_text, entry, members, rule, rulebase, section
from zones.net import AddressSet

GROUPS = "/config/devices/entry[@name='localhost.localdomain']/device-group"
RULES = f"{GROUPS}/entry[@name='dg']/pre-rulebase/security/rules"
GOOD = config_text(
    shared=section("address", entry("a", "<ip-netmask>10.0.0.1</ip-netmask>")) + rulebase("pre", rule("shared rule")),
    groups={
        "top": rulebase("pre", rule("top rule", source="a")),
        "dg": rulebase("pre", rule("one"), rule("two", "deny", to="db"), rule("three", service="service-https")),
        "other": rulebase("pre", rule("not ours")),
    },
    parents={"dg": "top"},
)
XML = {"Content-Type": "application/xml; charset=UTF-8"}
MIB = b" " * 2**20


class Stage:
    """A Panorama, the bridge that reads it, and the cluster. `instead` answers in its place what has `where` in it."""

    def __init__(self, directory):
        self.panorama = Panorama(GOOD, users={"reader": "secret"}, commit_seconds=0)
        self.faults = Faults()
        self.instead, self.where = None, ""
        self.sent = 0
        self.authority = Authority.create(directory)
        app = make_app(self.panorama, self.faults)
        app.middlewares.insert(0, self._instead())
        self.server = Server(app, tls=self.authority.server_context())
        self.world = World(guards=SafetyLimits(max_deleted_share=0.5), stale_after=timedelta(minutes=10))
        self.renew(password=True)

    def _instead(self):
        @web.middleware
        async def middleware(request, handler):
            if self.instead is None or self.where not in await described(request):
                return await handler(request)
            return await self.instead(request)

        return middleware

    def renew(self, *, password, **limits):
        """Another bridge process, which has a password, or only a key that was made before."""
        key = self.panorama.keys.generate("reader")
        way_in = {"username": "reader", "password": lambda: "secret"} if password else {"api_key": lambda: key}
        self.way_in = way_in | {"ca_file": self.authority.ca_file, "attempts": 2, "limits": AnswerLimits(**limits)}

    def connect(self, port=None):
        access = PanoramaAccess((f"127.0.0.1:{port or self.server.port}",), **self.way_in)
        self.world.manager = PanoramaManager(PanoramaApi(access), "dg")
        self.world.restart()

    def once(self):
        return asyncio.run(self.world.sync.once())

    def commit(self, xml=None):
        """A rule more, or something else; the bridge has to read everything again."""
        if xml is not None:
            self.panorama.set(RULES, xml)
        self.panorama.commit()
        self.panorama.finish_jobs()

    def objects(self):
        """The tier but for its status, as bytes."""
        tier = {key: value for key, value in self.world.cluster.tier_object.items() if key != "status"}
        tier["metadata"] = {key: value for key, value in tier["metadata"].items() if key != "resourceVersion"}
        return json.dumps([tier, self.world.cluster.held], sort_keys=True).encode()

    def names(self):
        return [each.origin.name for each in self.world.cluster.policy().entries]

    def message(self, kind):
        conditions = self.world.cluster.tier_object["status"]["conditions"]
        return next(each["message"] for each in conditions if each["type"] == kind)

    def bad(self):
        """A pass that must leave the tier alone."""
        before = self.objects()
        self.world.cluster.calls.clear()
        outcome = self.once()
        assert outcome.revision == 1
        assert self.objects() == before
        assert set(self.world.cluster.writes) <= {"status"}
        return outcome

    def recovers(self):
        """The good answer again: what was committed meanwhile is published."""
        self.faults.queue.clear()
        self.instead = None
        outcome = self.once()
        assert (outcome.result, outcome.revision, outcome.problem) == (Result.PUBLISHED, 2, None)
        assert self.world.condition("Compiled") == ("True", "Accepted")
        assert self.world.condition("Ready") == ("True", "Published")


@pytest.fixture
def stage(tmp_path):
    """One good revision is published; a commit waits to be read."""
    made = Stage(tmp_path)
    with made.server:
        made.connect()
        assert made.once().result is Result.PUBLISHED
        made.commit(rule("four"))
        yield made
        made.world.manager.close()


def refused_as(stage, outcome, reason, *words):
    assert outcome.result is Result.REFUSED
    assert stage.world.condition("Compiled") == ("False", reason)
    assert stage.world.condition("Ready") == ("False", "RevisionRefused")
    for word in words:
        assert word in str(outcome.problem)
        assert word in stage.message("Compiled")


def answer(body, status=200, headers=XML):
    return Fault("status", times=99, status=status, body=body, headers=headers)


BOMB = '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><response status="success"><result>&b;</result></response>'


@pytest.mark.parametrize("where", ["type=op", "action=show"])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("truncate", times=99), "no PAN-OS XML"),
        (answer('<response status="success"><result><jobs>'), "no PAN-OS XML"),
        (answer("<html><body>Please log in</body></html>", headers={"Content-Type": "text/html"}), "no PAN-OS XML"),
        (answer("<html><body>Please log in</body></html>"), "no response element status attribute"),
        (answer("Please log in", headers={"Content-Type": "text/plain"}), "no XML"),
        (answer(""), "no PAN-OS XML"),
        (answer(BOMB), "declares a DTD or entities"),
        (answer('<response status="error" code="13"><msg><line>object not found</line></msg></response>'), "object not found"),
    ],
    ids=["truncated", "cut off", "HTML", "HTML as XML", "text", "nothing", "entity bomb", "error"],
)  # fmt: skip
def test_an_answer_that_is_no_answer_is_refused(stage, where, fault, words):
    stage.faults.add(replace(fault, path=where))
    refused_as(stage, stage.bad(), "UnusableAnswer", "127.0.0.1", words)
    assert stage.world.sink.told == [("RevisionRefused", False)]
    stage.recovers()
    assert stage.world.sink.told == [("RevisionRefused", False), ("RevisionRefused", True)]


@pytest.mark.parametrize(
    "body",
    [BOMB.encode("utf-16"), BOMB.encode("utf-16-le"), BOMB.encode("utf-7"), b'<response status="success">\xe9</response>'],
    ids=["UTF-16 with its mark", "UTF-16", "UTF-7", "Latin-1"],
)  # fmt: skip
def test_an_answer_in_another_encoding_is_refused(stage, body):
    """Nor does an encoding hide a document type."""

    async def instead(_):
        return web.Response(body=body, headers=XML)

    stage.instead, stage.where = instead, "action=show"
    refused_as(stage, stage.bad(), "UnusableAnswer")
    stage.recovers()


@pytest.mark.parametrize(
    ("fault", "words"),
    [(Fault("reset", times=99), "127.0.0.1"), *((answer("<response/>", status), str(status)) for status in (429, 500, 502, 503))],
    ids=["reset", "429", "500", "502", "503"],
)  # fmt: skip
def test_a_panorama_that_can_not_serve_now_is_asked_again(stage, fault, words):
    stage.faults.add(fault)
    outcome = stage.bad()
    assert outcome.result is Result.UNREACHABLE
    assert isinstance(outcome.problem, ManagerUnreachableError)
    assert words in str(outcome.problem)
    assert stage.world.condition("Ready") == ("True", "Published")
    assert stage.world.sink.told == []
    stage.world.clock.forward(minutes=11)
    assert stage.bad().stale
    assert stage.world.condition("Ready") == ("False", "SyncStale")
    assert stage.world.condition("Stale") == ("True", "NoAnswer")
    assert words in stage.message("Stale")
    stage.recovers()
    assert stage.world.sink.told == [("SyncStale", False), ("SyncStale", True)]


@pytest.mark.parametrize(("spoil", "words"), [("revoke_keys", "Invalid Credential"), ("expire_keys", "Key Expired")])
def test_a_key_that_ends_is_told_with_what_to_do(stage, spoil, words):
    stage.renew(password=False)
    stage.connect()
    getattr(stage.panorama, spoil)()
    outcome = stage.bad()
    assert outcome.result is Result.UNREACHABLE
    assert isinstance(outcome.problem, ManagerRefusedError)
    assert words in str(outcome.problem)
    assert "renew the API key" in str(outcome.problem)
    stage.world.clock.forward(minutes=11)
    stage.bad()
    assert words in stage.message("Stale")
    stage.renew(password=False)
    stage.connect()
    stage.recovers()


@pytest.mark.parametrize("spoil", ["revoke_keys", "expire_keys"])
def test_with_a_password_a_key_that_ends_is_renewed_in_the_same_pass(stage, spoil):
    getattr(stage.panorama, spoil)()
    stage.recovers()


def test_a_password_that_is_no_longer_taken_is_told(stage):
    stage.panorama.revoke_keys()
    stage.panorama.keys.users["reader"] = "another"
    assert isinstance(stage.bad().problem, ManagerRefusedError)
    stage.panorama.keys.users["reader"] = "secret"
    stage.recovers()


def endless(stage, chunk=MIB, pause=0.0):
    """An answer that begins well and never ends; nothing of it is held."""

    async def instead(request):
        response = web.StreamResponse(headers=XML)
        await response.prepare(request)
        await response.write(b'<response status="success"><result>')
        with suppress(ConnectionError):
            while True:
                await response.write(chunk)
                stage.sent += len(chunk)
                await asyncio.sleep(pause)
        return response

    return instead


def test_an_answer_beyond_the_limit_is_not_read_further(stage):
    stage.renew(password=True, size=4 * 2**20)
    stage.connect()
    stage.instead, stage.where = endless(stage), "action=show"
    refused_as(stage, stage.bad(), "UnusableAnswer", f"larger than {4 * 2**20} bytes")
    assert stage.sent < 64 * 2**20
    stage.recovers()


def test_the_usual_limit_bounds_what_is_read_and_held(stage):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stage.instead, stage.where = endless(stage), "action=show"
    refused_as(stage, stage.bad(), "UnusableAnswer", f"larger than {MAX_BYTES} bytes")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert stage.sent < MAX_BYTES + 64 * 2**20
    assert grown < 600 * 2**20
    stage.recovers()


def test_an_answer_that_trickles_hits_the_deadline(stage):
    stage.renew(password=True, timeout=5, deadline=0.5)
    stage.connect()
    stage.instead, stage.where = endless(stage, b" ", 0.05), "action=show"
    started = time.monotonic()
    refused_as(stage, stage.bad(), "UnusableAnswer", "takes longer than 0.5 s")
    assert time.monotonic() - started < 4
    stage.recovers()


def test_a_head_that_trickles_hits_the_deadline_too(stage):
    stage.renew(password=True, timeout=5, deadline=0.5)
    with trickling_head(stage.authority) as port:
        stage.connect(port)
        started = time.monotonic()
        refused_as(stage, stage.bad(), "UnusableAnswer", "takes longer than 0.5 s")
        assert time.monotonic() - started < 4
    stage.connect()
    stage.recovers()


class trickling_head:  # noqa: N801 - reads as a function
    """A server that never gets to the end of its first header."""

    def __init__(self, authority):
        self.context = authority.server_context()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self.listener.getsockname()[1]

    def __exit__(self, *_):
        self.over.set()
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)

    def _serve(self):
        while not self.over.is_set():
            with suppress(OSError):
                plain, _ = self.listener.accept()
                with self.context.wrap_socket(plain, server_side=True) as connection:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                    while not self.over.wait(0.05):
                        connection.sendall(b"a")


def test_a_silent_panorama_is_given_up(stage):
    stage.renew(password=True, timeout=1)
    stage.connect()
    stage.faults.add(Fault("slow", times=99, seconds=3))
    assert isinstance(stage.bad().problem, ManagerUnreachableError)
    stage.recovers()


# A Panorama that answers well, with a configuration that can't be taken.


def test_circular_groups_are_no_trouble(stage):
    groups = section(
        "address-group", entry("g", members("static", "h", "10.0.0.1")), entry("h", members("static", "g", "10.0.0.2"))
    )
    stage.panorama.set(f"{GROUPS}/entry[@name='dg']", groups)
    stage.commit(rule("round", source="g"))
    stage.recovers()
    found = next(each for each in stage.world.cluster.policy().entries if each.origin.name == "round")
    assert found.sources == AddressSet.parse(["10.0.0.1", "10.0.0.2"])


def test_an_allow_with_an_unknown_element_is_left_out(stage):
    stage.commit(rule("new", extra="<source-weather>rain</source-weather>"))
    stage.recovers()
    assert "four" in stage.names()
    assert "new" not in stage.names()
    assert stage.world.cluster.tier_object["status"]["rules"]["notEnforced"] == 1


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            rule("bad", "deny", extra="<source-weather>rain</source-weather>"),
            "its element 'source-weather' is not known",
        ),
        (rule("bad", "explode"), "its action 'explode' is not known"),
        (rule("bad", ""), "it has no action"),
        (rule("bad", "drop", source=None), "it has no 'source'"),
        (rule("bad", "drop", destination="nowhere"), "'nowhere' is defined nowhere"),
        (rule("bad", "reset-both", extra="<negate-source>true</negate-source>"), "neither yes nor no"),
    ],
)
def test_a_deny_that_can_not_be_expressed_refuses_the_revision(stage, bad, words):
    stage.commit(bad)
    outcome = stage.bad()
    refused_as(stage, outcome, "InexpressibleDeny", "'bad'", words)
    assert stage.world.cluster.tier_object["status"]["rules"]["refusing"] == 1
    stage.panorama.delete(f"{RULES}/entry[@name='bad']")
    stage.commit()
    stage.recovers()


def test_a_device_group_that_vanished_is_refused_with_those_that_are_there(stage):
    stage.panorama.rename(f"{GROUPS}/entry[@name='dg']", "dg-renamed")
    stage.commit()
    refused_as(stage, stage.bad(), "UnknownDeviceGroup", "'dg'", "'dg-renamed'")
    stage.panorama.rename(f"{GROUPS}/entry[@name='dg-renamed']", "dg")
    stage.commit()
    stage.recovers()


def test_an_empty_rulebase_is_refused(stage):
    emptied = {"/config/shared": "shared rule", f"{GROUPS}/entry[@name='top']": "top rule"}
    for level in (*emptied, f"{GROUPS}/entry[@name='dg']"):
        stage.panorama.delete(f"{level}/pre-rulebase")
    stage.commit()
    refused_as(stage, stage.bad(), "EmptyRulebase", "no rule but the defaults")
    stage.panorama.set("/config/shared", rulebase("pre", rule("shared rule")))
    for name in ("one", "two", "five"):
        stage.commit(rule(name))
    stage.recovers()


def test_most_rules_gone_at_once_are_refused(stage):
    for name in ("one", "two", "three"):
        stage.panorama.delete(f"{RULES}/entry[@name='{name}']")
    stage.commit()
    refused_as(stage, stage.bad(), "TooManyDeleted", "3 of 5 rules", "'one'")
    stage.commit(rule("one"))
    stage.recovers()


def test_commits_that_never_end_are_read_at_the_next_pass(stage):
    """Each read meets another commit, so no read is of one configuration."""
    op = stage.world.manager.api.op

    def with_a_commit(command):
        if "jobs" in command:
            stage.commit(rule(f"rule {len(stage.panorama.versions)}"))
        return op(command)

    stage.world.manager.api.op = with_a_commit
    refused_as(stage, stage.bad(), "UnusableAnswer", "committed again")
    stage.world.manager.api.op = op
    stage.recovers()
