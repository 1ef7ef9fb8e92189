"""The evidence database: every record counts once, whatever is repeated, killed or asked at once; old days go."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from bridge.evidence.database import Database, EvidenceError, parsed_url
from bridge.evidence.schema import METADATA
from bridge.evidence.store import Store, Taken
from tests.bridge.evidence.rows import DATA, NOON, RULE, WEB, WINDOW, counting, flow, told
from zones.net import ETHERTYPES
from zones.policy import Verdict
from zones.rules import Origin
from zones.seen import MOST_COUNT, SeenEnd


def take(store, *records, cluster="prod"):
    return store.take(cluster, records, NOON)


def test_what_is_told_in_several_windows_by_several_nodes_is_one_row(store):
    take(store, told(1, flow(3, 300)), told(2, counting(missed=1)))
    take(store, told(3, flow(2, 50, at=NOON + WINDOW)), told(4, counting(NOON + WINDOW, missed=2, held_back=7)))
    take(store, told(9, flow(1, 1), node="n2"))
    seen = store.seen("prod")
    assert seen.flows == (replace(flow(6, 351), first=NOON - WINDOW, last=NOON + WINDOW),)
    assert seen.nodes == {"n1": replace(counting(NOON + WINDOW, missed=3, held_back=7), begin=NOON - WINDOW)}


def test_a_record_that_is_told_again_is_not_counted_again(store):
    batch = (told(1, flow()), told(2, flow()), told(3, counting(missed=1)))
    assert take(store, *batch) == Taken(3, 0)
    assert take(store, *batch, told(4, flow())) == Taken(1, 3)
    assert take(store, told(1, flow(), node="n2")) == Taken(1, 0)
    assert store.seen("prod").flows[0].connections == 4
    assert store.seen("prod").nodes["n1"].missed == 1


def test_what_no_cluster_can_have_seen_neither_fails_nor_wraps_around(store):
    """A node that was taken may tell anything: the others' rows are taken and read all the same."""
    most = flow(MOST_COUNT, MOST_COUNT, MOST_COUNT)
    take(
        store, told(1, most), told(2, most), told(3, counting(missed=MOST_COUNT)), told(4, counting(missed=MOST_COUNT))
    )
    take(store, told(5, most))
    days = [flow(MOST_COUNT, MOST_COUNT, at=NOON + n * timedelta(days=1)) for n in range(1100)]
    take(store, *(told(10 + n, each) for n, each in enumerate(days)))
    take(store, *(told(1, flow(0, 0, MOST_COUNT), node=f"m{n}") for n in range(1100)))
    take(store, told(1, flow(3, 4, port=1), node="n2"))
    seen = {each.key.port: each for each in store.seen("prod").flows}
    assert (seen[1].connections, seen[1].octets) == (3, 4)
    assert seen[5432].connections == seen[5432].octets == 1100 * MOST_COUNT
    assert store.seen("prod").nodes["n1"].missed == MOST_COUNT


def test_clusters_are_apart(store):
    take(store, told(1, flow(1)))
    take(store, told(1, flow(5)), cluster="test")
    assert [store.seen(each).flows[0].connections for each in ("prod", "test")] == [1, 5]
    assert store.seen("none").flows == ()


def test_every_part_of_a_key_is_kept_and_tells_rows_apart(store):
    outside = SeenEnd("outside", network=ip_network("203.0.113.0/24"))
    kinds = [
        flow(),
        flow(source=outside),
        flow(source=replace(outside, network=ip_network("2001:db8::1/128"))),
        flow(source=SeenEnd("nodes")),
        flow(destination=replace(DATA, workload="db2")),
        flow(source=replace(WEB, namespace="other")),
        flow(port=None, icmp_type=8, protocol=1),
        flow(protocol=ETHERTYPES + 0x88B5, port=None),
        flow(verdict=Verdict.DENY),
        flow(verdict=Verdict.DENY, enforced=False),
        flow(rule=replace(RULE, uuid=None)),
        flow(rule=Origin("infrastructure/dns", None, "infrastructure", "")),
        flow(rule=replace(RULE, name="ein Name mit ü und 'quote")),
    ]
    take(store, *(told(number, each) for number, each in enumerate(kinds, 1)))
    assert {each.key for each in store.seen("prod").flows} == {each.key for each in kinds}
    assert all(each.connections == 1 for each in store.seen("prod").flows)


def test_who_lives_is_what_each_node_told_last(store):
    take(store, told(1, flow(3, living=3)), told(2, flow(1, living=1, port=80)), told(3, counting()))
    take(store, told(1, flow(1, living=1), node="n2"), told(2, counting(), node="n2"))
    assert {each.key.port: each.living for each in store.seen("prod").flows} == {5432: 4, 80: 1}
    later = NOON + WINDOW
    take(store, told(4, flow(0, living=2, at=later)), told(5, counting(later)))
    assert {each.key.port: each.living for each in store.seen("prod").flows} == {5432: 3, 80: 0}


def test_days_before_one_are_left_out_or_taken_away(store):
    yesterday = NOON - timedelta(days=1)
    take(store, told(1, flow(7, at=yesterday)), told(2, flow(9, at=yesterday, port=80, living=1)), told(3, flow(1)))
    assert [each.connections for each in store.seen("prod", since=NOON).flows] == [1]
    assert store.prune(NOON) == 4  # two days, who lived, and the key that nothing is left of
    assert store.prune(NOON) == 0
    assert [(each.key.port, each.connections) for each in store.seen("prod").flows] == [(5432, 1)]
    take(store, told(4, flow(2, port=80)))
    assert sum(each.connections for each in store.seen("prod").flows) == 3


def test_a_rule_is_edited_when_it_says_something_else(store):
    later, last = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
    assert store.note_rules("prod", {"a": "1" * 64, "b": "2" * 64}, NOON) == 2
    assert store.note_rules("prod", {"a": "1" * 64, "b": "3" * 64}, later) == 1
    assert store.note_rules("prod", {"a": "1" * 64, "b": "3" * 64}, last) == 0
    assert store.note_rules("prod", {"a": "1" * 64, "b": "2" * 64}, last) == 1
    assert store.edited("prod") == {"a": NOON, "b": last}
    assert store.edited("test") == {}


def test_the_steps_lead_to_the_schema_that_the_code_has(store, database):
    store.open()  # again: there is nothing left to do
    with database.reading("comparing") as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_schema_of_a_newer_version_is_left_alone(store, database):
    with database.writing("pretending") as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(EvidenceError, match="a newer one has written it"):
        store.open()


def test_several_bridges_may_begin_and_take_at_once(url):
    stores = [Store(Database(url)) for _ in range(3)]
    faults = []

    def work(number, store):
        try:
            store.open()
            for sequence in range(1, 11):
                for node in ("shared", f"own-{number}"):
                    take(store, *(told(10 * sequence + n, flow(port=n), node) for n in range(5)))
        except EvidenceError as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=each) for each in enumerate(stores)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert faults == []
    assert {each.key.port: each.connections for each in stores[0].seen("prod").flows} == dict.fromkeys(range(5), 40)
    for each in stores:
        each.close()


def test_a_new_file_that_another_writes_to_is_waited_for(tmp_path):
    """SQLite doesn't: it refuses the change of the journal at once, as with several bridges that begin on a new file."""
    file = tmp_path / "evidence.db"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE t (a INTEGER)")
        end = threading.Timer(0.3, other.execute, ("COMMIT",))
        end.start()
        database = Database(f"sqlite:///{file}")
        with database.writing("testing") as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        database.close()
        end.join()


def test_a_file_that_cannot_be_written_is_told_at_once():
    database, began = Database("sqlite:////proc/version"), time.monotonic()
    with pytest.raises(EvidenceError), database.writing("testing"):
        pass
    assert time.monotonic() - began < 5


WRITER = """
import sys
from datetime import datetime, UTC
from bridge.evidence.database import Database
from bridge.evidence.store import Store
from tests.bridge.evidence.rows import flow, told, NOON
store = Store(Database(sys.argv[1]))
store.open()
for batch in range(100_000):
    store.take("prod", [told(100 * batch + n, flow(port=n)) for n in range(1, 101)], NOON)
    print(batch, flush=True)
"""


def written_until(url, kill):
    """The last batch that was confirmed, where `kill` strikes some batches later."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as writer:
        lines = iter(writer.stdout)
        for _ in range(5):
            next(lines)
        kill(writer)
        confirmed = [int(line) for line in lines]
        writer.kill()
    return max(confirmed, default=4)


def whole(store):
    """How many batches are there, each of them whole."""
    counts = Counter({each.key.port: each.connections for each in store.seen("prod").flows})
    assert len(counts) == 100
    assert len(set(counts.values())) == 1
    return counts[1]


def test_a_bridge_that_is_killed_in_a_write_loses_nothing_that_it_confirmed(url):
    confirmed = written_until(url, lambda writer: writer.kill())
    store = Store(Database(url))
    store.open()
    assert whole(store) in {confirmed + 1, confirmed + 2}  # the last one may not have been confirmed yet
    store.close()


@pytest.mark.postgresql
def test_a_database_that_is_killed_in_a_write_loses_nothing_that_it_confirmed(postgresql):
    url = postgresql.url()
    store = Store(Database(url))
    store.open()
    confirmed = written_until(url, lambda _: postgresql.kill())
    with pytest.raises(EvidenceError, match="taking what nodes saw"):
        take(store, told(1, flow()))
    postgresql.again()
    assert whole(store) in {confirmed + 1, confirmed + 2}
    assert take(store, told(1, flow(), node="n9")) == Taken(1, 0)  # by the same process
    store.close()


RULES = [replace(RULE, name=f"rule {number}", uuid=f"uuid-{number}") for number in range(4)]
BATCHES = st.lists(
    st.tuples(
        st.sampled_from(["n1", "n2", "n3"]),
        st.lists(
            st.tuples(st.integers(0, 30), st.sampled_from(RULES), st.sampled_from([80, 443]), st.integers(0, 9)),
            min_size=1,
            max_size=5,
        ),
        st.integers(0, 2),
    ),
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(batches=BATCHES)
def test_a_month_that_is_replayed_with_repetitions_is_what_a_plain_count_says(store, batches):
    """`months`: each example's own cluster, as the database is shared by them."""
    cluster = f"month-{datetime.now(UTC).timestamp()}"
    expected, octets, days = Counter(), Counter(), {}
    sequences, sent = Counter(), {}
    for node, rows, repeat in batches:
        batch = []
        for day, rule, port, connections in rows:
            at = NOON + timedelta(days=day)
            sequences[node] += 1
            batch.append(told(sequences[node], flow(connections, 10 * connections, at=at, rule=rule, port=port), node))
            expected[rule, port] += connections
            octets[rule, port] += 10 * connections
            days.setdefault((rule, port), []).append(at)
        for again in sent.get(node, [])[-repeat:] if repeat else ():
            store.take(cluster, again, NOON)
        store.take(cluster, batch, NOON)
        sent.setdefault(node, []).append(batch)
    seen = {(each.key.rule, each.key.port): each for each in store.seen(cluster).flows}
    assert {key: (each.connections, each.octets) for key, each in seen.items()} == {
        key: (expected[key], octets[key]) for key in days
    }
    assert {key: (each.first, each.last) for key, each in seen.items()} == {
        key: (min(ats) - WINDOW, max(ats)) for key, ats in days.items()
    }


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "is no address of a database"),
        ("mysql://h/db", "must begin with sqlite:/// or postgresql://"),
        ("postgresql://zb:hunter2@h/db", "a secret must not stand in an address"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
    ],
)
def test_an_address_that_cant_be_used_is_told_without_its_secret(url, why):
    with pytest.raises(ValueError, match=why) as caught:
        parsed_url(url)
    assert "hunter2" not in str(caught.value)


def test_a_postgresql_elsewhere_has_to_show_a_certificate():
    assert dict(parsed_url("postgresql://zb@db.example.com/zb").query) == {
        "sslmode": "verify-full",
        "sslrootcert": "system",
    }
    assert dict(parsed_url("postgresql://zb@h/zb?sslmode=verify-full&sslrootcert=/ca").query)["sslrootcert"] == "/ca"
    assert dict(parsed_url("postgresql://zb@h/zb?sslmode=disable").query) == {"sslmode": "disable"}
    assert dict(parsed_url("postgresql://zb@/zb?host=/run/postgresql").query) == {"host": "/run/postgresql"}


def test_a_database_that_isnt_there_is_told_with_its_address_and_without_its_password():
    store = Store(Database("postgresql://zb@/zb?host=/nowhere", password="hunter2"))
    with pytest.raises(EvidenceError, match=r"postgresql.*nowhere.*bringing its schema up to date") as caught:
        store.open()
    assert "hunter2" not in str(caught.value)
    with pytest.raises(EvidenceError, match="unable to open database file"):
        Store(Database("sqlite:////nowhere/evidence.db")).open()
