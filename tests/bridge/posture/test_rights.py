"""The chart's rights are those that watching needs, and none of them is there before it is asked for."""

import asyncio
import json

import pytest

from bridge.posture.gather import READINGS, gather
from bridge.posture.snapshot import Input, PostureTerms
from enforcer.settings.models import load
from tests.apiserver.installed import BRIDGE, BRIDGE_NAMESPACE, CONFIG, ENFORCER
from tests.chart.conftest import helm3
from tests.realkube import RealKube
from zones.kube.client import ApiServer, ClusterAccess

__all__ = ["helm3"]
pytestmark = [pytest.mark.apiserver, pytest.mark.chart]
RBAC = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


@pytest.fixture(scope="module")
def own(programs):
    with RealKube(programs) as kube:
        kube.kubectl("apply", "-f", str(CONFIG / "crd"))
        for name in (BRIDGE_NAMESPACE, "zonebridge-enforcer"):
            kube.kubectl("create", "namespace", name)
        yield kube


def rights(helm, *values):
    return [each for each in helm.template(*values) if each["kind"] in RBAC]


def hidden(kube):
    async def look():
        server = ApiServer(ClusterAccess("", kube.kubeconfig_for(BRIDGE, ["system:serviceaccounts"])))
        try:
            return {kind for kind in Input if (await seen(server)).problem(kind)}
        finally:
            await server.close()

    async def seen(server):
        return await gather(server, PostureTerms())

    return asyncio.run(look())


def test_with_watching_every_list_can_be_read_and_without_no_more_than_before(own, helm3, until):
    kube = own
    kube.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, rights(helm3))))
    needed = {Input.PODS, Input.NODES, Input.NAMESPACES, Input.SERVICES, Input.ENFORCERS}
    until(lambda: hidden(kube) == set(Input) - needed)
    kube.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, rights(helm3, "posture.watch=true"))))
    until(lambda: hidden(kube) == set())


def test_no_rule_of_it_is_about_secrets_or_writes(helm3):
    names = lambda objects: {json.dumps(rule) for each in objects for rule in each.get("rules") or ()}  # noqa: E731
    added = [json.loads(rule) for rule in names(rights(helm3, "posture.watch=true")) - names(rights(helm3))]
    assert added
    for rule in added:
        assert set(rule["verbs"]) <= {"list", "watch"}
        assert "secrets" not in rule["resources"]
        assert "*" not in rule["resources"]
    listed = {resource for rule in added for resource in rule["resources"]}
    assert listed <= {kind.value.partition("/")[0] for kind in READINGS}


def test_an_enforcer_may_read_its_kubelets_configuration_and_not_use_the_proxy(own, helm3, until):
    """As the kubelet asks the API server for whoever asks it."""
    own.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, rights(helm3, "posture.kubelets=true"))))
    until(lambda: may(own, "configz"))
    assert not may(own, "proxy")
    without = [
        rule for each in rights(helm3) for rule in each.get("rules") or () if "nodes/configz" in rule["resources"]
    ]
    assert without == []


def may(kube, subresource):
    attributes = {"verb": "get", "resource": "nodes", "subresource": subresource, "name": "n1"}
    spec = {"user": ENFORCER, "groups": ["system:serviceaccounts"], "resourceAttributes": attributes}
    with kube.client() as admin:
        answer = admin.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json={"spec": spec}).json()
    return answer["status"]["allowed"]


def test_the_chart_has_the_enforcers_ask(helm3, tmp_path):
    config = next(
        each for each in helm3.template("posture.kubelets=true") if each["metadata"]["name"] == "zone-enforcer-settings"
    )
    (tmp_path / "enforcer.yaml").write_text(config["data"]["enforcer.yaml"])
    assert load(tmp_path / "enforcer.yaml", {"ZONEBRIDGE_NODE_NAME": "n1"}).kubelet.ask
