"""The manifests in a real API server: accepted, with rights that are enough and no more."""

import asyncio
import json
import subprocess
from datetime import timedelta

import pytest
import yaml

from bridge.alerts import Alerts, EventSink
from bridge.apiserver import Access, ApiServer
from bridge.cluster import Cluster
from bridge.errors import ClusterRefusedError
from bridge.feeds import Feeds
from bridge.leadership import Leadership, Terms
from bridge.settings_file import Purpose, load
from bridge.sync import Sync, Target
from tests.bridge.world import FakeManager, inexpressible, many, rule, run_here
from tests.config.conftest import CONFIG
from zones.tiers import native
from zones.zone import Zoning

BRIDGE = "system:serviceaccount:zonebridge-system:zonebridge"
ENFORCER = "system:serviceaccount:zonebridge-system:zone-enforcer"
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
def test_the_bridge_can_do_its_whole_work_with_its_own_rights(installed):
    """Publish, change, prune, refuse with an event, repair, lease: as its service account."""
    kubeconfig = installed.kubeconfig_for(BRIDGE, ACCOUNTS)
    manager = FakeManager(*many(300))

    async def work():
        cluster = Cluster(ApiServer(Access("c1", kubeconfig)))
        leadership = Leadership(cluster, Terms("zonebridge-system", "zonebridge-panorama", "me"))
        alerts = Alerts("c1", "panorama", [EventSink(cluster)])
        target = Target("c1", "panorama", "dg", Zoning(), stale_after=timedelta(minutes=1))
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
            return await cluster.tier("panorama"), await cluster.parts("panorama")
        finally:
            await cluster.close()

    tier, parts = asyncio.run(work())
    assert native.parse(tier, parts).entries[299].origin.name == "new"
    assert sorted(parts) == sorted(tier["spec"]["policyChunks"])
    events = json.loads(installed.kubectl("get", "events", "-n", "default", "-o", "json"))["items"]
    assert [event["reason"] for event in events if event["involvedObject"].get("name") == "panorama"] == [
        "RevisionRefused"
    ]


@pytest.mark.apiserver
@pytest.mark.parametrize("user", [ENFORCER, "developer"])
def test_nobody_else_writes_the_tier(installed, user):
    kubeconfig = installed.kubeconfig_for(user, ["system:authenticated"])
    rendered = native.render(_policy(), "tampered", 1)

    async def work():
        cluster = Cluster(ApiServer(Access("c1", kubeconfig)))
        try:
            await cluster.parts("panorama")
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
        (ENFORCER, "get", "secrets", False),
        (ENFORCER, "patch", "pods", False),
        (BRIDGE, "get", "secrets", False),
        (BRIDGE, "get", "pods", False),
        (BRIDGE, "delete", "tiers.zonebridge.io", False),
        (BRIDGE, "patch", "nodestates.zonebridge.io/status", False),
        ("developer", "get", "tiers.zonebridge.io", True),
        ("developer", "patch", "tiers.zonebridge.io/status", False),
        ("developer", "delete", "policychunks.zonebridge.io", False),
    ],
)
def test_rights(installed, user, verb, resource, allowed):
    kind, _, subresource = resource.partition("/")
    more = [f"--subresource={subresource}"] if subresource else []
    try:
        answer = installed.kubectl("auth", "can-i", verb, kind, *more, user=user, groups=ACCOUNTS)
    except subprocess.CalledProcessError as error:
        answer = error.stdout
    assert answer.strip() == ("yes" if allowed else "no")


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
