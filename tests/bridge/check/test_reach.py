"""`zonebridge check` really dials: Panorama and the SIEM as mocks that serve TLS, each fault in its own words."""

import asyncio
from pathlib import Path

import pytest

from bridge.check import reach
from bridge.settings.models import BridgeSettings
from mocks.panorama import Panorama, PanoramaServer
from mocks.siem import Siem
from tests.panorama_xml import config_text, rule, rulebase

TOKEN = "6f1f4c1e-3c0a-4a3e-9a51-1f0f3f6f2f5b"


class World:
    """A Panorama and a SIEM, and settings that are right for both."""

    def __init__(self, directory, panorama, siem):
        self.directory, self.panorama, self.siem = directory, panorama, siem
        key, token = directory / "api-key", directory / "token"
        key.write_text(panorama.panorama.keys.generate("reader"))
        token.write_text(TOKEN)
        host = f"127.0.0.1:{panorama.port}"
        self.manager = {"hosts": [host], "apiKeyFile": str(key), "caFile": str(panorama.ca_file), "timeout": "2s"}
        self.group = "dg"
        authority = str(siem.ca_file)
        self.hec = {"name": "splunk", "type": "hec", "url": siem.hec.url, "tokenFile": str(token), "caFile": authority}
        self.syslog = {"name": "qradar", "type": "syslog", "address": f"127.0.0.1:{siem.syslog_tls.port}"}
        self.syslog |= {"caFile": authority, "timeout": "3s"}

    def found(self, *destinations):
        """What was wrong, by what was asked."""
        settings = BridgeSettings.model_validate(
            {
                "panorama": self.manager,
                "clusters": [{"name": "c", "deviceGroup": self.group, "inCluster": True}],
                "siem": {"destinations": destinations},
            }
        )
        reached = asyncio.run(reach.ask(settings))
        assert all(each.do for each in reached if each.problem), "each fault says what to do"
        return {each.what: each.problem for each in reached}


@pytest.fixture
def world(tmp_path):
    panorama = Panorama(config_text(groups={"dg": rulebase("pre", rule("one"))}), users={"reader": "secret"})
    with PanoramaServer(panorama) as server, Siem(TOKEN) as siem:
        yield World(tmp_path, server, siem)


def test_all_that_is_well_is_reached_and_no_record_is_sent(world):
    found = world.found(world.hec, world.syslog)
    assert set(found.values()) == {""}, found
    assert len(found) == 3
    assert any("1 rules" in what for what in found)
    assert not world.siem.hec.events
    assert not world.siem.syslog_tls.messages


def spoil_key(world):
    Path(world.manager["apiKeyFile"]).write_text("LUFRPT1abc==")
    return "Panorama", "refuses our credentials"


def spoil_group(world):
    world.group = "nobody"
    return "Panorama", "nobody"


def spoil_panoramas_authority(world):
    world.manager["caFile"] = str(world.siem.ca_file)
    return "Panorama", "certificate"


def spoil_panorama_away(world):
    world.manager["hosts"] = ["127.0.0.1:1"]
    return "Panorama", "refused"


def spoil_token(world):
    Path(world.hec["tokenFile"]).write_text("00000000-0000-0000-0000-000000000000")
    return "'splunk'", "Invalid token"


def spoil_token_file(world):
    Path(world.hec["tokenFile"]).unlink()
    return "'splunk'", "the token can't be read"


def spoil_collectors_authority(world):
    world.hec["caFile"] = str(world.panorama.ca_file)
    return "'splunk'", "certificate verify failed"


def spoil_authority_file(world):
    path = world.directory / "none.pem"
    path.write_text("no certificate")
    world.hec["caFile"] = str(path)
    return "'splunk'", "caFile"


def spoil_collector_away(world):
    world.siem.hec.stop()
    return "'splunk'", "can't be reached"


def spoil_no_collector(world):
    world.hec["url"] = f"https://127.0.0.1:{world.panorama.port}"
    world.hec["caFile"] = str(world.panorama.ca_file)
    return "'splunk'", "is the address that of an HTTP Event Collector?"


def spoil_receivers_authority(world):
    world.syslog["caFile"] = str(world.panorama.ca_file)
    return "'qradar'", "certificate verify failed"


def spoil_plain_receiver(world):
    world.syslog["address"] = f"127.0.0.1:{world.siem.syslog.port}"
    return "'qradar'", "can't be reached"


@pytest.mark.parametrize("spoil", [each for name, each in list(globals().items()) if name.startswith("spoil_")])
def test_each_fault_is_told_of_the_one_that_has_it(world, spoil):
    where, why = spoil(world)
    found = world.found(world.syslog if "qradar" in where else world.hec)
    (troubled,) = (what for what, problem in found.items() if problem)
    assert where in troubled
    assert why in found[troubled]
    assert TOKEN not in str(found)
