"""The whole service: what is wrong with a tier or its cluster reaches the SIEM, and again after a restart."""

import structlog

from mocks.panorama import Panorama, PanoramaServer
from mocks.serving import Fault
from mocks.siem import Siem
from tests.bridge.test_registration import Service, cluster, settings_of
from tests.panorama_xml import config_text, rule, rulebase

__all__ = ["cluster"]
TOKEN = "6f1f4c1e-3c0a-4a3e-9a51-1f0f3f6f2f5b"
BY_USER = "<source-user><member>bob</member></source-user>"
BAD = config_text(groups={"dg": rulebase("pre", rule("by user", "deny", extra=BY_USER))})


def told(siem, name, state="raised"):
    return [each.event for each in siem.hec.events if (each.event["alert"], each.event["state"]) == (name, state)]


def test_refused_and_unreachable_reach_the_siem_and_again_after_a_restart(tmp_path, cluster):
    token = tmp_path / "token"
    token.write_text(TOKEN)
    config = Panorama(BAD, users={"reader": "secret"}, commit_seconds=0)
    with Siem(TOKEN) as siem, PanoramaServer(config) as panorama, structlog.testing.capture_logs() as logs:
        hec = {
            "name": "splunk",
            "type": "hec",
            "url": siem.hec.url,
            "tokenFile": str(token),
            "caFile": str(siem.ca_file),
        }
        address = f"127.0.0.1:{siem.syslog_tls.port}"
        syslog = {"name": "log", "type": "syslog", "address": address, "caFile": str(siem.ca_file)}
        settings = settings_of(tmp_path, panorama, cluster, "dg", destinations=(hec, syslog))

        async def first(until):
            await until(lambda: told(siem, "revision-refused"))

        async def second(until):
            await until(lambda: len(told(siem, "revision-refused")) == 2)
            service.works[0].reach._patience = 0.5
            cluster.faults.add(Fault("status", times=1_000_000, status=503))
            await until(lambda: told(siem, "cluster-unreachable"))
            cluster.faults.queue.clear()
            await until(lambda: told(siem, "cluster-unreachable", "resolved"))

        Service(settings).run(first)
        service = Service(settings)
        service.run(second)
        before, after = told(siem, "revision-refused")
        assert before["id"] != after["id"], "the next process tells what is still wrong"
        assert "by user" in after["message"]
        assert after["cluster"] == "prod"
        siem.syslog_tls.wait_for(
            lambda messages: {m.msgid for m in messages} >= {"revision-refused", "cluster-unreachable"}, 60
        )
        assert b'zonebridge_siem_alerts_total{destination="splunk",fate="sent"}' in service.metrics.text()
    assert TOKEN not in str(logs)
