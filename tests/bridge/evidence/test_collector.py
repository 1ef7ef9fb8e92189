"""The collector: what it confirms is in the database, what isn't ours is refused, and the enforcers' own sender works."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import time
from dataclasses import replace

import httpx
import pytest
import trustme

from bridge.evidence import collector
from bridge.evidence.collector import CollectorAddress, collecting
from bridge.evidence.database import EvidenceError
from bridge.settings.credentials import read_secret
from tests.bridge.evidence.rows import counting, flow
from zones.siem.destinations import HecSettings
from zones.siem.outcome import Delivered, Hold, Refused, Retry
from zones.siem.records import Stamp, encoded
from zones.siem.transports.hec import HecSender

TOKEN = "a-long-secret"
STAMP = Stamp("prod", "n1", "boot", 1)
PATH = "/services/collector/event"


def record(kind="seen", content=None, stamp=STAMP, **more):
    return stamp.record(kind, time.time()) | (content or flow().json()) | more


def event(**more):
    return json.dumps({"event": record(**more)})


def asked(store, *requests, token=lambda: TOKEN):
    """The answers to some requests, each to a path of the collector, one after the other."""

    async def scenario():
        door = CollectorAddress(("127.0.0.1", 0), token, {"prod"})
        async with (
            collecting(door, store) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        ):
            return [await client.request(**request) for request in requests]

    return asyncio.run(scenario())


def post(content, token=TOKEN, **headers):
    return {
        "method": "POST",
        "url": PATH,
        "content": content,
        "headers": {"Authorization": f"Splunk {token}".strip(), **headers},
    }


def test_what_is_confirmed_is_counted_once(store):
    body = event() + "\n" + event(kind="counting", content=counting().json())
    packed = post(gzip.compress(body.encode()), **{"Content-Encoding": "gzip"})
    answers = asked(store, packed, packed, {"method": "GET", "url": "/services/collector/health"})
    assert [(each.status_code, each.json()["code"]) for each in answers] == [(200, 0), (200, 0), (200, 17)]
    seen = store.seen("prod")
    assert [each.connections for each in seen.flows] == [1]
    assert seen.nodes == {"n1": counting()}


@pytest.mark.parametrize(
    ("token", "code", "status"), [("wrong", 4, 403), (TOKEN[:-1], 4, 403), ("", 2, 401)], ids=["wrong", "short", "none"]
)
def test_who_doesnt_know_the_token_is_refused(store, token, code, status):
    (answer,) = asked(store, post(event(), token))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert store.seen("prod").flows == ()


def test_octets_that_are_no_text_are_a_wrong_token(store):
    request = post(event()) | {"headers": [(b"Authorization", b"Splunk \xff\xfe")]}
    assert asked(store, request)[0].status_code == 403


def test_a_token_that_cannot_be_read_lets_nobody_in(store, tmp_path):
    (answer,) = asked(store, post(event()), token=lambda: read_secret(tmp_path / "none"))
    assert answer.status_code == 503


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("{", "no event of ours"),
        ("[" * 5000, "no event of ours"),
        ("{}", "no event of ours"),
        (json.dumps({"event": "text"}), "no event of ours"),
        (json.dumps({"event": {**record(), "cluster": "other"}}), "a cluster that this bridge doesn't know"),
        (json.dumps({"event": {**record(), "cluster": ["prod"]}}), "no event of ours"),
        (json.dumps({"event": {**record(), "node": ""}}), "node must be a name"),
        (json.dumps({"event": {**record(), "sequence": -1}}), "sequence must be an integer"),
        (json.dumps({"event": {**record(), "sequence": True}}), "sequence must be an integer"),
        (json.dumps({"event": {**record(), "kind": "flow"}}), "give this destination records: seen"),
        (json.dumps({"event": {**record(), "connections": -5}}), "connections must be"),
    ],
)
def test_what_isnt_ours_is_refused_with_its_number_and_nothing_of_the_request_is_kept(store, bad, why):
    (answer,) = asked(store, post(event() + bad))
    told = answer.json()
    assert (answer.status_code, told["code"], told["invalid-event-number"]) == (400, 6, 1)
    assert why in told["text"]
    assert store.seen("prod").flows == ()


def test_a_request_is_bounded_also_once_it_is_unpacked(store, monkeypatch):
    bomb = gzip.compress(b" " * (collector.MAX_BODY + 1))
    monkeypatch.setattr(collector, "MAX_RECORDS", 2)
    large, bombed, many, empty = asked(
        store,
        post(b" " * (collector.MAX_BODY + 1)),
        post(bomb, **{"Content-Encoding": "gzip"}),
        post("".join(event() for _ in range(3))),
        post(b""),
    )
    assert (large.status_code, bombed.status_code) == (413, 413)
    assert (many.json()["code"], empty.json()["code"]) == (6, 5)
    assert store.seen("prod").flows == ()


def test_who_is_slow_is_let_go(store, monkeypatch):
    monkeypatch.setattr(collector, "READ_SECONDS", 0.05)

    async def drip():
        yield b"{"
        await asyncio.sleep(2)
        yield b"}"

    (answer,) = asked(store, post(drip()))
    assert answer.status_code == 408


def test_a_database_that_is_away_confirms_nothing_and_more_than_can_wait_is_sent_away(store, monkeypatch):
    def fail(*_):
        raise EvidenceError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(store, "take", fail)
        (answer,) = asked(store, post(event()))
        assert (answer.status_code, answer.json()["code"]) == (503, 8)
    monkeypatch.setattr(collector, "MAX_WAITING", 0)
    (answer,) = asked(store, post(event()))
    assert (answer.status_code, answer.json()["code"]) == (503, 9)


def test_what_cannot_be_written_of_one_node_keeps_nobody_elses_out(store, monkeypatch):
    """Requests that come at once are written together."""
    take = store.take

    def failing(cluster, told, now):
        time.sleep(0.05)  # the others come meanwhile
        if any(each.node == "evil" for each in told):
            raise OverflowError("too large")
        return take(cluster, told, now)

    monkeypatch.setattr(store, "take", failing)

    async def scenario():
        door = CollectorAddress(("127.0.0.1", 0), lambda: TOKEN, {"prod"})
        async with (
            collecting(door, store) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        ):
            nodes = "first", "evil", "n2", "n3"
            sent = [client.request(**post(event(stamp=replace(STAMP, node=node)))) for node in nodes]
            return [answer.status_code for answer in await asyncio.gather(*sent)]

    assert asyncio.run(scenario()) == [200, 503, 200, 200]


def test_the_enforcers_own_sender_delivers_by_tls_and_understands_refusals(store, tmp_path):
    """Delivered, a wrong token held, a record of another cluster set aside."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    known = [TOKEN]

    async def scenario():
        door = CollectorAddress(("127.0.0.1", 0), lambda: known[0], {"prod"}, tls)
        async with collecting(door, store) as port:
            url = f"https://localhost:{port}"
            settings = HecSettings(
                name="b", type="hec", url=url, token_env="T", ca_file=tmp_path / "ca", records="seen"
            )
            sender = HecSender(settings, lambda: TOKEN)
            records = [encoded(record()), encoded(record("counting", counting().json()))]
            foreign = encoded(record(stamp=Stamp("other", "n1", "boot", 1)))
            try:
                outcomes = [await sender.probe(), await sender.send(records), await sender.send([foreign])]
                known[0] = "rotated"
                outcomes.append(await sender.send(records))
            finally:
                await sender.close()
            return outcomes

    probe, sent, foreign, wrong = asyncio.run(scenario())
    assert probe == ""
    assert sent == (2, Delivered())
    assert isinstance(foreign[1], Refused | Delivered)
    assert isinstance(wrong[1], Hold)
    assert [each.connections for each in store.seen("prod").flows] == [1]


def test_a_full_collector_is_something_to_come_back_to(store, monkeypatch):
    monkeypatch.setattr(collector, "MAX_WAITING", 0)

    async def scenario():
        door = CollectorAddress(("127.0.0.1", 0), lambda: TOKEN, {"prod"})
        async with collecting(door, store) as port:
            settings = HecSettings(name="b", type="hec", url=f"http://127.0.0.1:{port}", token_env="T", records="seen")
            sender = HecSender(settings, lambda: TOKEN)
            try:
                return await sender.send([encoded(record())])
            finally:
                await sender.close()

    assert isinstance(asyncio.run(scenario())[1], Retry)
