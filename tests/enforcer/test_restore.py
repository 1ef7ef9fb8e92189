"""What a restart finds and does: the last good rules, from the disk into a kernel that has lost them."""

import configparser
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from enforcer.kernel.reconcile import AppliedAction
from enforcer.kernel.stance import Stance
from enforcer.netlink import sockets
from enforcer.restart import restore, snapshot
from enforcer.rules.options import Failure, Mode
from enforcer.rules.ruleset import RulesetOptions
from mocks.lab import Outcome
from tests.enforcer import nftprogram
from tests.enforcer.test_enforcement import BOTH_WAYS, outcomes, policy
from tests.enforcer.world import NOW, WholeFeeds

TABLE = "zonebridge"
OPTIONS = RulesetOptions()  # what settings that say nothing mean
HEAVY = {"aiohttp", "asyncio", "httpx", "kubernetes", "pydantic", "rich", "structlog", "enforcer.rules.ruleset"}


@pytest.fixture
def inventory(world):
    zones = {"p0": "web", "p1": "web", "p2": "data", "q0": "web", "q1": "data"}
    return world.inventory(*(world.pod(name, zone) for name, zone in zones.items()))


class Node:
    """Revision 5 was in force, and the agent is gone."""

    def __init__(self, world, inventory, directory):
        self.world, self.inventory, self.state = world, inventory, directory / "state"
        self.config = directory / "enforcer.json"
        self.settings()
        with world.inside():
            agent = WholeFeeds("n1", OPTIONS, state_dir=self.state)
            try:
                agent.apply(policy(*BOTH_WAYS), inventory, NOW, revision=5)
            finally:
                agent.stop()

    def settings(self, **more):
        self.config.write_text(json.dumps({"cluster": "prod", "nodeName": "n1", "stateDir": str(self.state)} | more))

    def forget(self):
        """What a restart of the node does."""
        self.world.n1.nft(f"delete table inet {TABLE}")

    def listed(self):
        with self.world.inside():
            return nftprogram.listing()

    def first(self, environment=None):
        with self.world.inside():
            return restore.first(self.config, environment or {})

    def numbers(self):
        """Of the connections that are known as accepted."""
        listed = self.world.n1.run(["nft", "--json", "list", "set", "inet", TABLE, "live"]).stdout
        return next(each["set"].get("elem", []) for each in json.loads(listed)["nftables"] if "set" in each)

    def has_a_table(self):
        return TABLE in self.world.n1.run(["nft", "list", "tables"]).stdout

    def tear(self):
        whole = (self.state / snapshot.FILE).read_bytes()
        (self.state / snapshot.FILE).write_bytes(whole[: len(whole) // 2])


@pytest.fixture
def node(world, inventory, tmp_path):
    made = Node(world, inventory, tmp_path)
    yield made
    with world.inside():
        nftprogram.nft("add", "table", "inet", TABLE)
        nftprogram.nft("delete", "table", "inet", TABLE)


def test_it_waits_for_nothing_that_is_slow_to_import():
    code = "import sys, enforcer.cli; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not HEAVY & set(done.stdout.split())


@pytest.mark.kernel
class TestFirst:
    def test_what_the_kernel_has_lost_comes_back(self, node):
        node.forget()
        assert node.first()
        assert outcomes(node.world, ("q0", "p2", 80), ("p0", "p1", 80)) == [Outcome.TIMEOUT] * 2
        assert any('"web"' in each for each in node.listed().elements["addresses4"])

    def test_a_table_that_stands_is_not_touched(self, node):
        node.world.n1.nft(f"insert rule inet {TABLE} police counter")
        with node.world.inside():
            before = sockets.generation()
        assert not node.first()
        with node.world.inside():
            assert sockets.generation() == before

    @pytest.mark.parametrize(
        "deed",
        [
            f"add table inet {TABLE} {{ flags dormant; }}",
            f"flush chain inet {TABLE} forward; delete chain inet {TABLE} forward",
            f"flush chain inet {TABLE} input",
        ],
    )
    def test_a_table_that_no_packet_comes_to_is_replaced(self, node, deed):
        node.world.n1.nft(deed.replace("; ", "\n") if "delete" in deed else deed)
        assert node.first()
        assert outcomes(node.world, ("p0", "p2", 80)) == [Outcome.TIMEOUT]

    @pytest.mark.parametrize(
        ("settings", "environment"),
        [
            ({"mode": "observe"}, {}),
            ({}, {"ZONEBRIDGE_MODE": "observe"}),
            ({"nflog": {"group": 77}}, {}),
            ({"nflog": {"rate": "50"}}, {}),  # the same, but not plainly
            ({"nflog": [1]}, {}),
            ({"mode": ["enforce"]}, {}),
            ({"connectionMark": 0}, {}),
            ({"connectionMark": True}, {}),
            ({"stateDir": "/nowhere"}, {}),
        ],
    )
    def test_other_settings_are_for_the_whole_start(self, node, settings, environment):
        node.settings(**settings)
        node.forget()
        assert not node.first(environment)
        assert not node.has_a_table()

    def test_the_environment_may_say_it_too(self, node, tmp_path):
        node.forget()
        node.config = None
        assert node.first({"ZONEBRIDGE_STATE_DIR": str(node.state), "ZONEBRIDGE_MODE": "enforce"})

    def test_beside_another_agent_nothing_is_done(self, node):
        node.forget()
        with node.world.inside():
            other = sockets.NodeLock()
        assert not node.first()
        other.release()
        assert node.first()

    def test_a_torn_file_is_left_alone(self, node):
        node.forget()
        node.tear()
        assert not node.first()
        assert not node.has_a_table()

    def test_the_unit_for_a_nodes_start_brings_them_back_without_settings(self, node):
        """Its own command line, for another directory."""
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str
        unit.read(Path(__file__).parents[2] / "config" / "host" / "zone-enforcer-restore.service")
        program, *arguments = unit["Service"]["ExecStart"].split()
        assert program.endswith("/zone-enforcer")
        assert arguments[-2:] == ["--state-dir", "/var/lib/zonebridge"]

        def call():
            code = "from enforcer.cli import main; main()"
            command = [sys.executable, "-c", code, *arguments[:-1], str(node.state)]
            return subprocess.run(
                node.world.n1.command(command), capture_output=True, text=True, timeout=60, check=False
            )

        node.forget()
        for _ in range(2):
            assert (call().returncode, node.has_a_table()) == (0, True)
        node.forget()
        node.tear()
        torn = call()
        assert (torn.returncode, torn.stderr.count("\n"), "is damaged" in torn.stderr) == (1, 1, True)
        (node.state / snapshot.FILE).unlink()
        assert "nothing saved" in call().stderr

    def test_without_settings_that_can_be_read_the_rules_come_back_as_they_were(self, node):
        node.forget()
        node.settings(mode="observe")
        with node.world.inside():
            assert restore.as_it_was(node.config, {})
            assert not restore.as_it_was(node.config, {})
            node.config.write_text("{")
            assert not restore.as_it_was(node.config, {})
            node.forget()
            assert restore.as_it_was(node.config, {"ZONEBRIDGE_STATE_DIR": str(node.state), "ZONEBRIDGE_NFLOG": "["})
        assert outcomes(node.world, ("p0", "p2", 80)) == [Outcome.TIMEOUT]


@pytest.mark.kernel
class TestReconciler:
    def test_who_is_not_known_yet_is_cut_off_where_members_of_the_outside_zone_would_meet(self, node):
        """p0 was in web and p2 in data; nobody in `outside`. What is outside may meet what is outside, by the rules."""
        node.forget()
        with node.world.reconciler(OPTIONS, state_dir=node.state) as agent:
            applied = agent.restore()
            assert (applied.action, applied.revision, applied.problems) == (AppliedAction.FIRST_LOAD, 5, ())
            ways = ("p0", "p2", 80), ("p2", "p0", 80), ("outside", "p2", 80), ("p0", "outside", 80), ("p0", "q0", 80)
            assert outcomes(node.world, *ways) == [Outcome.TIMEOUT] * 5
            counted = {applied.ruleset.origins[key].name for key, (many, _) in counters(agent, applied).items() if many}
            assert "infrastructure/unknown-pod" in counted
            agent.apply(policy(*BOTH_WAYS), node.inventory, NOW, revision=5)
            assert outcomes(node.world, ("p0", "p2", 80), ("p0", "q0", 80)) == [Outcome.ALLOWED] * 2

    def test_what_was_only_observed_is_only_observed_again(self, node):
        with node.world.reconciler(RulesetOptions(Mode.OBSERVE), state_dir=node.state) as agent:
            agent.apply(policy(*BOTH_WAYS), node.inventory, NOW, revision=6)
            agent.settle()
            node.forget()
            assert agent.restore().revision == 6
            assert outcomes(node.world, ("p0", "p2", 80), ("outside", "p2", 80)) == [Outcome.ALLOWED] * 2

    def test_connections_get_a_number_after_either_kind_of_restore(self, node):
        node.forget()
        assert node.first()
        assert node.numbers() == []
        with node.world.reconciler(OPTIONS, state_dir=node.state) as agent:
            assert (agent.restore().action, agent.restore().revision) == (AppliedAction.NONE, 5)
            (number,) = node.numbers()
            agent.restore()
            assert node.numbers() == [number]

    def test_a_flush_leaves_no_mark_on_a_connection(self, node):
        with node.world.reconciler(OPTIONS, state_dir=node.state) as agent:
            agent.apply(policy(*BOTH_WAYS), node.inventory, NOW, revision=5)
            assert outcomes(node.world, ("p0", "p2", 80), ("p0", "p1", 80)) == [Outcome.ALLOWED] * 2
            marked = ["conntrack", "-L", "-m", f"0/{OPTIONS.marks.mask:#x}"]
            everything = node.world.n1.run(["conntrack", "-L"]).stdout.splitlines()
            assert len(node.world.n1.run(marked).stdout.splitlines()) < len(everything)
            agent.flush()
            after = node.world.n1.run(["conntrack", "-L"]).stdout.splitlines()
            assert not [each for each in after if " mark=" in each and " mark=0 " not in each]
            assert not list(node.state.iterdir())

    def test_a_state_directory_that_others_may_write_is_told_at_once(self, node):
        node.state.chmod(0o777)
        with node.world.reconciler(OPTIONS, state_dir=node.state) as agent:
            agent.apply(policy(*BOTH_WAYS), node.inventory, NOW, revision=5)
            agent.settle()
            (problem,) = agent.apply(policy(*BOTH_WAYS), node.inventory, NOW, revision=5).problems
            assert f"{node.state} is not used: others than its owner may write it" in problem

    @pytest.mark.parametrize("failure", Failure)
    def test_a_torn_file_is_told_and_the_setting_decides(self, node, failure):
        node.forget()
        node.tear()
        with node.world.reconciler(OPTIONS, state_dir=node.state, failure=failure) as agent:
            applied = agent.restore()
            assert "is damaged" in applied.problems[0]
            assert agent.enforces() is (failure is Failure.CLOSED)
            expected = Outcome.TIMEOUT if failure is Failure.CLOSED else Outcome.ALLOWED
            assert outcomes(node.world, ("p0", "p2", 80)) == [expected]
            again = agent.apply(policy(*BOTH_WAYS), node.inventory, NOW, revision=6)
            assert (again.problems, again.revision) == ((), 6)
            agent.settle()
            assert snapshot.read(node.state).revision == 6

    def test_a_torn_file_takes_nothing_from_a_table_that_stands(self, node):
        node.tear()
        before = node.listed()
        with node.world.reconciler(OPTIONS, state_dir=node.state) as agent:
            applied = agent.restore()
            assert (applied.action, "is damaged" in applied.problems[0]) == (AppliedAction.NONE, True)
            assert node.listed() == before

    def test_other_settings_hold_from_the_start_and_are_told(self, node):
        observing = RulesetOptions(Mode.OBSERVE)
        with node.world.reconciler(observing, state_dir=node.state) as agent:
            applied = agent.restore()
            assert (applied.revision, applied.action) == (None, AppliedAction.REMOVED)
            assert "other settings" in applied.problems[0]
            assert outcomes(node.world, ("outside", "p2", 80)) == [Outcome.ALLOWED]
            assert agent.restore().action is AppliedAction.NONE
            assert "other settings" in agent.restore().problems[0]

    def test_what_was_only_observed_stays_until_there_is_something_to_enforce(self, node):
        with node.world.inside():
            agent = WholeFeeds("n1", replace(OPTIONS, mode=Mode.OBSERVE), state_dir=node.state)
            agent.apply(policy(*BOTH_WAYS), node.inventory, NOW, revision=6)
            agent.settle()
            agent.stop()
        with node.world.reconciler(OPTIONS, state_dir=node.state) as agent:
            found = agent.restore()
            assert (found.action, found.stance, "other settings" in found.problems[0]) == (
                AppliedAction.NONE,
                Stance.OBSERVED,
                True,
            )
            assert outcomes(node.world, ("outside", "p2", 80)) == [Outcome.ALLOWED]
            agent.apply(policy(*BOTH_WAYS), node.inventory, NOW, revision=6)
            assert outcomes(node.world, ("outside", "p2", 80)) == [Outcome.TIMEOUT]


def counters(agent, applied):
    """Of the rules that a restore brought."""
    agent._in_force = applied.ruleset
    return agent.counters()
