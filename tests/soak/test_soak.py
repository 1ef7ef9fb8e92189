"""The parts of the soak: a clock that is set, connections that fall silent, and a ledger that misses nothing."""

import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from mocks.lab import Lab, unavailable
from tests.demo.company import NODES
from tests.soak import filters
from tests.soak.receivers import Ledger
from tests.soak.truth import undelivered
from tests.soak.wallclock import NoCompilerError, WallClock, build

SHOWN = "import time; b = time.monotonic(); time.sleep(0.2); print(time.time(), time.monotonic() - b, flush=True)"


def test_a_step_of_the_clock_moves_the_wall_clock_alone(tmp_path):
    try:
        library = build(tmp_path)
    except NoCompilerError as error:
        pytest.skip(str(error))
    clock = WallClock(tmp_path, library, "one")
    talking = subprocess.Popen(
        [sys.executable, "-c", f"while input(): {SHOWN}"],
        env=clock.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def shown():
        talking.stdin.write("go\n")
        talking.stdin.flush()
        return [float(each) for each in talking.stdout.readline().split()]

    with talking:
        at, _ = shown()
        clock.set(-7200)
        later, slept = shown()
        assert -7200 <= later - at < -7000
        assert 0.2 <= slept < 60
        clock.set(3600)
        again, _ = shown()
        assert 10_800 <= again - later < 11_000
        talking.stdin.close()


@pytest.fixture
def host():
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with Lab("silence") as lab:
        yield lab.control


@pytest.mark.kernel
def test_open_connections_fall_silent_and_new_ones_work(host):
    with host.netns.inside():
        server = socket.create_server(("127.0.0.1", 0))
        port = server.getsockname()[1]
        before = socket.create_connection(("127.0.0.1", port))
    with server, before, server.accept()[0] as accepted:
        assert filters.silence_open(host, port) == 1
        before.sendall(b"lost")
        accepted.settimeout(0.3)
        with pytest.raises(TimeoutError):
            accepted.recv(10)
        with host.netns.inside():
            after = socket.create_connection(("127.0.0.1", port), timeout=5)
        with after, server.accept()[0] as another:
            after.sendall(b"heard")
            another.settimeout(5)
            assert another.recv(10) == b"heard"
        filters.clear(host)
        accepted.settimeout(30)
        assert accepted.recv(10) == b"lost"  # what nobody gave up comes again


class Event:
    def __init__(self, sequence, kind="flow", **more):
        self.event = {"kind": kind, "node": "n1", "sequence": sequence, **more}


def test_a_record_that_is_missing_within_a_life_is_a_gap_and_a_restart_is_none():
    ledger = Ledger()
    ledger.append([Event(1_000_000), Event(1_000_001), Event(1_000_003)])
    ledger.append([Event(1_000_001), Event(21_000_000, "alert", alert="log-loss", count=1)])
    assert ledger.gaps("n1") == [(1_000_001, 1_000_003)]
    assert (ledger.received("n1"), ledger.arrivals("n1"), ledger.repeated["n1"]) == (4, 5, 1)
    assert [alert["count"] for alert in ledger.losses] == [1]


class Told:
    """Of a stage what is asked for delivery: statuses as of now, and the ledger."""

    def __init__(self, **destination):
        self.destination = {"sent": 0, "backlog": 0, "trouble": "", "refused": 0, "lost": 0} | destination
        self.receivers = SimpleNamespace(ledger=Ledger())

    def status(self, agent):
        return {"destinations": [self.destination]}, 0.0


def test_what_was_written_by_the_quiet_moment_must_arrive_and_what_comes_later_may_wait():
    stage, since, written = Told(sent=10, backlog=5), time.time() - 1, {}
    assert [fault.split(":")[0] for fault in undelivered(stage, since, written)] == [
        f"{node} has 5 records waiting" for node in NODES
    ]
    stage.destination |= {"sent": 14, "backlog": 40}
    assert len(undelivered(stage, since, written)) == len(NODES)
    stage.destination |= {"sent": 15}
    assert undelivered(stage, since, written) == []
    stage.destination |= {"trouble": "no answer"}
    assert len(undelivered(stage, since, written)) == len(NODES)


def test_a_status_from_before_the_quiet_moment_says_nothing_of_it():
    faults = undelivered(Told(sent=10, backlog=0), time.time() + 60, written := {})
    assert faults == [f"{node} has not said yet what waits" for node in NODES]
    assert written == {}
