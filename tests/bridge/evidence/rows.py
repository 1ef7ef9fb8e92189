"""Rows as nodes tell them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bridge.evidence.store import NodeRecord
from zones.policy import Verdict
from zones.rules import Origin
from zones.seen import Counting, SeenEnd, SeenFlow, SeenKey

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
WINDOW = timedelta(minutes=5)
RULE = Origin("web to data", "11111111-0000-0000-0000-000000000001", "pre", "k8s")
WEB, DATA = SeenEnd("web", "shop", "front"), SeenEnd("data", "shop", "db")
KEY = SeenKey(WEB, DATA, 6, 5432, RULE, Verdict.ALLOW)


def flow(connections=1, octets=100, living=0, at=NOON, key=KEY, **changed):
    return SeenFlow(replace(key, **changed), connections, octets, living, at - WINDOW, at)


def counting(at=NOON, since=NOON - WINDOW, **missing):
    return Counting(since, at - WINDOW, at, **missing)


def told(sequence, content, node="n1"):
    return NodeRecord(node, sequence, content)
