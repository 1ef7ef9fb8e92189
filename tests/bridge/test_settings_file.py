"""The settings file: what it may say, and every fault at once with its path."""

from datetime import timedelta
from ipaddress import ip_network

import pytest

from bridge.settings.file import Purpose, load
from bridge.wiring.clusters import read_options
from zones.compile import AppIdSide, OnInexpressibleDeny
from zones.runtime.errors import ExitCode, SettingsError

WHOLE = """
panorama:
  hosts: [panorama-a.example.com, panorama-b.example.com]
  apiKeyFile: {secret}
  caFile: {secret}
  timeout: 20s
  pollInterval: 1m30s
clusters:
  - {{name: prod, deviceGroup: DG prod, kubeconfig: {secret}, tier: panorama, serial: "0070", zones: [web, db]}}
  - {{name: here, deviceGroup: DG here, inCluster: true}}
zones:
  labelKey: example.com/zone
  networks:
    corp: [10.0.0.0/8]
    untrust: [0.0.0.0/0, "::/0"]
appId: {{side: either}}
inexpressibleDeny: widen
objects: {{ancestorsWin: true}}
timeZone: Europe/Berlin
infrastructure: {{systemNamespaces: [kube-system, ops], dns: {{namespaces: [dns], workloads: [Core_DNS]}}}}
guards: {{maxDeletedShare: 0.25, allowEmpty: true}}
staleAfter: 5m
siem: {{kubernetesEvents: false}}
metrics: {{address: "[::1]:9000"}}
"""


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("key\n")
    return path


def written(tmp_path, text):
    path = tmp_path / "zonebridge.yaml"
    path.write_text(text)
    return path


def faults(tmp_path, text, purpose=Purpose.SERVICE, environment=None):
    with pytest.raises(SettingsError) as wrong:
        load(written(tmp_path, text), environment or {}, purpose)
    assert wrong.value.exit_code is ExitCode.BAD_INPUT
    return wrong.value.faults


def test_a_whole_file_is_read(tmp_path, secret):
    settings = load(written(tmp_path, WHOLE.format(secret=secret)), {}, Purpose.SERVICE)
    assert settings.panorama.poll_interval == timedelta(seconds=90)
    assert settings.clusters[0].zones == ("web", "db")
    assert settings.app_id.side is AppIdSide.EITHER
    assert settings.inexpressible_deny is OnInexpressibleDeny.WIDEN
    zoning = settings.zones.zoning()
    assert zoning.networks[0] == (ip_network("10.0.0.0/8"), "corp")
    dns = next(each for each in settings.infrastructure.rules() if each.name == "dns")
    assert dns.destination.workloads == {"core-dns"}


def test_offline_needs_no_file_and_no_panorama(tmp_path):
    assert load(None, {}, Purpose.OFFLINE).zones.default == "default"
    assert load(written(tmp_path, "timeZone: Asia/Tokyo"), {}, Purpose.OFFLINE).time_zone == "Asia/Tokyo"


def test_all_faults_at_once_each_with_its_path(tmp_path):
    found = faults(
        tmp_path,
        """
panorama: {hosts: [], apiKey: x, colour: red}
clusters:
  - {name: a, deviceGroup: DG, inCluster: true, tier: No Tier}
  - {name: b, deviceGroup: DG}
zones: {networks: {corp: [10.0.0.1/8], untrust: [all]}}
timeZone: Mars
staleAfter: soon
guards: {maxDeletedShare: 2}
metrics: {address: nowhere}
pollInterval: 3
""",
    )
    paths = [fault.split(": ")[0] for fault in found]
    assert paths == [
        "panorama.apiKey",
        "panorama.hosts",
        "panorama.colour",
        "clusters[0].tier",
        "clusters[1]",
        "zones.networks.corp[0]",
        "zones.networks.untrust[0]",
        "timeZone",
        "guards.maxDeletedShare",
        "staleAfter",
        "metrics.address",
        "pollInterval",
    ]


def test_the_service_needs_a_panorama_and_a_cluster(tmp_path):
    assert [fault.split(":")[0] for fault in faults(tmp_path, "")] == ["panorama", "clusters"]


def test_files_that_are_not_there_are_named(tmp_path, secret):
    text = WHOLE.format(secret=secret).replace(f"apiKeyFile: {secret}", "apiKeyFile: /no/such/key")
    assert faults(tmp_path, text) == ("panorama.apiKeyFile: there is no file /no/such/key",)


def test_the_api_server_is_a_switch_or_a_section(tmp_path):
    texts = ["false", "true", "{addresses: [192.0.2.0/28], ports: [443], webhookNamespaces: [cert-manager]}"]
    read = [
        load(written(tmp_path, f"infrastructure: {{apiServer: {text}}}"), {}, Purpose.OFFLINE).infrastructure.api_server
        for text in texts
    ]
    assert [each.enabled for each in read] == [False, True, True]
    assert [rule.name for rule in read[2].rules()] == ["api-server", "from-api-server"]
    assert not read[0].rules()
    wrong = faults(tmp_path, "infrastructure: {apiServer: {addresses: [192.0.2.1]}}", Purpose.OFFLINE)
    assert wrong == ("infrastructure.apiServer: addresses need ports: where the API server listens, as ports: [6443]",)
    wrong = faults(tmp_path, "infrastructure: {apiServer: {ports: [0]}}", Purpose.OFFLINE)
    assert wrong[0].startswith("infrastructure.apiServer.ports[0]:")


@pytest.mark.parametrize(
    ("panorama", "fault"),
    [
        ("hosts: [a]", "exactly one"),
        ("hosts: [a], apiKeyFile: k, passwordFile: k, username: u", "exactly one"),
        ("hosts: [a], passwordFile: k", "belong together"),
        ("hosts: [a], apiKeyFile: k, username: u", "belong together"),
    ],
)
def test_there_is_one_way_in(tmp_path, panorama, fault):
    assert fault in faults(tmp_path, f"panorama: {{{panorama}}}", Purpose.OFFLINE)[0]


def test_a_prefix_in_two_zones_and_a_cluster_twice(tmp_path):
    text = "zones: {networks: {a: [10.0.0.0/8], b: [10.0.0.0/8]}}"
    assert faults(tmp_path, text, Purpose.OFFLINE) == ("zones.networks: 10.0.0.0/8 is in more than one zone",)
    for key in ("default", "nodes", "outside"):
        (fault,) = faults(tmp_path, f"zones: {{{key}: quarantine}}", Purpose.OFFLINE)
        assert fault.startswith(f"zones.{key}: the zone 'quarantine' is for pods that a Quarantine names")
    (fault,) = faults(tmp_path, "zones: {networks: {quarantine: [10.0.0.0/8]}}", Purpose.OFFLINE)
    assert fault.startswith("zones.networks: no prefix is in the zone 'quarantine'")
    twice = "clusters: [{name: a, deviceGroup: x, inCluster: true}, {name: a, deviceGroup: y, inCluster: true}]"
    assert faults(tmp_path, twice, Purpose.OFFLINE) == ("clusters: 'a' is the name of more than one cluster",)


@pytest.mark.parametrize("text", ["- a list", "just text", "a: [unclosed", "\x00"])
def test_what_is_no_mapping_is_one_clear_fault(tmp_path, text):
    assert len(faults(tmp_path, text)) == 1


def test_no_such_file(tmp_path):
    with pytest.raises(SettingsError, match="can't be read: No such file"):
        load(tmp_path / "none.yaml", {}, Purpose.OFFLINE)


def test_the_environment_is_above_the_file(tmp_path, secret):
    environment = {
        "ZONEBRIDGE_PANORAMA__API_KEY": "from-environment",
        "ZONEBRIDGE_PANORAMA__POLL_INTERVAL": "7",
        "ZONEBRIDGE_TIME_ZONE": "UTC",
        "ZONEBRIDGE_GUARDS__ALLOW_EMPTY": "false",
        "ZONEBRIDGE_SERVICE_HOST": "10.0.0.1",
        "ZONEBRIDGE_PORT_9468_TCP": "tcp://10.0.0.1:9468",
    }
    settings = load(written(tmp_path, WHOLE.format(secret=secret)), environment, Purpose.SERVICE)
    assert settings.panorama.api_key.get_secret_value() == "from-environment"
    assert settings.panorama.api_key_file is None
    assert settings.panorama.poll_interval == timedelta(seconds=7)
    assert settings.time_zone == "UTC"
    assert not settings.guards.allow_empty


def test_no_secret_is_ever_shown(tmp_path):
    environment = {"ZONEBRIDGE_PANORAMA__PASSWORD": "hunter2", "ZONEBRIDGE_PANORAMA__HOSTS": "[]"}
    found = faults(tmp_path, "panorama: {hosts: [a], apiKey: hunter3}", environment=environment)
    assert not any("hunter" in fault for fault in found)
    settings = load(None, {"ZONEBRIDGE_PANORAMA": '{"hosts": ["a"], "apiKey": "hunter4"}'}, Purpose.OFFLINE)
    assert "hunter4" not in repr(settings)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1m30s", 90), ("500ms", 0.5), ("1h", 3600), ("1.5m", 90)])
def test_durations(tmp_path, text, seconds):
    settings = load(written(tmp_path, f"staleAfter: {text}"), {}, Purpose.OFFLINE)
    assert settings.stale_after.total_seconds() == seconds


@pytest.mark.parametrize("text", ["0", "-5", "ten", "true", "5 parsecs", "[]", ".inf", ".nan", "1e300"])
def test_what_is_no_duration(tmp_path, text):
    assert faults(tmp_path, f"staleAfter: {text}", Purpose.OFFLINE)[0].startswith("staleAfter: ")


REGISTERED = WHOLE + "registration: {{enabled: true, username: zonebridge, {more}}}\n"


def test_a_registration_with_rights_of_its_own(tmp_path, secret):
    text = REGISTERED.format(secret=secret, more=f"apiKeyFile: {secret}, parent: clusters, labels: [app], timeout: 30m")
    given = load(written(tmp_path, text), {}, Purpose.SERVICE).registration
    assert (given.parent, given.labels, given.timeout) == ("clusters", ("app",), timedelta(minutes=30))
    assert not load(written(tmp_path, WHOLE.format(secret=secret)), {}, Purpose.SERVICE).registration.enabled


def test_its_secret_from_the_environment(tmp_path, secret):
    text = REGISTERED.format(secret=secret, more=f"apiKeyFile: {secret}")
    given = load(written(tmp_path, text), {"ZONEBRIDGE_REGISTRATION__API_KEY": "k"}, Purpose.SERVICE).registration
    assert (given.api_key.get_secret_value(), given.api_key_file) == ("k", None)


def test_a_registrations_faults(tmp_path, secret):
    text = WHOLE.format(secret=secret).replace("name: here", "name: here.now")
    found = faults(tmp_path, text + "registration: {enabled: true, apiKey: k, labels: [a b], timeout: 5s, push: true}")
    assert [fault.split(": ")[0] for fault in found] == [
        "registration.apiKey",
        "registration.labels[0]",
        "registration.timeout",
        "registration.push",
    ]
    found = faults(tmp_path, text + "registration: {enabled: true}")
    assert found == (
        "registration: username is missing; it says which administrator's changes are committed, and no others'",
    )
    found = faults(tmp_path, text + "registration: {enabled: true, username: z, passwordFile: /no, apiKeyFile: /no}")
    assert found == ("registration: give at most one of apiKeyFile, passwordFile, or their environment form",)
    found = faults(tmp_path, text + "registration: {enabled: true, username: z, passwordFile: /no}")
    assert [fault.split(": ")[0] for fault in found] == ["clusters[1].name"]
    text = WHOLE.format(secret=secret) + "registration: {enabled: true, username: z, passwordFile: /no/such}"
    assert faults(tmp_path, text) == ("registration.passwordFile: there is no file /no/such",)


def test_destinations_and_their_faults(tmp_path, secret):
    hec = f"{{name: a, type: hec, url: 'https://siem', tokenFile: {secret}}}"
    log = "{name: b, type: syslog, address: 'siem:6514'}"
    text = WHOLE.format(secret=secret).replace("siem: {", "siem: {destinations: %s, ")
    given = load(written(tmp_path, text % f"[{hec}, {log}]"), {}, Purpose.SERVICE).siem
    assert [each.name for each in given.destinations] == ["a", "b"]
    assert (given.destinations[1].tls, given.kubernetes_events) == (True, False)
    bad = "[{name: a, type: hec, url: siem, token: x}, {name: b, type: smoke}, {name: C, type: syslog, address: siem}]"
    assert [fault.split(": ")[0] for fault in faults(tmp_path, text % bad)] == [
        "siem.destinations[0].url",
        "siem.destinations[0].tokenFile",
        "siem.destinations[0].token",
        "siem.destinations[1]",
        "siem.destinations[2].name",
        "siem.destinations[2].address",
    ]
    assert faults(tmp_path, text % f"[{log}, {log}]") == (
        "siem.destinations: 'b' is the name of more than one destination",
    )
    missing = "[{name: a, type: hec, url: 'https://siem', tokenFile: /no}]"
    assert faults(tmp_path, text % missing) == ("siem.destinations[0].tokenFile: there is no file /no",)


def test_palo_altos_own_lists_are_named_with_a_url_or_a_file(tmp_path, secret):
    text = WHOLE.format(secret=secret)
    given = "feeds: {provided: {panw-known-ip-list: /lists/known.txt, panw-torexit-ip-list: 'https://lists.example.com/tor'}}\n"
    read = read_options(load(written(tmp_path, text + given), {}, Purpose.SERVICE))
    assert read.provided == {
        "panw-known-ip-list": "file:///lists/known.txt",
        "panw-torexit-ip-list": "https://lists.example.com/tor",
    }
    for wrong, words in (("{known: /x}", "none of Palo Alto"), ("{panw-known-ip-list: 'ftp://x'}", "neither a URL")):
        (fault,) = faults(tmp_path, text + f"feeds: {{provided: {wrong}}}\n")
        assert fault.startswith("feeds.provided: ")
        assert words in fault
