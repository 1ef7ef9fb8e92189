"""Fixtures of more than one folder: the real API server, waiting without sleeping blindly, blame where it is due."""

import gc
import os
import time
from contextlib import nullcontext

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.apiserver.installed import FLAGS, install
from tests.machine import Machine
from tests.realkube import RealKube, Unavailable, binaries

# An exception that is logged with everybody's locals takes seconds, in which a loop does nothing else.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(),
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

MUST_RUN = ("kernel", "apiserver", "chart", "postgresql", "browser")
MACHINE = pytest.StashKey[Machine]()
CHANGES = pytest.StashKey[list[str]]()


def pytest_configure(config):
    """No test may touch the machine: neither its rules nor the state of an agent that may run on it.

    A run with workers runs no test itself: it stays, starts them from there, and looks at the machine at the end.
    """
    config.stash[MACHINE] = Machine.leave() if config.getoption("dist", "no") == "no" else Machine.stay()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """A test that needs a package registry, its fixtures included, runs in the machine's network."""
    with item.config.stash[MACHINE].at_home() if item.get_closest_marker("registry") else nullcontext():
        return (yield)


def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        return
    changes = session.config.stash[CHANGES] = session.config.stash[MACHINE].changed()
    if changes:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    for change in config.stash[CHANGES]:
        terminalreporter.section("the machine was touched, by a test or by something else", red=True)
        terminalreporter.line(change)


def pytest_unconfigure(config):
    config.stash[MACHINE].close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a kernel or API-server test that was skipped has failed: there, its parts must be had."""
    report = yield
    if report.skipped and os.environ.get("CI") and any(item.get_closest_marker(name) for name in MUST_RUN):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI doesn't allow: {call.excinfo and call.excinfo.value}"
    return report


def pytest_collection_finish(session):
    """What is there before the first test is nobody's garbage, and needs no looking at after each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def blame():
    """What a test leaves open is told at its own end, and not in whichever test comes to collect it."""
    yield
    gc.collect()


# Property tests: HYPOTHESIS_PROFILE=long draws twenty times as many examples, quick a tenth. A machine may be slow, never
# a failure.
for profile, examples in (("quick", 10), ("default", 100), ("long", 2000)):
    settings.register_profile(
        profile,
        max_examples=examples,
        derandomize=False,
        print_blob=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def programs():
    """The programs of the real API server; without them the test is skipped with the reason."""
    found = binaries(may_build=False)
    if isinstance(found, Unavailable):
        pytest.skip(found.reason)
    return found


@pytest.fixture(scope="session")
def kube(programs):
    """One real API server for the whole run. A test keeps to names of its own."""
    with RealKube(programs) as server:
        yield server


@pytest.fixture(scope="session")
def guarded(programs):
    """A server of its own with everything of config/ in force: its policies would judge other tests' pods."""
    with RealKube(programs, FLAGS) as server:
        install(server)
        yield server


@pytest.fixture
def until():
    """Wait until a condition holds; fail with its name when it doesn't within `seconds`."""

    def wait(condition, seconds=10.0, every=0.02):
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"not within {seconds} s: {getattr(condition, '__name__', condition)}")
            time.sleep(every)
        return value

    return wait
