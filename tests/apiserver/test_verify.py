"""What may be in the namespace of probe pods, on a real API server with the chart's own policies."""

from __future__ import annotations

import copy
import time

import pytest
import yaml

from bridge.segmentation import pods
from tests.apiserver.installed import MERGE, RESTRICTED, restricted_pod
from tests.chart.conftest import built
from tests.chart.helm import Helm, named

pytestmark = [pytest.mark.apiserver, pytest.mark.chart]
PODS = f"/api/v1/namespaces/{pods.NAMESPACE}/pods"
REFUSED = "ValidatingAdmissionPolicy 'zonebridge-probes'"
STRATEGIC = "application/strategic-merge-patch+json"
LISTENER = pods.listener(0, "cde", "zonebridge.io/zone", "zonebridge:v1", (22, 443))
CALLER = pods.caller(0, "cde", "zonebridge.io/zone", "zonebridge:v1", ["5", "3", "10.0.0.1=22"])


@pytest.fixture(scope="module")
def server(guarded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("helm")
    objects = Helm(built("helm3"), folder).template("verify.enabled=true", "image.tag=v1", "verify.pods=3")
    ours = [
        each for each in objects if "prob" in each["metadata"]["name"] or each["metadata"]["name"].endswith("-verify")
    ]
    assert named(ours, "Namespace", pods.NAMESPACE)
    file = folder / "verify.yaml"
    file.write_text(yaml.safe_dump_all(ours))
    guarded.kubectl("apply", "-f", str(file))
    with guarded.client() as admin:
        admin.post(f"/api/v1/namespaces/{pods.NAMESPACE}/serviceaccounts", json={"metadata": {"name": "default"}})
        quota = f"/api/v1/namespaces/{pods.NAMESPACE}/resourcequotas/zonebridge-probes/status"
        status = {"status": {"hard": {"pods": "3"}, "used": {"pods": "0"}}}  # no controller runs here
        admin.patch(quota, json=status, headers={"Content-Type": MERGE}).raise_for_status()
        deadline = time.monotonic() + 60
        while REFUSED not in tried(admin, restricted_pod("p")).text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield guarded
    with guarded.client() as admin:
        admin.delete("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/zonebridge-probes")
        admin.delete(f"/api/v1/namespaces/{pods.NAMESPACE}")


@pytest.fixture
def admin(server):
    with server.client() as client:
        yield client


def tried(client, pod):
    return client.post(PODS, json=pod, params={"dryRun": "All"})


@pytest.mark.parametrize("pod", [LISTENER, CALLER], ids=["listener", "caller"])
def test_our_probe_pods_are_let_in_under_the_strictest_pod_security(admin, pod):
    answer = tried(admin, pod)
    assert answer.is_success, answer.text
    assert "Warning" not in answer.headers


def test_a_zones_two_pods_keep_apart():
    """So that connections within a zone go from node to node, too, where there are several."""
    for probe in (LISTENER, CALLER):
        (term,) = probe["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        selected = term["podAffinityTerm"]["labelSelector"]["matchLabels"]
        assert selected == {"zonebridge.io/zone": "cde"}
        assert selected.items() <= probe["metadata"]["labels"].items()


def changed(path, value, of=LISTENER):
    """A probe pod with one thing otherwise."""
    pod = copy.deepcopy(of)
    *before, last = path
    at = pod
    for key in before:
        at = at[key]
    at[last] = value
    return pod


CONTAINER = ("spec", "containers", 0)
OTHER = {
    "another image": changed((*CONTAINER, "image"), "busybox"),
    "another tag": changed((*CONTAINER, "image"), "zonebridge:2"),
    "another program": changed((*CONTAINER, "command"), ["sh", "-c"]),
    "another module": changed((*CONTAINER, "command"), ["python3", "-m", "http.server"]),
    "no program": changed((*CONTAINER, "command"), []),
    "other words": changed((*CONTAINER, "args"), ["serve", "22"]),
    "environment": changed((*CONTAINER, "env"), [{"name": "PYTHONPATH", "value": "/tmp"}]),
    "environment from": changed((*CONTAINER, "envFrom"), [{"configMapRef": {"name": "x"}}]),
    "a hook": changed((*CONTAINER, "lifecycle"), {"preStop": {"exec": {"command": ["sh"]}}}),
    "a probe that runs": changed((*CONTAINER, "readinessProbe"), {"exec": {"command": ["sh"]}}),
    "a liveness probe": changed((*CONTAINER, "livenessProbe"), {"tcpSocket": {"port": 1}}),
    "a second container": changed(("spec", "containers"), [*LISTENER["spec"]["containers"], CALLER["spec"]["containers"][0] | {"name": "b"}]),
    "a first container": changed(("spec", "initContainers"), [CALLER["spec"]["containers"][0] | {"name": "b"}]),
    "a volume": changed(("spec", "volumes"), [{"name": "v", "emptyDir": {}}]),
    "a token": changed(("spec", "automountServiceAccountToken"), True),
    "no end": changed(("spec", "activeDeadlineSeconds"), 601),
    "starting again": changed(("spec", "restartPolicy"), "Always"),
    "no label": changed(("metadata", "labels"), {"zonebridge.io/zone": "cde"}),
    "the node's network": changed(("spec",), {**LISTENER["spec"], "hostNetwork": True, "securityContext": {}}),
    "root": changed(("spec", "securityContext"), {}),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHER)
def test_nothing_else_is_let_in_by_an_administrator_either(admin, what):
    answer = tried(admin, OTHER[what])
    assert answer.status_code == 403, answer.text


def test_a_probe_pod_stays_what_it_is_and_nobody_enters_it(server, admin):
    admin.post(PODS, json=LISTENER).raise_for_status()
    path = f"{PODS}/{LISTENER['metadata']['name']}"
    try:
        for patch in (
            {"spec": {"containers": [{"name": "probe", "image": "busybox"}]}},
            {"metadata": {"labels": {"zonebridge.io/zone": "web"}}},
            {"metadata": {"labels": {"app": "shop"}}},
        ):
            answer = admin.patch(path, json=patch, headers={"Content-Type": STRATEGIC})
            assert answer.status_code == 403, answer.text
        debug = {"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox", "securityContext": RESTRICTED}]}}
        answer = admin.patch(
            f"{path}/ephemeralcontainers",
            json=debug,
            headers={"Content-Type": STRATEGIC},
        )
        assert answer.status_code in {403, 422}, answer.text
        assert REFUSED in answer.text
        for way in ("exec?command=sh&stdout=true", "attach?stdout=true", "portforward?ports=22"):
            answer = admin.post(f"{path}/{way}")
            assert answer.status_code == 403, (way, answer.text)
            assert REFUSED in answer.text, way
        assert REFUSED in admin.get(f"{path}/proxy/").text
        assert admin.patch(
            path, json={"metadata": {"annotations": {"cni/x": "y"}}}, headers={"Content-Type": MERGE}
        ).is_success
    finally:
        admin.delete(path, params={"gracePeriodSeconds": "0"})


def test_who_may_measure_may_do_no_more(server):
    """The role has pods of this one namespace, and to read that."""
    with server.client(
        "system:serviceaccount:zonebridge-system:zonebridge", ["system:serviceaccounts", "system:authenticated"]
    ) as bridge:
        assert bridge.get(f"/api/v1/namespaces/{pods.NAMESPACE}").is_success
        answer = tried(bridge, CALLER)
        assert answer.is_success, answer.text
        assert bridge.get(PODS).is_success
        assert bridge.get(f"/api/v1/namespaces/{pods.NAMESPACE}/secrets").status_code == 403
        assert bridge.post("/api/v1/namespaces/default/pods", json=CALLER, params={"dryRun": "All"}).status_code == 403


def test_the_budget_holds(admin):
    """As the API server counts. The last test: without controllers nothing is counted down."""
    names = []
    try:
        for number in range(4):
            answer = admin.post(
                PODS, json=pods.listener(number + 10, "cde", "zonebridge.io/zone", "zonebridge:v1", (22,))
            )
            if answer.is_success:
                names.append(answer.json()["metadata"]["name"])
        assert answer.status_code == 403
        assert "exceeded quota" in answer.text
    finally:
        for name in names:
            admin.delete(f"{PODS}/{name}", params={"gracePeriodSeconds": "0"})


def test_switched_off_the_namespace_goes(server, admin):
    """As Kubernetes itself ends it: no policy of ours keeps it. The last test of all."""
    path = f"/api/v1/namespaces/{pods.NAMESPACE}"
    admin.delete(path).raise_for_status()
    with server.client(
        "system:serviceaccount:kube-system:namespace-controller", ["system:authenticated"]
    ) as controller:
        ending = controller.get(path).raise_for_status().json()
        controller.put(f"{path}/finalize", json=ending | {"spec": {"finalizers": []}}).raise_for_status()
    assert admin.get(path).status_code == 404
