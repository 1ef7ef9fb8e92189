"""The parts of the soak: a clock that is set, connections that fall silent, and a ledger that misses nothing."""

import socket
import subprocess
import sys

import pytest

from mocks.lab import Lab, unavailable
from tests.soak import filters
from tests.soak.receivers import Ledger
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
