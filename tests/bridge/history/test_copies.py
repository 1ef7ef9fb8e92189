"""Copies of revisions in both databases: whole, once, read where the cluster let go; a changed byte is named."""

from __future__ import annotations

import asyncio
import zlib
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select, text, update

from bridge.alerts import Alerts
from bridge.errors import BridgeError
from bridge.evidence.database import Database, EvidenceError
from bridge.evidence.schema import PART, REVISION, REVISION_PART
from bridge.evidence.store import micros
from bridge.history.archive import Archive
from bridge.history.copies import RevisionCopies, prune
from bridge.history.followup import FollowUp
from bridge.history.ledger import Retention
from bridge.history.revision import part_names
from bridge.history.verification import differences
from tests.bridge.history.test_verification import START, Told, steps
from tests.bridge.world import World, rule
from zones.runtime.errors import InputError

OTHER = rule("a", from_zones=frozenset({"mail"}))
MANY = tuple(rule(f"rule {number}", from_zones=frozenset({"web"})) for number in range(300))


@pytest.fixture
def copies(store, database):
    return RevisionCopies(database, "c1", "panorama")


def follow_up(world, copies):
    follow = FollowUp(
        world.cluster, "panorama", world.sync.history, Alerts("c1", "panorama", [world.sink]), world.clock
    )
    follow.copies = copies
    return follow


def publish(world, copies, revisions, *, each=True):
    """So many revisions more, each another rule at the end of many. `each`: followed up one by one."""

    async def process():
        follow = follow_up(world, copies)
        for number in range(revisions):
            world.manager.commit(*MANY, rule(f"new {number} {world.clock()}"), OTHER)
            await world.sync.once()
            if each:
                await follow.look()
            world.clock.forward(hours=1)
        if not each:
            await follow.look()

    asyncio.run(process())


def archive(world, copies=None):
    return asyncio.run(Archive.read(world.cluster, "panorama", copies))


def rows(database):
    with database.reading("counting") as connection:
        return [
            connection.execute(select(func.count()).select_from(each)).scalar()
            for each in (REVISION, PART, REVISION_PART)
        ]


@pytest.fixture
def world():
    """A cluster that keeps two revisions."""
    return World(*MANY, OTHER, retention=Retention(keep=2))


def test_what_the_cluster_let_go_of_is_read_from_the_copies(world, copies):
    publish(world, copies, 5)
    bare, full = archive(world), archive(world, copies)
    assert [each.revision for each in bare.in_force] == [5, 4]
    assert [each.revision for each in full.in_force] == [5, 4, 3, 2, 1]
    assert full.copied == 3
    policy = asyncio.run(full.policy(1))
    assert [entry.origin.name for entry in policy.entries][300].startswith("new 0 ")
    assert full.at(full.in_force[3].recorded + timedelta(minutes=1)).revision == 2
    with pytest.raises(InputError, match="no revision 1"):
        bare.raw(1)
    assert [raw["status"]["changes"].get("rulesAdded") for raw in full.raws] == [None, 1, 1, 1, 1]
    assert copies.breaks() == []


def test_a_part_of_many_revisions_is_kept_once_and_a_second_look_writes_nothing(world, copies, database):
    publish(world, copies, 4)
    revisions, parts, links = rows(database)
    assert (revisions, len({name for raw in copies.raws() for name in _parts(raw)})) == (4, parts)
    assert parts < links
    written = []
    with database.writing("listening") as connection:
        event.listen(connection.engine, "before_cursor_execute", lambda *args: written.append(args[2]))
    asyncio.run(follow_up(world, copies).look())
    assert rows(database) == [revisions, parts, links]
    assert not [statement for statement in written if statement.startswith(("INSERT", "UPDATE", "DELETE"))]
    for raw in copies.raws():  # another bridge has done the same meanwhile
        copies.add(raw, {})
    assert rows(database) == [revisions, parts, links]


def _parts(raw):
    return part_names(raw["spec"])


def test_a_bridge_that_was_away_catches_up_from_what_the_cluster_still_has(world, copies):
    world.retention = Retention(keep=3)
    world.restart()
    publish(world, copies, 5, each=False)
    assert [raw["spec"]["revision"] for raw in copies.raws()] == [3, 4, 5]
    assert all("changes" in raw["status"] for raw in copies.raws())
    assert copies.breaks() == []  # that the first follows one that isn't kept is no gap


def test_killed_before_any_statement_it_leaves_whole_revisions_and_goes_on(world, copies, database):
    world.retention = Retention(keep=3)
    world.restart()
    publish(world, None, 3, each=False)
    ran = []
    deadly = {"at": None}

    def before(*args):
        ran.append(args[2])
        if len(ran) - 1 == deadly["at"]:
            raise OSError("killed")

    with database.writing("listening") as connection:
        event.listen(connection.engine, "before_cursor_execute", before)
    asyncio.run(follow_up(world, copies).look())
    statements, expected = len(ran), rows(database)
    assert expected[0] == 3
    for at in range(statements):
        deadly["at"] = None
        with database.writing("emptying") as connection:
            for table in (REVISION_PART, REVISION, PART):
                connection.execute(table.delete())
        ran.clear()
        deadly["at"] = at
        with pytest.raises(EvidenceError, match="killed"):
            asyncio.run(follow_up(world, copies).look())
        deadly["at"] = None
        assert copies.breaks() == []
        asyncio.run(follow_up(world, copies).look())
        assert rows(database) == expected
        assert copies.breaks() == []
        assert all("changes" in raw["status"] for raw in copies.raws())


class Away:
    def chains(self):
        raise EvidenceError("evidence database x: it is away")


def test_a_database_that_is_away_holds_up_nothing(world):
    asyncio.run(world.sync.once())
    with pytest.raises(BridgeError, match="away"):
        asyncio.run(follow_up(world, Away()).look())
    assert len(world.sink.checkpoints) == 1
    assert "changes" in archive(world).raws[0]["status"]


def test_a_record_that_was_changed_in_the_cluster_is_not_copied(world, copies):
    publish(world, copies, 1)
    world.manager.commit(*MANY, OTHER, rule("more"))
    asyncio.run(world.sync.once())
    world.cluster.recorded["panorama-2"]["spec"]["commits"][0]["administrator"] = "mallory"
    asyncio.run(follow_up(world, copies).look())
    assert [raw["spec"]["revision"] for raw in copies.raws()] == [1]


CHANGES = [
    ("UPDATE revision SET number = 9 WHERE number = 2", "not 'panorama-"),
    ("UPDATE revision SET chain = 'f' || substr(chain, 2) WHERE number = 2", "its row isn't what its record says"),
    ("UPDATE revision SET replaces = 0 WHERE number = 2", "its row isn't what its record says"),
    ("UPDATE revision SET recorded = recorded + 1 WHERE number = 2", "its row isn't what its record says"),
    ("UPDATE revision SET cluster = 'c2' WHERE number = 2", "a gap: it follows revision 2"),
    ("UPDATE revision SET tier = 'other' WHERE number = 2", "a gap: it follows revision 2"),
    ("DELETE FROM revision_part WHERE revision = (SELECT id FROM revision WHERE number = 2)", "is missing"),
    ("UPDATE part SET kind = 'AddressSet'", "holds other content"),
    ("UPDATE part SET digest = '0' || substr(digest, 2, 31)", "holds other content"),
    ("UPDATE revision SET status = (SELECT r.status FROM revision r WHERE r.number = 1) WHERE number = 3", "its seal"),
]


@pytest.mark.parametrize(("statement", "says"), CHANGES, ids=range(len(CHANGES)))
def test_what_is_changed_is_named(world, copies, database, statement, says):
    publish(world, copies, 3)
    with database.writing("tampering") as connection:
        connection.execute(text(statement))
    assert says in " ".join(map(str, copies.breaks()))


@pytest.mark.parametrize(("table", "column"), [(REVISION, "spec"), (REVISION, "status"), (PART, "spec")])
def test_a_changed_byte_is_named_wherever_it_is(world, copies, database, table, column):
    publish(world, copies, 2)
    with database.reading("reading") as connection:
        number, packed = connection.execute(select(table.c.id, table.c[column]).order_by(table.c.id.desc())).first()
    packed = bytes(packed)
    altered = {at: packed[:at] + bytes([packed[at] ^ 0x10]) + packed[at + 1 :] for at in range(0, len(packed), 9)}
    altered |= {-1: packed + b"x", -2: packed[:-1], -3: b"", -4: zlib.compress(b"[]")}
    altered |= {-5: zlib.compress(b" " * 5_000_000 + b"{}"), -6: zlib.compress(b"[" * 100_000)}
    for at, changed in altered.items():
        with database.writing("tampering") as connection:
            connection.execute(update(table).where(table.c.id == number).values({column: changed}))
        assert copies.breaks(), at
        if table is REVISION:
            archive(world, copies)  # what reads it doesn't fall over it
    with database.writing("restoring") as connection:
        connection.execute(update(table).where(table.c.id == number).values({column: packed}))
    assert copies.breaks() == []


def test_a_cluster_that_was_set_back_shows_as_a_fork(world, copies):
    publish(world, copies, 2)
    before = dict(world.cluster.recorded), dict(world.cluster.held), world.cluster.tier_object
    publish(world, copies, 1)
    world.cluster.recorded, world.cluster.held, world.cluster.tier_object = before
    world.restart()
    publish(world, copies, 1)
    assert ["a fork" in each.what for each in copies.breaks()] == [True]
    assert [each.revision for each in archive(world, copies).in_force] == [3, 2, 1]
    assert not list(differences(archive(world).raws, copies.raws()))  # both are here
    other = [raw | {"spec": raw["spec"] | {"chain": "0" * 64}} for raw in archive(world).raws]
    assert [each.revision for each in differences(other, copies.raws())] == [2, 3]


def test_a_cluster_made_anew_under_the_old_name_joins_no_old_chain(world, copies):
    publish(world, copies, 3)
    old = {raw["spec"]["chain"] for raw in copies.raws()}
    anew = World(OTHER)
    anew.clock.forward(hours=9)
    publish(anew, copies, 2)
    joined = archive(anew, copies)
    assert not old & {raw["spec"]["chain"] for raw in joined.raws}
    said = [each for each in copies.breaks() if "a second beginning" in each.what]
    assert [each.revision for each in said] == [1]


def test_what_was_replaced_long_ago_goes_and_what_was_in_force_then_stays(world, copies, database):
    publish(world, copies, 5)
    recorded = [micros(each.recorded) for each in reversed(archive(world, copies).in_force)]
    assert prune(database, recorded[0]) == 0
    count = prune(database, recorded[2] + 1)
    assert [raw["spec"]["revision"] for raw in copies.raws()] == [3, 4, 5]
    assert count >= 2
    assert copies.breaks() == []
    asyncio.run(archive(world, copies).policy(3))
    prune(database, recorded[-1] + 10**12)
    assert [raw["spec"]["revision"] for raw in copies.raws()] == [4, 5]  # the last one, and what it replaced
    assert rows(database)[1] == len({name for raw in copies.raws() for name in _parts(raw)})


def test_parts_that_another_cluster_is_made_of_stay(world, copies, database):
    publish(world, copies, 1)
    elsewhere = RevisionCopies(database, "c2", "panorama")
    asyncio.run(follow_up(world, elsewhere).look())
    parts = rows(database)[1]
    publish(world, copies, 3)
    prune(database, 10**17)
    assert copies.breaks() == elsewhere.breaks() == []
    assert rows(database)[1] >= parts


def test_a_database_of_the_version_before_gets_its_tables(url):
    database = Database(url)
    database.migrate()
    with database.writing("going back") as connection:
        for name in ("measurement", "revision_part", "part", "revision"):
            connection.execute(text(f"DROP TABLE {name}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    database.migrate()
    assert rows(database) == [0, 0, 0]
    database.close()


class KeptCluster:
    """A cluster that has the last revisions of a history, and their parts."""

    def __init__(self, history, first):
        self._history, self._raws = history, history.revisions[first:]
        self._names = set().union(*map(_parts, self._raws))

    async def tier(self, name):
        return self._history.tier

    async def revisions(self, tier):
        return self._raws

    async def part(self, part):
        return self._history.parts.get(part.name) if part.name in self._names else None


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'evidence.db'}")
    database.migrate()
    yield database
    database.close()


@settings(max_examples=15)
@given(steps(), st.integers(0, 5), st.integers(0, 15))
def test_of_any_history_the_policy_of_an_instant_is_the_same_as_if_the_cluster_had_kept_all(shared, steps, first, old):
    history = Told(steps)
    assume(history.tier is not None)
    copies = RevisionCopies(shared, uuid4().hex, "panorama")
    for raw in history.revisions:
        copies.add(raw, {name: history.parts[name] for name in copies.missing_parts(_parts(raw))})
    number = history.tier["spec"]["revision"]
    cluster = KeptCluster(history, min(first, [raw["spec"]["revision"] for raw in history.revisions].index(number)))

    async def policies(times):
        full = await Archive.read(cluster, "panorama", copies)
        return {when: await full.policy(full.at(when).revision) for when in times}

    last = dict(history.events)
    assert asyncio.run(policies(last)) == last
    assert copies.breaks() == []
    limit = START + timedelta(seconds=old)
    prune(shared, micros(limit))
    assert copies.breaks() == []
    at_the_limit = [when for when in last if when <= limit][-1:]
    kept = {when: policy for when, policy in last.items() if when > limit or when in at_the_limit}
    assert asyncio.run(policies(kept)) == kept
