"""The chart's whole life on a cluster that is in use, by either Helm: a former version is installed to observe, set to
enforce, upgraded, rolled back, and taken away without a trace.
"""

import json
import time

import pytest

from bridge.nodes.startup_taint import TAINT
from mocks.lab import Outcome, measure
from mocks.lab.probe import Probe
from tests.apiserver.programs import Unavailable
from tests.chart.helm import CHART
from tests.chart.programs import program
from tests.cluster.installation import ENFORCER_NAMESPACE, NAMESPACE, ROOT
from tests.cluster.release import FORMER_VERSION, LATER_FIELD, Release, former
from tests.cluster.traffic import Traffic, some

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(500)]
ROUNDS = 10
OURS = "app.kubernetes.io/part-of=zonebridge"
KINDS = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets,jobs"
CLUSTER_KINDS = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
# Nodes that don't wait for one another have no use for the time that each must have been well.
LOOKING = "verify.enabled=true", "posture.kubelets=true", "posture.watch=true"
AT_ONCE = "enforcer.maxUnavailable=100%", "enforcer.minReadySeconds=1"


@pytest.fixture(params=["helm3", "helm4"])
def release(request, absent):
    found = program(request.param, may_build=False)
    if isinstance(found, Unavailable):
        pytest.fail(found.reason)
    yield Release(found, absent)
    absent.uninstall()  # the kinds, which the chart leaves


def test_from_the_installation_over_an_upgrade_and_back_until_it_is_gone(release, matrix, until, figures, request):
    installation, outside, helm = release.installation, release.installation.cluster.outside, request.node.callspec.id
    connections = matrix().connections()
    allowed, denied = some(connections, Outcome.ALLOWED), some(connections, Outcome.TIMEOUT)
    conversations = allowed[:: len(allowed) // 8]
    heard = len(outside.records())
    former_chart = former(installation)
    with Traffic(allowed, (), conversations) as in_use:
        began = time.monotonic()
        release.prepare_namespace()
        release.change("install", former_chart, "observe", *AT_ONCE)
        installation.apply_secrets(ENFORCER_NAMESPACE)
        release.wait()
        release.change("upgrade", former_chart, "enforce", *AT_ONCE)
        release.wait()
        measure([Probe(each.source, each.ip, each.port) for each in denied], 0.3)
        until(lambda: [each for each in outside.records()[heard:] if refused(each)], 60)
        figures[f"from helm install to the first denied flow ({helm})"] = f"{time.monotonic() - began:.0f} s"
        assert versions(installation) == {FORMER_VERSION}
        with Traffic((), denied) as closed:
            # one node after the other: also the DaemonSet's roll
            release.change("upgrade", CHART, "enforce", "startupTaint.remove=true", *LOOKING)
            release.wait()
            installation.cluster.kubectl("taint", "nodes", "n2", f"{TAINT}:NoSchedule")
            installation.cluster.wait(
                lambda: TAINT not in str(taints(installation.cluster)), "the taint is removed", 30
            )
            assert FORMER_VERSION not in versions(installation)
            assert knows_the_later_field(installation.cluster)
            if helm == "helm4":  # once is enough
                assert (measured(installation.cluster), kubelets(installation.cluster)) == ([], {"pass", "fail"})
            in_use.wait_rounds(ROUNDS, until)
            release.helm("rollback", "zonebridge", "2")
            release.wait()
            assert versions(installation) == {FORMER_VERSION}
            in_use.wait_rounds(ROUNDS, until)
        release.helm("uninstall", "zonebridge", "--wait", "--timeout=3m")
        figures[f"from helm uninstall until the kinds may be deleted ({helm})"] = (
            f"{installation.cluster.wait(lambda: may_delete_kinds(installation.cluster), 'kinds may be deleted', 30):.1f} s"
        )
        in_use.wait_rounds(ROUNDS, until)
    assert (in_use.lost, closed.leaked) == ([], [])
    assert left(installation.cluster) == []
    with Traffic(denied) as opened:
        opened.wait_rounds(3, until)
    assert opened.lost == []
    installation.cluster.kubectl("delete", "-f", str(ROOT / "config" / "crd"))
    assert "zonebridge.io" not in installation.cluster.kubectl("get", "crd", "-o", "name")


def measured(cluster):
    """What `zonebridge verify` finds wrong from the bridge's own pod, as docs/verify.md says; its pods are gone then."""
    found = json.loads(of_bridge(cluster, "verify", "--scope", "zone=web,zone=app").stdout)
    assert found["tried"] > 0
    for ports in ("open", "closed"):
        assert {cell["family"] for cell in found["cells"] if cell[ports]} == {"IPv4", "IPv6"}
    places = [(probe["zone"], probe["node"]) for probe in found["probes"]]
    assert len(set(places)) == len(places), "a zone's two pods keep apart"
    assert cluster.objects("pods", "zonebridge-probes") == []
    return [*found["doubts"], *found["differences"]]


def kubelets(cluster):
    """The results of checks that ask each node's kubelet: all are known."""
    checks = json.loads(of_bridge(cluster, "posture").stdout)["checks"]
    results = {check["id"]: check["result"] for check in checks if check["id"].startswith("kubelet-")}
    assert (results["kubelet-anonymous"], results["kubelet-rotation"]) == ("pass", "fail")
    return set(results.values())


def of_bridge(cluster, *words):
    command = ["zonebridge", *words, "-c", "/etc/zonebridge/zonebridge.yaml", "-o", "json"]
    return cluster.control.try_kubectl("exec", "-n", NAMESPACE, "deploy/zonebridge", "--", *command)


def taints(cluster):
    return [each["spec"].get("taints", ()) for each in cluster.objects("nodes")]


def versions(installation):
    pods = [*installation.bridge_pods(), *map(installation.enforcer_pod, installation.cluster.nodes)]
    return {each["spec"]["containers"][0]["image"].rpartition(":")[2] for each in pods if running(each)}


def running(pod):
    return "deletionTimestamp" not in pod["metadata"]


def knows_the_later_field(cluster):
    definition = cluster.object("crd", "nodestates.zonebridge.io")
    return f'"{LATER_FIELD}"' in json.dumps(definition["spec"]["versions"][0]["schema"])


def may_delete_kinds(cluster):
    """As docs/uninstall.md says: an API server goes by a deleted policy for some seconds."""
    return cluster.control.try_kubectl("delete", "-f", str(ROOT / "config" / "crd"), "--dry-run=server").returncode == 0


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
