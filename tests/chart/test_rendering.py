"""What the chart renders, with Helm 3 and Helm 4."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from bridge.settings.file import Purpose
from bridge.settings.file import load as load_bridge
from enforcer.settings.models import load as load_enforcer
from tests.apiserver.installed import BRIDGE_NAMESPACE, CONFIG, ENFORCER_NAMESPACE
from tests.chart.conftest import built
from tests.chart.helm import CHART, REQUIRED, HelmError, named, settings
from tools import chartreadme, manifests, schema

pytestmark = pytest.mark.chart


def test_lint_finds_nothing(helm):
    told = helm("lint", "--strict", str(CHART), "--kube-version", "1.36.0", *settings(*REQUIRED))
    assert not re.search(r"\[(WARNING|ERROR)\]", told), told


@pytest.mark.parametrize("version", ["1.30.0", "1.36.3"])
def test_it_renders_for_the_oldest_and_the_newest_cluster(helm, version):
    kinds = [each["kind"] for each in helm.template(version=version)]
    assert {"Deployment", "DaemonSet", "CustomResourceDefinition", "ValidatingAdmissionPolicy"} <= set(kinds)


def test_older_clusters_are_told_so(helm):
    with pytest.raises(HelmError, match="chart requires kubeVersion"):
        helm.template(version="1.29.0")


def test_both_helms_render_the_same(helm3, helm):
    def key(each):
        return each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]

    everything = (
        "metrics.podMonitor.enabled=true",
        "metrics.prometheusRule.enabled=true",
        "metrics.dashboards.enabled=true",
        "resourceQuotas.enabled=true",
        "namespace.create=true",
    )
    assert sorted(helm.template(*everything), key=key) == sorted(helm3.template(*everything), key=key)


def test_rendering_is_the_same_each_time_and_asks_no_cluster():
    """So that what a GitOps controller renders is what Helm would install."""
    for path in CHART.rglob("*"):
        if path.suffix in {".yaml", ".tpl", ".txt"} and "files" not in path.parts:
            assert not re.search(
                r"\b(lookup|rand\w+|uuidv4|now|genCA|genSelfSignedCert|derivePassword)\b *[\"$(.]", path.read_text()
            ), path


@pytest.mark.parametrize(
    ("missing", "says"), [(0, "cluster.name: say"), (1, "cluster.deviceGroup: say"), (2, "panorama.hosts: say")]
)
def test_what_is_missing_is_named(helm3, missing, says):
    given = [value for at, value in enumerate(REQUIRED) if at != missing]
    with pytest.raises(HelmError, match=says):
        helm3.template(*given, required=False)


def test_a_key_in_the_environment_takes_the_place_of_the_file(helm):
    (config,) = (
        each
        for each in helm.template("bridge.settings.panorama.apiKeyEnv=PANORAMA_KEY")
        if each["kind"] == "ConfigMap" and "zonebridge.yaml" in each["data"]
    )
    panorama = yaml.safe_load(config["data"]["zonebridge.yaml"])["panorama"]
    assert (panorama["apiKeyEnv"], panorama.keys() & {"apiKeyFile"}) == ("PANORAMA_KEY", set())


def test_settings_by_their_former_names_are_rendered(helm):
    helm.template("bridge.settings.serving.address=[::]:9468", "enforcer.settings.alerts.staleSeconds=300")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("bridge.settings.zones.nonsense=1", "additional properties 'nonsense' not allowed"),
        ("enforcer.settings.mode=off", "value must be one of 'enforce', 'observe'"),
        ("bridge.replica=3", "additional properties 'replica' not allowed"),
        ("bridge.settings.panorama.apiKey=secret", "additional properties 'apiKey' not allowed"),
        ("bridge.settings.staleAfter=soon", "does not match pattern"),
        ("bridge.settings.infrastructure.apiServer=maybe", "got string, want boolean"),
        ("enforcer.namespace=zonebridge-system", "the enforcers need one of their own"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(helm, value, says):
    with pytest.raises(HelmError, match=says):
        helm.template(value)


def test_the_settings_in_the_configmaps_are_settings(helm3, tmp_path):
    objects = helm3.template("bridge.settings.timeZone=Europe/Berlin", "enforcer.settings.flows.labels={app}")
    told = named(objects, "ConfigMap", "zonebridge-settings")["data"]["zonebridge.yaml"]
    (tmp_path / "bridge.yaml").write_text(told)
    bridge = load_bridge(tmp_path / "bridge.yaml", {}, Purpose.OFFLINE)
    assert bridge.panorama.hosts == ("panorama.example.com",)
    assert [(each.name, each.device_group, each.in_cluster, each.namespace) for each in bridge.clusters] == [
        ("example", "example", True, BRIDGE_NAMESPACE)
    ]
    assert bridge.time_zone == "Europe/Berlin"
    (tmp_path / "enforcer.yaml").write_text(
        named(objects, "ConfigMap", "zone-enforcer-settings")["data"]["enforcer.yaml"]
    )
    enforcer = load_enforcer(tmp_path / "enforcer.yaml", {})
    assert (enforcer.cluster, enforcer.tier, enforcer.mode, enforcer.flows.labels) == (
        "example",
        "panorama",
        "observe",
        ("app",),
    )


def test_a_bridge_of_many_clusters_keeps_its_own_list(helm3, tmp_path):
    (tmp_path / "values.yaml").write_text(
        yaml.safe_dump(
            {"bridge": {"settings": {"clusters": [{"name": "a", "deviceGroup": "a", "kubeconfig": "/k/a"}]}}}
        )
    )
    shown = helm3(
        "template",
        "z",
        str(CHART),
        "--kube-version",
        "1.36.0",
        "-f",
        str(tmp_path / "values.yaml"),
        *settings(*REQUIRED),
    )
    (told,) = (each for each in yaml.safe_load_all(shown) if each and each["metadata"]["name"] == "zonebridge-settings")
    assert [each["name"] for each in yaml.safe_load(told["data"]["zonebridge.yaml"])["clusters"]] == ["a"]


@pytest.mark.parametrize("policy", ["zonebridge-zones", "zonebridge-zoning"])
def test_admission_checks_the_zoning_that_the_settings_have(helm3, policy):
    zones = named(
        helm3.template("bridge.settings.zones.default=open", "bridge.settings.zones.entitlement=annotated"),
        "ValidatingAdmissionPolicy",
        policy,
    )
    assert [each["expression"] for each in zones["spec"]["variables"][:3]] == [
        "'zonebridge.io/zone'",
        "'open'",
        "'annotated'",
    ]


def test_other_namespaces_are_everywhere_the_same(helm3):
    shown = helm3(
        "template",
        "z",
        str(CHART),
        "-n",
        "security",
        "--kube-version",
        "1.36.0",
        *settings(*REQUIRED, "enforcer.namespace=security-nodes"),
    )
    assert "system:serviceaccount:security-nodes:zone-enforcer" in shown
    left = [line for line in shown.splitlines() if BRIDGE_NAMESPACE in line or ENFORCER_NAMESPACE in line]
    assert {
        line.strip() for line in left if "name: zonebridge-system" not in line and "policyName" not in line
    } == set()


def test_changed_settings_restart_the_pods(helm3):
    def checksum(kind, name, *values):
        template = named(helm3.template(*values), kind, name)["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/settings"]

    for kind, name, value in (
        ("Deployment", "zonebridge", "bridge.settings.timeZone=CET"),
        ("DaemonSet", "zone-enforcer", "enforcer.settings.mode=enforce"),
    ):
        assert checksum(kind, name) == checksum(kind, name) != checksum(kind, name, value)


def test_the_image_is_named_in_one_place(helm3):
    def images(*values):
        return set(re.findall(r"image: (\S+)", yaml.safe_dump_all(helm3.template(*values))))

    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert images() == {f"zonebridge:{version}"}
    assert images("global.imageRegistry=registry.example.com") == {f"registry.example.com/zonebridge:{version}"}
    digest = "sha256:" + "0" * 64
    assert images(f"image.digest={digest}") == {f"zonebridge@{digest}"}


def test_probes_ask_where_the_settings_say(helm3):
    def ports(*values):
        objects = helm3.template("metrics.podMonitor.enabled=true", *values)
        container = named(objects, "DaemonSet", "zone-enforcer")["spec"]["template"]["spec"]["containers"][0]
        monitored = named(objects, "PodMonitor", "zone-enforcer")["spec"]["podMetricsEndpoints"][0]["portNumber"]
        return [monitored, *(container[each]["httpGet"]["port"] for each in ("livenessProbe", "readinessProbe"))]

    assert ports() == [9469] * 3
    assert ports("enforcer.settings.metrics.address=127.0.0.1:19469") == [19469] * 3


def test_definitions_are_kept_and_can_be_left_out(helm3):
    objects = helm3.template()
    definitions = [each for each in objects if each["kind"] == "CustomResourceDefinition"]
    assert len(definitions) == len(list((CONFIG / "crd").glob("*.yaml")))
    assert all(each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for each in definitions)
    assert not [each for each in helm3.template("crds.install=false") if each["kind"] == "CustomResourceDefinition"]


def test_every_object_has_the_recommended_labels(helm3):
    for each in helm3.template(
        "metrics.podMonitor.enabled=true", "metrics.prometheusRule.enabled=true", "metrics.dashboards.enabled=true"
    ):
        labels = each["metadata"].get("labels", {})
        wanted = {
            "app.kubernetes.io/part-of",
            "app.kubernetes.io/instance",
            "app.kubernetes.io/version",
            "app.kubernetes.io/managed-by",
            "helm.sh/chart",
        }
        assert wanted <= labels.keys(), (each["kind"], each["metadata"]["name"])


def test_the_manifests_are_what_the_chart_renders():
    """`make generate` makes them."""
    for name, text in manifests.render(built("helm3")).items():
        assert (CONFIG / "deploy" / name).read_text() == text, f"config/deploy/{name}: run make generate"


def test_the_manifests_settings_are_the_charts_defaults(helm3):
    """Those of config/deploy are for reading too, so they have comments; what they say is the same."""
    objects = helm3.template()
    for name, key, file in (
        ("zonebridge-settings", "zonebridge.yaml", "settings-bridge.yaml"),
        ("zone-enforcer-settings", "enforcer.yaml", "settings-enforcer.yaml"),
    ):
        rendered = yaml.safe_load(named(objects, "ConfigMap", name)["data"][key])
        for each in rendered.get("clusters", ()):
            each.pop("namespace")
        assert rendered == yaml.safe_load((CONFIG / "deploy" / file).read_text())


def test_the_schema_is_what_the_settings_models_say():
    assert schema.FILE.read_text() == schema.text(), "values.schema.json: run make generate"


def test_everything_that_is_packaged_is_in_the_chart(helm, tmp_path):
    """The definitions by their content, though they are a link in the tree."""
    helm("package", str(CHART), "-d", str(tmp_path))
    (package,) = Path(tmp_path).glob("*.tgz")
    listed = subprocess.run(["tar", "tzf", package], capture_output=True, text=True, check=True).stdout.split()
    assert {f"zonebridge/files/crd/{path.name}" for path in (CONFIG / "crd").iterdir()} <= set(listed)
    assert "zonebridge/values.schema.json" in listed


def test_the_table_of_values_is_that_of_the_file():
    assert chartreadme.FILE.read_text() == chartreadme.text(), "config/chart/README.md: run make generate"


SQLITE = "bridge.settings.evidence.url=sqlite:////var/lib/zonebridge/evidence.db"
COLLECTOR = (
    "bridge.settings.evidence.collector.address=0.0.0.0:9470",
    "bridge.settings.evidence.collector.tokenFile=/etc/zonebridge/collector/token",
)


def test_a_collector_has_a_service_and_may_be_reached(helm3):
    shown = helm3.template(*REQUIRED, SQLITE, *COLLECTOR, "bridge.replicas=1")
    found = {each["kind"]: each for each in shown if each["metadata"]["name"] == "zonebridge-collector"}
    assert found["Service"]["spec"]["ports"] == [{"name": "https", "port": 9470, "targetPort": 9470}]
    (rule,) = found["NetworkPolicy"]["spec"]["ingress"]
    assert rule == {"ports": [{"protocol": "TCP", "port": 9470}]}
    pods = next(each for each in shown if each["kind"] == "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"].items() <= pods.items()


def test_sqlite_with_two_bridges_is_refused(helm3):
    with pytest.raises(HelmError, match=r"SQLite's file is for one bridge alone; set bridge\.replicas: 1"):
        helm3.template(*REQUIRED, SQLITE)
