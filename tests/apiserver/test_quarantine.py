"""`zonebridge quarantine` against a real API server with everything of config/ installed, as the people who use it."""

import json
import sys

import pytest

from bridge import cli
from bridge.quarantine.client import QuarantineBudget
from tests.apiserver.installed import namespace, pod

pytestmark = pytest.mark.apiserver
RBAC = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
PEOPLE = {"ann": "requester", "bob": "approver"}
CONTROLLER = [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "s", "controller": True}]


@pytest.fixture(scope="module")
def shop(guarded):
    """A namespace with four pods of a workload, one on the node's network; and two people of the security team."""
    with guarded.client() as admin:
        for who, role in PEOPLE.items():
            body = {
                "metadata": {"name": f"quarantine-{who}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"zonebridge-quarantine-{role}"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": who}],
            }  # fmt: skip
            admin.post(RBAC, json=body).raise_for_status()
        admin.post("/api/v1/namespaces", json=namespace("cut")).raise_for_status()
        admin.post("/api/v1/namespaces/cut/serviceaccounts", json={"metadata": {"name": "default"}}).raise_for_status()
        for n in range(4):
            made = pod(f"web-{n}", nodeName="cut-n1", hostNetwork=n == 3)
            made["metadata"]["ownerReferences"] = CONTROLLER
            admin.post("/api/v1/namespaces/cut/pods", json=made).raise_for_status()
        with guarded.client("system:node:cut-n1", ["system:nodes", "system:authenticated"]) as node:
            for n in range(4):
                status = {"status": {"phase": "Running", "podIP": f"10.9.9.{n}", "podIPs": [{"ip": f"10.9.9.{n}"}]}}
                path = f"/api/v1/namespaces/cut/pods/web-{n}/status"
                headers = {"Content-Type": "application/merge-patch+json"}
                node.patch(path, json=status, headers=headers).raise_for_status()
    return guarded


def without_quarantines(shop):
    with shop.client() as admin:
        for each in admin.get("/apis/zonebridge.io/v1alpha1/quarantines").json()["items"]:
            admin.delete(f"/apis/zonebridge.io/v1alpha1/quarantines/{each['metadata']['name']}")


@pytest.fixture
def run(shop, capsys, monkeypatch):
    """The command's exit code and what it prints, as one of the two."""

    def called(who, *arguments):
        kubeconfig = shop.kubeconfig_for(who)
        monkeypatch.setattr(sys, "argv", ["zonebridge", "quarantine", *arguments, f"--kubeconfig={kubeconfig}"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, "".join(capsys.readouterr())

    without_quarantines(shop)  # another file's, which this server served before
    yield called
    without_quarantines(shop)


def added(run, *arguments):
    code, told = run("ann", "add", *arguments, "--reason=beacon", "--output=json")
    assert code == 0, told
    return json.loads(told)


def listed(run):
    return {each["name"]: each for each in json.loads(run("ann", "list", "--output=json")[1])}


def test_a_pod_is_named_by_its_uid_in_ones_own_name(run, shop):
    made = added(run, "pod/cut/web-0", "--for=30m", "--reference=INC-1")
    with shop.client() as admin:
        uid = admin.get("/api/v1/namespaces/cut/pods/web-0").json()["metadata"]["uid"]
    assert (made["uid"], made["requestedBy"], made["held"], made["duration"]) == (uid, "ann", "", "30m")
    assert listed(run)[made["name"]]["state"] == "in force"
    assert run("ann", "release", made["name"])[0] == 0
    assert listed(run) == {}


def test_beyond_the_budget_it_waits_for_somebody_else(run):
    """One of three pods is within it; the second is more than half, and the whole workload too."""
    added(run, "pod/cut/web-0")
    second = added(run, "pod/cut/web-1")
    assert second["held"] == "2 of 3 pods of the workload, and the budget is 50 %"
    assert listed(run)[second["name"]]["state"] == "held"
    code, told = run("ann", "approve", second["name"])
    assert code == 1
    assert "somebody else" in told
    assert run("bob", "approve", second["name"]) == (0, f"{second['name']}: approved\n")
    assert listed(run)[second["name"]]["state"] == "in force"
    assert added(run, "workload/cut/web")["held"].startswith("3 of 3 pods")
    assert added(run, "workload/cut/web", "--workload-budget=100", "--cluster-budget=100")["held"] == ""
    assert added(run, "workload/cut/web", "--dry-run")["state"] == "dry run"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "pod/cut/web-9", "--reason=r"], "no pod cut/web-9 runs"),
        (["add", "pod/cut/web-3", "--reason=r"], "on their node's network can't be cut off"),
        (["add", "workload/cut/db", "--reason=r"], "there are: web"),
        (["add", "pod/kube-system/dns", "--reason=r"], "exempt"),
        (["add", "cut/web-0", "--reason=r"], "neither pod/NAMESPACE/NAME"),
        (["add", "pod/cut/web-0", "--reason= "], "say why"),
        (["add", "pod/cut/web-0", "--reason=r", "--for=8d"], "no duration"),
        (["release", "none"], "there is no Quarantine 'none'"),
        (["release"], "give names, or --over"),
        (["approve", "none"], "there is no Quarantine 'none'"),
    ],
)
def test_what_can_not_be_done_is_told_with_what_to_do(run, arguments, says):
    code, told = run("ann", *arguments)
    assert code == 2
    assert says in told


def test_who_may_not_is_told_so(run):
    code, told = run("bob", "add", "pod/cut/web-0", "--reason=r")
    assert code == 1
    assert "forbidden" in told.lower()


def test_what_is_over_is_cleared_away(run, until):
    made = added(run, "pod/cut/web-0", "--for=1s")
    until(lambda: listed(run)[made["name"]]["state"] == "over")
    assert run("ann", "release", "--over") == (0, f"{made['name']}: released\n")


def test_one_pod_is_always_within_the_budget():
    assert QuarantineBudget(0, 0).exceeded(1, 1, 1, 5) == ""
    assert QuarantineBudget(0, 0).exceeded(2, 9, 2, 500) == "2 of 9 pods of the workload, and the budget is 0 %"
    assert QuarantineBudget(50, 10).exceeded(1, 4, 51, 500) == "51 of 500 pods of the cluster, and the budget is 10 %"
