"""A node whose disk takes nothing: the rules are enforced, an agent that starts there too, and the SIEM hears of it."""

import asyncio
import contextlib
import json

import pytest

from tests.enforcer import disks
from tests.enforcer import smallcluster as cluster
from tests.enforcer.shipping.test_delivery import delivering, records
from tests.enforcer.test_agent import PORT, Stage
from zones.siem.destinations import FileSettings

pytestmark = pytest.mark.kernel


@pytest.fixture
def stage(tmp_path):
    with contextlib.ExitStack() as stack:
        stack.enter_context(disks.small(tmp_path / "state", 1 << 20))
        yield Stage(stack, tmp_path)


def started(stage, until):
    stage.start()
    until(lambda: '"running"' in stage.last_log(), 40)


def killed(stage):
    stage.agents[-1].kill()
    stage.agents[-1].wait()


def told(stage, words):
    return [alert for alert in stage.alerts("node-problem") if words in alert["message"]]


def spooled(stage):
    """Sizes of segments; one that is removed while we look is none."""
    sizes = {}
    for path in (stage.directory / "state/spool").glob("*.segment"):
        with contextlib.suppress(FileNotFoundError):
            sizes[path.name] = path.stat().st_size
    return sizes


def test_a_disk_that_takes_nothing_stops_neither_enforcement_nor_reports(stage, until):
    cluster.publish(stage.kubernetes, cluster.tier(1, PORT))
    started(stage, until)
    until(lambda: stage.reaches(PORT) and not stage.reaches(22), 40)
    filler = disks.fill(stage.directory / "state")
    cluster.publish(stage.kubernetes, cluster.tier(2, PORT, 22))
    until(lambda: stage.reaches(22), 40)
    cluster.publish(stage.kubernetes, cluster.tier(3, PORT))
    until(lambda: not stage.reaches(22), 40)
    until(lambda: not stage.reaches(22) and told(stage, "No space left"), 40)
    killed(stage)
    started(stage, until)
    cluster.publish(stage.kubernetes, cluster.tier(4, PORT, 22))
    until(lambda: stage.reaches(22), 40)
    until(lambda: not stage.reaches(23) and [each for each in stage.flows() if each.get("revision") == 4], 40)
    before = spooled(stage)
    filler.unlink()
    until(lambda: not stage.reaches(23) and spooled(stage) != before, 40)
    killed(stage)
    with disks.read_only(stage.directory / "state"):
        started(stage, until)
        cluster.publish(stage.kubernetes, cluster.tier(5, PORT))
        until(lambda: not stage.reaches(22), 40)
        until(lambda: told(stage, "Read-only"), 40)
        until(lambda: not stage.reaches(22) and [each for each in stage.flows() if each.get("revision") == 5], 40)
        killed(stage)


def test_a_file_on_a_full_disk_has_whole_lines_and_each_once(tmp_path):
    with disks.small(tmp_path / "disk", 1 << 20) as disk:
        filler = disks.fill(disk, but=30_000)
        settings = FileSettings(name="siem", type="file", path=str(disk / "out.jsonl"))

        async def run():
            async with delivering(tmp_path, settings, batch=30) as (outbox, delivery):
                outbox.put(records(0, 500))
                await cluster.eventually(lambda: "No space left" in delivery.progress.trouble)
                filler.unlink()
                await cluster.eventually(lambda: outbox.written == 500 and outbox.backlog("siem") == 0)

        asyncio.run(run())
        assert [json.loads(line) for line in (disk / "out.jsonl").read_text().splitlines()] == records(0, 500)
