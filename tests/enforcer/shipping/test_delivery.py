"""At least once, in order, to a strict collector and a strict syslog receiver, through every fault they can play."""

import asyncio
import json
import shutil
import threading
from contextlib import asynccontextmanager

import pytest

from enforcer.shipping.delivery import Delivery
from enforcer.shipping.outbox import Outbox
from enforcer.shipping.spool import Spool
from mocks.serving import Fault
from mocks.siem import HecServer, Siem, SyslogServer, Token, issue
from tests.enforcer import smallcluster as cluster
from tests.zones.siem.cases import CASES, flow
from zones.runtime.backoff import Backoff
from zones.siem.destinations import FileSettings, HecSettings, Records, SyslogSettings
from zones.siem.formats.registry import FORMATS, FormatName
from zones.siem.sender import sender

SECRET = "6f1f4c1e-3c0a-4a3e-9a51-1f0f3f6f2f5b"
ENVIRONMENT = {"TOKEN": SECRET}
PATIENT = {"timeout_seconds": 30}


async def eventually(condition):
    return await cluster.eventually(condition, seconds=60)


def records(first, count, **more):
    return [
        {
            "kind": "flow",
            "id": f"{number:032x}",
            "time": "2026-11-21T11:22:28.123456Z",
            "cluster": "prod",
            "node": "n1",
            "sequence": number,
            "verdict": "deny",
        }
        | more
        for number in range(first, first + count)
    ]


@pytest.fixture
def siem():
    with Siem(SECRET) as running:
        yield running


def hec(siem, **more):
    given = {"name": "siem", "url": siem.hec.url, "token_env": "TOKEN", "ca_file": siem.ca_file, "timeout_seconds": 2}
    return HecSettings(type="hec", **given | more)


def syslog(server, **more):
    settings = {"address": f"127.0.0.1:{server.port}", "tls": server.tls, "timeout_seconds": 2} | more
    return SyslogSettings(name="siem", type="syslog", ca_file=server.ca_file if server.tls else None, **settings)


@asynccontextmanager
async def delivering(directory, settings, environment=ENVIRONMENT, *, outlived=0.1, **more):
    """An outbox whose records go to one destination."""
    outbox = Outbox(Spool.open(directory / "spool", ["siem"], 1 << 26, 1 << 20), sync_seconds=0.05)
    transport = sender(settings, environment)
    transport.outlived = outlived  # what a syslog connection has to stand
    aside = directory / "refused.jsonl"
    delivery = Delivery("siem", outbox, transport, aside, settings.records, backoff=Backoff(0.01, 0.05), **more)
    tasks = [asyncio.create_task(outbox.write()), asyncio.create_task(delivery.deliver())]
    try:
        yield outbox, delivery
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await transport.close()
        await outbox.close()


def sent(directory, settings, wanted, *, environment=ENVIRONMENT, **more):
    """Deliver these records; the delivery's progress at the end."""

    async def run():
        async with delivering(directory, settings, environment, **more) as (outbox, delivery):
            outbox.put(wanted)
            await eventually(lambda: outbox.written == len(wanted))
            await eventually(lambda: outbox.backlog("siem") == 0)
            return delivery.progress

    return asyncio.run(run())


def indexed(siem):
    return [event.event["sequence"] for event in siem.hec.events]


def test_events_reach_the_collector_with_their_time_host_and_id(siem, tmp_path):
    sent(tmp_path, hec(siem, source="zb"), records(0, 3))
    event = siem.hec.events[0]
    assert event.event == records(0, 1)[0]
    assert (event.host, event.source, event.sourcetype) == ("n1", "zb", "zonebridge:flow")
    assert event.time == pytest.approx(1795260148.123456)
    assert event.fields["id"] == f"{0:032x}"
    assert siem.hec.lost_to_unknown_keys == []


def test_batches_stay_within_their_bytes(siem, tmp_path):
    siem.hec.max_content_length = 20_000
    sent(tmp_path, hec(siem, batch_bytes=20_000), records(0, 500))
    assert indexed(siem) == list(range(500))
    assert siem.hec.codes.keys() == {0}


@pytest.mark.parametrize("oversize", ["413", "400"])
def test_a_collector_that_takes_less_than_we_send_gets_smaller_batches(siem, tmp_path, oversize):
    siem.hec.max_content_length, siem.hec.oversize = 5_000, oversize
    progress = sent(tmp_path, hec(siem), records(0, 300))
    assert indexed(siem) == list(range(300))
    assert progress.refused == 0


@pytest.mark.parametrize("code", [8, 9, 18, 23, 26, 27])
def test_later_means_later(siem, tmp_path, code):
    siem.hec.answer(code, times=3, retry_after=0)
    progress = sent(tmp_path, hec(siem), records(0, 50))
    assert indexed(siem) == list(range(50))
    assert (progress.sent, progress.refused, progress.trouble) == (50, 0, "")


@pytest.mark.parametrize("fault", [Fault("reset", times=2), Fault("status", times=2, status=502, body="<html>")])
def test_a_broken_connection_or_proxy_is_waited_out(siem, tmp_path, fault):
    siem.hec.faults.add(fault)
    sent(tmp_path, hec(siem), records(0, 20))
    assert indexed(siem) == list(range(20))


def test_a_reset_after_the_commit_costs_a_duplicate_with_the_same_id(siem, tmp_path):
    siem.hec.reset_after_commit()
    sent(tmp_path, hec(siem), records(0, 10))
    assert sorted(set(indexed(siem))) == list(range(10))
    assert len({event.fields["id"] for event in siem.hec.events}) == 10


def test_the_refused_record_alone_is_set_aside(siem, tmp_path):
    wanted = records(0, 30)
    for number in (0, 7, 29):
        wanted[number]["id"] = {"nested": "is refused in fields"}
    progress = sent(tmp_path, hec(siem), wanted)
    assert indexed(siem) == [number for number in range(30) if number not in {0, 7, 29}]
    assert progress.refused == 3
    aside = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert [each["record"]["sequence"] for each in aside] == [0, 7, 29]
    assert all("15" in each["why"] for each in aside)


def test_a_disabled_token_holds_and_alarms_and_loses_nothing(siem, tmp_path):
    siem.hec.disable(SECRET)

    async def run():
        async with delivering(tmp_path, hec(siem)) as (outbox, delivery):
            outbox.put(records(0, 10))
            await eventually(lambda: delivery.progress.on_hold)
            assert "token is disabled" in delivery.progress.trouble
            assert outbox.backlog("siem") == 10
            siem.hec.enable(SECRET)
            await eventually(lambda: outbox.backlog("siem") == 0 and not delivery.progress.on_hold)

    asyncio.run(run())
    assert indexed(siem) == list(range(10))


def test_a_token_file_may_change_while_it_runs(siem, tmp_path):
    token = tmp_path / "token"
    token.write_text("00000000-0000-0000-0000-000000000000\n")
    settings = HecSettings(name="siem", type="hec", url=siem.hec.url, token_file=token, ca_file=siem.ca_file)

    async def run():
        async with delivering(tmp_path, settings) as (outbox, delivery):
            outbox.put(records(0, 3))
            await eventually(lambda: delivery.progress.on_hold)
            token.write_text(SECRET + "\n")
            await eventually(lambda: outbox.backlog("siem") == 0)

    asyncio.run(run())
    assert indexed(siem) == [0, 1, 2]


def test_hours_without_the_siem_are_caught_up_in_order(siem, tmp_path):
    async def run():
        siem.hec.stop()
        async with delivering(tmp_path, hec(siem)) as (outbox, delivery):
            for first in range(0, 3000, 100):
                outbox.put(records(first, 100))
            await eventually(lambda: delivery.progress.trouble and outbox.written == 3000)
            await asyncio.to_thread(siem.hec.start)
            await eventually(lambda: outbox.backlog("siem") == 0)

    asyncio.run(run())
    assert indexed(siem) == list(range(3000))


def test_what_was_not_sent_is_sent_after_a_restart(siem, tmp_path):
    siem.hec.stop()

    async def away():
        async with delivering(tmp_path, hec(siem)) as (outbox, _):
            outbox.put(records(0, 5))
            await eventually(lambda: outbox.written == 5)

    asyncio.run(away())
    siem.hec.start()
    sent(tmp_path, hec(siem), records(5, 5))
    assert indexed(siem) == list(range(10))


def test_an_unknown_authority_is_never_trusted(siem, tmp_path):
    settings = HecSettings(name="siem", type="hec", url=siem.hec.url, token_env="TOKEN")

    async def run():
        async with delivering(tmp_path, settings) as (outbox, delivery):
            outbox.put(records(0, 1))
            await eventually(lambda: delivery.progress.on_hold)
            assert "caFile" in delivery.progress.trouble

    asyncio.run(run())
    assert siem.hec.requests == 0


def test_indexer_acknowledgement_is_waited_for(tmp_path):
    with Siem(Token(SECRET, use_ack=True), ack_delay=0.2) as siem:
        sent(tmp_path, hec(siem, acknowledge=True), records(0, 10))
        assert indexed(siem) == list(range(10))
        siem.hec.lose()
        sent(tmp_path, hec(siem, acknowledge=True), records(10, 10))
        assert indexed(siem) == list(range(20))


def test_several_batches_wait_for_their_acknowledgement_together(tmp_path):
    """As many as may be; none counts before it is acknowledged."""
    with Siem(Token(SECRET, use_ack=True), ack_delay=3600) as siem:
        wanted = hec(siem, acknowledge=True, batch_bytes=4096, in_flight=8, timeout_seconds=300)

        async def run():
            async with delivering(tmp_path, wanted, batch=200) as (outbox, delivery):
                outbox.put(records(0, 200))
                await eventually(lambda: len(posted(siem)) == 8 and len(siem.hec.calls) > 10)
                assert (len(posted(siem)), outbox.backlog("siem"), delivery.progress.sent) == (8, 200, 0)
                siem.hec.acks.delay = 0
                await eventually(lambda: outbox.backlog("siem") == 0)

        asyncio.run(run())
        assert indexed(siem) == list(range(200))


def posted(siem):
    return [call for call in siem.hec.calls if not call.path.endswith("/ack")]


def test_what_was_not_acknowledged_is_sent_again_from_there_on(tmp_path):
    with Siem(Token(SECRET, use_ack=True)) as siem:
        siem.hec.answer(9)  # before the second of them
        lost = hec(siem, acknowledge=True, batch_bytes=4096, timeout_seconds=1)
        siem.hec.lose()
        sent(tmp_path, lost, records(0, 100), batch=100)
        assert sorted(set(indexed(siem))) == list(range(100))
        assert [event.fields["id"] for event in siem.hec.events] == [f"{number:032x}" for number in indexed(siem)]


def test_a_poisoned_event_in_a_later_batch_costs_itself_only(tmp_path):
    wanted = records(0, 60)
    wanted[40]["id"] = {"nested": "is refused in fields"}
    with Siem(Token(SECRET, use_ack=True)) as siem:
        settings = hec(siem, acknowledge=True, batch_bytes=4096, **PATIENT)
        progress = sent(tmp_path, settings, wanted, batch=60)
        assert indexed(siem) == [number for number in range(60) if number != 40]
        assert progress.refused == 1


@pytest.mark.parametrize("name", [FormatName.OCSF, FormatName.ECS, FormatName.CEF, FormatName.LEEF, FormatName.PANOS])
def test_any_format_over_hec(siem, tmp_path, name):
    wanted = list(CASES.values())
    sent(tmp_path, hec(siem, format=name, **PATIENT), wanted)
    form = FORMATS[name]
    assert [event.event for event in siem.hec.events] == [form.render(record) for record in wanted]
    assert [event.sourcetype for event in siem.hec.events] == [form.sourcetype(record) for record in wanted]


def test_index_and_source_type_by_kind_of_record(tmp_path):
    wanted = [CASES["flow-denied"], CASES["alert-tier-tampered"], CASES["alert-kernel-tampered"]]
    words = {"sourcetype": {"flow": "a", "alert": "b", "kernel-tampered": "c"}, "index": {"flow": "net"}}
    with Siem(Token(SECRET, indexes=("main", "net"))) as siem:
        sent(tmp_path, hec(siem, **words, **PATIENT), wanted)
        found = [(event.sourcetype, event.index) for event in siem.hec.events]
    assert found == [("a", "net"), ("b", "main"), ("c", "main")]


def test_an_index_that_is_refused_holds_and_what_stands_before_is_not_sent_twice(tmp_path):
    wanted = [*records(0, 5), *records(5, 5, kind="alert", alert="log-loss")]
    token = Token(SECRET, indexes=("main",))

    async def run(siem):
        async with delivering(tmp_path, hec(siem, index={"alert": "secret"}, **PATIENT)) as (outbox, delivery):
            outbox.put(wanted)
            await eventually(lambda: delivery.progress.on_hold and delivery.progress.failures > 3)
            assert outbox.backlog("siem") == 5
            token.indexes = ("main", "secret")
            await eventually(lambda: outbox.backlog("siem") == 0)

    with Siem(token) as siem:
        asyncio.run(run(siem))
        assert indexed(siem) == list(range(10))


def test_a_collector_that_wants_our_certificate_gets_it(tmp_path):
    with HecServer(Token(SECRET), client_certificate="required", tls_dir=tmp_path) as server:
        ours = issue(server.authority, "n1", tmp_path)
        base = {"name": "siem", "type": "hec", "url": server.url, "token_env": "TOKEN", "ca_file": server.ca_file}
        sent(tmp_path, HecSettings(**base, cert_file=ours.cert_file, key_file=ours.key_file, **PATIENT), records(0, 3))
        assert [event.event["sequence"] for event in server.events] == [0, 1, 2]


def test_certificates_may_be_renewed_while_it_runs(tmp_path):
    first, second = Siem(SECRET, tls_dir=tmp_path / "1"), Siem(SECRET, tls_dir=tmp_path / "2")
    shutil.copy(first.ca_file, tmp_path / "ca.pem")
    second.hec.start()
    settings = HecSettings(name="siem", type="hec", url=second.hec.url, token_env="TOKEN", ca_file=tmp_path / "ca.pem")

    async def run():
        async with delivering(tmp_path, settings) as (outbox, delivery):
            outbox.put(records(0, 3))
            await eventually(lambda: delivery.progress.on_hold)
            (tmp_path / "ca.pem").unlink()
            await eventually(lambda: "can't be read" in delivery.progress.trouble)
            shutil.copy(second.ca_file, tmp_path / "ca.pem")
            await eventually(lambda: outbox.backlog("siem") == 0)

    try:
        asyncio.run(run())
    finally:
        second.hec.stop()
    assert indexed(second) == [0, 1, 2]


@pytest.mark.parametrize("transport", ["hec", "syslog", "file"])
def test_a_record_that_does_not_fit_the_format_is_set_aside(siem, tmp_path, transport):
    wanted = [CASES["flow-denied"] | {"sequence": number} for number in range(5)]
    del wanted[2]["verdict"]
    out = tmp_path / "out"
    settings = {
        "hec": lambda: hec(siem, format=FormatName.CEF),
        "syslog": lambda: syslog(siem.syslog_tls, format=FormatName.CEF),
        "file": lambda: FileSettings(name="siem", type="file", path=str(out), format=FormatName.CEF),
    }[transport]()
    progress = sent(tmp_path, settings, wanted)
    assert (progress.sent, progress.refused) == (4, 1)
    (aside,) = (tmp_path / "refused.jsonl").read_text().splitlines()
    assert json.loads(aside)["record"]["sequence"] == 2


@pytest.mark.parametrize("known", [True, False])
def test_a_syslog_receiver_that_wants_our_certificate(tmp_path, known):
    with SyslogServer(tls=True, client_certificate="required", tls_dir=tmp_path) as server:
        ours = issue(server.authority, "n1", tmp_path)
        more = {"cert_file": ours.cert_file, "key_file": ours.key_file} if known else {}

        async def run():
            async with delivering(tmp_path, syslog(server, **more, **PATIENT)) as (outbox, delivery):
                outbox.put(records(0, 3))
                if known:
                    await eventually(lambda: outbox.written == 3 and outbox.backlog("siem") == 0)
                else:
                    await eventually(lambda: delivery.progress.trouble)
                    assert outbox.backlog("siem") == 3

        asyncio.run(run())
        assert len(server.messages) == (3 if known else 0)


@pytest.mark.parametrize("name", [FormatName.OCSF, FormatName.ECS, FormatName.CEF, FormatName.LEEF, FormatName.PANOS])
def test_any_format_over_syslog(siem, tmp_path, name):
    wanted = list(CASES.values())
    sent(tmp_path, syslog(siem.syslog_tls, format=name, facility=4, **PATIENT), wanted)
    messages = siem.syslog_tls.wait_for(lambda found: len(found) >= len(wanted), 30)
    assert [message.msg for message in messages] == [FORMATS[name].text(record) for record in wanted]
    assert {message.facility for message in messages} == {4}
    assert {message.app for message in messages} == ({""} if name is FormatName.PANOS else {"zone-enforcer"})


def test_alerts_only(siem, tmp_path):
    wanted = [*records(0, 5), *records(5, 1, kind="alert"), *records(6, 5)]
    sent(tmp_path, hec(siem, records=Records.ALERTS), wanted)
    assert indexed(siem) == [5]


@pytest.mark.parametrize("framing", ["octet-counted", "newline"])
def test_either_framing_arrives_whole_at_a_receiver_that_reads_no_other(tmp_path, framing):
    with SyslogServer(framing="octet" if framing == "octet-counted" else "newline") as server:
        progress = sent(tmp_path, syslog(server, framing=framing), records(0, 300))
        server.wait_for(lambda messages: len(messages) == 300, 60)
        assert [json.loads(message.msg)["sequence"] for message in server.messages] == list(range(300))
        assert server.errors == []
    assert (progress.sent, progress.arrival) == (300, "received")


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("which", ["syslog", "syslog_tls"])
def test_syslog_arrives_whole(siem, tmp_path, which, structured):
    server = getattr(siem, which)
    note = 'quoted "x" \\ back]slash\nnext line ü'
    sent(tmp_path, syslog(server, structured_data=structured), records(0, 200, note=note))
    messages = server.wait_for(lambda found: len(found) >= 200)
    assert server.errors == []
    assert [message.host for message in messages] == ["n1"] * 200
    if structured:
        assert messages[3].param("zonebridge@32473", "note") == note
        assert [int(each.param("zonebridge@32473", "sequence")) for each in messages] == list(range(200))
    else:
        assert [json.loads(each.msg)["sequence"] for each in messages] == list(range(200))
        assert json.loads(messages[0].msg)["note"] == note
    assert messages[0].severity == 5


def test_a_syslog_receiver_that_drops_and_goes_away_gets_everything(siem, tmp_path):
    server = siem.syslog_tls

    async def run():
        server.faults.add(Fault("reset", path="message"))
        async with delivering(tmp_path, syslog(server)) as (outbox, _):
            outbox.put(records(0, 50))
            await eventually(lambda: outbox.written == 50 and outbox.backlog("siem") == 0)
            await asyncio.to_thread(server.stop)
            outbox.put(records(50, 50))
            await eventually(lambda: outbox.written == 100)
            await asyncio.to_thread(server.start)
            await eventually(lambda: outbox.backlog("siem") == 0)

    asyncio.run(run())
    server.wait_for(lambda messages: {json.loads(each.msg)["sequence"] for each in messages} == set(range(100)))


def test_a_file_gets_json_lines(tmp_path):
    path = tmp_path / "out.jsonl"
    sent(tmp_path, FileSettings(name="siem", type="file", path=str(path)), records(0, 10))
    assert [json.loads(line) for line in path.read_text().splitlines()] == records(0, 10)


def test_who_is_away_holds_up_nobody_else(siem, tmp_path):
    """Two destinations, each with its own format and its own place in the spool."""
    siem.hec.stop()
    path = tmp_path / "out.log"
    settings = [
        hec(siem, name="splunk"),
        FileSettings(name="file", type="file", path=str(path), format=FormatName.PANOS),
    ]
    wanted = [flow(number) for number in range(50)]

    async def run():
        outbox = Outbox(Spool.open(tmp_path / "spool", ["splunk", "file"], 1 << 26, 1 << 20))
        senders = [sender(each, ENVIRONMENT) for each in settings]
        deliveries = [
            Delivery(each.name, outbox, transport, tmp_path / each.name, backoff=Backoff(0.01, 0.05))
            for each, transport in zip(settings, senders, strict=True)
        ]
        tasks = [asyncio.create_task(work) for work in (outbox.write(), *(each.deliver() for each in deliveries))]
        outbox.put(wanted)
        await eventually(lambda: outbox.written == 50 and outbox.backlog("file") == 0)
        await eventually(lambda: deliveries[0].progress.trouble)
        assert outbox.backlog("splunk") == 50
        await asyncio.to_thread(siem.hec.start)
        await eventually(lambda: outbox.backlog("splunk") == 0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for transport in senders:
            await transport.close()
        await outbox.close()

    asyncio.run(run())
    assert [event.event for event in siem.hec.events] == wanted
    assert path.read_text().splitlines() == [FORMATS[FormatName.PANOS].text(record) for record in wanted]


@pytest.mark.parametrize("name", [FormatName.CEF, FormatName.PANOS, FormatName.OCSF])
def test_any_format_into_a_file(tmp_path, name):
    path = tmp_path / "out.log"
    wanted = list(CASES.values())
    sent(tmp_path, FileSettings(name="siem", type="file", path=str(path), format=name), wanted)
    assert path.read_text(encoding="utf-8").split("\n") == [*(FORMATS[name].text(record) for record in wanted), ""]


def test_a_task_that_is_cancelled_while_the_disk_is_busy_loses_nothing(tmp_path, monkeypatch):
    """As at every stop: what it had begun to write is written, and the rest at the end."""

    async def run():
        outbox = Outbox(Spool.open(tmp_path / "spool", ["siem"], 1 << 26, 1 << 20))
        busy = threading.Event()
        stuck = asyncio.create_task(outbox._on_disk(busy.wait))
        writing = asyncio.create_task(outbox.write())
        outbox.put(records(0, 2500))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        busy.set()
        await stuck
        await outbox.close()
        assert outbox.written == 2500
        assert outbox.lost_in_memory == outbox.lost_on_disk == 0

    asyncio.run(run())


def test_a_spool_that_cannot_be_read_is_told_and_tried_again(siem, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    async def run():
        async with delivering(tmp_path, hec(siem, **PATIENT)) as (outbox, delivery):
            with monkeypatch.context() as patched:
                patched.setattr("enforcer.shipping.segments.Segment.records", broken)
                outbox.put(records(0, 3))
                await eventually(lambda: "Input/output error" in delivery.progress.trouble)
            await eventually(lambda: outbox.written == 3 and outbox.backlog("siem") == 0)

    asyncio.run(run())
    assert indexed(siem) == [0, 1, 2]


def test_a_flood_is_bounded_in_memory_and_counted(tmp_path):
    async def run():
        outbox = Outbox(Spool.open(tmp_path / "spool", ["siem"], 1 << 26, 1 << 20), capacity=100)
        outbox.put(records(0, 250))
        assert outbox.lost_in_memory == 150
        await outbox.close()
        assert outbox.written == 100

    asyncio.run(run())


def test_a_full_disk_loses_records_and_nothing_else(tmp_path, monkeypatch):
    async def run():
        outbox = Outbox(Spool.open(tmp_path / "spool", ["siem"], 1 << 26, 1 << 20))
        writing = asyncio.create_task(outbox.write())

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("enforcer.shipping.spool.os.write", full)
            outbox.put(records(0, 3))
            await eventually(lambda: outbox.lost_on_disk == 3)
        outbox.put(records(3, 1))
        await eventually(lambda: outbox.written == 1)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await outbox.close()

    asyncio.run(run())
