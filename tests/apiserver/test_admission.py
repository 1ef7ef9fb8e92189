"""What the admission policies let pass, and that they mean what zones/zone.py means, on a real API server."""

import copy
import itertools
import time

import pytest
import yaml

from enforcer.status.status import node_state
from tests.apiserver.installed import CONFIG, ENFORCER, MERGE, namespace, pod, restricted_pod
from tests.apiserver.tamper.people import RBAC, workload
from zones.policy import Entry, Policy, Verdict
from zones.rules import Origin
from zones.tiers import native
from zones.zone import Entitlement, Zoning, allowed_zones

pytestmark = pytest.mark.apiserver

APPLY = "application/apply-patch+yaml"
KEY, ANNOTATION = "zonebridge.io/zone", "zonebridge.io/zones"
ANNOTATIONS = (None, "", "web", " web , data ", "*", "web,*", " * ", ",", "web,,data", "webfront", "WEB", "default",
               "web\ndata", "\tweb\n", "\u00a0web", "web;data", "**", "data,default")  # fmt: skip
LABELS = (None, "", "web", "data", "default", "WEB", "we", "nodes")
AUTHENTICATED = ["system:authenticated"]


@pytest.fixture(scope="module")
def admin(guarded):
    with guarded.client() as client:
        yield client


@pytest.fixture
def somebody(guarded):
    """A client of anybody; closed at the end."""
    opened = []

    def client(name, *groups):
        opened.append(guarded.client(name, [*AUTHENTICATED, *groups]))
        return opened[-1]

    yield client
    for each in opened:
        each.close()


def make(admin, name, zones=None):
    annotations = {} if zones is None else {ANNOTATION: zones}
    made = namespace(name, **annotations)
    made["metadata"]["labels"] = {"name": name}
    admin.post("/api/v1/namespaces", json=made).raise_for_status()
    accounts = f"/api/v1/namespaces/{name}/serviceaccounts"
    admin.post(accounts, json={"metadata": {"name": "default"}}).raise_for_status()
    return f"/api/v1/namespaces/{name}"


def merge(client, path, body):
    return client.patch(path, json=body, headers={"Content-Type": MERGE})


def judged(client, path, labels, **spec):
    """Whether a pod would be let in; its refusal must be the policy's."""
    answer = client.post(f"{path}/pods", json=pod("tried", labels, **spec), params={"dryRun": "All"})
    assert answer.is_success or "may not use" in answer.text, answer.text
    return answer.is_success


def test_admission_means_what_the_language_means(admin):
    zoning = Zoning()
    for number, zones in enumerate(ANNOTATIONS):
        where = make(admin, f"means-{number}", zones)
        allowed = allowed_zones({} if zones is None else {ANNOTATION: zones})
        for label in LABELS:
            labels = {} if label is None else {KEY: label}
            expected = zoning.entitled(zoning.claimed(labels), allowed)
            assert judged(admin, where, labels) == expected, f"annotation {zones!r}, label {label!r}"


def test_other_settings_mean_what_the_language_means_too(admin, until):
    """The three variables that an installation may change, in a copy of the policy for namespaces of its own."""
    zoning = Zoning(label_key="example.com/Zone", default="base", entitlement=Entitlement.ANNOTATED)
    values = {"labelKey": zoning.label_key, "defaultZone": zoning.default, "entitlement": str(zoning.entitlement)}
    policy, binding = copied("other-settings", values)
    admission = "/apis/admissionregistration.k8s.io/v1"
    admin.post(f"{admission}/validatingadmissionpolicies", json=policy).raise_for_status()
    admin.post(f"{admission}/validatingadmissionpolicybindings", json=binding).raise_for_status()
    where = {zones: make(admin, f"others-{number}", zones) for number, zones in enumerate((None, "web", "base", "*"))}
    until(lambda: not judged(admin, where["web"], {zoning.label_key: "data"} | {KEY: "web"}), seconds=60)
    for (zones, path), label in itertools.product(where.items(), (None, "", "web", "base", "default")):
        labels = {} if label is None else {zoning.label_key: label}
        allowed = allowed_zones({} if zones is None else {ANNOTATION: zones})
        # the policy that is installed judges too, by the usual key
        both = allowed is None or Zoning().entitled("web", allowed)
        expected = zoning.entitled(zoning.claimed(labels), allowed) and both
        usual = {} if allowed is None else {KEY: "web"}
        assert judged(admin, path, labels | usual) == expected, f"annotation {zones!r}, label {label!r}"


def copied(name, values):
    """The policy of zones with other variables, bound to the namespaces others-…"""
    documents = list(yaml.safe_load_all((CONFIG / "deploy" / "admission-zones.yaml").read_text()))
    policy, binding = copy.deepcopy(documents[:2])
    assert policy["metadata"]["name"] == "zonebridge-zones"
    for variable in policy["spec"]["variables"]:
        if variable["name"] in values:
            variable["expression"] = f"'{values[variable['name']]}'"
    names = [f"others-{number}" for number in range(4)]
    selector = {"matchExpressions": [{"key": "name", "operator": "In", "values": names}]}
    policy["metadata"] = binding["metadata"] = {"name": name}
    policy["spec"]["matchConstraints"]["namespaceSelector"] = selector
    binding["spec"]["policyName"] = name
    return policy, binding


def test_what_runs_already_can_still_be_kept(admin, until):
    """A pod and a Deployment of before: whatever the annotation says now, all but their zone may change."""
    where = make(admin, "legacy", "web")
    deployments = "/apis/apps/v1/namespaces/legacy/deployments"
    web = {KEY: "web"}
    admin.post(f"{where}/pods", json=pod("old", web)).raise_for_status()
    admin.post(deployments, json=workload("apps/v1", "Deployment", "old", web)).raise_for_status()
    merge(admin, where, {"metadata": {"annotations": {ANNOTATION: "data"}}}).raise_for_status()
    until(lambda: not judged(admin, where, web), seconds=60)
    merge(admin, f"{where}/pods/old", {"metadata": {"labels": {"a": "b"}, "finalizers": []}}).raise_for_status()
    merge(admin, f"{deployments}/old", {"spec": {"replicas": 3}}).raise_for_status()
    merge(admin, f"{deployments}/old/status", {"status": {"replicas": 3}}).raise_for_status()
    merge(admin, f"{deployments}/old/scale", {"spec": {"replicas": 2}}).raise_for_status()
    moved = merge(admin, f"{deployments}/old", {"spec": {"template": {"metadata": {"labels": {KEY: "data"}}}}})
    moved.raise_for_status()
    assert (
        "may not use zone 'web'"
        in merge(admin, f"{deployments}/old", {"spec": {"template": {"metadata": {"labels": web}}}}).text
    )


def test_pods_on_the_nodes_network_need_no_zone(admin):
    """They have no address of their own; a label that claims a zone is still judged."""
    where = make(admin, "hostly", "web")
    assert judged(admin, where, {}, hostNetwork=True)
    assert judged(admin, where, {KEY: "web"}, hostNetwork=True)
    assert not judged(admin, where, {KEY: "data"}, hostNetwork=True)
    assert not judged(admin, where, {})


def test_a_node_reports_its_pods_and_controllers_end_them(admin, somebody):
    where = make(admin, "reported")
    for node in ("r1", "r2"):
        admin.post("/api/v1/nodes", json={"metadata": {"name": node}}).raise_for_status()
    admin.post(f"{where}/pods", json=pod("one", nodeName="r1")).raise_for_status()
    status = f"{where}/pods/one/status"
    running = {"phase": "Running", "podIP": "10.3.0.4", "podIPs": [{"ip": "10.3.0.4"}], "hostIP": "192.0.2.7"}
    merge(somebody("system:node:r1", "system:nodes"), status, {"status": running}).raise_for_status()
    scheduler = somebody("system:kube-scheduler")
    condition = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
    merge(scheduler, status, {"status": {"conditions": [condition]}}).raise_for_status()
    collector = somebody("system:serviceaccount:kube-system:pod-garbage-collector", "system:serviceaccounts")
    rules = [{"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]}]
    grant(admin, "collector", rules, "system:serviceaccount:kube-system:pod-garbage-collector")
    wait_for(collector, "patch", "pods", "status")
    merge(collector, status, {"status": {"phase": "Failed"}}).raise_for_status()
    assert (
        "reported by the node"
        in merge(collector, status, {"status": {"podIP": "10.3.0.9", "podIPs": [{"ip": "10.3.0.9"}]}}).text
    )


def test_a_virtual_node_may_be_allowed_to_report(admin, somebody):
    where = make(admin, "virtual")
    admin.post(f"{where}/pods", json=pod("one")).raise_for_status()
    node = somebody("virtual-node")
    rules = [
        {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]},
        {"apiGroups": ["zonebridge.io"], "resources": ["podaddresses"], "verbs": ["report"]},
    ]
    grant(admin, "virtual-node", rules, "virtual-node")
    wait_for(node, "report", "podaddresses", group="zonebridge.io")
    running = {"phase": "Running", "podIP": "10.4.0.4", "podIPs": [{"ip": "10.4.0.4"}]}
    merge(node, f"{where}/pods/one/status", {"status": running}).raise_for_status()


def test_a_zone_assigner_annotates_and_nothing_else(admin, somebody):
    where = make(admin, "assigned")
    bind(admin, "assigner", "zonebridge-zone-assigner", "assigner")
    assigner = somebody("assigner")
    wait_for(assigner, "assign", "zones", group="zonebridge.io")
    merge(assigner, where, {"metadata": {"annotations": {ANNOTATION: "web,data"}}}).raise_for_status()
    merge(assigner, where, {"metadata": {"annotations": {ANNOTATION: None}}}).raise_for_status()
    assert assigner.delete("/apis/zonebridge.io/v1alpha1/tiers").status_code == 403


def test_an_owner_edits_all_else_of_a_namespace(admin, somebody):
    where = make(admin, "owned", "web")
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "owner-of-owned"}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {"metadata": {"name": "owner"}, "roleRef": ref, "subjects": [subject]}
    admin.post(f"{RBAC}/namespaces/owned/rolebindings", json=binding).raise_for_status()
    owner = somebody("owner-of-owned")
    wait_for(owner, "patch", "namespaces", where="owned", name="owned")
    merge(owner, where, {"metadata": {"labels": {"team": "a"}, "annotations": {"a": "b"}}}).raise_for_status()
    same = {"metadata": {"annotations": {ANNOTATION: "web"}, "labels": {"team": "b"}}}
    merge(owner, where, same).raise_for_status()


def test_other_projects_go_on(admin, somebody):
    """Also where a request names nothing: names that are generated, many deleted at once."""
    operator = somebody("operator")
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    labels = {"of": "another-project"}
    role = {"metadata": {"generateName": "other-", "labels": labels}, "rules": rules}
    configured = {"metadata": {"generateName": "other-", "labels": labels}}
    system = "/api/v1/namespaces/zonebridge-system"
    configmaps = f"{system}/configmaps"
    for path, body in ((f"{RBAC}/clusterroles", role), (configmaps, configured)):
        operator.post(path, json=body).raise_for_status()
        operator.post(path, json=body | {"metadata": {"name": "other", "labels": labels}}).raise_for_status()
        merge(operator, f"{path}/other", {"metadata": {"annotations": {"a": "b"}}}).raise_for_status()
        operator.delete(path, params={"labelSelector": "of=another-project"}).raise_for_status()
        assert admin.get(path, params={"labelSelector": "of=another-project"}).json()["items"] == []
    admin.post(
        f"{system}/pods", json=restricted_pod("another-bridge", serviceAccountName="zonebridge")
    ).raise_for_status()
    merge(operator, f"{system}/pods/another-bridge", {"metadata": {"annotations": {"network": "a"}}}).raise_for_status()
    merge(operator, system, {"metadata": {"labels": {"of": "another-project"}}}).raise_for_status()


def test_who_provides_credentials_writes_our_secrets_but_no_tokens(admin, somebody):
    bind(admin, "provider", "zonebridge-credentials-provider", "provider")
    secrets = "/api/v1/namespaces/zonebridge-system/secrets"
    role = {"metadata": {"name": "secrets"}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]}
    admin.post(f"{RBAC}/clusterroles", json=role).raise_for_status()
    bind(admin, "provider-of-secrets", "secrets", "provider")
    provider = somebody("provider")
    wait_for(provider, "provide", "credentials", group="zonebridge.io")
    wait_for(provider, "delete", "secrets")
    provider.post(secrets, json={"metadata": {"name": "zonebridge-siem"}}).raise_for_status()
    provider.delete(f"{secrets}/zonebridge-siem").raise_for_status()
    account = {"kubernetes.io/service-account.name": "zonebridge"}
    token = {"metadata": {"name": "mine", "annotations": account}, "type": "kubernetes.io/service-account-token"}
    assert provider.post(secrets, json=token).status_code == 403


def test_in_an_emergency_somebody_may_write_the_tier(admin, somebody):
    bind(admin, "fireman", "zonebridge-break-glass", "fireman")
    fireman = somebody("fireman")
    wait_for(fireman, "override", "tiers", group="zonebridge.io")
    sets = "/apis/zonebridge.io/v1alpha1/addresssets"
    made = {"apiVersion": "zonebridge.io/v1alpha1", "kind": "AddressSet", "metadata": {"name": "by-hand"}}
    fireman.post(sets, json=made | {"spec": {"prefixes": ["192.0.2.0/24"]}}).raise_for_status()
    fireman.delete(f"{sets}/by-hand").raise_for_status()
    assert (
        merge(fireman, "/api/v1/namespaces/default", {"metadata": {"annotations": {ANNOTATION: "*"}}}).status_code
        == 403
    )


def test_an_enforcer_reports_for_its_own_node(admin, guarded, somebody):
    extra = {"Impersonate-Extra-authentication.kubernetes.io%2fnode-name": "own-node"}
    with guarded.client(ENFORCER, AUTHENTICATED) as enforcer:
        states = "/apis/zonebridge.io/v1alpha1/nodestates"
        made = {
            "apiVersion": "zonebridge.io/v1alpha1",
            "kind": "NodeState",
            "metadata": {"name": "own-node"},
            "spec": {},
        }
        enforcer.post(states, json=made, headers=extra).raise_for_status()
        headers = extra | {"Content-Type": MERGE}
        said = {"tier": "t", "revision": 3, "digest": "", "appliedAt": None, "mode": "enforce", "why": ""}
        for kubelet in ({"problem": "it was not asked yet"}, {"settings": {"anonymous": False}}, None):
            status = node_state(said | {"enforcedZones": [], "problems": []}, kubelet)
            answer = enforcer.patch(f"{states}/own-node/status", json={"status": status}, headers=headers)
            assert answer.raise_for_status().json()["status"].get("kubelet") == kubelet
    assert admin.delete(f"{states}/own-node").is_success


def test_an_enforcer_tells_of_its_own_nodes_pods(admin, guarded):
    extra = {"Impersonate-Extra-authentication.kubernetes.io%2fnode-name": "own.node"}
    path = "/apis/zonebridge.io/v1alpha1/podslices/3.own.node"
    body = {
        "apiVersion": "zonebridge.io/v1alpha1",
        "kind": "PodSlice",
        "metadata": {"name": "3.own.node", "labels": {"zonebridge.io/tier": "panorama"}},
        "spec": {"node": "own.node", "addresses": ["10.9.9.0"], "pods": []},
    }
    applied = {"headers": extra | {"Content-Type": APPLY}, "params": {"fieldManager": "zone-enforcer", "force": "true"}}
    with guarded.client(ENFORCER, AUTHENTICATED) as enforcer:
        for addresses in (["10.9.9.0"], ["10.9.9.0", "10.9.9.1"]):
            spec = body["spec"] | {"addresses": addresses}
            answer = enforcer.patch(path, json=body | {"spec": spec}, **applied).raise_for_status()
            assert answer.json()["spec"] == spec
        stolen = enforcer.patch(path, json=body | {"spec": {"node": "other", "pods": []}}, **applied)
        assert stolen.status_code == 403
        enforcer.delete(path, headers=extra).raise_for_status()


@pytest.mark.parametrize("plural", ["podslices", "nodestates"])
def test_what_a_node_has_said_goes_away_with_the_node(admin, guarded, plural):
    """By Kubernetes itself, which asks the policies too."""
    name, kind = ("0.gone", "PodSlice") if plural == "podslices" else ("gone", "NodeState")
    made = {"apiVersion": "zonebridge.io/v1alpha1", "kind": kind, "metadata": {"name": name}}
    path = f"/apis/zonebridge.io/v1alpha1/{plural}"
    claim = {"Impersonate-Extra-authentication.kubernetes.io%2fnode-name": "gone"}
    with guarded.client(ENFORCER, AUTHENTICATED) as enforcer:
        spec = {"node": "gone", "pods": []} if plural == "podslices" else {}
        enforcer.post(path, json=made | {"spec": spec}, headers=claim).raise_for_status()
    collector = {"Impersonate-User": "system:serviceaccount:kube-system:generic-garbage-collector"}
    collector["Impersonate-Group"] = "system:masters"  # its role isn't what is tried here
    admin.delete(f"{path}/{name}", headers=collector).raise_for_status()


def test_a_tier_whose_zoning_is_not_what_admission_checks_is_refused(admin):
    """Else a pod could be let in by one meaning and judged by another."""
    entry = Entry(Origin("a", None, "pre", "dg"), Verdict.ALLOW)
    for zoning in (Zoning(label_key="other/zone"), Zoning(default="base"), Zoning(entitlement=Entitlement.ANNOTATED)):
        tier = native.render(Policy(zoning, (), (entry,)), "other", 1).tier
        answer = admin.post("/apis/zonebridge.io/v1alpha1/tiers", json=tier)
        wanted = (
            f"to '{zoning.label_key}', '{zoning.default}' and '{zoning.entitlement}', or the bridge's settings back"
        )
        assert wanted in answer.json()["message"]


def grant(admin, name, rules, user):
    admin.post(f"{RBAC}/clusterroles", json={"metadata": {"name": name}, "rules": rules}).raise_for_status()
    bind(admin, name, name, user)


def bind(admin, name, role, user):
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    binding = {"metadata": {"name": name}, "roleRef": ref, "subjects": [subject]}
    admin.post(f"{RBAC}/clusterrolebindings", json=binding).raise_for_status()


def wait_for(client, verb, resource, subresource="", *, group="", where="", name=""):
    """A new right takes a moment until it counts."""
    asked = {
        "verb": verb, "resource": resource, "subresource": subresource, "group": group, "namespace": where, "name": name
    }  # fmt: skip
    deadline = time.monotonic() + 60
    body = {"spec": {"resourceAttributes": asked}}
    while True:
        answer = client.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=body).raise_for_status()
        if answer.json()["status"]["allowed"]:
            return
        assert time.monotonic() < deadline, f"not allowed within 60 s: {asked}"
        time.sleep(0.02)
