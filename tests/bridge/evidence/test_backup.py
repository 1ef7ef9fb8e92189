"""A copy of SQLite's file while it is written, put back whole or not at all; what was lost shows."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading

import pytest

from bridge.evidence.backup import back_up, digest_of_file, restore
from bridge.evidence.database import Database, EvidenceError
from bridge.intervals.fold import IntervalEvent, IntervalKind
from bridge.intervals.seals import DAY, Seals, date_text
from bridge.intervals.store import IntervalStore
from tests.postgresql import PROGRAMS

START, HOUR = 20_500 * DAY, 3600 * 1_000_000


class Site:
    """A database with what a bridge has recorded of some days."""

    def __init__(self, folder, url=None):
        self.path = folder / "evidence.db"
        self.url = url or f"sqlite:///{self.path}"
        self.open()
        self.database.migrate()

    def open(self):
        self.database = Database(self.url)
        self.intervals, self.seals = IntervalStore(self.database), Seals(self.database)

    def day(self, number, value="a"):
        """One minute of looking; then the day is sealed."""
        at = START + number * DAY + HOUR
        self.intervals.resume("c", at)
        event = IntervalEvent(at, IntervalKind.NODE, "n1", value)
        self.intervals.record("c", [event, IntervalEvent(at + 5, IntervalKind.NODE, "n1", None)], at + 60_000_000)
        return self.seals.seal("c", START + (number + 1) * DAY + HOUR)


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.database.close()


def test_a_restored_database_has_what_was_backed_up_and_the_lost_days_show(site, tmp_path):
    first = site.day(0)
    copy = tmp_path / "copy.db"
    assert back_up(site.path, copy) == digest_of_file(copy)
    assert (copy.stat().st_mode & 0o777) == 0o600
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("copy")] == ["copy.db"]
    lost = site.day(1)
    site.database.close()
    restore(copy, site.path, replace=True)
    site.open()
    found = site.seals.verify("c", {}, {first.day: first.chain})
    assert (found.last, found.breaks) == (first, ())
    site.day(2)  # the bridge goes on, and seals what is left of the days between
    found = site.seals.verify("c", {}, {first.day: first.chain, lost.day: lost.chain})
    assert found.days == 3
    assert found.breaks == (
        f"{date_text(lost.day)}: its chain digest isn't the expected one: the seals were made anew",
    )
    looked = site.intervals.looks("c", START, START + 3 * DAY)
    assert [(begin - START) // DAY for begin, _ in looked] == [0, 2]  # a gap where the lost day was


def test_a_copy_is_of_one_instant_while_a_bridge_writes(site, tmp_path):
    site.day(0)
    stop, wrong = threading.Event(), []

    def writing():
        number = 1
        while not stop.is_set():
            try:
                site.day(number)
            except EvidenceError as error:
                wrong.append(error)
            number += 1

    thread = threading.Thread(target=writing)
    thread.start()
    try:
        for number in range(5):
            back_up(site.path, tmp_path / f"{number}.db")
    finally:
        stop.set()
        thread.join()
    assert not wrong
    for number in range(5):
        copy = Database(f"sqlite:///{tmp_path / f'{number}.db'}")
        found = Seals(copy).verify("c", {}, {})
        copy.close()
        assert found.days
        assert found.breaks == ()


def test_nothing_is_overwritten_by_accident_and_a_running_bridge_keeps_its_file(site, tmp_path):
    site.day(0)
    copy = tmp_path / "copy.db"
    back_up(site.path, copy)
    with pytest.raises(EvidenceError, match="exists; give another name"):
        back_up(site.path, copy)
    with pytest.raises(EvidenceError, match="say --replace"):
        restore(copy, site.path, replace=False)
    before = site.path.stat().st_ino
    with pytest.raises(EvidenceError, match="a bridge has it open"):
        restore(copy, site.path, replace=True)
    assert site.path.stat().st_ino == before
    site.day(1)  # it goes on


def damaged(path):
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 4))


def empty(path):
    path.unlink()
    sqlite3.connect(path).close()


def nonsense(path):
    path.write_bytes(b"no database " * 1000)


@pytest.mark.parametrize("spoil", [damaged, empty, nonsense])
def test_a_backup_that_is_none_leaves_the_database_as_it_is(site, tmp_path, spoil):
    first = site.day(0)
    copy = tmp_path / "copy.db"
    back_up(site.path, copy)
    spoil(copy)
    site.database.close()
    with pytest.raises(EvidenceError):
        restore(copy, site.path, replace=True)
    site.open()
    assert site.seals.verify("c", {}, {}).last == first
    assert sorted(each.name for each in tmp_path.iterdir() if "restoring" in each.name) == []


def test_a_damaged_database_is_replaced(site, tmp_path):
    first = site.day(0)
    copy = tmp_path / "copy.db"
    back_up(site.path, copy)
    site.database.close()
    nonsense(site.path)
    restore(copy, site.path, replace=True)
    site.open()
    assert site.seals.verify("c", {}, {}).last == first


def test_the_commands_say_what_they_did_and_name_postgresqls_own(site, tmp_path, run):
    site.day(0)
    settings = tmp_path / "zonebridge.yaml"
    settings.write_text(f"evidence: {{url: 'sqlite:///{site.path}'}}\n")
    code, out, _ = run("evidence", "backup", str(tmp_path / "b.db"), "-c", str(settings))
    assert (code, out) == (0, f"{digest_of_file(tmp_path / 'b.db')}  {tmp_path / 'b.db'}\n")
    site.database.close()
    code, out, _ = run("evidence", "restore", str(tmp_path / "b.db"), "-c", str(settings), "--replace")
    assert code == 0
    settings.write_text("evidence: {url: 'postgresql://zb@db.example.com/evidence'}\n")
    code, _, error = run("evidence", "restore", "x y.dump", "-c", str(settings))
    assert code == 2
    assert "pg_restore --clean --if-exists --single-transaction 'x y.dump'" in error


@pytest.mark.postgresql
def test_what_the_commands_name_for_postgresql_backs_up_and_restores(postgresql, tmp_path, run):
    url = postgresql.url()
    settings = tmp_path / "zonebridge.yaml"
    settings.write_text(f"evidence: {{url: '{url}'}}\n")

    def named(word):
        code, _, error = run("evidence", word, str(tmp_path / "evidence.dump"), "-c", str(settings))
        assert code == 2
        command = error.partition("its own programs: ")[2]
        path = f"{PROGRAMS[-1].parent}:{os.environ['PATH']}"
        subprocess.run(command, shell=True, check=True, env=os.environ | {"PATH": path})

    site = Site(tmp_path, url)
    first = site.day(0)
    named("backup")
    lost = site.day(1)
    site.database.close()
    named("restore")
    site.open()
    found = site.seals.verify("c", {}, {first.day: first.chain, lost.day: lost.chain})
    site.database.close()
    assert found.last == first
    assert len(found.breaks) == 1
