"""The bridge keeps the database: schema, edits of rules, old days; and goes on where the database is away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from bridge.alerts import EvidenceCheckpoint
from bridge.evidence import keeping
from bridge.evidence.database import Database
from bridge.evidence.keeping import EvidenceTerms
from bridge.evidence.store import Store, micros
from bridge.evidence.usage import rule_key
from bridge.intervals.seals import DAY, Seals, date_text
from bridge.intervals.store import IntervalStore
from tests.bridge.evidence.rows import flow, told
from tests.bridge.evidence.test_usage import POLICY, WEB
from zones.policy import Verdict

RETENTION = timedelta(days=30)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(keeping, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(keeping, "_AGAIN_SECONDS", 0.01)


def kept(store, policies, done):
    """Keep it until something is so, looked at in the same thread as the database is."""

    async def scenario():
        async with keeping.keeping(store, EvidenceTerms(RETENTION, RETENTION, policies)):
            async with asyncio.timeout(20):
                while not await asyncio.to_thread(done):  # noqa: ASYNC110 - the database tells nobody
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_rule_is_noted_when_the_bridge_publishes_it_and_again_when_it_is_edited(url):
    store, other = Store(Database(url)), Store(Database(url))
    other.open()
    policies = {"prod": POLICY}
    key = rule_key(WEB.origin)
    edits = []

    def both_noted():
        at = other.edited("prod").get(key)
        if at is not None and at not in edits:
            edits.append(at)
            edited = replace(WEB, verdict=Verdict.DENY)
            policies["prod"] = replace(POLICY, entries=(edited, *POLICY.entries[1:]))
        return len(edits) == 2

    kept(store, lambda: policies, both_noted)
    assert len(set(other.edited("prod").values())) == 2  # the others are as old as they were
    other.close()


def test_old_days_are_taken_away(store, url):
    now = datetime.now(UTC)
    store.take("prod", [told(1, flow(at=now - 2 * RETENTION)), told(2, flow(at=now, port=80))], now)
    kept(Store(Database(url)), dict, lambda: len(store.seen("prod").flows) == 1)
    assert store.seen("prod").flows[0].key.port == 80


def test_a_database_that_is_away_is_tried_again(tmp_path):
    folder = tmp_path / "volume"
    url = f"sqlite:///{folder / 'evidence.db'}"
    looks = []

    def mounted():
        looks.append(1)
        if len(looks) == 5:
            folder.mkdir()
        return folder.exists() and (folder / "evidence.db").exists()

    kept(Store(Database(url)), dict, mounted)


def test_a_day_that_is_over_is_sealed_by_whoever_records_and_by_nobody_else(store, url, database):
    begin = micros(datetime.now(UTC)) - 3 * DAY
    intervals = IntervalStore(database)
    intervals.resume("prod", begin)
    for name, records in (("prod", False), ("prod", True)):
        recorder = SimpleNamespace(sight=SimpleNamespace(cluster=name), records=records, look=nothing)
        other = Database(url)
        seals, told_of = Seals(other), []

        async def sealed(cluster, checkpoint, told_of=told_of):
            told_of.append((cluster, checkpoint))

        async def scenario(seals=seals, other=other, recorder=recorder, sealed=sealed, told_of=told_of):
            terms = EvidenceTerms(RETENTION, RETENTION, dict, seals=seals, recorders=[recorder], sealed=sealed)
            async with keeping.keeping(Store(other), terms):
                async with asyncio.timeout(20):
                    while recorder.records and not told_of:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)

        asyncio.run(scenario())
        last = Seals(database).verify("prod", {}, {}).last
        wanted = [("prod", EvidenceCheckpoint(date_text(last.day), last.chain))] if records else []
        assert told_of == wanted
        assert (last is not None) is records


async def nothing():
    """A look that finds nothing new."""
