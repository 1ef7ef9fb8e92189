"""Each group's judgement of a snapshot: what is well, what isn't, and what could not be looked at."""

from dataclasses import replace

import pytest

from bridge.check import clocks, cluster, dataplane, installation, nodes, reach, rights, run, services, traffic
from bridge.check.snapshot import AccessReview, ClusterSnapshot, InstallationNames, ListedObjects, Reached
from zones.runtime.findings import FindingStatus, good, some, text

NOW = 1_800_000_000.0
AT = "2027-01-15T08:00:00.000000Z"  # NOW
REFUSED = ListedObjects(problem="403: you may not")


def named(name, namespace=None, labels=None, annotations=None, **more):
    metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
    return {"metadata": metadata | ({"namespace": namespace} if namespace else {})} | more


def node(name, kernel="6.1.0-49-cloud", labels=None, **spec):
    status = {"nodeInfo": {"kernelVersion": kernel}, "conditions": [{"type": "Ready", "status": "True"}]}
    return named(name, labels=labels, spec={"podCIDR": "10.1.0.0/24"} | spec, status=status)


def policy(name):
    return named(f"zonebridge-{name}", spec={"failurePolicy": "Fail"})


def binding(name, *actions):
    return named(
        name, spec={"policyName": f"zonebridge-{name}", "validationActions": list(actions or ("Deny", "Audit"))}
    )


def enforcers(text="serviceNetworks: [10.96.0.0/16, 'fd00:96::/112']"):
    return ListedObjects([named("zone-enforcer-settings", "zonebridge-enforcer", data={"enforcer.yaml": text})])


def service(name, *addresses, ingress=()):
    status = {"loadBalancer": {"ingress": [{"ip": each} for each in ingress]}}
    return named(name, "shop", spec={"clusterIPs": list(addresses)}, status=status)


LEVEL = "pod-security.kubernetes.io/enforce"
WELL = {
    "nodes": ListedObjects([node("n1"), node("n2")]),
    "namespaces": ListedObjects(
        [
            named("zonebridge-system", labels={LEVEL: "restricted"}),
            named("zonebridge-enforcer", labels={LEVEL: "privileged"}),
            named("shop", labels={LEVEL: "baseline"}, annotations={"zonebridge.io/zones": "web"}),
        ]
    ),
    "configmaps": ListedObjects(),
    "enforcersettings": enforcers(),
    "services": ListedObjects([service("web", "10.96.0.7", "fd00:96::7"), service("headless", "None")]),
    "servicecidrs": ListedObjects([named("kubernetes", spec={"cidrs": ["10.96.0.0/16", "fd00:96::/112"]})]),
    "nodeleases": ListedObjects([named("n1", spec={"renewTime": AT}), named("n2", spec={"renewTime": AT})]),
    "daemonsets": ListedObjects(
        [
            named("kindnet", "kube-system"),
            named("zone-enforcer", "zonebridge-enforcer", status={"desiredNumberScheduled": 2, "numberReady": 2}),
        ]
    ),
    "deployments": ListedObjects(
        [named("zonebridge", "zonebridge-system", spec={"replicas": 2}, status={"readyReplicas": 2})]
    ),
    "events": ListedObjects(),
    "customresourcedefinitions": ListedObjects([named("tiers.zonebridge.io")]),
    "validatingadmissionpolicies": ListedObjects([policy(each) for each in installation.POLICIES]),
    "validatingadmissionpolicybindings": ListedObjects([binding(each) for each in installation.POLICIES]),
    "tiers": ListedObjects(
        [named("panorama", spec={"revision": 4}, status={"conditions": [{"type": "Ready", "status": "True"}]})]
    ),
    "nodestates": ListedObjects([named("n1", status={"mode": "enforce"}), named("n2", status={"mode": "enforce"})]),
    "felixconfigurations": ListedObjects(),
    "installations": ListedObjects(),
}
HEALTHY = ClusterSnapshot(
    InstallationNames(),
    NOW,
    "v1.36.3",
    ListedObjects([{"name": "validatingadmissionpolicies"}]),
    WELL,
    (AccessReview("the bridge", "create tiers", True),),
    (Reached("device group 'dg' is read from pano: 7 rules"),),
)
EMPTY = {
    "customresourcedefinitions": ListedObjects(),
    "tiers": ListedObjects(),
    "nodestates": ListedObjects(),
    "daemonsets": ListedObjects([named("kindnet", "kube-system")]),
}


def changed(**lists):
    return replace(HEALTHY, lists=WELL | lists)


def statuses(group, snapshot):
    return [(each.status.value, each.what) for each in group.check(snapshot)]


def only(group, snapshot, status, words):
    """One finding that isn't ok, with that status and those words; and what to do."""
    (found,) = (each for each in group.check(snapshot) if each.status is not FindingStatus.OK)
    assert found.status.value == status
    assert words in found.what
    assert found.do


def test_a_healthy_installation_has_nothing_but_ok():
    found = run.findings(HEALTHY)
    assert [each for each in found if each.status is not FindingStatus.OK] == []
    assert good(found)
    assert len({each.group for each in found}) == 8


def test_before_the_installation_the_cluster_alone_is_judged():
    snapshot = changed(**EMPTY)
    assert not snapshot.installed
    found = run.findings(snapshot)
    assert good(found)
    assert "nothing is installed yet" in text(found)


def test_nothing_that_could_not_be_read_is_ok():
    blind = replace(
        HEALTHY,
        lists=dict.fromkeys(WELL, REFUSED),
        version="",
        admission=REFUSED,
        access=(AccessReview("you", "x", None),),
    )
    found = run.findings(replace(blind, reached=None))
    assert not good(found)
    assert {each.status for each in found} == {FindingStatus.UNKNOWN, FindingStatus.WARNING}


@pytest.mark.parametrize(
    ("version", "status"),
    [("v1.29.9", "failed"), ("v1.30.0", "ok"), ("v1.31.2-eks-1", "ok"), ("v2.0.0", "ok"), ("?", "unknown")],
)
def test_versions(version, status):
    assert statuses(cluster, replace(HEALTHY, version=version))[0][0] == status


def test_admission_that_is_not_served():
    only(cluster, replace(HEALTHY, admission=ListedObjects()), "failed", "serves no")


@pytest.mark.parametrize(
    ("name", "labels", "status", "words"),
    [
        ("aks", {"kubernetes.azure.com/ebpf-host-routing": "true"}, "failed", "eBPF host routing"),
        ("win", {"kubernetes.io/os": "windows"}, "warning", "Windows"),
        ("fg", {"eks.amazonaws.com/compute-type": "fargate"}, "warning", "Fargate"),
        ("vk", {"type": "virtual-kubelet"}, "warning", "virtual node"),
    ],
)
def test_nodes_that_nothing_can_be_enforced_on(name, labels, status, words):
    only(dataplane, changed(nodes=ListedObjects([node("n1"), node(name, labels=labels)])), status, words)


@pytest.mark.parametrize("name", dataplane.PASS_BY)
def test_plug_ins_that_pass_by(name):
    only(dataplane, changed(daemonsets=ListedObjects([named(name, "kube-system")])), "failed", "past the hooks")


@pytest.mark.parametrize("name", sorted(set(dataplane.ROUTED) - {"calico-node"}))
def test_plug_ins_that_route(name):
    assert statuses(dataplane, changed(daemonsets=ListedObjects([named(name, "kube-system")])))[0][0] == "ok"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({}, "ok"),
        ({"kube-proxy-replacement": "true", "enable-bpf-masquerade": "true"}, "failed"),
        (
            {"kube-proxy-replacement": "true", "enable-bpf-masquerade": "true", "enable-host-legacy-routing": "true"},
            "ok",
        ),
        ({"kube-proxy-replacement": "true"}, "ok"),
        ({"datapath-mode": "netkit", "enable-host-legacy-routing": "true"}, "failed"),
    ],
)
def test_ciliums_routing(data, status):
    config = ListedObjects([named("cilium-config", "kube-system", data=data)])
    snapshot = changed(daemonsets=ListedObjects([named("cilium", "kube-system")]), configmaps=config)
    assert [each[0] for each in statuses(dataplane, snapshot)] == [status]


def test_cilium_whose_settings_may_not_be_read():
    only(
        dataplane,
        changed(daemonsets=ListedObjects([named("cilium", "kube-system")]), configmaps=REFUSED),
        "unknown",
        "403",
    )


@pytest.mark.parametrize(
    ("felix", "operator", "status"),
    [
        ({"bpfEnabled": True}, {}, "failed"),
        ({}, {"calicoNetwork": {"linuxDataplane": "BPF"}}, "failed"),
        ({"bpfEnabled": False}, {"calicoNetwork": {"linuxDataplane": "Nftables"}}, "ok"),
    ],
)
def test_calicos_data_plane(felix, operator, status):
    snapshot = changed(
        daemonsets=ListedObjects([named("calico-node", "calico-system")]),
        felixconfigurations=ListedObjects([named("default", spec=felix)]),
        installations=ListedObjects([named("default", spec=operator)]),
    )
    assert [each[0] for each in statuses(dataplane, snapshot)] == [status]


UNKNOWN_PLUGIN = {"daemonsets": ListedObjects([named("mine", "kube-system")])}


@pytest.mark.parametrize(
    "states",
    [
        ListedObjects(),
        REFUSED,
        ListedObjects([named("n1", status={"mode": "observe"})]),
        ListedObjects([named("n1", status={"mode": "observe"}), named("n2")]),
        ListedObjects([named("n1", status={}), named("n2", status={"problems": ["a flowtable takes packets"]})]),
    ],
    ids=["before the installation", "refused", "one node is silent", "one has said nothing", "one sees another"],
)
def test_a_plug_in_that_nobody_knows_and_no_enforcer_has_looked_at(states):
    snapshot = changed(**UNKNOWN_PLUGIN, nodestates=states)
    only(dataplane, snapshot, "unknown", "no network plug-in")
    (found,) = (each for each in dataplane.check(snapshot) if each.do)
    assert "mode: observe" in found.do


def test_a_plug_in_that_nobody_knows_where_enforcers_see_nothing_wrong():
    only(dataplane, changed(**UNKNOWN_PLUGIN), "warning", "the enforcers of all 2 nodes see no sign")


def test_nodes_without_a_pod_network():
    only(dataplane, changed(nodes=ListedObjects([node("n1", podCIDR="")])), "warning", "names no podCIDR")


@pytest.mark.parametrize(
    ("kernel", "status"), [("5.10.0-33", "failed"), ("5.13.0", "ok"), ("6.18.4-gke", "ok"), ("", "unknown")]
)
def test_kernels(kernel, status):
    snapshot = changed(
        nodes=ListedObjects([node("n1", kernel)]), nodestates=ListedObjects([named("n1", status={"mode": "enforce"})])
    )
    assert statuses(nodes, snapshot)[0][0] == status


def test_nodes_that_are_silent_troubled_observing_or_tainted():
    taint = {"key": nodes.TAINT, "effect": "NoSchedule"}
    only(
        nodes, changed(nodestates=ListedObjects([named("n1", status={"mode": "enforce"})])), "failed", "n2: no enforcer"
    )
    troubled = named("n2", status={"mode": "enforce", "problems": ["br_netfilter is off", "b"]})
    only(
        nodes,
        changed(nodestates=ListedObjects([named("n1", status={"mode": "enforce"}), troubled])),
        "failed",
        "n2: br_netfilter",
    )
    observing = ListedObjects([named(name, status={"mode": "observe"}) for name in ("n1", "n2")])
    only(nodes, changed(nodestates=observing), "warning", "n1, n2: observe")
    only(nodes, changed(nodes=ListedObjects([node("n1"), node("n2", taints=[taint])])), "warning", "startup taint")


@pytest.mark.parametrize(
    ("lists", "status", "words"),
    [
        ({"deployments": ListedObjects([named("zonebridge", "zonebridge-system", spec={"replicas": 2}, status={})])}, "failed", "0 of 2 bridges"),
        ({"deployments": ListedObjects([named("zonebridge", "zonebridge-system", spec={"replicas": 1}, status={"readyReplicas": 1})])}, "warning", "one bridge alone"),
        ({"deployments": ListedObjects()}, "warning", "no Deployment"),
        ({"daemonsets": ListedObjects([named("zone-enforcer", "zonebridge-enforcer", status={"desiredNumberScheduled": 3, "numberReady": 2})])}, "failed", "2 of 3 enforcers"),
        ({"daemonsets": ListedObjects()}, "failed", "no DaemonSet zone-enforcer"),
        ({"validatingadmissionpolicies": ListedObjects([policy(each) for each in installation.POLICIES if each != "installation"])}, "failed", "missing: zonebridge-installation"),
        ({"validatingadmissionpolicybindings": ListedObjects([binding(each, "Audit") for each in installation.POLICIES])}, "failed", "don't deny"),
        ({"tiers": ListedObjects()}, "failed", "no revision was ever published"),
        ({"tiers": ListedObjects([named("panorama", spec={"revision": 4}, status={"conditions": [{"type": "Stale", "status": "True", "message": "away"}]})])}, "failed", "condition Stale: away"),
    ],
)  # fmt: skip
def test_what_an_installation_lacks(lists, status, words):
    only(installation, changed(**lists), status, words)


def alert(reason, at, message="too much", tier="panorama"):
    return {"reason": reason, "lastTimestamp": at, "message": message, "involvedObject": {"kind": "Tier", "name": tier}}


def test_without_a_tier_the_bridges_alerts_say_why():
    told = [alert("RevisionRefused", "2027-01-15T08:00:02Z"), alert("ManagerRefused", "2027-01-15T08:00:00Z", "no key")]
    now = changed(
        tiers=ListedObjects(),
        alerts=ListedObjects([*told, alert("RevisionRefused", "2027-01-15T08:00:03Z", tier="other")]),
    )
    failed = [each.what for each in installation.check(now) if each.status is FindingStatus.FAILED]
    assert failed[1:] == ["the bridge says ManagerRefused: no key", "the bridge says RevisionRefused: too much"]
    over = ListedObjects([*told, alert("ManagerRefusedOver", "2027-01-15T08:00:01Z")])
    failed = [each.what for each in installation.check(changed(tiers=ListedObjects(), alerts=over)) if each.do]
    assert failed[1:] == ["the bridge says RevisionRefused: too much"]


@pytest.mark.parametrize(
    ("name", "labels", "status", "words"),
    [
        ("zonebridge-enforcer", {LEVEL: "baseline"}, "failed", "lets no enforcer in"),
        ("zonebridge-system", {}, "warning", "lets more than 'restricted'"),
        ("shop", {}, "warning", "shop: may use zones"),
    ],
)
def test_levels_of_namespaces(name, labels, status, words):
    others = [each for each in WELL["namespaces"].items if each["metadata"]["name"] != name]
    now = named(name, labels=labels, annotations={"zonebridge.io/zones": "web"} if name == "shop" else {})
    only(installation, changed(namespaces=ListedObjects([*others, now])), status, words)


def test_rights():
    refused = (AccessReview("the bridge", "create tiers", False), AccessReview("the bridge", "watch pods", True))
    only(rights, replace(HEALTHY, access=refused), "failed", "the bridge may not create tiers")
    only(
        rights,
        replace(HEALTHY, access=(AccessReview("you", "create namespaces", None),)),
        "unknown",
        "could not be asked",
    )
    allowed = tuple(AccessReview("you", may, True) for may in ("create namespaces", "watch pods"))
    told = [("ok", "you may create namespaces, watch pods: all that is needed")]
    assert statuses(rights, replace(HEALTHY, access=allowed)) == told


@pytest.mark.parametrize(
    ("renewed", "words"), [("2027-01-15T08:00:30Z", "n1: ahead"), ("2027-01-15T07:58:00.000000Z", "n1: behind")]
)
def test_clocks(renewed, words):
    leases = ListedObjects([named("n1", spec={"renewTime": renewed}), named("n2", spec={"renewTime": AT})])
    only(clocks, changed(nodeleases=leases), "warning", words)


def test_a_node_that_is_gone_has_no_clock():
    gone = node("n1")
    gone["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    leases = ListedObjects([named("n1", spec={"renewTime": "2027-01-14T08:00:00.000000Z"})])
    assert all(each[0] == "ok" for each in statuses(clocks, changed(nodes=ListedObjects([gone]), nodeleases=leases)))


def test_panorama_and_siem():
    away = (Reached("Panorama pano", "no answer", "check the hosts"),)
    only(reach, replace(HEALTHY, reached=away), "failed", "Panorama pano: no answer")
    only(reach, replace(HEALTHY, reached=None), "warning", "no settings file")


def test_what_would_be_denied_is_named_the_most_first():
    def event(name, count, note):
        return {
            "metadata": {"name": f"{name}-1"},
            "reason": "ZoneWouldDeny",
            "note": note,
            "series": {"count": count},
            "regarding": {"namespace": "shop", "name": name},
        }

    events = ListedObjects(
        [event("rare", 1, "tcp/1"), event("often", 9, "tcp/5432 to db"), *(event(f"p{n}", 2, "x") for n in range(10))]
    )
    found = list(traffic.check(changed(events=events)))
    assert found[0].what == "shop/often: tcp/5432 to db"
    assert found[-1].what == "2 more pods"
    assert len(found) == 11


def test_many_names_are_cut():
    assert some(["b", "a"]) == "a, b"
    assert some(f"n{at}" for at in range(7)) == "n0, n1, n2, n3, n4 and 2 more"


def test_addresses_of_services_are_named_before_the_installation_whose_settings_want_them():
    told = "Services' addresses are from 10.96.0.0/16, fd00:96::/112: for enforcer.settings.serviceNetworks"
    assert statuses(services, changed(**EMPTY)) == [("ok", told)]
    assert statuses(services, changed(**EMPTY, servicecidrs=REFUSED)) == []


@pytest.mark.parametrize(
    ("lists", "status", "words"),
    [
        ({"enforcersettings": enforcers("mode: enforce")}, "warning", "don't know Services' addresses"),
        ({"enforcersettings": enforcers("")}, "warning", "don't know Services' addresses"),
        ({"services": ListedObjects([service("far", "10.97.0.1")])}, "warning", "shop/far: the Service's address"),
        ({"services": ListedObjects([service("lb", "10.96.0.1", ingress=["192.0.2.9"])])}, "warning", "shop/lb"),
        ({"enforcersettings": enforcers("serviceNetworks: [10.0.0.0/8, 'fd00:96::/112']")}, "failed", "n1, n2: the node's podCIDR"),
        ({"enforcersettings": enforcers("serviceNetworks: 7")}, "unknown", "can't be read"),
        ({"enforcersettings": enforcers("serviceNetworks: [ten]")}, "unknown", "can't be read"),
        ({"enforcersettings": ListedObjects()}, "unknown", "no ConfigMap"),
        ({"enforcersettings": REFUSED}, "unknown", "403"),
        ({"services": REFUSED}, "unknown", "403"),
    ],
)  # fmt: skip
def test_addresses_of_services(lists, status, words):
    only(services, changed(**lists), status, words)


def test_the_settings_are_those_that_the_enforcers_have():
    """kustomize ends the name of a ConfigMap with a digest, and former ones stay."""
    mounted = {"template": {"spec": {"volumes": [{"configMap": {"name": "zone-enforcer-settings-7h2k"}}]}}}
    text = {"enforcer.yaml": "serviceNetworks: [10.96.0.0/16, 'fd00:96::/112']"}
    maps = [named("zone-enforcer-settings-1a2b", "zonebridge-enforcer", data={"enforcer.yaml": "mode: enforce"})]
    maps.append(named("zone-enforcer-settings-7h2k", "zonebridge-enforcer", data=text))
    daemon_sets = ListedObjects([named("zone-enforcer", "zonebridge-enforcer", spec=mounted)])
    found = statuses(services, changed(enforcersettings=ListedObjects(maps), daemonsets=daemon_sets))
    assert found == [("ok", "the enforcers know the addresses of all Services")]


def test_what_to_set_is_said_with_the_ranges_that_the_api_server_has():
    (found,) = services.check(changed(enforcersettings=enforcers("")))
    assert found.do == "set serviceNetworks in the enforcers' settings to 10.96.0.0/16, fd00:96::/112"
    (found,) = services.check(changed(enforcersettings=enforcers(""), servicecidrs=REFUSED))
    assert "--service-cluster-ip-range" in found.do
