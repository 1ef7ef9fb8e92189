"""What the API server can't refuse: changes that have no effect, that the bridge puts back, or that enforcers isolate.

`act` does it; test_tamper.py proves what becomes of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address

import httpx

from bridge.explain.pod_end import endpoint
from enforcer.cluster.view import ObjectPage, View, WatchedKind, WatchedObject
from tests.apiserver.installed import namespace, pod
from tests.apiserver.tamper.attempt import APPLY, MERGE, OURS
from tests.apiserver.tamper.people import (
    ADMINISTRATOR,
    DEVELOPER,
    NODE,
    OPERATOR,
    OTHER_NODE,
    OWNER,
    RBAC,
    People,
    ours,
    quarantine,
)
from zones import decode
from zones.net import TCP
from zones.policy import Entry, Policy, Traffic, Verdict
from zones.rules import Origin
from zones.verdict import Endpoint, Flow, decide
from zones.zone import ANY_ZONE, Zoning

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
KEY, ANNOTATION = "zonebridge.io/zone", "zonebridge.io/zones"
SHOP = "/api/v1/namespaces/shop"
PUT_BACK = "put back within 2 s and reported"
ISOLATED = "isolated and reported"
NO_EFFECT = "no effect"


@dataclass(frozen=True, slots=True)
class Change:
    """A change that is accepted. `act` is given everybody, and for the tier's own objects the tier's name."""

    name: str
    who: str
    what: str
    outcome: str
    act: Callable[..., object]


def _patch(client: httpx.Client, path: str, body: dict, content_type: str = MERGE) -> dict:
    more = {"fieldManager": "somebody", "force": "true"} if content_type == APPLY else {}
    answer = client.patch(path, json=body, headers={"Content-Type": content_type}, params=more)
    return answer.raise_for_status().json()


def _live(admin: httpx.Client, tier: str) -> dict:
    return admin.get(f"{OURS}/tiers/{tier}").raise_for_status().json()


def open_tier(admin: httpx.Client, tier: str) -> None:
    """A newer revision of rules of one's own."""
    spec = _live(admin, tier)["spec"]
    _patch(admin, f"{OURS}/tiers/{tier}", {"spec": spec | {"revision": spec["revision"] + 1, "policyChunks": []}})


def apply_tier(admin: httpx.Client, tier: str) -> None:
    live = _live(admin, tier)
    spec = live["spec"] | {"revision": live["spec"]["revision"] + 5, "knownZones": ["mine"]}
    wanted = {"apiVersion": live["apiVersion"], "kind": "Tier", "metadata": {"name": tier}, "spec": spec}
    _patch(admin, f"{OURS}/tiers/{tier}", wanted, APPLY)


def delete_tier(admin: httpx.Client, tier: str) -> None:
    admin.delete(f"{OURS}/tiers/{tier}").raise_for_status()


def delete_chunk(admin: httpx.Client, tier: str) -> None:
    admin.delete(f"{OURS}/policychunks/{_live(admin, tier)['spec']['policyChunks'][0]}").raise_for_status()


def delete_sets(admin: httpx.Client, tier: str) -> None:
    admin.delete(f"{OURS}/addresssets?labelSelector=zonebridge.io/tier={tier}").raise_for_status()


def disown_chunk(admin: httpx.Client, tier: str) -> None:
    chunk = _live(admin, tier)["spec"]["policyChunks"][0]
    _patch(admin, f"{OURS}/policychunks/{chunk}", {"metadata": {"labels": {"zonebridge.io/tier": None}}})


def add_part(admin: httpx.Client, tier: str) -> None:
    made = ours("AddressSet", f"{tier}-mine", {"prefixes": ["0.0.0.0/0"]})
    made["metadata"]["labels"]["zonebridge.io/tier"] = tier
    admin.post(f"{OURS}/addresssets", json=made).raise_for_status()


def whitewash(admin: httpx.Client, tier: str) -> None:
    _patch(admin, f"{OURS}/tiers/{tier}/status", {"status": {"nodes": {"total": 9, "inSync": 9}, "problems": []}})


def by_administrator(act: Callable[[httpx.Client, str], None]) -> Callable[[People, str], None]:
    return lambda people, tier: act(people[ADMINISTRATOR], tier)


def without_policy(people: People, tier: str) -> None:
    """Whoever may delete a policy's binding can; afterwards it is there again, for the other attempts."""
    path = f"{ADMISSION}/validatingadmissionpolicybindings/zonebridge-tier"
    binding = people[OPERATOR].get(path).raise_for_status().json()
    people[OPERATOR].delete(path).raise_for_status()
    try:
        _until(lambda: _written(people, tier), "writes without the policy")
        open_tier(people[OPERATOR], tier)
    finally:
        del binding["metadata"]["resourceVersion"], binding["metadata"]["uid"]
        people[ADMINISTRATOR].post(f"{ADMISSION}/validatingadmissionpolicybindings", json=binding).raise_for_status()
        _until(lambda: not _written(people, tier), "the policy again")


def _written(people: People, tier: str) -> bool:
    """Whether the operator could write the Tier now."""
    labels = {"metadata": {"labels": {"tried": "true"}}}
    asked = {"headers": {"Content-Type": MERGE}, "params": {"dryRun": "All"}}
    return people[OPERATOR].patch(f"{OURS}/tiers/{tier}", json=labels, **asked).is_success


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"not within 60 s: {what}"
        time.sleep(0.02)


BY_ADMINISTRATORS = (
    ("administrator-opens-tier", "write a newer revision of the Tier", open_tier),
    ("administrator-applies-tier", "the same by server-side apply with `--force-conflicts`", apply_tier),
    ("administrator-deletes-tier", "delete the Tier", delete_tier),
    ("administrator-deletes-chunk", "delete a PolicyChunk that is in force", delete_chunk),
    ("administrator-deletes-sets", "`deletecollection` of a tier's AddressSets", delete_sets),
    ("administrator-relabels-chunk", "take the tier's label from a PolicyChunk", disown_chunk),
    ("administrator-adds-set", "slip an AddressSet in among the tier's", add_part),
    ("administrator-whitewashes", "write the Tier's status, so that trouble looks well", whitewash),
)
PUT_BACK_CHANGES = (
    *(Change(name, ADMINISTRATOR, what, PUT_BACK, by_administrator(act)) for name, what, act in BY_ADMINISTRATORS),
    Change("operator-removes-the-policy", OPERATOR, "delete a policy's binding, then write the Tier", PUT_BACK, without_policy),
)  # fmt: skip


def label_by_debug(people: People) -> None:
    """The subresources take no label."""
    people[OWNER].post(f"{SHOP}/pods", json=pod("debugged", {KEY: "web"})).raise_for_status()
    container = {"name": "debug", "image": "i"}
    labels = {"metadata": {"labels": {KEY: "data"}}}
    debug = labels | {"spec": {"ephemeralContainers": [container]}}
    resize = labels | {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1m"}}}]}}
    strategic = "application/strategic-merge-patch+json"
    _patch(people[OWNER], f"{SHOP}/pods/debugged/ephemeralcontainers", debug, strategic)
    people[OWNER].patch(f"{SHOP}/pods/debugged/resize", json=resize, headers={"Content-Type": strategic})
    live = people[OWNER].get(f"{SHOP}/pods/debugged").json()
    assert live["metadata"]["labels"][KEY] == "web"


def annotate_alike(people: People) -> None:
    """A key in another case, and the right key on a pod."""
    _patch(people[OWNER], SHOP, {"metadata": {"annotations": {"zonebridge.io/Zones": "*"}}})
    made = pod("mine", {KEY: "data"})
    made["metadata"]["annotations"] = {ANNOTATION: "*"}
    assert "may not use zone 'data'" in people[OWNER].post(f"{SHOP}/pods", json=made).text


def grant_in_namespace(people: People) -> None:
    """zonebridge's permissions count for the whole cluster or not at all."""
    for role in ("zonebridge-zone-assigner", "zonebridge-break-glass"):
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OWNER}
        binding = {"metadata": {"name": role}, "roleRef": ref, "subjects": [subject]}
        people[OWNER].post(f"{RBAC}/namespaces/shop/rolebindings", json=binding).raise_for_status()
    answer = people[OWNER].patch(
        SHOP, json={"metadata": {"annotations": {ANNOTATION: "*"}}}, headers={"Content-Type": MERGE}
    )
    assert "'zonebridge-namespaces'" in answer.text
    assert people[OWNER].delete(f"{OURS}/tiers/panorama").status_code == 403


def allow_by_network_policy(people: People) -> None:
    """No enforcer reads them; the kernel's tier is its own table, which no other table's accept undoes."""
    allow = {"metadata": {"name": "mine"}, "spec": {"podSelector": {}, "ingress": [{}], "egress": [{}]}}
    policies = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"
    people[DEVELOPER].post(policies, json=allow).raise_for_status()
    roles = [
        people[ADMINISTRATOR].get(f"{RBAC}/clusterroles/{name}").json() for name in ("zonebridge", "zone-enforcer")
    ]
    groups = {group for role in roles for rule in role["rules"] for group in rule["apiGroups"]}
    assert groups == {"", "zonebridge.io", "events.k8s.io", "discovery.k8s.io"}


def tell_tales(people: People) -> None:
    """An Event of the own namespace is words: nothing of zonebridge reads Events."""
    about = {"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": "shop"}
    event = {"metadata": {"name": "mine"}, "involvedObject": about, "source": {"component": "zone-enforcer"}}
    people[DEVELOPER].post(f"{SHOP}/events", json=event).raise_for_status()
    roles = [
        people[ADMINISTRATOR].get(f"{RBAC}/clusterroles/{name}").json() for name in ("zonebridge", "zone-enforcer")
    ]
    verbs = {
        verb for role in roles for rule in role["rules"] if "events" in rule["resources"] for verb in rule["verbs"]
    }
    assert not verbs & {"get", "list", "watch"}


def relay_by_api_server(people: People) -> None:
    """It asks no end of a Service that isn't a pod of the Service's own namespace with this very address."""
    port = {"name": "http", "port": 80}
    people[OWNER].post(f"{SHOP}/services", json={"metadata": {"name": "relay"}, "spec": {"ports": [port]}})
    for reference in ({}, {"targetRef": {"kind": "Pod", "namespace": "shop", "name": "web"}}):
        ends = {"addresses": [{"ip": "10.1.2.9"} | reference], "ports": [port]}
        wanted = {"metadata": {"name": "relay"}, "subsets": [ends]}
        if people[OWNER].put(f"{SHOP}/endpoints/relay", json=wanted).status_code == 404:
            people[OWNER].post(f"{SHOP}/endpoints", json=wanted).raise_for_status()
        answer = people[OWNER].get(f"{SHOP}/services/relay:http/proxy/")
        assert "no endpoints available" in answer.text


def take_a_name(people: People) -> None:
    """The pod has the name of another team's workload in a zone that both may use: a rule for that namespace isn't its."""
    people[DEVELOPER].post(f"{SHOP}/pods", json=pod("ledger", {KEY: "web"}, nodeName="n1")).raise_for_status()
    _patch(people[NODE], f"{SHOP}/pods/ledger/status", _at("10.1.1.9"))
    raw = people[DEVELOPER].get(f"{SHOP}/pods/ledger").json()
    thief = endpoint(raw, frozenset({ANY_ZONE}), Zoning(), version=4)
    rule = Entry(
        Origin("to-the-banks-ledger", None, "pre", "dg"),
        Verdict.ALLOW,
        traffic=(Traffic(destination_workload="bank/ledger"),),
    )
    last = Entry(Origin("interzone-default", None, "default", "Shared"), Verdict.DENY)
    client = Endpoint("app", ip_address("10.1.2.1"), "client", "shop")
    policy = Policy(Zoning(), (), (rule, last))
    assert decide(policy, Flow(client, thief, TCP, 5432, 40_000)).origin == last.origin
    assert decide(policy, Flow(client, replace(thief, namespace="bank"), TCP, 5432, 40_000)).origin == rule.origin


def show_a_static_pod(people: People) -> None:
    """A mirror pod needs no container: a node that was taken may show one in a namespace that reaches more than others."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": people.uid_of_n1, "controller": True}
    made = pod("system-n1", nodeName="n1")
    mark = {"annotations": {"kubernetes.io/config.mirror": "1"}, "ownerReferences": [owner]}
    made["metadata"] |= mark
    people[NODE].post("/api/v1/namespaces/kube-system/pods", json=made).raise_for_status()
    _patch(people[NODE], "/api/v1/namespaces/kube-system/pods/system-n1/status", _at("10.1.1.66"))
    shown = people[ADMINISTRATOR].get("/api/v1/namespaces/kube-system/pods/system-n1").json()
    told = decode.pod(shown)
    assert told.item.addresses == ()
    assert any("it is in no zone" in problem for problem in told.problems)


def leave_by_labels(people: People) -> None:
    """A label that a ReplicaSet doesn't choose by: its controller lets go of the pod, which is then its own workload's."""
    view = View("panorama", (), "n1")
    view.fold(
        ObjectPage(WatchedKind.QUARANTINES, [quarantine("all", workload={"namespace": "shop", "name": "leaver"})])
    )
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "leaver-5d9f", "uid": "r-1", "controller": True}
    made = pod("leaver-5d9f-x", {KEY: "web", "app": "leaver"}, nodeName="n1")
    made["metadata"]["ownerReferences"] = [owner]
    people[DEVELOPER].post(f"{SHOP}/pods", json=made).raise_for_status()
    path = f"{SHOP}/pods/leaver-5d9f-x"
    view.fold(WatchedObject(WatchedKind.PODS, people[DEVELOPER].get(path).json()))
    _patch(people[DEVELOPER], path, {"metadata": {"labels": {"app": "another"}}})
    released = _patch(people[ADMINISTRATOR], path, {"metadata": {"ownerReferences": None}})
    view.fold(WatchedObject(WatchedKind.PODS, released))
    (left,) = view.own_pods()
    assert (left.workload, left.quarantined) == ("leaver-5d9f-x", True)


NO_EFFECT_CHANGES = (
    Change("owner-labels-by-debug", OWNER, "label a running pod through `pods/ephemeralcontainers` and `pods/resize`", NO_EFFECT, label_by_debug),
    Change("owner-annotates-alike", OWNER, "annotate with a key that looks alike, or annotate the pod instead", NO_EFFECT, annotate_alike),
    Change("owner-grants-in-namespace", OWNER, "bind zonebridge's own roles in one's namespace: they count cluster-wide or not at all", NO_EFFECT, grant_in_namespace),
    Change("developer-allows-by-network-policy", DEVELOPER, "a NetworkPolicy that allows everything", NO_EFFECT, allow_by_network_policy),
    Change("owner-relays-by-the-api-server", OWNER, "have the API server ask another's pod: a Service with ends of one's own, through `services/proxy`", NO_EFFECT, relay_by_api_server),
    Change("node-shows-a-static-pod", NODE, "a node that was taken shows the API server a static pod in kube-system, with an address of its own: nobody has that address then", NO_EFFECT, show_a_static_pod),
    Change("developer-takes-a-name", DEVELOPER, "call a pod by the name of another namespace's workload, where the App-ID has the tag `k8s-namespace:…`", NO_EFFECT, take_a_name),
    Change("developer-leaves-a-quarantine-by-labels", DEVELOPER, "have a ReplicaSet let go of a pod whose workload is in quarantine, by another label", NO_EFFECT, leave_by_labels),
    Change("developer-tells-tales", DEVELOPER, "an Event in one's namespace, as if by an enforcer", NO_EFFECT, tell_tales),
)  # fmt: skip


def withdraw(people: People) -> None:
    """The namespace loses the zone while its pod runs."""
    admin = people[ADMINISTRATOR]
    admin.post("/api/v1/namespaces", json=namespace("lost", **{ANNOTATION: "web"})).raise_for_status()
    admin.post("/api/v1/namespaces/lost/serviceaccounts", json={"metadata": {"name": "default"}}).raise_for_status()
    admin.post("/api/v1/namespaces/lost/pods", json=pod("web", {KEY: "web"}, nodeName="n1")).raise_for_status()
    _patch(people[NODE], "/api/v1/namespaces/lost/pods/web/status", _at("10.1.1.7"))
    _patch(admin, "/api/v1/namespaces/lost", {"metadata": {"annotations": {ANNOTATION: "data"}}})


def claim_address(people: People) -> None:
    """A node that was taken may say of its own pods what it likes."""
    for name, node, who in (("victim", "n2", OTHER_NODE), ("liar", "n1", NODE)):
        made = pod(name, {KEY: "web"}, nodeName=node)
        people[ADMINISTRATOR].post(f"{SHOP}/pods", json=made).raise_for_status()
        _patch(people[who], f"{SHOP}/pods/{name}/status", _at("10.1.2.66"))


def _at(address: str) -> dict:
    return {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}


ISOLATED_CHANGES = (
    Change("owner-keeps-a-lost-zone", OWNER, "go on in a zone after the annotation was withdrawn", ISOLATED, withdraw),
    Change("node-claims-an-address", NODE, "a node that was taken gives its own pod the address of another", ISOLATED, claim_address),
)  # fmt: skip
CHANGES = (*NO_EFFECT_CHANGES, *PUT_BACK_CHANGES, *ISOLATED_CHANGES)
