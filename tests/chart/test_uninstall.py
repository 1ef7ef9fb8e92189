"""The hook that removes the rules before Helm deletes anything."""

import json
import subprocess

import pytest

from bridge.nodes.flush import CONTAINER, DAEMON_SET
from tests.apiserver.installed import BRIDGE_NAMESPACE, ENFORCER_NAMESPACE
from tests.chart.helm import named

pytestmark = pytest.mark.chart
NAME = "zonebridge-flush"
USER = f"system:serviceaccount:{BRIDGE_NAMESPACE}:{NAME}"


def hooks(objects):
    return [each for each in objects if "helm.sh/hook" in each["metadata"].get("annotations", {})]


def test_rights_come_first_and_everything_goes_again(helm):
    flush = [each for each in hooks(helm.template()) if each["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"]
    weights = {each["kind"]: int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) for each in flush}
    assert set(weights) == {"ServiceAccount", "Role", "RoleBinding", "Job"}
    assert max(weights, key=weights.get) == "Job"
    assert all("hook-succeeded" in each["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for each in flush)


def test_it_can_be_left_out(helm):
    assert not [each for each in helm.template("uninstall.flush=false") if each["metadata"]["name"] == NAME]


def test_it_finds_what_the_chart_deploys(helm3):
    objects = helm3.template()
    daemon_set = named(objects, "DaemonSet", DAEMON_SET)
    assert [each["name"] for each in daemon_set["spec"]["template"]["spec"]["containers"]] == [CONTAINER]
    assert daemon_set["metadata"]["namespace"] == ENFORCER_NAMESPACE
    container = named(objects, "Job", NAME)["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][:4] == ["flush-nodes", "--yes", "--namespace", ENFORCER_NAMESPACE]


@pytest.mark.apiserver
def test_its_rights_are_enough_and_no_more(guarded, helm3):
    for each in hooks(helm3.template()):
        if each["kind"] != "Job":
            guarded.kubectl("apply", "-f", "-", stdin=json.dumps(each))
    where = ["-n", ENFORCER_NAMESPACE]
    patch = json.dumps({"spec": {"template": {"spec": {"containers": [{"name": CONTAINER, "args": ["flush"]}]}}}})
    patched = ["patch", "daemonset", DAEMON_SET, *where, "-p", patch, "--dry-run=server"]
    guarded.kubectl(*patched, user=USER)
    guarded.kubectl("get", "pods", *where, user=USER)
    for refused in (
        ["delete", "daemonset", DAEMON_SET, *where],
        ["get", "secrets", *where],
        ["get", "pods", "-n", "default"],
    ):
        with pytest.raises(subprocess.CalledProcessError, match="exit status 1"):
            guarded.kubectl(*refused, user=USER)


@pytest.mark.apiserver
def test_pod_security_lets_it_in(guarded, helm3):
    job = named(helm3.template(), "Job", NAME)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "flush"}, "spec": job["spec"]["template"]["spec"]}
    pod["spec"]["serviceAccountName"] = "zonebridge"
    guarded.kubectl("create", "--dry-run=server", "-n", BRIDGE_NAMESPACE, "-f", "-", stdin=json.dumps(pod))
