"""The whole service with posture.watch: what can't be known of a cluster reaches the SIEM, one record for each check."""

import structlog

from bridge.posture.catalogue import CHECKS
from bridge.wiring.clusters import works
from mocks.panorama import Panorama, PanoramaServer
from mocks.siem import Siem
from tests.bridge.test_registration import Service, cluster, settings_of
from tests.panorama_xml import config_text

__all__ = ["cluster"]
TOKEN = "6f1f4c1e-3c0a-4a3e-9a51-1f0f3f6f2f5b"


def test_the_bridge_watches_and_tells_the_siem(tmp_path, cluster):
    """The mock of a cluster has no webhooks: what needs them is unknown, and said to be."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    config = Panorama(config_text(groups={"dg": ""}), users={"reader": "secret"}, commit_seconds=0)
    with Siem(TOKEN) as siem, PanoramaServer(config) as panorama, structlog.testing.capture_logs():
        hec = {
            "name": "splunk",
            "type": "hec",
            "url": siem.hec.url,
            "tokenFile": str(token),
            "caFile": str(siem.ca_file),
        }
        settings = settings_of(tmp_path, panorama, cluster, "dg", destinations=(hec,))
        watching = settings.model_copy(update={"posture": settings.posture.model_copy(update={"watch": True})})

        def drifts():
            return {
                each.event["subject"]: each.event
                for each in siem.hec.events
                if each.event["alert"] == "configuration-drift"
            }

        async def scenario(until):
            await until(lambda: "pod-admission" in drifts())

        service = Service(watching)
        service.run(scenario)
        record = drifts()["pod-admission"]
        assert record["state"] == "raised"
        assert record["severity"] == "low"
        assert record["about"]["result"] == "unknown"
        assert record["about"]["benchmark"] == "CIS 2.0.1 5.2.1"
        assert set(drifts()) <= {check.id for check in CHECKS}
        assert b'zonebridge_posture_checks{cluster="prod",result="unknown"}' in service.metrics.text()


def test_without_it_nothing_is_watched(tmp_path, cluster):
    with PanoramaServer(
        Panorama(config_text(groups={"dg": ""}), users={"reader": "secret"}, commit_seconds=0)
    ) as panorama:
        made = list(works(settings_of(tmp_path, panorama, cluster, "dg"), run_blocking=None))
    assert [work.posture for work in made] == [None]
