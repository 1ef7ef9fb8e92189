"""What the policies on nodes, workloads and Services let pass: whatever a cluster's own parts and its people do every day."""

import pytest

from bridge.nodes.startup_taint import TAINT
from tests.apiserver.installed import API_SERVER_SLICES, api_server_slice, pod
from tests.apiserver.tamper.people import workload
from tests.apiserver.test_admission import admin, grant, make, merge, somebody, wait_for

__all__ = ["admin", "somebody"]
pytestmark = pytest.mark.apiserver
ADDRESSES = [{"type": "InternalIP", "address": "192.0.2.31"}]
CALLING = {"livenessProbe": {"httpGet": {"host": "127.0.0.1", "port": 9469, "path": "/healthz"}}}
OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "app-7d9f8c6b5d", "uid": "u-1", "controller": True}


def test_a_kubelet_registers_and_reports_and_controllers_assign(admin, somebody):
    kubelet = somebody("system:node:s1", "system:nodes")
    kubelet.post(
        "/api/v1/nodes", json={"metadata": {"name": "s1"}, "status": {"addresses": ADDRESSES}}
    ).raise_for_status()
    more = [*ADDRESSES, {"type": "InternalIP", "address": "2001:db8::31"}]
    merge(kubelet, "/api/v1/nodes/s1/status", {"status": {"addresses": more}}).raise_for_status()
    grant(admin, "assigner-of-networks", NODE_RULES, "system:kube-controller-manager")
    controller = somebody("system:kube-controller-manager")
    wait_for(controller, "patch", "nodes")
    networks = {"spec": {"podCIDR": "10.31.0.0/24", "podCIDRs": ["10.31.0.0/24"]}}
    merge(controller, "/api/v1/nodes/s1", networks).raise_for_status()
    cloud = "system:serviceaccount:kube-system:cloud-controller-manager"
    grant(admin, "cloud", NODE_RULES, cloud)
    manager = somebody(cloud)
    wait_for(manager, "patch", "nodes")
    merge(manager, "/api/v1/nodes/s1/status", {"status": {"addresses": ADDRESSES}}).raise_for_status()


NODE_RULES = [{"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": ["get", "patch", "create"]}]


def test_an_operator_still_cordons_labels_and_reports_conditions(admin, somebody):
    admin.post("/api/v1/nodes", json={"metadata": {"name": "s2"}}).raise_for_status()
    operator = somebody("operator")
    merge(
        operator, "/api/v1/nodes/s2", {"spec": {"unschedulable": True}, "metadata": {"labels": {"a": "b"}}}
    ).raise_for_status()
    condition = {"type": "KernelDeadlock", "status": "False", "reason": "r", "message": "m"}
    merge(operator, "/api/v1/nodes/s2/status", {"status": {"conditions": [condition]}}).raise_for_status()
    operator.post("/api/v1/nodes", json={"metadata": {"name": "s3"}}).raise_for_status()


def test_who_reports_nodes_that_are_no_kubelets_can_be_given_the_right(admin, somebody):
    report = {"apiGroups": ["zonebridge.io"], "resources": ["nodeaddresses"], "verbs": ["report"]}
    grant(admin, "virtual-nodes", [*NODE_RULES, report], "virtual-nodes")
    virtual = somebody("virtual-nodes")
    wait_for(virtual, "report", "nodeaddresses", group="zonebridge.io")
    made = {"metadata": {"name": "virtual"}, "status": {"addresses": ADDRESSES}}
    virtual.post("/api/v1/nodes", json=made).raise_for_status()


def test_the_api_server_keeps_its_own_ends_and_others_keep_theirs(admin, somebody):
    """Its own client is system:apiserver, of the group that may do everything."""
    itself = somebody("system:apiserver", "system:masters")
    itself.post(API_SERVER_SLICES, json=api_server_slice("192.0.2.10"))
    itself.delete(f"{API_SERVER_SLICES}/kubernetes").raise_for_status()
    other = api_server_slice("192.0.2.11")
    other["metadata"]["name"] = "kubernetes-2"
    somebody("operator").post(API_SERVER_SLICES, json=other).raise_for_status()


def probing(container, **spec):
    made = pod("probing", **spec)
    made["spec"]["containers"][0] |= container
    return made


@pytest.mark.parametrize(
    "made",
    [
        probing({"livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"tcpSocket": {"port": 80}}}),
        probing(
            {"lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}, "postStart": {"httpGet": {"port": 80}}}}
        ),
        probing({"livenessProbe": {"grpc": {"port": 80}}, "startupProbe": {"httpGet": {"host": "", "port": 80}}}),
        probing(CALLING, hostNetwork=True),
    ],
)
def test_probes_of_the_pod_itself_and_of_the_node_by_itself(admin, made):
    make(admin, "probes") if not admin.get("/api/v1/namespaces/probes").is_success else None
    admin.post("/api/v1/namespaces/probes/pods", json=made, params={"dryRun": "All"}).raise_for_status()


def test_a_workload_of_before_can_be_scaled_and_mended(admin, guarded):
    """Made before the policy was bound; its template may stay, and may lose the host."""
    where = make(admin, "before")
    binding = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/zonebridge-workloads"
    bound = admin.get(binding).json()
    admin.delete(binding).raise_for_status()
    made = workload("apps/v1", "Deployment", "old", {})
    made["spec"]["template"]["spec"]["containers"][0] |= CALLING
    deployments = "/apis/apps/v1/namespaces/before/deployments"
    try:
        until_accepted(lambda: admin.post(deployments, json=made))
        until_accepted(lambda: admin.post(f"{where}/pods", json=probing(CALLING)))
    finally:
        del bound["metadata"]["resourceVersion"], bound["metadata"]["uid"]
        admin.post(binding.rpartition("/")[0], json=bound).raise_for_status()
    until_refused(lambda: admin.post(f"{where}/pods", json=probing(CALLING), params={"dryRun": "All"}))
    merge(admin, f"{deployments}/old", {"spec": {"replicas": 3}}).raise_for_status()
    merge(admin, f"{where}/pods/probing", {"metadata": {"labels": {"a": "b"}}}).raise_for_status()
    template = {"metadata": {"labels": {"app": "old"}}, "spec": pod("x")["spec"]}
    other = {"spec": {"template": template | {"metadata": {"labels": {"app": "old", "b": "c"}}}}}
    merge(admin, f"{deployments}/old", other).raise_for_status()


def until_accepted(ask):
    _until(ask, accepted=True)


def until_refused(ask):
    _until(ask, accepted=False)


def _until(ask, *, accepted, tries=600):
    for _ in range(tries):
        answer = ask()
        if answer.is_success == accepted:
            return
    raise AssertionError(answer.text)


def test_a_controller_adopts_and_releases_pods(admin, somebody):
    where = make(admin, "adopting")
    admin.post(f"{where}/pods", json=pod("one")).raise_for_status()
    name = "system:serviceaccount:kube-system:replicaset-controller"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch", "create"]}]
    grant(admin, "replicasets", rules, name)
    controller = somebody(name)
    wait_for(controller, "patch", "pods")
    for owners in ([OWNER], []):
        merge(controller, f"{where}/pods/one", {"metadata": {"ownerReferences": owners}}).raise_for_status()
    merge(somebody("operator"), f"{where}/pods/one", {"metadata": {"labels": {"a": "b"}}}).raise_for_status()
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "u-2"}
    merge(somebody("operator"), f"{where}/pods/one", {"metadata": {"ownerReferences": [other]}}).raise_for_status()


def test_services_without_external_addresses_and_those_that_may_have_them(admin, somebody):
    make(admin, "served")
    services = "/api/v1/namespaces/served/services"
    operator = somebody("operator")
    plain = {"metadata": {"name": "plain"}, "spec": {"ports": [{"port": 80}]}}
    operator.post(services, json=plain).raise_for_status()
    external = {"metadata": {"name": "external"}, "spec": {"ports": [{"port": 80}], "externalIPs": ["203.0.113.9"]}}
    admin.post(services, json=external).raise_for_status()
    merge(operator, f"{services}/external", {"metadata": {"labels": {"a": "b"}}}).raise_for_status()
    merge(operator, f"{services}/external", {"spec": {"externalIPs": []}}).raise_for_status()
    publish = {"apiGroups": ["zonebridge.io"], "resources": ["externalips"], "verbs": ["publish"]}
    grant(admin, "publisher", [publish, {"apiGroups": [""], "resources": ["services"], "verbs": ["*"]}], "publisher")
    publisher = somebody("publisher")
    wait_for(publisher, "publish", "externalips", group="zonebridge.io")
    wait_for(publisher, "create", "services")
    publisher.post(services, json=external | {"metadata": {"name": "granted"}}).raise_for_status()


def test_a_load_balancers_controller_reports_its_addresses(admin, somebody):
    make(admin, "balanced")
    services = "/api/v1/namespaces/balanced/services"
    made = {"metadata": {"name": "lb"}, "spec": {"ports": [{"port": 80}], "type": "LoadBalancer"}}
    admin.post(services, json=made).raise_for_status()
    name = "system:serviceaccount:metallb-system:controller"
    grant(admin, "metallb", [{"apiGroups": [""], "resources": ["services/status"], "verbs": ["patch"]}], name)
    controller = somebody(name)
    wait_for(controller, "patch", "services", "status")
    ingress = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.20"}]}}}
    merge(controller, f"{services}/lb/status", ingress).raise_for_status()


def test_of_a_node_the_bridge_may_remove_the_startup_taint_and_nothing_else(admin, somebody):
    mine, other = {"key": TAINT, "effect": "NoSchedule"}, {"key": "other", "effect": "NoSchedule"}
    node = {"metadata": {"name": "t1", "labels": {"a": "b"}}, "spec": {"taints": [other, mine]}}
    admin.post("/api/v1/nodes", json=node).raise_for_status()
    name = "system:serviceaccount:zonebridge-system:zonebridge"
    grant(admin, "bridge-that-removes-taints", NODE_RULES, name)
    bridge = somebody(name)
    wait_for(bridge, "patch", "nodes")
    left = [
        each for each in admin.get("/api/v1/nodes/t1").json()["spec"]["taints"] if each != mine
    ]  # another is its own
    assert other in left
    for refused in (
        {"spec": {"taints": [mine, *left[1:]]}},
        {"spec": {"taints": None}},
        {"spec": {"taints": [*left, mine, {"key": "more", "effect": "NoExecute"}]}},
        {"spec": {"taints": left, "unschedulable": True}},
        {"spec": {"taints": left}, "metadata": {"labels": {"a": "c"}}},
        {"spec": {"taints": left}, "metadata": {"annotations": {"a": "c"}}},
    ):
        assert "may only remove the taint" in merge(bridge, "/api/v1/nodes/t1", refused).text, refused
    merge(bridge, "/api/v1/nodes/t1", {"spec": {"taints": left}}).raise_for_status()
    assert admin.get("/api/v1/nodes/t1").json()["spec"]["taints"] == left
    assert "may only remove the taint" in bridge.post("/api/v1/nodes", json={"metadata": {"name": "t2"}}).text
