"""The spool keeps order and loses nothing it has taken, whatever is killed; what it must drop it counts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.errors import SpoolError, SpoolUnusableError
from enforcer.spool import Spool

MIB = 2**20


def opened(directory: Path, *destinations: str, max_bytes: int = MIB, segment_bytes: int = 4096) -> Spool:
    return Spool.open(directory, destinations or ("siem",), max_bytes, segment_bytes)


def drained(spool: Spool, destination: str = "siem", limit: int = 7) -> list[bytes]:
    payloads = []
    while batch := spool.read(destination, limit):
        payloads += [stored.payload for stored in batch]
        spool.acknowledge(destination, batch[-1])
    return payloads


def numbered(first: int, count: int, size: int = 40) -> list[bytes]:
    return [b"%d:" % number + b"x" * size for number in range(first, first + count)]


def test_what_goes_in_comes_out_once_and_in_order(tmp_path):
    spool = opened(tmp_path)
    for first in range(0, 1000, 100):
        spool.append(numbered(first, 100))
    assert drained(spool) == numbered(0, 1000)
    assert spool.read("siem", 10) == []
    assert spool.backlog("siem") == 0


def test_unacknowledged_records_are_read_again(tmp_path):
    spool = opened(tmp_path)
    spool.append(numbered(0, 5))
    assert spool.read("siem", 2) == spool.read("siem", 2)
    spool.acknowledge("siem", spool.read("siem", 2)[-1])
    spool.close()
    assert drained(opened(tmp_path)) == numbered(2, 3)


def test_each_destination_has_its_own_position(tmp_path):
    spool = opened(tmp_path, "quick", "away")
    spool.append(numbered(0, 500))
    assert drained(spool, "quick") == numbered(0, 500)
    assert spool.backlog("away") == 500
    assert drained(spool, "away") == numbered(0, 500)


def test_a_new_destination_starts_at_the_present_and_a_removed_one_is_forgotten(tmp_path):
    spool = opened(tmp_path, "old")
    spool.append(numbered(0, 10))
    spool.close()
    spool = opened(tmp_path, "new")
    spool.append(numbered(10, 2))
    assert drained(spool, "new") == numbered(10, 2)
    assert not list(tmp_path.glob("old*"))


def test_it_stays_within_its_size_and_counts_what_it_drops(tmp_path):
    spool = opened(tmp_path, "quick", "away", max_bytes=20_000, segment_bytes=4096)
    for first in range(0, 2000, 10):
        spool.append(numbered(first, 10))
        drained(spool, "quick")
        assert spool.size <= 20_000 + 4096
    lost = spool.take_lost()
    assert set(lost) == {"away"}
    assert drained(spool, "away") == numbered(lost["away"], 2000 - lost["away"])
    assert spool.take_lost() == {}


def test_segments_that_everyone_has_are_removed(tmp_path):
    spool = opened(tmp_path, "one", "two")
    spool.append(numbered(0, 1))
    for first in range(1, 1001, 50):
        spool.append(numbered(first, 50))
    held = len(spool.segments)
    drained(spool, "one")
    assert len(spool.segments) == held
    drained(spool, "two")
    assert len(list(tmp_path.glob("*.segment"))) == 1


@given(cut=st.integers(0, 400), junk=st.binary(max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_torn_tail_costs_only_what_was_torn(tmp_path_factory, cut, junk):
    directory = tmp_path_factory.mktemp("spool")
    spool = opened(directory)
    spool.append(numbered(0, 8))
    spool.close()
    (segment,) = directory.glob("*.segment")
    content = segment.read_bytes()
    segment.write_bytes(content[: len(content) - cut] + junk)
    spool = opened(directory)
    spool.append([b"after"])
    got = drained(spool)
    spool.close()
    assert got[-1] == b"after"
    assert got[:-1] == numbered(0, len(got) - 1)
    if cut == 0:
        assert len(got) == 9


def test_damage_in_the_middle_is_skipped_and_counted(tmp_path):
    spool = opened(tmp_path)
    for first in range(0, 300, 10):
        spool.append(numbered(first, 10))
    second = spool.segments[1]
    content = bytearray(second.path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    second.path.write_bytes(content)
    got = drained(spool)
    lost = spool.take_lost()["siem"]
    assert 0 < lost < 100
    assert len(got) == 300 - lost
    assert got == sorted(got, key=lambda payload: int(payload.split(b":")[0]))


def test_a_lost_position_means_duplicates_not_loss(tmp_path):
    spool = opened(tmp_path)
    spool.append(numbered(0, 5))
    drained(spool)
    spool.close()
    (tmp_path / "siem.position").write_text("")
    assert drained(opened(tmp_path)) == numbered(0, 5)


def test_a_record_bigger_than_the_read_ahead_and_the_segment_still_passes(tmp_path):
    spool = opened(tmp_path, max_bytes=8 * MIB)
    spool.append([b"small", b"y" * (3 * MIB), b"last"])
    assert [len(each) for each in drained(spool, limit=10)] == [5, 3 * MIB, 4]


def test_two_agents_never_share_it(tmp_path):
    spool = opened(tmp_path)
    with pytest.raises(SpoolUnusableError, match="another process is using it"):
        opened(tmp_path)
    spool.close()


def test_a_directory_that_cannot_be_made_is_told_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolUnusableError, match=r"spool\.dir"):
        opened(tmp_path / "file" / "spool")


def test_a_full_disk_refuses_the_batch_and_nothing_else(tmp_path, monkeypatch):
    spool = opened(tmp_path)
    spool.append(numbered(0, 3))
    write = os.write

    def full(descriptor, data):
        if len(data) < 10:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) - 5])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SpoolError, match="No space left"):
        spool.append(numbered(3, 3))
    monkeypatch.undo()
    spool.append(numbered(6, 1))
    assert drained(spool) == numbered(0, 3) + numbered(6, 1)


CHILD = """
import sys
from pathlib import Path
from enforcer.spool import Spool
spool = Spool.open(Path(sys.argv[1]), ["siem"], 1 << 26, 1 << 16)
number = spool.next_number
while True:
    spool.append([b"%d:" % n + b"x" * 100 for n in range(number, number + 3)])
    number += 3
    print(number, flush=True)
"""


def test_kill_9_while_writing_loses_nothing_that_was_told(tmp_path):
    promised = 0
    for round_ in range(4):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(50 * (round_ + 1)):
            promised = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().splitlines()
        child.wait()
        child.stdout.close()
        whole = [line for line in rest if line.isdigit()]
        promised = max([promised, *map(int, whole[:-1])])
    spool = opened(tmp_path, max_bytes=1 << 26, segment_bytes=1 << 16)
    got = [int(payload.split(b":")[0]) for payload in drained(spool, limit=500)]
    assert got == list(range(len(got)))
    assert len(got) >= promised
    spool.close()


def test_it_keeps_up_with_a_flood(tmp_path):
    spool = opened(tmp_path, max_bytes=256 * MIB, segment_bytes=8 * MIB)
    batch = [b"z" * 600] * 500
    began = time.process_time()
    for _ in range(100):
        spool.append(batch)
        read = spool.read("siem", 500)
        spool.acknowledge("siem", read[-1])
    assert time.process_time() - began < 2.5, "50,000 records at 20,000/s"
    spool.close()
