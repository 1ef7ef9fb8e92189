"""A test run leaves the machine as it was, and says so where it didn't."""

import subprocess
from pathlib import Path

import pytest

from enforcer.state_file import STATE_DIR
from mocks.lab.netns import Netns
from tests.machine import STATE, Machine

ROOT = Path(__file__).parents[1]
pytest_plugins = ["pytester"]


@pytest.fixture
def machine():
    """Another machine: the run is on it, and comes back."""
    with Netns.create("another machine").inside():
        yield


@pytest.fixture
def leave(machine, tmp_path):
    made = []

    def off():
        made.append(Machine.leave(tmp_path / "state"))
        return made[0]

    yield off
    made[0].close()


def test_the_state_that_is_guarded_is_where_an_agent_keeps_it():
    assert STATE == STATE_DIR


@pytest.mark.kernel
def test_the_run_s_rules_are_not_the_machine_s(leave):
    run = leave()
    subprocess.run(["nft", "add table inet zonebridge"], check=True)
    assert run.changed() == []


@pytest.mark.kernel
@pytest.mark.parametrize("what", ["rules", "state"])
def test_what_was_done_to_the_machine_is_named(leave, tmp_path, what):
    run = leave()
    if what == "rules":
        with run.at_home():
            subprocess.run(["nft", "add table inet zonebridge"], check=True)
    else:
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "rules.nft").write_text("table")
    (change,) = run.changed()
    assert ("table inet zonebridge" if what == "rules" else "rules.nft") in change
    assert "(nothing)" in change


CONFTEST = """
from tests.conftest import *
from tests.conftest import MACHINE
from pathlib import Path

def pytest_configure(config):
    start = Machine.leave if config.getoption("dist", "no") == "no" else Machine.stay
    config.stash[MACHINE] = start(Path("state").absolute())
"""


@pytest.mark.kernel
@pytest.mark.parametrize(("body", "code"), [("pass", 0), ("__import__('os').mkdir('state')", 1)])
@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["itself", "by a worker"])
def test_a_run_that_touched_the_machine_has_failed(pytester, body, code, workers):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(f"def test_it():\n    {body}\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-o", f"pythonpath={ROOT}", *workers)
    assert done.ret == code
    assert done.parseoutcomes() == {"passed": 1}
    assert ("the machine was touched" in done.stdout.str()) == bool(code)
