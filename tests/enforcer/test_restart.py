"""`zone-enforcer` killed and started again, on a node whose pods never stop talking: nothing denied ever passes."""

import contextlib
import json
import shutil
import signal
import subprocess
import time

import pytest

from enforcer.restart import snapshot
from tests.enforcer import smallcluster as cluster
from tests.enforcer.stream import Stream
from tests.enforcer.test_agent import Stage
from zones.net import UDP
from zones.policy import Entry, Policy, Traffic, Verdict
from zones.rules import RuleType
from zones.tiers import native
from zones.zone import Zoning

pytestmark = pytest.mark.kernel
PORT = 5300
TURN, SOME = 0.004, 50
PATIENCE = 60.0


def tier():
    """From web to db passes, and what stays within a zone, be it the outside zone."""
    web, db = frozenset({"web"}), frozenset({"db"})
    entries = (
        Entry(cluster.ALLOW_WEB, Verdict.ALLOW, RuleType.UNIVERSAL, web, db, traffic=(Traffic(UDP),)),
        Entry(cluster.ALLOW_WEB, Verdict.ALLOW, RuleType.INTRAZONE),
        Entry(cluster.DENY_ALL, Verdict.DENY),
    )
    return native.render(Policy(Zoning(), (), entries, web | db), cluster.TIER, 1)


class Talk:
    """`open` is what the tier allows, `barred` the way back that it denies; connections that last, and new ones."""

    def __init__(self, stage):
        self._stream = Stream([("open", stage.web, stage.db), ("barred", stage.db, stage.web)], PORT)

    def turns(self, many=SOME):
        for _ in range(many):
            self._stream.turn()
            time.sleep(TURN)

    def until(self, done):
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, f"not within {PATIENCE} s"
            self.turns(10)

    def passes(self):
        """Whether one of the last that were sent on every open way has arrived."""
        return all(way.sent and max(way.sent) - max(way.arrived, default=0) < SOME for way in self._of("open"))

    def lost(self):
        self._stream.settle({"open"}, 30)
        return {way.name: len(way.sent - way.arrived) for way in self._of("open")}

    def arrived(self, name):
        return sum(len(way.arrived) for way in self._of(name))

    def _of(self, name):
        return self._stream.of({name})

    def close(self):
        self._stream.close()


class Node(Stage):
    """One on which an agent enforces revision 1, time and again."""

    def __init__(self, stack, directory):
        super().__init__(stack, directory)
        cluster.publish(self.kubernetes, tier())
        self.file = directory / "state" / snapshot.FILE
        self._usual = self.settings.read_text()

    def begin(self, until):
        """As if it had never been before."""
        self.settings.write_text(self._usual)
        self.file.unlink(missing_ok=True)
        agent = self.start()
        until(lambda: self.file.exists() or agent.poll() is not None, PATIENCE)
        assert agent.poll() is None, self.log()

    def kill(self, how=signal.SIGKILL):
        self.agents[-1].send_signal(how)
        self.agents[-1].wait(PATIENCE)

    def forget(self):
        """As if no agent had ever been on this node."""
        self.kill()
        self.lose_the_table()
        shutil.rmtree(self.directory / "state")

    def is_active(self):
        return "table inet zonebridge\n" in self.node.run(["nft", "list", "tables"]).stdout

    def enforces(self):
        listed = self.node.run(["nft", "list", "chain", "inet", "zonebridge", "forward"])
        return listed.returncode == 0 and "goto" in listed.stdout

    def number(self):
        """What accepted connections are known by: every load and every change of the rules begins another."""
        listed = json.loads(self.node.run(["nft", "--json", "list", "set", "inet", "zonebridge", "live"]).stdout)
        return next(each["set"].get("elem") for each in listed["nftables"] if "set" in each)

    def lose_the_table(self):
        """As a restart of the node does."""
        self.node.nft("delete table inet zonebridge")

    def lose_the_api_server(self):
        config = self.directory / "kubeconfig-of-nobody"
        config.write_text(self.kubernetes.kubeconfig.read_text().replace(self.kubernetes.url, "https://127.0.0.1:9"))
        self.settings.write_text(json.dumps(json.loads(self.settings.read_text()) | {"kubeconfig": str(config)}))

    def bring_back(self):
        command = self.node.command(self.call("restore"))
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Node(stack, tmp_path_factory.mktemp("node"))


@pytest.fixture
def node(stage, until):
    stage.begin(until)
    yield stage
    stage.kill()


@pytest.fixture
def talk(node):
    made = Talk(node)
    yield made
    made.close()


def test_agents_that_are_killed_or_stopped_and_their_successors_let_nothing_through_and_lose_nothing(node, talk):
    talk.until(talk.passes)
    before = talk.lost()
    for how in (signal.SIGKILL, signal.SIGTERM):
        number = node.number()
        node.kill(how)
        talk.turns()
        node.start()
        talk.until(lambda number=number: node.number() != number)
        talk.turns()
    assert talk.arrived("barred") == 0
    assert talk.lost() == before, node.log()


def test_the_first_agent_on_a_node_in_use_loses_nothing_that_the_tier_allows(node, talk):
    node.forget()
    talk.until(talk.passes)
    talk.turns()
    before = talk.lost()
    talk.turns()  # what stood before went by without
    node.start()
    talk.until(node.enforces)
    talk.turns()
    assert talk.lost() == before, node.log()
    let_through = talk.arrived("barred")
    talk.turns()
    assert talk.arrived("barred") == let_through


def test_a_restarted_node_lets_nothing_through_before_anybody_is_asked_nor_later(node, talk):
    node.kill()
    node.lose_the_table()
    done = node.bring_back()
    assert (done.returncode, done.stdout) == (0, "the last good rules are in force again\n"), done.stderr
    restored = node.number()
    talk.turns()  # its pods are known to nobody: they may not even meet as members of the outside zone
    assert talk.arrived("open") == 0
    node.start()
    talk.until(lambda: node.number() != restored)
    talk.until(talk.passes)
    assert talk.arrived("barred") == 0


def test_the_agent_alone_brings_them_back_before_it_asks_anybody(node, talk, until):
    node.kill()
    node.lose_the_table()
    node.lose_the_api_server()
    node.start()
    until(node.is_active, PATIENCE)
    talk.turns()
    assert (talk.arrived("barred"), talk.arrived("open")) == (0, 0)


def test_a_torn_file_closes_the_node_and_is_told(node, talk):
    node.kill()
    node.lose_the_table()
    node.file.write_bytes(node.file.read_bytes()[:-1])
    done = node.bring_back()
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert "cut off until the agent has a tier" in done.stderr
    talk.turns()
    assert (talk.arrived("barred"), talk.arrived("open")) == (0, 0)
    node.start()
    talk.until(lambda: [each for each in node.alerts("node-problem") if "is damaged" in each["message"]])
    talk.until(talk.passes)
    assert talk.arrived("barred") == 0


def test_wrong_settings_are_told_and_the_last_good_rules_are_in_force_all_the_same(node, talk):
    node.kill()
    node.lose_the_table()
    node.settings.write_text(json.dumps(json.loads(node.settings.read_text()) | {"colour": "red", "mode": "observe"}))
    agent = node.start()
    assert agent.wait(PATIENCE) == 2
    assert "colour: is not a setting" in node.last_log()
    assert node.is_active()
    talk.turns()
    assert talk.arrived("barred") == 0
