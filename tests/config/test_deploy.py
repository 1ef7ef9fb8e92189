"""The manifests in a real API server: accepted, with rights that are enough and no more."""

import asyncio
import json
import os
import re
import subprocess
from datetime import timedelta

import pytest
import yaml

from bridge.alerts import Alerts, EventSink
from bridge.check import installation
from bridge.feeds import Feeds
from bridge.population import PopulationTerms, Publishing
from bridge.settings.file import Purpose, load
from bridge.tier.cluster import TierApi
from bridge.tier.infrastructure import LiveInfrastructure, WantedInfrastructure
from bridge.tier.lease import Leadership, LeaseTerms
from bridge.tier.sync import CompileTarget, Sync
from tests.apiserver.installed import (
    API_SERVER_SLICES,
    BRIDGE,
    BRIDGE_NAMESPACE,
    CONFIG,
    ENFORCER,
    ENFORCER_NAMESPACE,
    api_server_slice,
)
from tests.bridge.world import FakeManager, inexpressible, many, rule, run_here
from zones.kube.client import ApiServer, ClusterAccess
from zones.kube.errors import ClusterRefusedError
from zones.tiers import native
from zones.zone import Zoning

ACCOUNTS = ["system:serviceaccounts", "system:authenticated"]


def documents():
    for path in sorted((CONFIG / "deploy").glob("*.yaml")):
        yield from (each for each in yaml.safe_load_all(path.read_text()) if each and "kind" in each)


def pod_specs():
    return {
        each["kind"]: each["spec"]["template"]["spec"] for each in documents() if "template" in each.get("spec", {})
    }


async def no_feed(feed):
    raise AssertionError(f"no rule draws on a feed, but {feed} is asked for")


@pytest.mark.apiserver
def test_the_bridge_can_do_its_whole_work_with_its_own_rights(guarded):
    """Publish, change, prune, refuse with an event, repair, lease: as its service account."""
    kubeconfig = guarded.kubeconfig_for(BRIDGE, ACCOUNTS)
    manager = FakeManager(*many(300))

    async def work():
        cluster = TierApi(ApiServer(ClusterAccess("c1", kubeconfig)))
        leadership = Leadership(cluster, LeaseTerms(BRIDGE_NAMESPACE, "zonebridge-panorama", "me"))
        alerts = Alerts("c1", "deployed", [EventSink(cluster)])
        target = CompileTarget("c1", "deployed", "dg", Zoning(), stale_after=timedelta(minutes=1))
        sync = Sync(target, manager, cluster, alerts, Feeds(no_feed, lambda: None), run_blocking=run_here)
        try:
            await leadership.step()
            assert leadership.leading
            await leadership.during(sync.once())
            manager.commit(*many(299), rule("new"))
            assert (await sync.once()).revision == 2
            await sync.once()
            manager.commit(inexpressible())
            assert (await sync.once()).problem is not None
            await leadership.step()
            await leadership.release()
            return await cluster.tier("deployed"), await cluster.parts("deployed")
        finally:
            await cluster.close()

    tier, parts = asyncio.run(work())
    assert native.parse(tier, parts).entries[299].origin.name == "new"
    assert sorted(parts) == sorted(tier["spec"]["policyChunks"])
    events = json.loads(guarded.kubectl("get", "events", "-n", "default", "-o", "json"))["items"]
    assert [event["reason"] for event in events if event["involvedObject"].get("name") == "deployed"] == [
        "RevisionRefused"
    ]


@pytest.mark.apiserver
def test_the_bridge_can_ask_where_the_api_server_is_with_its_own_rights(guarded):
    """That one EndpointSlice, and the control plane's nodes."""
    node = {"metadata": {"name": "cp1", "labels": {"node-role.kubernetes.io/control-plane": ""}}}
    node["status"] = {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]}

    async def work():
        cluster = TierApi(ApiServer(ClusterAccess("c1", guarded.kubeconfig_for(BRIDGE, ACCOUNTS))))
        try:
            nothing = await LiveInfrastructure(cluster, WantedInfrastructure()).rules()
            admin.post(API_SERVER_SLICES, json=api_server_slice("192.0.2.10")).raise_for_status()
            admin.post("/api/v1/nodes", json=node).raise_for_status()
            return nothing, await LiveInfrastructure(cluster, WantedInfrastructure()).rules()
        finally:
            await cluster.close()

    with guarded.client() as admin:
        already_there = admin.delete(f"{API_SERVER_SLICES}/kubernetes").is_success  # by other tests of this server
        try:
            nothing, rules = asyncio.run(work())
        finally:
            admin.delete("/api/v1/nodes/cp1")
            if not already_there:
                admin.delete(f"{API_SERVER_SLICES}/kubernetes")
    assert nothing == ()
    assert [each.name for each in rules] == ["api-server", "from-api-server", "from-api-server-nodes"]
    assert rules[2].source.node_names == {"cp1"}


@pytest.mark.apiserver
def test_the_bridge_can_tell_who_is_where_with_its_own_rights(guarded):
    """PodSlices and Zones, and the watches that they need."""
    publishing = Publishing(
        ApiServer(ClusterAccess("c1", guarded.kubeconfig_for(BRIDGE, ACCOUNTS))), PopulationTerms("populated", Zoning())
    )

    async def work():
        with guarded.client() as admin:
            task = asyncio.create_task(publishing.run())
            try:
                async with asyncio.timeout(60):
                    while not task.done() and not zones_of(admin):  # noqa: ASYNC110 - polls the API server
                        await asyncio.sleep(0.05)
                assert not task.done(), task.exception()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await publishing.close()

    asyncio.run(work())


def zones_of(admin):
    query = {"labelSelector": "zonebridge.io/tier=populated"}
    zones = admin.get("/apis/zonebridge.io/v1alpha1/zones", params=query).json()["items"]
    return [each for each in zones if each.get("status")]


@pytest.mark.apiserver
@pytest.mark.parametrize("user", [ENFORCER, "developer"])
def test_nobody_else_writes_the_tier(guarded, user):
    kubeconfig = guarded.kubeconfig_for(user, ["system:authenticated"])
    rendered = native.render(_policy(), "tampered", 1)

    async def work():
        cluster = TierApi(ApiServer(ClusterAccess("c1", kubeconfig)))
        try:
            await cluster.parts("deployed")
            for each in (*rendered.parts, rendered.tier):
                with pytest.raises(ClusterRefusedError, match="403"):
                    await cluster.apply(each)
        finally:
            await cluster.close()

    asyncio.run(work())


@pytest.mark.apiserver
@pytest.mark.parametrize(
    ("user", "verb", "resource", "allowed"),
    [
        (ENFORCER, "watch", "pods", True),
        (ENFORCER, "watch", "nodes", True),
        (ENFORCER, "watch", "tiers.zonebridge.io", True),
        (ENFORCER, "create", "nodestates.zonebridge.io", True),
        (ENFORCER, "patch", "nodestates.zonebridge.io/status", True),
        (ENFORCER, "delete", "nodestates.zonebridge.io", False),
        (ENFORCER, "watch", "podslices.zonebridge.io", True),
        (ENFORCER, "create", "podslices.zonebridge.io", True),
        (ENFORCER, "patch", "podslices.zonebridge.io", True),
        (ENFORCER, "delete", "podslices.zonebridge.io", True),
        (ENFORCER, "update", "podslices.zonebridge.io", False),
        (ENFORCER, "deletecollection", "podslices.zonebridge.io", False),
        (ENFORCER, "watch", "quarantines.zonebridge.io", True),
        (ENFORCER, "create", "quarantines.zonebridge.io", False),
        (ENFORCER, "delete", "quarantines.zonebridge.io", False),
        (ENFORCER, "create", "addresssets.zonebridge.io", False),
        (ENFORCER, "create", "events.events.k8s.io", True),
        (ENFORCER, "patch", "events.events.k8s.io", True),
        (ENFORCER, "list", "events.events.k8s.io", False),
        (ENFORCER, "delete", "events.events.k8s.io", False),
        (ENFORCER, "create", "events", False),
        (ENFORCER, "get", "secrets", False),
        (ENFORCER, "patch", "pods", False),
        (BRIDGE, "get", "secrets", False),
        (BRIDGE, "watch", "pods", True),
        (BRIDGE, "watch", "namespaces", True),
        (BRIDGE, "watch", "services", True),
        (BRIDGE, "get", "endpointslices.discovery.k8s.io", False),
        (BRIDGE, "patch", "pods", False),
        (BRIDGE, "patch", "namespaces", False),
        (BRIDGE, "create", "podslices.zonebridge.io", True),
        (BRIDGE, "patch", "zones.zonebridge.io/status", True),
        (BRIDGE, "override", "tiers.zonebridge.io", False),
        (BRIDGE, "delete", "tiers.zonebridge.io", False),
        (BRIDGE, "patch", "nodestates.zonebridge.io/status", False),
        ("developer", "get", "tiers.zonebridge.io", True),
        ("developer", "get", "zones.zonebridge.io", True),
        ("developer", "get", "podslices.zonebridge.io", False),
        ("developer", "get", "quarantines.zonebridge.io", False),
        ("developer", "patch", "tiers.zonebridge.io/status", False),
        ("developer", "delete", "policychunks.zonebridge.io", False),
    ],
)
def test_rights(guarded, user, verb, resource, allowed):
    kind, _, subresource = resource.partition("/")
    more = [f"--subresource={subresource}"] if subresource else []
    try:
        answer = guarded.kubectl("auth", "can-i", verb, kind, *more, user=user, groups=ACCOUNTS)
    except subprocess.CalledProcessError as error:
        answer = error.stdout
    assert answer.strip() == ("yes" if allowed else "no")


@pytest.mark.apiserver
def test_it_can_be_applied_again_in_both_ways(guarded):
    """By what a platform team has at hand; nothing is changed by it, and the policies don't stand in the way."""
    for way in (["apply", "--server-side", "--force-conflicts", "--field-manager=platform"], ["apply"]):
        said = guarded.kubectl(*way, "-k", str(CONFIG / "deploy")).splitlines()
        assert all(line.endswith((" unchanged", " serverside-applied", " configured")) for line in said), said


def test_kustomize_is_told_of_every_file():
    listed = yaml.safe_load((CONFIG / "deploy" / "kustomization.yaml").read_text())
    generated = {file.split("=")[1] for each in listed["configMapGenerator"] for file in each["files"]}
    assert generated | {*listed["resources"], "kustomization.yaml"} == {
        path.name for path in (CONFIG / "deploy").iterdir()
    }


@pytest.mark.apiserver
def test_an_overlay_that_sets_one_namespace_for_all_is_refused(guarded, tmp_path):
    """It would put the enforcers into a namespace that doesn't let them in."""
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [os.path.relpath(CONFIG / "deploy", tmp_path)], "namespace": "mine"})
    )
    with pytest.raises(subprocess.CalledProcessError) as caught:
        guarded.kubectl("kustomize", str(tmp_path))
    assert "namespace transformation produces ID conflict" in caught.value.stderr


@pytest.mark.apiserver
@pytest.mark.parametrize(("kind", "where"), [("Deployment", BRIDGE_NAMESPACE), ("DaemonSet", ENFORCER_NAMESPACE)])
def test_pod_security_lets_our_pods_into_their_own_namespace(guarded, kind, where):
    """The bridge where only the level `restricted` is, the enforcer in a namespace of its own."""
    (template,) = (each["spec"]["template"] for each in documents() if each["kind"] == kind)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"a-{kind.lower()}"}, "spec": template["spec"]}
    guarded.kubectl("create", "--dry-run=server", "-n", where, "-f", "-", stdin=json.dumps(pod))
    levels = {
        each["metadata"]["name"]: each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for each in documents()
        if each["kind"] == "Namespace"
    }
    assert levels == {BRIDGE_NAMESPACE: "restricted", ENFORCER_NAMESPACE: "privileged"}


def test_settings_come_by_the_environment_so_that_commands_in_the_pods_find_them():
    for spec in pod_specs().values():
        (container,) = spec["containers"]
        path = next(each["value"] for each in container["env"] if each["name"] == "ZONEBRIDGE_CONFIG")
        assert path in [each["mountPath"] for each in container["volumeMounts"]]
        assert "-c" not in container["args"]


def test_the_files_that_samples_name_are_mounted():
    """Tokens and certificates, each from a Secret that needs not be there."""
    for spec in pod_specs().values():
        (container,) = spec["containers"]
        mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        (siem,) = (each["secret"] for each in spec["volumes"] if each["name"] == mounts["/etc/zonebridge/siem"])
        assert siem["optional"] is True
    sample = (CONFIG / "deploy" / "settings-bridge.yaml").read_text()
    assert set(re.findall(r"/etc/zonebridge/(\w+)/", sample)) == {"panorama", "siem"}


def test_the_bridge_outlives_drains_and_the_press_for_room():
    spec = pod_specs()["Deployment"]
    assert spec["priorityClassName"] == "system-cluster-critical"
    assert pod_specs()["DaemonSet"]["priorityClassName"] == "system-node-critical"
    by_host = next(each for each in spec["topologySpreadConstraints"] if "hostname" in each["topologyKey"])
    assert by_host["whenUnsatisfiable"] == "DoNotSchedule"
    (budget,) = (each["spec"] for each in documents() if each["kind"] == "PodDisruptionBudget")
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= _bridge_labels().items()


def _bridge_labels():
    return next(each["spec"]["template"]["metadata"]["labels"] for each in documents() if each["kind"] == "Deployment")


def policies():
    return [each for each in documents() if each["kind"] == "ValidatingAdmissionPolicy"]


def test_the_check_misses_none_of_the_policies():
    deployed = {policy["metadata"]["name"] for policy in policies()}
    assert {f"zonebridge-{each}" for each in installation.POLICIES} == deployed


def test_every_policy_fails_closed_and_is_bound_to_deny_and_audit():
    bindings = {
        each["spec"]["policyName"]: each["spec"]
        for each in documents()
        if each["kind"] == "ValidatingAdmissionPolicyBinding"
    }
    for policy in policies():
        assert policy["spec"]["failurePolicy"] == "Fail"
        assert "paramKind" not in policy["spec"], "docs/decisions/0009-admission.md says why"
        assert bindings[policy["metadata"]["name"]]["validationActions"] == ["Deny", "Audit"]


def test_every_refusal_is_one_sentence_that_says_what_to_do():
    for policy in policies():
        for validation in policy["spec"]["validations"]:
            message = validation["message"]
            assert validation["reason"] in {"Forbidden", "Invalid"}
            assert ". " not in message
            assert not message.endswith(".")
            assert re.search(r"[;,] ", message), f"what is wrong, and what to do: {message}"


def test_the_policies_of_the_docs_are_those_that_are_deployed():
    told = re.findall(
        r"^ +\| `(zonebridge-[\w-]+)` \|", (CONFIG.parent / "docs" / "security.md").read_text(), re.MULTILINE
    )
    assert sorted(told) == sorted(policy["metadata"]["name"] for policy in policies())


def test_admission_and_the_bridge_are_deployed_with_the_same_zoning():
    zoning = load(CONFIG / "deploy" / "settings-bridge.yaml", {}, Purpose.OFFLINE).zones.zoning()
    expected = {"labelKey": zoning.label_key, "defaultZone": zoning.default, "entitlement": str(zoning.entitlement)}
    checked = [
        {each["name"]: each["expression"].strip("'") for each in policy["spec"]["variables"][:3]}
        for policy in policies()
        if policy["metadata"]["name"] in {"zonebridge-zones", "zonebridge-zoning"}
    ]
    assert checked == [expected, expected]


def test_a_policy_of_many_kinds_reads_their_own_fields_in_variables_alone():
    """The API server checks the types of validations for each kind that they match; what one lacks is a warning."""
    for policy in policies():
        resources = [each for rule in policy["spec"]["matchConstraints"]["resourceRules"] for each in rule["resources"]]
        kinds = {each.partition("/")[0] for each in resources} - {"bindings"}
        if "pods" in kinds and len(kinds) > 1:
            for validation in policy["spec"]["validations"]:
                assert "object.spec" not in validation["expression"], policy["metadata"]["name"]


def test_no_role_reaches_everybody_by_aggregation_or_by_a_star():
    roles = [each for each in documents() if each["kind"] in {"ClusterRole", "Role"}]
    assert roles
    for role in roles:
        assert not any("aggregate-to" in label for label in role["metadata"].get("labels", {}))
        assert not any("*" in rule["verbs"] or "*" in rule["apiGroups"] for rule in role["rules"])
    bound = {each["roleRef"]["name"] for each in documents() if each["kind"] == "ClusterRoleBinding"}
    assert bound == {"zonebridge", "zone-enforcer", "zonebridge-reader"}


def test_pods_run_with_the_least_they_can():
    for kind, spec in pod_specs().items():
        (container,) = spec["containers"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"]["drop"] == ["ALL"]
        assert not security.get("privileged")
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert kind == "DaemonSet" or spec["securityContext"]["runAsNonRoot"]
    assert pod_specs()["DaemonSet"]["containers"][0]["securityContext"]["capabilities"]["add"] == ["NET_ADMIN"]
    assert "add" not in pod_specs()["Deployment"]["containers"][0]["securityContext"]["capabilities"]


def test_the_settings_that_are_deployed_are_settings(tmp_path):
    settings = load(CONFIG / "deploy" / "settings-bridge.yaml", {}, Purpose.OFFLINE)
    assert settings.clusters[0].tier == "panorama"


def _policy():
    from zones.compile import compile_policy  # noqa: PLC0415

    return compile_policy(FakeManager(rule("a")).current, Zoning()).policy
