"""The file that a restart loads: what went in comes out, and nothing else is ever taken for it."""

import json
import os

import pytest

from enforcer import state_file
from enforcer.errors import StateError
from enforcer.restart import snapshot
from enforcer.restart.snapshot import FILE, SavedTable
from enforcer.rules.connmark import ConnmarkLayout
from enforcer.rules.options import Mode, RulesetOptions

OPTIONS = RulesetOptions(Mode.OBSERVE, 7, 8, 9, ConnmarkLayout(0xFF00))


@pytest.fixture
def held(tmp_path):
    made = SavedTable(7, "zonebridge", ("forward", "input"), OPTIONS, b"\0commands\n\0" * 50, b'{"names": 1}')
    snapshot.write(tmp_path, made)
    return made


def test_it_comes_back_as_it_was(tmp_path, held):
    found = snapshot.read(tmp_path)
    assert (found.revision, found.table, found.hooked, found.options) == (7, held.table, held.hooked, OPTIONS)
    assert (bytes(found.data()), bytes(found.terminals)) == (held.transaction, held.terminals)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_without_one_there_is_none(tmp_path):
    assert snapshot.read(tmp_path) is None
    assert snapshot.read(tmp_path / "nowhere") is None


def test_any_damage_is_seen(tmp_path, held):
    whole = (tmp_path / FILE).read_bytes()
    torn = [whole[:length] for length in (0, 1, 64, 65, 66, 200, len(whole) - 1)]
    flipped = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, len(whole), 7)]
    for content in (*torn, *flipped, whole + b"\0"):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(StateError, match="is not used"):
            snapshot.read(tmp_path)


@pytest.mark.parametrize(
    "head",
    [
        {"format": snapshot.FORMAT - 1, "revision": 1},
        {"format": snapshot.FORMAT, "revision": 1, "options": {"mode": "maybe"}},
        ["no head"],
        {"format": snapshot.FORMAT, "revision": 1, "table": "t", "hooked": [], "options": {}, "sizes": [1, 1]},
    ],
)
def test_what_another_version_wrote_is_not_guessed_at(tmp_path, head):
    body = json.dumps(head).encode() + b"\n"
    state_file.write_atomically(tmp_path / FILE, snapshot._digest(body) + b"\n", body)
    with pytest.raises(StateError, match="another version"):
        snapshot.read(tmp_path)


def test_a_file_that_others_may_write_is_refused(tmp_path, held):
    (tmp_path / FILE).chmod(0o620)
    with pytest.raises(StateError, match=f"{FILE} is not used: others than its owner may write it"):
        snapshot.read(tmp_path)


def test_a_directory_that_others_may_write_is_refused(tmp_path, held):
    tmp_path.chmod(0o777)
    with pytest.raises(StateError, match="others than its owner may write it"):
        snapshot.read(tmp_path)


def test_somebody_elses_file_is_refused(tmp_path, held, monkeypatch):
    real = os.fstat
    monkeypatch.setattr(os, "fstat", lambda fd: os.stat_result([*real(fd)[:4], 4711, *real(fd)[5:10]]))
    with pytest.raises(StateError, match="belongs to the user 4711"):
        snapshot.read(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert snapshot.read(tmp_path).revision == 7


def test_what_is_no_plain_file_is_refused(tmp_path, held):
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / FILE).rename(elsewhere)
    (tmp_path / FILE).symlink_to(elsewhere)
    with pytest.raises(StateError, match="can't be read"):
        snapshot.read(tmp_path)
    (tmp_path / FILE).unlink()
    os.mkfifo(tmp_path / FILE, 0o600)
    with pytest.raises(StateError, match="no plain file"):
        snapshot.read(tmp_path)


def test_a_write_that_is_cut_short_leaves_the_old_one(tmp_path, held, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        snapshot.write(tmp_path, SavedTable(8, "zonebridge", (), OPTIONS, b"new", b""))
    assert snapshot.read(tmp_path).revision == 7
