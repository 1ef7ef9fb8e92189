"""The bridge's alerts reach a strict collector and a strict syslog receiver, through every fault they can play."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bridge.alerts import Alerts, Checkpoint, TierAlert
from bridge.errors import ManagerRefusedError, SecretError
from bridge.service import shipping
from bridge.settings.credentials import read_secret, secret
from bridge.siem import RecordStamp, Shipper, SiemSink
from bridge.siem.shipper import DeliveryResult
from bridge.tier.reachability import ReachabilityMonitor
from bridge.wiring.siem import token_reader
from mocks.serving import Fault
from mocks.siem import Siem, SyslogServer
from mocks.siem.rfc5424 import parse
from tests.bridge.siem.senders import collector_sender, made, send, syslog_sender
from tests.bridge.test_service import reached
from zones.siem.alerts import AlertKind, Severity
from zones.siem.outcome import Delivered, Hold, Retry
from zones.siem.protocols.syslog import Form, Framing, frame
from zones.siem.values import compact

TOKEN = "6f1f4c1e-3c0a-4a3e-9a51-1f0f3f6f2f5b"
START = 1795260148.0


@pytest.fixture
def siem():
    with Siem(TOKEN) as running:
        yield running


def alert(message="no rule at all", kind=AlertKind.REVISION_REFUSED, **more):
    return TierAlert(kind, "prod", "panorama", message, **more)


def hec(siem, token=lambda: TOKEN, timeout=20.0):
    return collector_sender(siem.hec.url, token, ca_file=siem.ca_file, timeout=timeout)


class Desk:
    """A sink with one destination, and what its figures say."""

    def __init__(self, sender, **more):
        self.now = START
        self.passed = 0.0
        self.fates = []
        self.shipper = Shipper(
            "siem",
            sender,
            lambda _, fate: self.fates.append(fate),
            **({"first": 0.01, "longest": 0.05, "receiver": getattr(sender, "receiver", "")} | more),
        )
        self.sink = SiemSink(
            [self.shipper], RecordStamp("bridge-0", 7), lambda: self.now, lambda: self.passed, look=0.02
        )

    @asynccontextmanager
    async def shipping(self):
        async with shipping(self.sink):
            yield self

    async def until(self, condition):
        await reached(condition, 60)


def test_a_record_has_the_fields_of_every_record():
    records = RecordStamp("bridge-0", 1795260148123456)
    told = records.of(alert(about={"rules": ["a"]}), START + 5, START)
    assert told == {
        "kind": "alert",
        "id": told["id"],
        "time": "2026-11-21T11:22:33.000000Z",
        "cluster": "prod",
        "node": "bridge-0",
        "sequence": 1795260148123456,
        "alert": "revision-refused",
        "severity": "high",
        "state": "raised",
        "message": "no rule at all",
        "count": 1,
        "suppressed": 0,
        "since": "2026-11-21T11:22:28.000000Z",
        "subject": "panorama",
        "tier": "panorama",
        "about": {"rules": ["a"]},
    }
    again = records.of(alert(), START, START)
    assert again["sequence"] == told["sequence"] + 1
    assert again["id"] != told["id"]


@pytest.mark.parametrize(
    ("given_alert", "severity", "state"),
    [
        (alert(kind=AlertKind.TIER_TAMPERED, severity=Severity.CRITICAL), "critical", "raised"),
        (alert(kind=AlertKind.TIER_TAMPERED), "high", "raised"),
        (alert(kind=AlertKind.REGISTRATION_FAILED), "medium", "raised"),
        (alert(severity=Severity.LOW), "low", "raised"),
        (alert(over=True, severity=Severity.LOW), "informational", "resolved"),
    ],
)
def test_how_bad_it_is(given_alert, severity, state):
    record = RecordStamp("n", 0).of(given_alert, START, START)
    assert (record["severity"], record["state"]) == (severity, state)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_syslog_frame_holds_exactly_one_message(text):
    record = RecordStamp(text, 0).of(alert(text), START, START)
    length, _, rest = frame(record, Form(10, program="zonebridge"), compact).partition(b" ")
    assert int(length) == len(rest)
    message = parse(rest)
    assert json.loads(message.msg) == record
    assert (message.facility, message.severity, message.app, message.msgid) == (10, 3, "zonebridge", "revision-refused")


def test_alerts_arrive_in_order(siem):
    desk = Desk(hec(siem))

    async def run():
        async with desk.shipping():
            for number in range(20):
                await desk.sink.send(alert(str(number)))
            await desk.until(lambda: len(desk.fates) == 20)

    asyncio.run(run())
    assert [event.event["message"] for event in siem.hec.events] == [str(number) for number in range(20)]
    first = siem.hec.events[0]
    assert (first.source, first.sourcetype, first.host) == ("zonebridge", "zonebridge:alert", "bridge-0")
    assert first.fields == {"id": first.event["id"], "cluster": "prod"}
    assert desk.fates == [DeliveryResult.SENT] * 20


def test_what_is_left_at_the_end_is_sent(siem):
    desk = Desk(hec(siem))

    async def run():
        async with desk.shipping():
            await desk.sink.send(alert())

    asyncio.run(run())
    assert len(siem.hec.events) == 1


def spoil_token(siem, state):
    state["token"] = "wrong"
    return lambda: state.update(token=TOKEN)


def spoil_away(siem, state):
    siem.hec.stop()
    return siem.hec.start


def spoil_busy(siem, state):
    siem.hec.answer(9, times=3)
    return lambda: None


def spoil_proxy(siem, state):
    siem.hec.faults.add(Fault("status", times=3, status=503, headers={"Retry-After": "0"}))
    return lambda: None


def spoil_reset(siem, state):
    siem.hec.faults.add(Fault("reset", times=3))
    return lambda: None


def spoil_unreadable(siem, state):
    state["token"] = None
    return lambda: state.update(token=TOKEN)


@pytest.mark.parametrize("spoil", [spoil_token, spoil_away, spoil_busy, spoil_proxy, spoil_reset, spoil_unreadable])
def test_trouble_is_waited_out_and_nothing_is_lost(siem, spoil):
    state = {"token": TOKEN}

    def token():
        if state["token"] is None:
            raise PermissionError("secret")
        return state["token"]

    mend = spoil(siem, state)
    desk = Desk(hec(siem, token))

    async def run():
        async with desk.shipping():
            await desk.sink.send(alert("first"))
            await desk.sink.send(alert("second"))
            await desk.until(lambda: any(each["event"] == "destination in trouble" for each in logs))
            await asyncio.to_thread(mend)
            await desk.until(lambda: len(desk.fates) == 2)

    with structlog.testing.capture_logs() as logs:
        asyncio.run(run())
    assert [event.event["message"] for event in siem.hec.events] == ["first", "second"]
    told = [each["error"] for each in logs if each["event"] == "destination in trouble"]
    assert len(told) == len(set(told)), "each kind of trouble is told once"
    assert TOKEN not in json.dumps(logs)
    assert any(each["event"] == "destination works again" for each in logs)


def test_a_receiver_that_is_not_who_it_says_gets_nothing(siem):
    stranger = collector_sender(siem.hec.url, lambda: TOKEN, timeout=5)

    async def run():
        outcome = await send(stranger, RecordStamp("n", 0).of(alert(), START, START))
        await stranger.close()
        return outcome

    outcome = asyncio.run(run())
    assert isinstance(outcome, Hold)
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.why
    assert siem.hec.requests == 0


@pytest.mark.parametrize("token", ["sec\nret", "sécret", "sec\x00ret"])
def test_a_token_that_is_none_is_not_quoted(siem, token):
    sender = hec(siem, lambda: token)

    async def run():
        outcome = await send(sender, RecordStamp("n", 0).of(alert(), START, START))
        await sender.close()
        return outcome

    assert asyncio.run(run()) == Hold("the token can't be read: it holds more than printable ASCII")


def test_a_slow_receiver_holds_nobody_up(siem):
    siem.hec.faults.add(Fault("slow", seconds=60))
    desk = Desk(hec(siem, timeout=3.0))

    async def run():
        async with desk.shipping():
            alerts = Alerts("prod", "panorama", [desk.sink])
            for number in range(100):
                await alerts.raise_(AlertKind.REVISION_REFUSED, str(number))
                await asyncio.sleep(0)
            assert len(desk.shipper) == 100, "nobody waited for it"
            await desk.until(lambda: len(desk.fates) == 100)

    asyncio.run(run())
    assert [event.event["message"] for event in siem.hec.events] == [str(number) for number in range(100)]


def test_one_event_that_is_refused_keeps_no_other_back(siem):
    siem.hec.answer(12)
    desk = Desk(hec(siem))

    async def run():
        async with desk.shipping():
            await desk.sink.send(alert("bad"))
            await desk.sink.send(alert("good"))
            await desk.until(lambda: len(desk.fates) == 2)

    asyncio.run(run())
    assert desk.fates == [DeliveryResult.REFUSED, DeliveryResult.SENT]
    assert [event.event["message"] for event in siem.hec.events] == ["good"]


class Gate:
    """A destination that takes records once it is open."""

    def __init__(self):
        self.open = False
        self.taken = []

    async def send(self, payloads):
        if not self.open:
            return 1, Retry("closed")
        self.taken += map(json.loads, payloads)
        return 1, Delivered()

    async def close(self):
        pass


def test_what_must_be_dropped_is_counted_and_told():
    gate = Gate()
    desk = Desk(gate, capacity=3)

    async def run():
        for number in range(5):
            await desk.sink.send(alert(str(number)))
        desk.sink.look()
        assert desk.fates == [DeliveryResult.DROPPED] * 2
        gate.open = True
        async with desk.shipping():
            await desk.until(lambda: len(gate.taken) == 4)

    asyncio.run(run())
    assert [record["message"] for record in gate.taken[:3]] == ["2", "3", "4"]
    loss = gate.taken[3]
    assert (loss["alert"], loss["count"], loss["cluster"], loss["subject"]) == ("log-loss", 2, "prod", "siem")


@pytest.mark.parametrize("step", [0, -7200, 7200])
def test_what_lasts_is_told_again_each_hour_until_it_is_over_though_the_time_be_set(step):
    desk = Desk(Gate())

    async def run():
        await desk.sink.send(alert())
        for _ in range(3):
            desk.now += 1801 + step
            desk.passed += 1801
            desk.sink.look()
        await desk.sink.send(alert(over=True))
        desk.passed += 9999
        desk.sink.look()

    asyncio.run(run())
    told = [record["state"] for record in desk.shipper._queue]
    assert told == ["raised", "raised", "resolved"]
    assert all(record["time"] >= record["since"] for record in desk.shipper._queue)
    assert step < 0 or len({record["since"] for record in desk.shipper._queue}) == 1
    assert len({record["id"] for record in desk.shipper._queue}) == 3


@pytest.mark.parametrize("secure", [True, False])
def test_syslog_over_tls_and_tcp(siem, secure):
    server = siem.syslog_tls if secure else siem.syslog
    desk = Desk(syslog_sender(("127.0.0.1", server.port), ca_file=siem.ca_file if secure else None))

    async def run():
        server.stop()
        async with desk.shipping():
            await desk.sink.send(alert("first"))
            await desk.sink.send(alert("second\nline", severity=Severity.CRITICAL))
            await desk.until(lambda: desk.shipper._troubles)
            await asyncio.to_thread(server.start)
            await desk.until(lambda: len(desk.fates) == 2)

    asyncio.run(run())
    server.wait_for(lambda messages: len(messages) == 2, 60)
    assert [json.loads(message.msg)["message"] for message in server.messages] == ["first", "second\nline"]
    assert [message.severity for message in server.messages] == [3, 2]
    assert server.errors == []


@pytest.mark.parametrize("framing", list(Framing))
def test_either_framing_arrives_at_a_receiver_that_reads_no_other(framing):
    record = RecordStamp("b", 1).of(alert("first\nline"), START, START)
    with SyslogServer(framing="octet" if framing is Framing.OCTET_COUNTED else "newline") as server:
        sender = syslog_sender(("127.0.0.1", server.port), framing=framing)
        assert asyncio.run(send(sender, record)) == Delivered()
        server.wait_for(lambda messages: len(messages) == 1, 60)
        assert json.loads(server.messages[0].msg) == record
        assert server.errors == []


def test_elastic_gets_the_bridges_records_in_its_own_schema():
    stamp = RecordStamp("b", 1)
    records = [
        stamp.of(alert("first"), START, START),
        stamp.checkpoint("prod", "panorama", Checkpoint(7, "d", "c", 9, 9, 1), START),
    ]
    with SyslogServer() as server:
        sender = syslog_sender(("127.0.0.1", server.port), format="ecs")
        for record in records:
            assert asyncio.run(send(sender, record)) == Delivered()
        server.wait_for(lambda messages: len(messages) == 2, 60)
        told, checkpoint = (json.loads(message.msg) for message in server.messages)
    assert (told["event"]["code"], told["event"]["kind"]) == (records[0]["alert"], "alert")
    assert (told["message"], told["event"]["id"]) == ("first", records[0]["id"])
    assert (checkpoint["event"]["dataset"], checkpoint["event"]["kind"]) == ("zonebridge.checkpoint", "event")
    assert (checkpoint["event"]["category"], checkpoint["event"]["type"]) == (["configuration"], ["info"])
    assert (checkpoint["zonebridge"]["revision"], checkpoint["zonebridge"]["chain"]) == (7, "c")


class DyingReceiver:
    """Takes connections and reads nothing; a moment later it closes, which resets what it had not read."""

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=1)
        return self.server.sockets[0].getsockname()

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        writer.transport.pause_reading()
        await asyncio.sleep(0.2)
        writer.transport.abort()


def test_a_receiver_that_dies_over_what_it_has_not_read_has_not_got_it():
    async def run():
        async with DyingReceiver() as address:
            return await send(syslog_sender(address), RecordStamp("b", 1).of(alert(), START, START))

    outcome = asyncio.run(run())
    assert isinstance(outcome, Retry)
    assert "can't be reached" in outcome.why


def test_a_receiver_that_has_read_all_and_closes_has_got_it_at_once():
    async def serve(reader, writer):
        await reader.read()
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, asyncio.timeout(1.5):
            address = server.sockets[0].getsockname()
            return await send(syslog_sender(address, outlived=60.0), RecordStamp("b", 1).of(alert(), START, START))

    assert asyncio.run(run()) == Delivered()


def test_a_receiver_that_keeps_its_side_open_has_got_it_when_the_connection_stands():
    async def run():
        done = asyncio.Event()

        async def serve(reader, writer):
            await reader.read()
            await done.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            address = server.sockets[0].getsockname()
            outcome = await send(syslog_sender(address, outlived=0.1), RecordStamp("b", 1).of(alert(), START, START))
            done.set()
            return outcome

    assert asyncio.run(run()) == Delivered()


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_token_that_cannot_be_had_is_the_token_s_trouble_and_nobody_else_s(siem, tmp_path, content):
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)

    async def run():
        sender = hec(siem, token_reader(token))
        outcome = await send(sender, RecordStamp("b", 1).of(alert(), START, START))
        await sender.close()
        return outcome

    outcome = asyncio.run(run())
    assert isinstance(outcome, Hold)
    assert outcome.why.startswith(f"the token can't be read: reading the secret in {token}")
    with pytest.raises(SecretError):
        read_secret(token)
    with pytest.raises(ManagerRefusedError, match="reading the secret"):
        secret(None, token)()


def test_a_cluster_that_stays_away_is_told_once():
    gate = Gate()
    desk = Desk(gate)
    now = [0.0]
    reach = ReachabilityMonitor(Alerts("prod", "panorama", [desk.sink]), lambda: now[0])

    async def run():
        for at, trouble in [
            (0, "no answer"),
            (10, ""),
            (11, "no answer"),
            (25, "refused"),
            (27, "refused"),
            (99, "again"),
            (100, ""),
        ]:
            now[0] = at
            await reach.look(trouble)

    asyncio.run(run())
    assert [(record["alert"], record["state"], record["message"]) for record in desk.shipper._queue] == [
        ("cluster-unreachable", "raised", "the last good tier stays: refused"),
        ("cluster-unreachable", "resolved", "the cluster answers again"),
    ]


def test_a_token_may_be_in_the_environment_and_index_and_sourcetype_go_by_kind(monkeypatch):
    monkeypatch.setenv("HEC_TOKEN", f" {TOKEN}\n")
    sender = made(
        type="hec",
        url="https://siem:8088",
        tokenEnv="HEC_TOKEN",
        index={"alert": "security", "review-due": "audit"},
        sourcetype="acme:alert",
    )
    assert sender._token() == TOKEN
    words = [sender._envelope(record) for record in ({"kind": "alert"}, {"kind": "alert", "alert": "review-due"})]
    assert [(word.index, word.sourcetype) for word in words] == [("security", "acme:alert"), ("audit", "acme:alert")]
    checkpoint = sender._envelope({"kind": "checkpoint"})
    assert (checkpoint.index, checkpoint.sourcetype) == ("security", "acme:alert")
    monkeypatch.delenv("HEC_TOKEN")
    with pytest.raises(ValueError, match="environment variable HEC_TOKEN"):
        sender._token()


def test_what_is_of_many_subjects_is_told_again_each_day_and_each_subject_has_its_own_end():
    desk = Desk(Gate())
    kind = AlertKind.CONFIGURATION_DRIFT
    first, second = (alert(kind=kind, subject=name) for name in ("a", "b"))

    async def run():
        await desk.sink.send(first)
        await desk.sink.send(second)
        for hours in (1, 22, 2):
            desk.passed += hours * 3600
            desk.sink.look()
        await desk.sink.send(alert(kind=kind, subject="a", over=True))
        desk.passed += 25 * 3600
        desk.sink.look()

    asyncio.run(run())
    told = [(record["subject"], record["state"]) for record in desk.shipper._queue]
    assert told == [
        ("a", "raised"),
        ("b", "raised"),
        ("a", "raised"),
        ("b", "raised"),
        ("a", "resolved"),
        ("b", "raised"),
    ]
