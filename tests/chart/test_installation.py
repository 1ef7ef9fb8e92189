"""Helm 3 and Helm 4 against the real API server: install, upgrade, roll back, uninstall. No kubelet: nothing runs."""

import json
import threading

import pytest
import yaml

from tests.apiserver.installed import BRIDGE_NAMESPACE, ENFORCER_NAMESPACE, FLAGS
from tests.chart.helm import CHART, REQUIRED, HelmError, settings
from tests.realkube import RealKube

pytestmark = [pytest.mark.chart, pytest.mark.apiserver, pytest.mark.timeout(300)]
RELEASE = "zonebridge"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
def cluster(programs, helm):
    """A server of its own; and Helm on it, as an administrator."""
    with RealKube(programs, FLAGS) as kube:
        yield Cluster(kube, helm)


class Cluster:
    def __init__(self, kube, helm):
        self.kube, self._helm = kube, helm

    def helm(self, command, *arguments):
        where = ["-n", BRIDGE_NAMESPACE, "--kubeconfig", str(self.kube.kubeconfig)]
        return self._helm(command, RELEASE, *where, *arguments)

    def install(self, *values):
        return self.helm("install", str(CHART), "--create-namespace", *settings(*REQUIRED, *values))

    def upgrade(self, *values):
        return self.helm("upgrade", str(CHART), *settings(*REQUIRED, *values))

    def get(self, *what):
        return json.loads(self.kube.kubectl("get", *what, "-o", "json"))

    def end_namespaces(self):
        """As their controller does, once they are empty."""
        for each in self.get("namespaces")["items"]:
            if each["status"]["phase"] == "Terminating":
                each["spec"]["finalizers"] = []
                path = f"/api/v1/namespaces/{each['metadata']['name']}/finalize"
                with self.kube.client() as admin:
                    admin.put(path, json=each).raise_for_status()

    def names(self, *kinds):
        shown = self.kube.kubectl(
            "get", ",".join(kinds), "-A", "--no-headers", "-o", "custom-columns=K:.kind,N:.metadata.name"
        )
        return {tuple(line.split()) for line in shown.splitlines()}


OURS = (
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "clusterroles",
    "clusterrolebindings",
    "deployments",
    "daemonsets",
    "networkpolicies",
    "poddisruptionbudgets",
)


def ours(names):
    return {each for each in names if each[1].startswith("zone") and not each[1].startswith("system:")}


def test_install_upgrade_roll_back_and_uninstall(cluster):
    told = cluster.install()
    assert "zonebridge check" in told
    assert "Nothing is denied yet" in told
    installed = ours(cluster.names(*OURS))
    assert {("Deployment", "zonebridge"), ("DaemonSet", "zone-enforcer")} <= installed

    cluster.upgrade("enforcer.settings.mode=enforce", "bridge.replicas=3")
    assert cluster.get("deployment", "zonebridge", "-n", BRIDGE_NAMESPACE)["spec"]["replicas"] == 3
    assert mode(cluster) == "enforce"
    assert ours(cluster.names(*OURS)) == installed

    cluster.helm("rollback", "1")
    assert mode(cluster) == "observe"

    with FlushJob(cluster, succeed=True):
        cluster.helm("uninstall")
    assert ours(cluster.names(*OURS)) == set()
    kept = cluster.get("crd")["items"]
    assert {each["metadata"]["name"] for each in kept} >= {"tiers.zonebridge.io", "podslices.zonebridge.io"}
    cluster.end_namespaces()
    # and again over the definitions that were kept
    cluster.install()
    assert ours(cluster.names(*OURS)) == installed


def test_nothing_is_deleted_while_nodes_keep_their_rules(cluster):
    cluster.install()
    installed = ours(cluster.names(*OURS))
    with FlushJob(cluster, succeed=False), pytest.raises(HelmError):
        cluster.helm("uninstall", "--timeout", "60s")
    assert ours(cluster.names(*OURS)) == installed


def test_a_second_installation_is_refused(cluster):
    cluster.install()
    with pytest.raises(HelmError, match=r"cannot be imported into the current release|conflict"):
        cluster._helm(
            "install",
            "another",
            str(CHART),
            "-n",
            "another",
            "--create-namespace",
            "--kubeconfig",
            str(cluster.kube.kubeconfig),
            *settings(*REQUIRED, "enforcer.namespace=other"),
        )


def test_the_enforcers_namespace_alone_is_privileged(cluster):
    cluster.install()
    level = cluster.get("namespace", ENFORCER_NAMESPACE)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert level == "privileged"
    labels = cluster.get("namespace", BRIDGE_NAMESPACE)["metadata"]["labels"]
    assert "pod-security.kubernetes.io/enforce" not in labels, "Helm made it: docs/install.md labels it"


def mode(cluster):
    told = cluster.get("configmap", "zone-enforcer-settings", "-n", ENFORCER_NAMESPACE)["data"]["enforcer.yaml"]
    return yaml.safe_load(told)["mode"]


class FlushJob:
    """Plays the Job's controller: nothing runs here."""

    def __init__(self, cluster, *, succeed):
        self._cluster, self._succeed = cluster, succeed
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._play)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _play(self):
        path = f"/apis/batch/v1/namespaces/{BRIDGE_NAMESPACE}/jobs/zonebridge-flush"
        with self._cluster.kube.client() as admin:
            while not self._done.wait(0.1):
                live = admin.get(path)
                if live.is_success and not live.json().get("status", {}).get("conditions"):
                    admin.patch(f"{path}/status", json={"status": self._status()}, headers=MERGE).raise_for_status()

    def _status(self):
        now = "2026-01-01T00:00:00Z"
        kinds = ("SuccessCriteriaMet", "Complete") if self._succeed else ("FailureTarget", "Failed")
        conditions = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds]
        return {"startTime": now, "conditions": conditions} | (
            {"completionTime": now, "succeeded": 1} if self._succeed else {"failed": 1}
        )
