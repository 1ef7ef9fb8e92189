"""What the kernel logs while nobody is known yet: it waits for names, not for ever, and never gets one that is a guess."""

import asyncio
from types import SimpleNamespace

import pytest

from enforcer.flows.flows import UNKNOWN_ZONE, FlowNames
from enforcer.netlink import nflog
from enforcer.nflog_reader import LogReader
from tests.enforcer.reports.test_flows import NAMES
from tests.enforcer.smallcluster import eventually
from tests.enforcer.test_service import FakeLog, denied
from zones.zone import Zoning

NAMELESS = FlowNames({}.get, Zoning(), known=False)


@pytest.mark.parametrize(("seconds", "becomes_known"), [(60.0, True), (0.1, False)])
def test_nobody_is_named_before_everything_was_listed(monkeypatch, seconds, becomes_known):
    monkeypatch.setattr("enforcer.nflog_reader._NAMES_SECONDS", seconds)
    monkeypatch.setattr(nflog, "parse", lambda packet: packet)
    current, told, log = [NAMELESS], [], FakeLog()

    def packets(found, _terminals, names, _now):
        told.extend((names.end(packet.source).zone, names.end(packet.destination).zone) for packet in found)

    audit = SimpleNamespace(begin=lambda: None)
    reporter, outbox = SimpleNamespace(packets=packets), SimpleNamespace(crowded=False)
    reader = LogReader(lambda: log, audit, reporter, outbox, SimpleNamespace(terminals={}))

    async def run():
        task = asyncio.create_task(reader.run(lambda: current[0]))
        log.put(denied())
        await eventually(lambda: reader.intake)
        if becomes_known:
            await eventually(lambda: len(reader.intake) == 1)
            assert told == []
            current[0] = NAMES
        await eventually(lambda: told)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert told == [("web", "outside") if becomes_known else (UNKNOWN_ZONE, UNKNOWN_ZONE)]
