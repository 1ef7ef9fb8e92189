"""The chart's whole life on a cluster that is in use: installed to observe, set to enforce, taken away without a trace."""

import time

import pytest
import yaml

from mocks.lab import Outcome, measure
from mocks.lab.probe import Probe
from tests.apiserver.programs import Unavailable
from tests.chart.helm import CHART
from tests.chart.programs import program
from tests.cluster.installation import BRIDGE, DEVICE_GROUP, ENFORCER, ENFORCER_NAMESPACE, NAMESPACE
from tests.cluster.traffic import Traffic, some

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(500)]
ROUNDS = 20
OURS = "app.kubernetes.io/part-of=zonebridge"
KINDS = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets,jobs"
CLUSTER_KINDS = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"


@pytest.fixture(params=["helm4"])
def helm(request, absent):
    """Helm on the administrator's machine."""
    found = program(request.param, may_build=False)
    if isinstance(found, Unavailable):
        pytest.fail(found.reason)
    home, control = absent.folder / request.param, absent.cluster.control
    environment = [f"HELM_{name}_HOME={home}" for name in ("CACHE", "CONFIG", "DATA")]
    yield lambda *words: control.require(
        ["/usr/bin/env", *environment, str(found), f"--kubeconfig={control.kubeconfig}", "-n", NAMESPACE, *words]
    )
    absent.uninstall()  # the kinds, which the chart leaves


def test_from_the_installation_to_the_first_denied_flow_and_away_again(absent, helm, matrix, until, record_property):
    connections = matrix().connections()
    allowed, denied = some(connections, Outcome.ALLOWED), some(connections, Outcome.TIMEOUT)
    outside, told = absent.cluster.outside, len(absent.cluster.outside.records())
    began = time.monotonic()
    with Traffic(allowed) as traffic:
        install(absent, helm)
        absent.enforcer["mode"] = "enforce"
        helm("upgrade", "zonebridge", str(CHART), "-f", values(absent), "--set", "enforcer.settings.mode=enforce")
        absent.wait_rolled_out()
        absent.wait_in_sync()
        measure([Probe(each.source, each.ip, each.port) for each in denied], 0.3)
        until(lambda: [each for each in outside.records()[told:] if refused(each)], 60)
        record_property("seconds from helm install to the first denied flow", round(time.monotonic() - began, 1))
        helm("uninstall", "zonebridge", "--wait", "--timeout=3m")
        traffic.wait_rounds(ROUNDS, until)
    assert traffic.lost == []
    assert left(absent.cluster) == []
    with Traffic(denied) as opened:
        opened.wait_rounds(ROUNDS // 4, until)
    assert opened.lost == []


def install(installation, helm):
    """As docs/install.md says."""
    kubectl = installation.cluster.kubectl
    kubectl("create", "namespace", NAMESPACE)
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    installation.apply_secrets(NAMESPACE)
    installation.enforcer = ENFORCER | {"mode": "observe"}
    helm("install", "zonebridge", str(CHART), "-f", values(installation))
    installation.apply_secrets(ENFORCER_NAMESPACE)
    installation.wait_rolled_out()
    installation.wait_in_sync()


def values(installation):
    path = installation.folder / "values.yaml"
    panorama = {key: value for key, value in BRIDGE["panorama"].items() if key not in {"hosts", "apiKeyFile"}}
    nodes = {key: value for key, value in ENFORCER.items() if key not in {"cluster", "tier", "mode"}}
    chosen = {
        "cluster": {"name": "example", "deviceGroup": DEVICE_GROUP},
        "panorama": {"hosts": BRIDGE["panorama"]["hosts"]},
        "bridge": {"settings": {"panorama": panorama, "zones": BRIDGE["zones"]}},
        "enforcer": {"settings": nodes},
    }
    path.write_text(yaml.safe_dump(chosen))
    return str(path)


def refused(record):
    return record.get("verdict") == "deny" and record.get("enforced", True)


def left(cluster):
    """What is still there of us but the kinds and the namespace that was made by hand."""
    shown = [
        cluster.kubectl("get", KINDS, "-A", "-l", OURS, "-o", "name"),
        cluster.kubectl("get", CLUSTER_KINDS, "-l", OURS, "-o", "name"),
    ]
    for node in cluster.nodes.values():
        tables = node.require(["nft", "list", "tables"])
        shown += [f"{node.name}: {line}" for line in tables.splitlines() if "zonebridge" in line]
    return [line for text in shown for line in text.split("\n") if line]
