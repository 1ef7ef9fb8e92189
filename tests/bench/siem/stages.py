"""What each step of a record's way takes, and each format and transport: processor time of one thread, the best of some.

Every connection is another one; the addresses are a hundred.
"""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path

import trustme

from enforcer.flows.flow_table import FlowTable
from enforcer.flows.flows import FlowNames, name, read
from enforcer.netlink import nflog
from enforcer.netlink.messages import attribute, message, messages
from enforcer.netlink.nflog import Packet
from enforcer.reports.alert_table import AlertTable
from enforcer.rules.chains.verdict_chains import VerdictChain
from enforcer.shipping.spool import Spool
from tests.bench.enforcer import scale
from tests.bench.figures import Figure
from tests.bench.siem import flood
from tests.bench.siem.stage import PORT
from zones.addresses.inventory import Pod
from zones.policy import Verdict
from zones.rules import Log, Origin
from zones.siem.destinations import FileSettings, HecSettings, SyslogSettings
from zones.siem.formats.registry import FORMATS, FormatName, fitting
from zones.siem.outcome import Accepted, Delivered
from zones.siem.protocols import hec
from zones.siem.records import Stamp
from zones.siem.sender import Sender, appetite
from zones.siem.transports.file import FileSender
from zones.siem.transports.hec import HecSender
from zones.siem.transports.syslog import SyslogSender
from zones.zone import Zoning

MANY, SOME, ROUNDS, BATCH = 20_000, 4_000, 3, 1000
_RULE = "0123456789abcdef"
_TERMINAL = VerdictChain(
    Origin("web to data", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "pre", "k8s-prod"),
    Verdict.DENY,
    Log(start=True, profile="siem"),
)
_MAC = 14


def figures() -> Iterator[Figure]:
    payloads: list[bytes] = []
    yield from _way(payloads)
    yield from _formats(payloads[:SOME])
    yield from _transports(payloads[:SOME])


def _best(work: Callable[[], object], many: int = MANY) -> float:
    """Microseconds for each record."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return round(1e6 * min(times) / many, 2)


def _way(payloads: list[bytes]) -> Iterator[Figure]:
    datagrams = _datagrams()
    bodies = [each.body for datagram in datagrams for each in messages(datagram)]
    packets = [packet for body in bodies if (packet := nflog.parse(body))]
    names, stamp = FlowNames(_holders().get, Zoning(), "panorama", 7, ("app",)), Stamp("prod", "n1", "boot", 1)
    named = [name(seen, names) for packet in packets if (seen := read(packet, {_RULE: _TERMINAL}, 0.0))]

    def recorded() -> None:
        payloads.clear()
        table = FlowTable(5.0, MANY)
        for each in named:
            table.add(each, stamp)
        payloads.extend(table.take_all(stamp))

    alerts = AlertTable()
    wrapper = hec.Wrapper(hec.Envelope())
    yield _step("split", _best(lambda: [each.body for datagram in datagrams for each in messages(datagram)]))
    yield _step("decode", _best(lambda: [nflog.parse(body) for body in bodies]))
    yield _step("name", _best(lambda: _named(packets, names)))
    yield _step("record", _best(recorded))
    yield _step("alert", _best(lambda: [list(alerts.denied(each)) for each in named]))
    yield _step("spool", _best(lambda: _spooled(payloads)))
    yield _step("envelope", _best(lambda: [wrapper.wrapped(payload) for payload in payloads]))
    events = [event for payload in payloads if (event := wrapper.wrapped(payload))]
    yield _step("gzip", _best(lambda: [hec.body(events[at : at + BATCH]) for at in range(0, MANY, BATCH)]))


def _step(what: str, value: float) -> Figure:
    return Figure(f"siem.step.{what}", value, "us a record")


def _named(packets: Sequence[Packet], names: FlowNames) -> None:
    for packet in packets:
        seen = read(packet, {_RULE: _TERMINAL}, 0.0)
        if seen is not None:
            name(seen, names)


def _spooled(payloads: Sequence[bytes]) -> None:
    """Written, read and acknowledged, in batches."""
    with tempfile.TemporaryDirectory() as directory:
        spool = Spool.open(Path(directory), ["siem"], 1 << 30, 8 << 20)
        for at in range(0, MANY, BATCH):
            spool.append(payloads[at : at + BATCH])
            while stored := spool.read("siem", BATCH):
                spool.acknowledge("siem", stored[-1])
        spool.close()


def _formats(payloads: Sequence[bytes]) -> Iterator[Figure]:
    """As HEC sends them: read from the spool's JSON, rendered, in their envelope."""
    for form in FORMATS:
        settings = HecSettings(
            name="siem", type="hec", url="https://127.0.0.1", token_env="T", format=form, records="flows"
        )
        sender = HecSender(settings, lambda: "")
        cost = _best(lambda sender=sender: fitting(payloads, sender._event), SOME)  # type: ignore[misc]
        yield Figure(f"siem.format.{form}", round(1e6 / cost), "records/s of one core")


def _transports(payloads: Sequence[bytes]) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        port, sink = _sink(where)
        try:
            for form in (FormatName.JSON, FormatName.CEF, FormatName.PANOS):
                syslog = SyslogSettings(
                    name="siem", type="syslog", address=f"127.0.0.1:{port}", ca_file=where / "ca.pem", format=form
                )
                yield _transport(f"syslog-tls.{form}", SyslogSender(syslog), appetite(syslog)[0], payloads)
            file = FileSettings(name="siem", type="file", path=str(where / "out"))
            yield _transport("file.json", FileSender(file), appetite(file)[0], payloads)
        finally:
            sink.kill()
            sink.communicate()


def _sink(where: Path) -> tuple[int, subprocess.Popen[str]]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(where / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(where / "sink.pem"))
    command = [sys.executable, "-m", "tests.bench.siem.sink", "0", str(where / "sink.pem")]
    sink = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if sink.stdout is None:
        raise RuntimeError("the sink has no output")
    return int(sink.stdout.readline()), sink


def _transport(what: str, sender: Sender, most: int, payloads: Sequence[bytes]) -> Figure:
    async def sent() -> None:
        at = 0
        while at < len(payloads):
            tried, outcome = await sender.send(payloads[at : at + most])
            if not isinstance(outcome, Accepted | Delivered):
                raise RuntimeError(f"{what}: {outcome}")  # noqa: TRY004 - not a wrong type
            at += tried
        await sender.close()

    cost = _best(lambda: asyncio.run(sent()), SOME)
    return Figure(f"siem.transport.{what}", round(1e6 / cost), "records/s of one core")


def _datagrams() -> list[bytes]:
    """As the kernel sends them: first packets of TCP connections."""
    hosts = [IPv4Address(int(scale.PODS.network_address) + 2 + number) for number in range(100)]
    frames = flood.frames(MANY, list(pairwise(hosts)), PORT)
    bodies = [_body(number, frame[_MAC:54]) for number, frame in enumerate(frames)]
    return [b"".join(message(0x400, 0, 0, body) for body in bodies[at : at + 500]) for at in range(0, MANY, 500)]


def _body(number: int, payload: bytes) -> bytes:
    when = struct.pack(">QQ", 1_795_260_148 + number // 20_000, number % 20_000 * 50)
    parts = [(1, bytes(4)), (10, f"zb:{_RULE}:o\0".encode()), (4, bytes(4)), (5, bytes(4)), (8, bytes(12))]
    parts += [(15, bytes(2)), (17, bytes(2)), (16, bytes(14)), (3, when), (12, bytes(4)), (9, payload)]
    return bytes(4) + b"".join(attribute(kind, value) for kind, value in parts)


def _holders() -> dict[IPv4Address, Pod]:
    found = {}
    for number in range(100):
        address = IPv4Address(int(scale.PODS.network_address) + 2 + number)
        labels = {scale.LABEL: f"zone-{number % 40}", "app": "shop"}
        found[address] = Pod(
            str(number), "shop", f"app-{number}-7d4b9c6f5-x2x4z", "n1", "Running", (address,), labels, f"app-{number}",
            allowed=frozenset({"*"}),
        )  # fmt: skip
    return found
