"""A day that is over is sealed; whatever of it is changed, added or removed since is named, in both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, text, update

from bridge.evidence.database import EvidenceError
from bridge.evidence.schema import INTERVAL, MEASUREMENT, REVIEW, SEAL, TERM, WATCH
from bridge.intervals.fold import IntervalEvent, IntervalKind
from bridge.intervals.seals import DAY, KINDS, Seals, date_text, day_of
from bridge.intervals.store import Review

FIRST = 20_500
START = FIRST * DAY
HOUR = 3600 * 1_000_000


@pytest.fixture
def seals(intervals, database):
    """Three days: of each kind something ends in each of them; a review; one gap."""
    intervals.resume("c", START + HOUR)
    for day in range(3):
        begin = START + day * DAY
        for at in range(begin + 2 * HOUR, begin + DAY, HOUR // 20):
            if (day, at) != (0, 0) and not intervals.record("c", [], at):
                intervals.resume("c", at)
            if at == begin + 4 * HOUR:
                made = [IntervalEvent(at, kind, f"{kind}-{day}", "held") for kind in IntervalKind]
                intervals.record("c", made, at)
                ended = [IntervalEvent(at + 1, kind, f"{kind}-{day}", None) for kind in IntervalKind]
                intervals.record("c", ended, at + 1)
                break
    intervals.add_review("c", Review(START + 3 * HOUR, START + 90 * DAY, "Ann", ("web",), "", 1, "d" * 64))
    with database.writing("a measurement") as connection:
        row = {"cluster": "c", "at": START + 5 * HOUR, "revision": 1, "content": "{}"}
        connection.execute(insert(MEASUREMENT).values(**row))
    return Seals(database)


def sealed(seals):
    return seals.seal("c", START + 3 * DAY + HOUR)


def breaks(seals, kept=None, expected=None):
    return seals.verify("c", kept or {}, expected or {}).breaks


def test_days_that_are_over_are_sealed_once_and_hold(seals):
    assert seals.seal("c", START + DAY) is None  # for an hour the bridge may still write of it
    first = seals.seal("c", START + DAY + HOUR)
    last = sealed(seals)
    assert (first.day, last.day) == (FIRST, FIRST + 2)
    assert sealed(seals) is None
    found = seals.verify("c", {}, {first.day: first.chain, last.day: last.chain})
    assert (found.days, found.last, found.breaks) == (3, last, ())
    assert seals.verify("other", {}, {}).days == 0


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ('UPDATE "interval" SET "end" = "end" + 1 WHERE kind = \'node\'', "node: what is recorded"),
        ("UPDATE measurement SET content = '{ }'", "measure: what is recorded"),
        ("DELETE FROM measurement", "measure: what is recorded"),
        ("DELETE FROM \"interval\" WHERE kind = 'alert'", "alert: what is recorded"),
        ("UPDATE \"interval\" SET kind = 'rule' WHERE kind = 'tier'", "rule: what is recorded"),
        ("UPDATE term SET content = 'other' WHERE content = 'held'", "pod: what is recorded"),
        ('UPDATE watch SET "begin" = "begin" - 1', "look: what is recorded"),
        ("UPDATE review SET reviewer = 'Eve'", "review: what is recorded"),
        ("UPDATE seal SET digest = chain WHERE kind = 'pod'", "pod: its seal isn't what follows"),
        ("DELETE FROM seal WHERE kind = 'pod'", "workload: its seal isn't what follows"),
        (f"DELETE FROM seal WHERE day = {FIRST + 1}", "it has no seals"),
        ("UPDATE seal SET let_go = (1 = 1) WHERE kind = 'alert'", "is younger than what is kept"),
    ],
    ids=range(12),
)
def test_whatever_is_changed_is_named(seals, database, statement, said):
    sealed(seals)
    with database.writing("tampering") as connection:
        connection.execute(text(statement))
    found = breaks(seals, kept=dict.fromkeys(IntervalKind, START - DAY))
    assert any(said in each for each in found), found
    assert all(each.startswith((date_text(FIRST)[:8], "text ")) for each in found)


def another(value):
    """The least change of a value."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
    return value[:-1] + ("0" if value[-1:] != "0" else "1")


@pytest.mark.parametrize("table", [INTERVAL, TERM, WATCH, REVIEW, MEASUREMENT, SEAL], ids=str)
def test_the_least_change_of_any_cell_is_named(seals, database, table):
    """Numbers of rows say nothing, and stay."""
    sealed(seals)
    kept = dict.fromkeys(IntervalKind, START - DAY)
    assert breaks(seals, kept) == ()
    with database.reading("all rows") as connection:
        rows = [dict(row) for row in connection.execute(select(table)).mappings()]
    unnamed = []
    for row in rows[:: max(1, len(rows) // 5)]:
        keys = [key == row[key.name] for key in table.primary_key.columns]
        for column in row.keys() - {"id"}:
            change, changed = {column: another(row[column])}, row | {column: another(row[column])}
            now = [key == changed[key.name] for key in table.primary_key.columns]
            try:
                with database.writing("a change") as connection:
                    connection.execute(update(table).where(*keys).values(change))
            except EvidenceError:
                continue  # the database itself refuses it
            if not breaks(seals, kept):
                unnamed.append((row, column))
            with database.writing("as it was") as connection:
                connection.execute(update(table).where(*now).values({column: row[column]}))
    assert rows
    assert unnamed == []
    assert breaks(seals, kept) == ()


def test_seals_that_were_made_anew_show_by_what_was_logged(seals, database):
    last = sealed(seals)
    with database.writing("tampering") as connection:
        connection.execute(text("UPDATE review SET reviewer = 'Eve'"))
        connection.execute(text("DELETE FROM seal"))
    sealed(seals)
    assert breaks(seals) == ()
    (said,) = breaks(seals, expected={last.day: last.chain})
    assert "the seals were made anew" in said


def test_what_is_old_is_let_go_and_the_chain_holds(seals, intervals):
    sealed(seals)
    limits = {IntervalKind.POD: START + DAY + 5 * HOUR}
    seals.let_go(limits)
    assert intervals.prune(limits)
    found = seals.verify("c", {IntervalKind.POD: START + DAY + 5 * HOUR}, {})
    assert (found.let_go, found.breaks) == (2, ())
    assert len(KINDS) == len(IntervalKind) + 3


def test_a_day_with_its_digest_is_read_strictly():
    assert day_of("1970-01-02=" + "a" * 64) == (1, "a" * 64)
    for wrong in ("1970-01-02", "1970-01-02=a", "tomorrow=" + "a" * 64, "1970-01-02=" + "g" * 64):
        with pytest.raises(ValueError, match=r"digest|isoformat"):
            day_of(wrong)
