"""A real receiver, rsyslog, which asks for our certificate, understands what the bridge sends it."""

import asyncio

import pytest

from bridge.alerts import TierAlert
from bridge.service import shipping
from bridge.settings.models import SiemSettings
from bridge.wiring.siem import siem_sink
from tests.zones.siem.receivers.daemons import receiver
from zones.runtime.errors import SettingsError
from zones.siem.alerts import AlertKind

HOSTILE = 'rule "a" \\ says ]\nnew line, ü %d {'


def destination(directory, port, **more):
    files = {"caFile": directory / "ca.pem", "certFile": directory / "sender.pem", "keyFile": directory / "sender.key"}
    given = {"name": "log", "type": "syslog", "address": f"127.0.0.1:{port}", "timeout": "30s"}
    return SiemSettings.model_validate({"destinations": [given | files | more]})


def test_rsyslog_understands_an_alert(tmp_path):
    with receiver("rsyslog", tmp_path) as running:

        async def send():
            sink = siem_sink(destination(tmp_path, running.port), lambda *_: None)
            async with shipping(sink):
                await sink.send(
                    TierAlert(AlertKind.TIER_TAMPERED, "prod", "panorama", HOSTILE, about={"managers": ["kubectl"]})
                )

        asyncio.run(send())
        (line,) = running.understood("json", 1)
    assert (line["syslog"]["program"], line["syslog"]["msgid"], line["syslog"]["severity"]) == (
        "zonebridge",
        "tier-tampered",
        "3",
    )
    assert line["fields"]["message"] == HOSTILE
    assert line["fields"]["about"] == {"managers": ["kubectl"]}


def test_files_that_are_no_certificates_are_told(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(SettingsError, match=r"siem.destinations\[0\]: caFile, certFile or keyFile can't be used"):
        siem_sink(destination(tmp_path, 1), lambda *_: None)
