"""Settings that were renamed: the former key means the same for one release, and is noticed."""

import json

import pytest
import structlog
import yaml

from bridge.settings import file as bridge_file
from bridge.settings.models import BridgeSettings
from enforcer.settings import models as enforcer_models
from enforcer.settings.models import EnforcerSettings
from tools.models import definitions
from zones.runtime import logs
from zones.runtime.errors import SettingsError as BridgeSettingsError
from zones.runtime.errors import SettingsError as EnforcerSettingsError
from zones.runtime.settings_file import _sections, former_keys, renamed

HEC = {"name": "siem", "type": "hec", "url": "https://siem:8088", "tokenEnv": "TOKEN"}
SYSLOG = {"name": "siem", "type": "syslog", "address": "siem:6514"}
CLOUDWATCH = {"name": "siem", "type": "cloudwatch", "region": "eu-west-1", "group": "g"}
# Program, what it says by the former key and by today's, and the former key's place.
RENAMED = [
    ("bridge", {"serving": {"address": "[::1]:1"}}, {"metrics": {"address": "[::1]:1"}}, "serving"),
    ("enforcer", {"spool": {"syncSeconds": 0.25}}, {"spool": {"syncInterval": "250ms"}}, "spool.syncSeconds"),
    ("enforcer", {"flows": {"windowSeconds": 7}}, {"flows": {"window": "7s"}}, "flows.windowSeconds"),
    ("enforcer", {"seen": {"windowSeconds": 90}}, {"seen": {"window": "1m30s"}}, "seen.windowSeconds"),
    ("enforcer", {"alerts": {"windowSeconds": 30}}, {"alerts": {"window": "30s"}}, "alerts.windowSeconds"),
    ("enforcer", {"alerts": {"staleSeconds": 600}}, {"alerts": {"staleAfter": "10m"}}, "alerts.staleSeconds"),
    ("enforcer", {"reconcile": {"minSeconds": 0}}, {"reconcile": {"minInterval": "0s"}}, "reconcile.minSeconds"),
    ("enforcer", {"reconcile": {"maxSeconds": 60}}, {"reconcile": {"maxInterval": "1m"}}, "reconcile.maxSeconds"),
    *(
        (
            "enforcer",
            {"destinations": [kind | {"timeoutSeconds": 3600}]},
            {"destinations": [kind | {"timeout": "1h"}]},
            "destinations[0].timeoutSeconds",
        )
        for kind in (HEC, SYSLOG, CLOUDWATCH)
    ),
]
REST = {"bridge": {}, "enforcer": {"cluster": "prod", "nodeName": "n1"}}


def loaded(program, path, environment=None):
    variables = {"TOKEN": "x"} | (environment or {})
    if program == "bridge":
        return bridge_file.load(path, variables, bridge_file.Purpose.OFFLINE)
    return enforcer_models.load(path, variables)


@pytest.fixture
def written(tmp_path):
    def write(program, content):
        path = tmp_path / "settings.yaml"
        path.write_text(json.dumps(REST[program] | content))
        return path

    return write


@pytest.mark.parametrize(("program", "former", "today", "place"), RENAMED)
def test_a_former_key_means_the_same_and_is_noticed(written, program, former, today, place):
    by_former = loaded(program, written(program, former))
    (notice,) = by_former.notices
    assert f"settings.yaml: {place} is called " in notice
    by_today = loaded(program, written(program, today))
    assert by_today.notices == ()
    assert by_former.model_dump() == by_today.model_dump() != loaded(program, written(program, {})).model_dump()


def models(model):
    yield model
    for field in model.model_fields.values():
        for section in _sections(field.annotation):
            yield from models(section)


def test_every_renamed_setting_is_tried_above():
    former = {
        (program, key)
        for program, root in (("bridge", BridgeSettings), ("enforcer", EnforcerSettings))
        for model in models(root)
        for field in model.model_fields.values()
        for key in former_keys(field)
    }
    assert former == {(program, place.rpartition(".")[2]) for program, _, _, place in RENAMED}


def test_a_former_variable_stands_above_a_file_of_today(written):
    path = written("enforcer", {"alerts": {"staleAfter": "1m", "window": "2m"}})
    settings = loaded("enforcer", path, {"ZONEBRIDGE_ALERTS__STALE_SECONDS": "90"})
    assert (settings.alerts.stale_seconds, settings.alerts.window_seconds) == (90.0, 120.0)
    assert settings.notices == (
        "the environment: alerts.staleSeconds is called alerts.staleAfter now; the next release will refuse the old name",
    )
    path = written("bridge", {"metrics": {"address": "[::1]:1"}})
    assert loaded("bridge", path, {"ZONEBRIDGE_SERVING__ADDRESS": "[::1]:2"}).metrics.address == "[::1]:2"
    assert loaded("bridge", path, {"ZONEBRIDGE_METRICS__ADDRESS": "[::1]:3"}).metrics.address == "[::1]:3"


def test_a_file_with_both_names_is_refused(written):
    with pytest.raises(EnforcerSettingsError) as wrong:
        loaded("enforcer", written("enforcer", {"alerts": {"staleSeconds": 60, "staleAfter": "2m"}}))
    assert wrong.value.faults == ("alerts.staleSeconds: is not a setting",)
    with pytest.raises(BridgeSettingsError) as wrong:
        loaded("bridge", written("bridge", {"serving": {"address": None}, "metrics": {"address": None}}))
    assert wrong.value.faults == ("serving: is not a setting",)


@pytest.mark.parametrize("odd", [None, "x", 3, [], [1], [None, {"type": []}], {"a": 1}, [{"timeoutSeconds": 1}]])
@pytest.mark.parametrize("key", ["destinations", "alerts", "log", "podNetworks"])
def test_what_is_no_section_is_left_as_it_is(key, odd):
    assert renamed(EnforcerSettings, {key: odd}) == ({key: odd}, [])


def test_the_log_has_each_notice(written):
    settings = loaded("enforcer", written("enforcer", {"flows": {"windowSeconds": 7}, "alerts": {"windowSeconds": 7}}))
    with structlog.testing.capture_logs() as lines:
        logs.note(settings.notices)
    assert [line["log_level"] for line in lines] == ["warning", "warning"]
    assert ["flows.windowSeconds" in lines[0]["reason"], "alerts.windowSeconds" in lines[1]["reason"]] == [True, True]


def test_the_schema_has_both_names_for_the_same():
    found = definitions()
    alerts = found["enforcer.AlertSettings"]["properties"]
    assert alerts["staleSeconds"] == alerts["staleAfter"]
    assert "pattern" in alerts["staleAfter"]
    assert found["bridge.Settings"]["properties"]["serving"] == found["bridge.Settings"]["properties"]["metrics"]


@pytest.mark.parametrize("text", ["10s", "5m", "1h", "1m30s", "250ms", "90", "2d", 7, 0.5])
def test_both_programs_read_a_duration_alike(written, text):
    bridge = loaded("bridge", written("bridge", {"staleAfter": text}))
    enforcer = loaded("enforcer", written("enforcer", {"alerts": {"staleAfter": text}}))
    assert bridge.stale_after.total_seconds() == enforcer.alerts.stale_seconds


@pytest.mark.parametrize("text", ["soon", "-1", 0, True, "1w", "", [], "1e400"])
def test_both_programs_refuse_what_is_no_duration(written, text):
    with pytest.raises(BridgeSettingsError, match="staleAfter: "):
        loaded("bridge", written("bridge", {"staleAfter": text}))
    with pytest.raises(EnforcerSettingsError, match=r"alerts\.staleAfter: "):
        loaded("enforcer", written("enforcer", {"alerts": {"staleAfter": text}}))


SECRETS = [
    ("siem.destinations[0].token", {"siem": {"destinations": [HEC | {"tokenEnv": None}]}}, "token"),
    ("wakeUp.token", {"wakeUp": {"address": "[::1]:1"}}, "token"),
    ("preview.token", {"preview": {"address": "[::1]:1"}}, "token"),
    ("evidence.collector.token", {"evidence": {"url": "sqlite:////e", "collector": {"address": "[::1]:1"}}}, "token"),
    ("evidence.password", {"evidence": {"url": "postgresql://z@db/e"}}, "password"),
    ("panorama.apiKey", {"panorama": {"hosts": ["p"]}}, "apiKey"),
    ("panorama.password", {"panorama": {"hosts": ["p"], "username": "z"}}, "password"),
    ("registration.apiKey", {"registration": {"enabled": True, "username": "z"}}, "apiKey"),
    ("registration.password", {"registration": {"enabled": True, "username": "z"}}, "password"),
]


@pytest.mark.parametrize(("place", "content", "secret"), SECRETS, ids=[place for place, _, _ in SECRETS])
def test_every_secret_is_a_file_or_a_variable(tmp_path, place, content, secret):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("x")
    rest = {
        "panorama": {"hosts": ["p"], "apiKeyFile": str(kubeconfig)},
        "clusters": [{"name": "c", "deviceGroup": "dg", "kubeconfig": str(kubeconfig)}],
    }

    def load(variables, **named):
        whole = rest | json.loads(json.dumps(content))
        section = whole
        for part in place.replace("[0]", ".0").split(".")[:-1]:
            section = section[int(part)] if part.isdigit() else section[part]
        section |= named
        path = tmp_path / "zonebridge.yaml"
        path.write_text(yaml.safe_dump(whole))
        return bridge_file.load(path, variables, bridge_file.Purpose.SERVICE)

    load({"SECRET": "s"}, **{f"{secret}Env": "SECRET"})
    load({}, **{f"{secret}File": str(kubeconfig)})
    with pytest.raises(BridgeSettingsError) as wrong:
        load({}, **{f"{secret}Env": "SECRET"})
    assert wrong.value.faults == (f"{place}Env: the environment variable SECRET is not set",)
    with pytest.raises(BridgeSettingsError, match=r"give (either|exactly one|at most one)"):
        load({"SECRET": "s"}, **{f"{secret}Env": "SECRET", f"{secret}File": str(kubeconfig)})
