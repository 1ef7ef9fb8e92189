"""The spool keeps order and loses nothing it has taken, whatever is killed; what it must drop it counts."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.errors import SpoolError, SpoolUnusableError
from enforcer.shipping.spool import Drop, Spool
from tests.enforcer import disks

MIB = 2**20


def opened(directory, *destinations, max_bytes=MIB, segment_bytes=4096, drop=Drop.OLDEST):
    return Spool.open(directory, destinations or ("siem",), max_bytes, segment_bytes, drop)


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


CHILD = """
import sys
from pathlib import Path
from enforcer.shipping.spool import Spool
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


def test_above_its_size_the_newest_go_where_that_is_set(tmp_path):
    spool = opened(tmp_path, "quick", "away", max_bytes=20_000, segment_bytes=4096, drop=Drop.NEWEST)
    got = []
    for first in range(0, 2000, 10):
        spool.append(numbered(first, 10))
        got += drained(spool, "quick")
        assert spool.size <= 20_000 + 4096
    assert got == numbered(0, 2000), "who keeps up loses nothing"
    lost = spool.take_lost()
    assert set(lost) == {"away"}
    assert spool.backlog("away") == 2000 - lost["away"]
    spool.close()
    spool = opened(tmp_path, "quick", "away", max_bytes=20_000, segment_bytes=4096, drop=Drop.NEWEST)
    kept = drained(spool, "away")
    before = next(at for at, payload in enumerate(kept) if payload != numbered(at, 1)[0])
    assert before > 200, "the oldest are kept"
    assert kept == numbered(0, before) + numbered(2000 - len(kept) + before, len(kept) - before)
    assert len(kept) == 2000 - lost["away"]
    assert spool.take_lost() == {}, "told once, also across a restart"


@pytest.mark.parametrize("drop", Drop)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_whatever_happens_what_arrives_and_what_is_lost_are_all(tmp_path_factory, drop, data):
    """Appends, reads by two readers, restarts, in any order: each number is delivered or lost, once, in order."""
    directory = tmp_path_factory.mktemp("spool")
    given = {"max_bytes": 3000, "segment_bytes": 600, "drop": drop}
    spool, made = opened(directory, "a", "b", **given), 0
    got, lost = {"a": [], "b": []}, Counter()
    for step in data.draw(st.lists(st.sampled_from(["append", "a", "b", "restart", "ask"]), max_size=60)):
        if step == "append":
            spool.append(numbered(made, 7))
            made += 7
        elif step == "restart":
            spool.close()
            spool = opened(directory, "a", "b", **given)
        elif step == "ask":
            lost += Counter(spool.take_lost())
        elif batch := spool.read(step, 5):
            got[step] += [stored.payload for stored in batch]
            spool.acknowledge(step, batch[-1])
    for name in got:
        got[name] += drained(spool, name)
    lost += Counter(spool.take_lost())
    spool.close()
    for name, payloads in got.items():
        numbers = [int(payload.split(b":")[0]) for payload in payloads]
        assert numbers == sorted(set(numbers))
        assert lost[name] == made - len(numbers)


def copied(directory, onto):
    return Path(shutil.copytree(directory, onto, dirs_exist_ok=True))


@pytest.mark.parametrize("left", ["cut", "zeros", "garbage"])
def test_a_power_failure_at_any_octet_costs_only_what_was_not_synced(tmp_path, left):
    spool = opened(tmp_path / "spool")
    spool.append(numbered(0, 5, size=5))
    spool.sync()
    (segment,) = (tmp_path / "spool").glob("*.segment")
    synced = segment.stat().st_size
    spool.append(numbered(5, 3, size=5))
    spool.close()
    content = segment.read_bytes()
    for at in range(synced, len(content) + 1):
        rest = len(content) - at
        tail = {"cut": b"", "zeros": bytes(rest), "garbage": random.Random(at).randbytes(rest)}[left]
        directory = copied(tmp_path / "spool", tmp_path / str(at))
        (directory / segment.name).write_bytes(content[:at] + tail)
        again = opened(directory)
        again.append([b"after"])
        got = drained(again)
        again.close()
        assert got[:5] == numbered(0, 5, size=5)
        assert got == [*numbered(0, len(got) - 1, size=5), b"after"]
        shutil.rmtree(directory)


def test_a_position_file_torn_at_any_octet_means_duplicates_not_loss(tmp_path):
    spool = opened(tmp_path / "spool")
    spool.append(numbered(0, 8))
    spool.acknowledge("siem", spool.read("siem", 5)[-1])
    spool.close()
    content = (tmp_path / "spool/siem.position").read_bytes()
    for at in range(0, len(content), 3):
        for torn in (content[:at], content[:at] + bytes(len(content) - at), content[:at] + b"9" + content[at + 1 :]):
            if torn == content:
                continue
            directory = copied(tmp_path / "spool", tmp_path / "torn")
            (directory / "siem.position").write_bytes(torn)
            again = opened(directory)
            assert drained(again) == numbered(0, 8)
            assert again.take_lost() == {}
            again.close()


@pytest.mark.parametrize("which", [0, 2, -1])
@pytest.mark.parametrize("running", [True, False])
def test_a_segment_that_somebody_deletes_costs_what_was_in_it(tmp_path, which, running):
    spool = opened(tmp_path)
    for first in range(0, 300, 10):
        spool.append(numbered(first, 10))
    spool.segments[which].path.unlink()
    if not running:
        spool.close()
        spool = opened(tmp_path)
    spool.append(numbered(1000, 10))
    got = drained(spool)
    lost = spool.take_lost().get("siem", 0)
    assert got[-10:] == numbered(1000, 10)
    assert len(got) < 310
    if running or which != -1:  # of the last one nobody knows any more how many there were
        assert len(got) + lost == 310
    spool.close()
    assert drained(opened(tmp_path)) == []


def test_the_whole_directory_deleted_under_it_costs_what_was_in_it(tmp_path):
    spool = opened(tmp_path / "spool")
    spool.append(numbered(0, 5))
    shutil.rmtree(tmp_path / "spool")
    spool.append(numbered(5, 5))
    assert drained(spool) == numbered(5, 5)
    assert spool.take_lost() == {"siem": 5}


def test_files_that_are_not_ours_are_left_alone(tmp_path):
    (tmp_path / "notes.segment").write_text("mine")
    spool = opened(tmp_path)
    spool.append(numbered(0, 1))
    assert drained(spool) == numbered(0, 1)
    spool.close()
    assert (tmp_path / "notes.segment").read_text() == "mine"


@contextmanager
def refusing(monkeypatch, code):
    """A disk on which nothing can be written any more, to files that are open or not; memory is no disk."""
    opener, write = os.open, os.write

    def open_(path, flags, *more, **named):
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(code, os.strerror(code))
        return opener(path, flags, *more, **named)

    def write_(descriptor, data):
        if "memfd:" not in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(code, os.strerror(code))
        return write(descriptor, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", open_)
        patched.setattr(os, "write", write_)
        yield


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_while_the_disk_refuses_memory_keeps_what_comes(tmp_path, monkeypatch, code):
    spool = opened(tmp_path)
    spool.append(numbered(0, 3))
    with refusing(monkeypatch, code):
        spool.append(numbered(3, 3))
        assert spool.trouble == os.strerror(code)
        assert drained(spool) == numbered(0, 6)
        spool.append(numbered(6, 3))
    spool.heal()
    assert spool.trouble == ""
    spool.append(numbered(9, 3))
    spool.close()
    spool = opened(tmp_path)
    spool.append(numbered(12, 1))
    assert drained(spool) == numbered(6, 7), "what was in memory is on the disk again"
    assert spool.take_lost() == {}
    spool.close()


def test_what_memory_held_when_the_process_died_is_counted_by_the_next_one(tmp_path, monkeypatch):
    spool = opened(tmp_path)
    spool.append(numbered(0, 3))
    with refusing(monkeypatch, errno.ENOSPC):
        spool.append(numbered(3, 5))
    spool.append(numbered(8, 2))
    spool.close()
    spool = opened(tmp_path)
    assert drained(spool) == [*numbered(0, 3), *numbered(8, 2)]
    assert spool.take_lost() == {"siem": 5}
    spool.close()


@pytest.mark.parametrize("drop", Drop)
def test_memory_is_bounded_and_what_it_cannot_hold_is_lost_as_set(tmp_path, monkeypatch, drop):
    spool = opened(tmp_path, max_bytes=1 << 30, segment_bytes=1 << 20, drop=drop)
    spool.append(numbered(0, 3))
    made, refused = 3, 0
    with refusing(monkeypatch, errno.ENOSPC):
        for _ in range(60):
            try:
                spool.append(numbered(made, 1000, size=500))
                made += 1000
            except SpoolError:
                refused += 1000
        assert spool.size < 24 << 20
        assert spool.refusing
        got = [int(payload.split(b":")[0]) for payload in drained(spool, limit=1000)]
        assert not spool.refusing
    lost = spool.take_lost().get("siem", 0)
    assert got == sorted(got)
    assert len(got) + lost == made
    assert (refused > 0) == (drop is Drop.NEWEST)
    assert (got[-1] == made - 1) if drop is Drop.OLDEST else (got[0] == 0)
    spool.close()


@pytest.mark.kernel
def test_a_disk_that_fills_up_and_is_freed(tmp_path):
    with disks.small(tmp_path / "disk", 1 << 20) as disk:
        spool = opened(disk / "spool", max_bytes=1 << 30, segment_bytes=1 << 16)
        filler = disks.fill(disk, but=100_000)
        for first in range(0, 4000, 100):
            spool.append(numbered(first, 100))
        assert "No space left" in spool.trouble
        assert drained(spool, limit=100)[-1:] == numbered(3999, 1)
        filler.unlink()
        spool.append(numbered(4000, 100))
        assert spool.trouble == ""
        spool.close()
        again = opened(disk / "spool", max_bytes=1 << 30, segment_bytes=1 << 16)
        assert drained(again, limit=100) == numbered(4000, 100)
        again.close()


@pytest.mark.kernel
@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_start_on_a_disk_that_takes_nothing(tmp_path, state):
    """Also with records from before, a torn tail among them, which are all delivered."""
    with disks.small(tmp_path / "disk", 1 << 20) as disk, ExitStack() as stack:
        spool = opened(disk / "spool")
        spool.append(numbered(0, 200))
        spool.close()
        with spool.segments[-1].path.open("ab") as file:
            file.write(b"torn")
        disks.fill(disk)
        if state == "read-only":
            stack.enter_context(disks.read_only(disk))
        spool = opened(disk / "spool")
        spool.append(numbered(200, 2000))
        assert spool.trouble
        assert drained(spool, limit=100) == numbered(0, 2200)
        spool.close()


def test_a_million_records_are_opened_without_being_read(tmp_path):
    """What a start reads is the last segment, however much lies before it."""
    spool = opened(tmp_path, max_bytes=1 << 40, segment_bytes=1 << 20)
    batch = numbered(0, 10_000, size=20)
    for _ in range(100):
        spool.append(batch)
    spool.close()
    before = read_so_far()
    spool = opened(tmp_path, max_bytes=1 << 40, segment_bytes=1 << 20)
    assert spool.backlog("siem") == 1_000_000
    assert read_so_far() - before < 4 * MIB < spool.size / 5
    spool.close()


def read_so_far():
    told = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(told["rchar"])


def test_what_follows_a_record_that_is_under_way_is_read_before_that_is_acknowledged(tmp_path):
    spool = opened(tmp_path)
    for first in range(0, 500, 50):
        spool.append(numbered(first, 50))
    after, got, arrived = None, [], 0
    while batch := spool.read("siem", 7, after=after):
        got += [stored.payload for stored in batch]
        after = batch[-1]
        if not arrived and len(got) >= 200:
            arrived = len(got)
            spool.acknowledge("siem", after)
    assert got == numbered(0, 500)
    assert spool.backlog("siem") == 500 - arrived
    assert drained(spool) == numbered(arrived, 500 - arrived)
    spool.close()


def test_damage_beyond_what_is_under_way_waits_and_is_counted_once(tmp_path):
    spool = opened(tmp_path)
    for first in range(0, 300, 10):
        spool.append(numbered(first, 10))
    second = spool.segments[1]
    content = bytearray(second.path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    second.path.write_bytes(content)
    got, after = [], None
    while True:
        batch = spool.read("siem", 7, after=after)
        if not batch and after is None:
            break
        if batch:
            got += [stored.payload for stored in batch]
            after = batch[-1]
        else:
            spool.acknowledge("siem", after)
            after = None
    lost = spool.take_lost()["siem"]
    assert 0 < lost < 100
    assert len(got) == 300 - lost
    spool.close()
