import json
import ssl

import httpx
import pytest

from mocks.lab import LabError, Netns
from mocks.lab.addresses import Place, Subnet
from mocks.lab.kubelet import Kubelet, Owner
from mocks.lab.machines import Node, Pod
from mocks.lab.namespaces import Namespaces

NODE = Node(
    "node-1",
    Netns("t/node-1", -1),
    Place("192.168.50.10", "fd00:192:168:50::a"),
    Subnet("10.244.1.0/24", "fd00:10:244:1::/64", 2),
    Namespaces("t"),
)
POD = Pod("web-7d4b9c8f6d-x2x4q", NODE.netns, Place("10.244.1.2", "fd00:10:244:1::2"), NODE, "pod1")
HOST_POD = Pod("agent", NODE.netns, NODE.place, NODE, None)


class Api:
    """Notes what it was asked, and answers what it was told."""

    def __init__(self):
        self.asked = []
        self.answers = {}

    def __call__(self, request):
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.method, request.url.path, body))
        self.last = request
        return httpx.Response(self.answers.get((request.method, request.url.path), 200), text="{}")

    def body(self, method, path):
        return next(body for asked, where, body in self.asked if (asked, where) == (method, path))


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def kubelet(api):
    with httpx.Client(transport=httpx.MockTransport(api), base_url="http://api") as client:
        yield Kubelet(client)


PODS = "/api/v1/namespaces/shop/pods"


def test_a_node_is_registered_ready_with_addresses_and_prefixes(api, kubelet):
    kubelet.register(NODE, {"pool": "a"})
    made = api.body("POST", "/api/v1/nodes")
    status = api.body("PATCH", "/api/v1/nodes/node-1/status")["status"]
    assert made["spec"] == {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"]}
    assert made["metadata"]["labels"] == {"kubernetes.io/hostname": "node-1", "pool": "a"}
    assert {"type": "InternalIP", "address": "192.168.50.10"} in status["addresses"]
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [("Ready", "True")]


def test_a_pod_is_made_as_its_owner_would_and_reported_running(api, kubelet):
    owner = Owner("ReplicaSet", "web-7d4b9c8f6d")
    kubelet.report(POD, "shop", labels={"app": "web"}, owner=owner)
    made = api.body("POST", PODS)
    status = api.body("PATCH", f"{PODS}/{POD.name}/status")["status"]
    assert made["metadata"]["ownerReferences"] == [owner.reference()]
    assert made["metadata"]["labels"] == {"app": "web"}
    assert made["spec"]["nodeName"] == "node-1"
    assert made["spec"]["automountServiceAccountToken"] is False
    assert made["spec"]["containers"][0]["image"]
    assert (status["phase"], status["podIP"], status["hostIP"]) == ("Running", "10.244.1.2", "192.168.50.10")
    assert status["podIPs"] == [{"ip": "10.244.1.2"}, {"ip": "fd00:10:244:1::2"}]
    assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True"
    assert api.last.headers["Content-Type"] == "application/merge-patch+json"


def test_a_host_network_pod_has_its_nodes_addresses(api, kubelet):
    kubelet.report(HOST_POD, "shop")
    assert api.body("POST", PODS)["spec"]["hostNetwork"] is True
    assert api.body("PATCH", f"{PODS}/agent/status")["status"]["podIP"] == NODE.ip


def test_a_finished_pod_keeps_its_address_and_is_not_ready(api, kubelet):
    kubelet.report_phase(POD, "shop", "Succeeded")
    status = api.body("PATCH", f"{PODS}/{POD.name}/status")["status"]
    assert (status["phase"], status["podIP"]) == ("Succeeded", POD.ip)
    assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "False"


def test_reporting_again_takes_over_what_is_there(api, kubelet):
    api.answers = {("POST", "/api/v1/nodes"): 409, ("POST", PODS): 409}
    kubelet.register(NODE)
    kubelet.report(POD, "shop")
    assert api.asked[-1][:2] == ("PATCH", f"{PODS}/{POD.name}/status")


def test_a_namespace_comes_with_the_account_that_admission_asks_for(api, kubelet):
    kubelet.namespace("shop", annotations={"x": "y"})
    assert api.body("POST", "/api/v1/namespaces")["metadata"]["annotations"] == {"x": "y"}
    assert api.body("POST", "/api/v1/namespaces/shop/serviceaccounts")["metadata"]["name"] == "default"


def test_labels_are_changed_and_taken_off(api, kubelet):
    kubelet.label(POD, {"zone": "web", "old": None}, "shop")
    assert api.asked == [("PATCH", f"{PODS}/{POD.name}", {"metadata": {"labels": {"zone": "web", "old": None}}})]


def test_deletion_with_grace_and_without(api, kubelet):
    kubelet.terminate(POD, "shop")
    assert "gracePeriodSeconds" not in api.last.url.params
    api.answers = {("DELETE", f"{PODS}/{POD.name}"): 404}
    kubelet.forget(POD, "shop")
    assert api.last.url.params["gracePeriodSeconds"] == "0"


def test_a_refusal_says_what_was_asked_and_what_to_do(api, kubelet):
    api.answers = {("POST", PODS): 403}
    with pytest.raises(LabError, match=r"POST /api/v1/namespaces/shop/pods was refused with 403.*namespace made"):
        kubelet.report(POD, "shop")


def test_connecting_without_a_readable_authority_fails(tmp_path):
    with pytest.raises((OSError, ssl.SSLError)):
        Kubelet.connect("https://127.0.0.1:1", "token", tmp_path / "missing.pem")


def test_connecting_needs_no_authority_for_plain_http():
    with Kubelet.connect("http://127.0.0.1:1", "token"):
        pass
