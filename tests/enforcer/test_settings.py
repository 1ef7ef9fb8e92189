"""The settings file: every fault at once, each with its path; secrets are named in it and never stand in it."""

import json

import pytest

from enforcer import wiring
from enforcer.rules.options import RulesetOptions
from enforcer.rules.ruleset import Mode
from enforcer.settings.models import load
from zones.runtime import settings_file
from zones.runtime.errors import ExitCode, SettingsError
from zones.runtime.types import host_and_port


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "enforcer.yaml"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def faults(path, environment=None):
    with pytest.raises(SettingsError) as caught:
        load(path, environment or {})
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    return sorted(caught.value.faults)


def hec(**more):
    return {"name": "siem", "type": "hec", "url": "https://siem:8088", "tokenEnv": "TOKEN"} | more


def test_the_least_settings_and_their_defaults(written):
    settings = load(written("cluster: prod"), {"NODE_NAME": "n7"})
    assert (settings.tier, settings.node_name, settings.mode) == ("panorama", "n7", Mode.ENFORCE)
    assert settings.spool_dir == settings.state_dir / "spool"


def test_the_environment_stands_above_the_file(written):
    path = written({"cluster": "prod", "mode": "enforce", "spool": {"maxBytes": "2MiB", "segmentBytes": "64KiB"}})
    environment = {
        "ZONEBRIDGE_MODE": "observe",
        "ZONEBRIDGE_SPOOL__MAX_BYTES": "4MiB",
        "ZONEBRIDGE_SERVICE_HOST": "10.0.0.1",
        "ZONEBRIDGE_PORT_443_TCP": "tcp://10.0.0.1:443",
        "ZONEBRIDGE_FLOWS__LABELS": "[app, team]",
    }
    settings = load(path, environment)
    assert settings.mode is Mode.OBSERVE
    assert (settings.spool.max_bytes, settings.spool.segment_bytes) == (4 * 2**20, 2**16)
    assert settings.flows.labels == ("app", "team")


def test_everything_may_come_from_the_environment():
    settings = load(None, {"ZONEBRIDGE_CLUSTER": "prod", "ZONEBRIDGE_NODE_NAME": "n1"})
    assert (settings.cluster, settings.node_name) == ("prod", "n1")


def test_all_faults_are_told_at_once(written):
    content = {
        "cluster": "not a name",
        "mode": "maybe",
        "colour": "red",
        "spool": {"maxBytes": "1MiB", "segmentBytes": "1MiB"},
        "metrics": {"address": "nowhere"},
        "podNetworks": ["10.0.0.0/33"],
        "destinations": [
            hec(url="ftp://siem"),
            hec(tokenFile="/t"),
            {"name": "x", "type": "syslog", "address": "siem:99999"},
            {"name": "y", "type": "carrier-pigeon"},
            {"name": "z", "type": "file", "path": "-", "token": "secret"},
        ],
    }
    found = faults(written(content))
    assert [fault.partition(":")[0] for fault in found] == [
        "cluster",
        "colour",
        "destinations",
        "destinations[0].url",
        "destinations[1]",
        "destinations[2].address",
        "destinations[3]",
        "destinations[4].token",
        "metrics.address",
        "mode",
        "podNetworks[0]",
        "spool",
    ]
    assert "colour: is not a setting" in found
    assert not any("secret" in fault for fault in found)


def test_two_destinations_of_one_name_are_a_fault(written):
    content = {"cluster": "prod", "destinations": [hec(), {"name": "siem", "type": "file", "path": "-"}]}
    found = faults(written(content), {"TOKEN": "x"})
    assert found == ["destinations: two have the name 'siem'; each needs its own"]


def test_missing_secrets_are_told(written, tmp_path):
    content = {
        "cluster": "prod",
        "destinations": [hec(), hec(name="b", tokenEnv=None, tokenFile=str(tmp_path / "none"), caFile="/no/ca")],
    }
    assert faults(written(content)) == [
        "destinations[0].tokenEnv: the environment variable TOKEN is not set",
        "destinations[1].caFile: there is no file /no/ca",
        f"destinations[1].tokenFile: there is no file {tmp_path / 'none'}",
    ]


@pytest.mark.parametrize("content", ["- a list", "a: [", "\x00"])
def test_a_file_that_is_no_mapping_is_told_in_one_line(written, content):
    (fault,) = faults(written(content))
    assert "\n" not in fault


def test_a_file_that_is_not_there(tmp_path):
    (fault,) = faults(tmp_path / "none.yaml")
    assert "-c" in fault


@pytest.mark.parametrize(
    ("text", "wanted"), [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:80", ("::1", 80)), ("siem:0", ("siem", 0))]
)
def test_addresses(text, wanted):
    assert host_and_port(text) == wanted


@pytest.mark.parametrize("text", ["siem", "::1:80", "siem:65536", ":80", "si em:1", "[::1]"])
def test_no_addresses(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        host_and_port(text)


@pytest.mark.parametrize("mask", [0x7, -1, 1 << 32])
def test_too_few_bits_of_the_connection_mark_are_refused(written, mask):
    (fault,) = faults(written({"cluster": "prod", "connectionMark": mask}))
    assert "connectionMark" in fault
    assert "4 bits or more" in fault


def test_the_connection_mark_may_be_nobodys(written):
    assert load(written({"cluster": "prod", "connectionMark": 0}), {}).connection_mark == 0


@pytest.mark.parametrize(
    ("content", "environment", "plain"),
    [
        ({}, {}, True),
        ({"mode": "observe", "nflog": {"group": 5, "burst": 6}, "connectionMark": 0xF00F}, {}, True),
        ({"mode": "observe"}, {"ZONEBRIDGE_MODE": "enforce"}, True),
        ({"nflog": {"rate": 7}}, {"ZONEBRIDGE_NFLOG__GROUP": "8"}, False),
        ({"connectionMark": "255"}, {}, False),
    ],
)
def test_what_a_restart_reads_plainly_is_what_the_whole_reading_makes_of_it(written, content, environment, plain):
    path = written({"cluster": "prod", **content})
    found = RulesetOptions.plainly(settings_file.written(path, environment, {"mode", "nflog", "connection_mark"}))
    assert (found is not None) is plain
    assert found in {None, wiring.options(load(path, environment))}


def test_an_environment_that_is_no_yaml_is_a_fault(written):
    (fault,) = faults(written("cluster: prod"), {"ZONEBRIDGE_DESTINATIONS": "[{"})
    assert "is not YAML" in fault
