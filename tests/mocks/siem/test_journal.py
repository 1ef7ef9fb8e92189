"""Waiting for what arrives from another thread."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass

import pytest

from mocks.siem.journal import Journal


@dataclass(frozen=True)
class Note:
    number: int

    def line(self) -> dict[str, int]:
        return {"number": self.number}


def test_what_is_there_already_is_not_waited_for() -> None:
    journal: Journal[Note] = Journal()
    journal.append([Note(1), Note(2)])
    assert journal.wait_for(lambda seen: seen[-1].number == 2, 0) == [Note(1), Note(2)]


def test_what_comes_from_another_thread_wakes_the_waiting() -> None:
    journal: Journal[Note] = Journal()
    writer = threading.Thread(target=lambda: [journal.append([Note(number)]) for number in range(100)])
    writer.start()
    assert len(journal.wait_for(lambda seen: len(seen) == 100, 10)) == 100
    writer.join()


def test_what_does_not_come_is_told() -> None:
    journal: Journal[Note] = Journal()
    journal.append([Note(7)])
    with pytest.raises(TimeoutError, match=r"1 did, the last: \[Note\(number=7\)\]"):
        journal.wait_for(lambda seen: len(seen) == 2, 0.01)


def test_a_journal_may_forget_and_still_write_all() -> None:
    out = io.StringIO()
    journal: Journal[Note] = Journal(out, keep=1)
    journal.append([Note(1), Note(2)])
    assert (journal.entries(), journal.total) == ([Note(2)], 2)
    assert out.getvalue() == '{"number": 1}\n{"number": 2}\n'
    journal.clear()
    assert journal.entries() == []
