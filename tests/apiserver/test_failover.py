"""Bridges as processes: two for one cluster of which one dies, and one for three clusters of which two are no good."""

import json
import signal
import urllib.request

import pytest
import yaml

from mocks.kubernetes import KubernetesServer
from mocks.serving import Fault
from tests.bridge.processes import (
    Site,
    client_of,
    cluster_settings,
    eventually,
    install,
    kill,
    leader,
    parts_of,
    tier_of,
)
from tests.bridge.running import CRDS
from zones.tiers import native

TIER = "failover"
LEASE = {"duration": "3s", "renew": "1s"}
RULES = {f"rule {number}": ("allow", f"zone-{number}", "any") for number in range(8)}


def published(client, site, tier=TIER):
    live = tier_of(client, tier)
    return live is not None and live["spec"]["digest"] == site.expected().digest


@pytest.mark.apiserver
@pytest.mark.timeout(300)
def test_a_bridge_that_is_killed_is_followed_by_the_other_one(kube, tmp_path):
    install(kube)
    clusters = [cluster_settings("c1", kube.kubeconfig, tier=TIER)]
    with kube.client() as client, Site(tmp_path, clusters, RULES, lease=LEASE) as site:
        bridges = [site.start(), site.start()]
        eventually(lambda: published(client, site), explain=site.logs)
        victim = eventually(lambda: leader(client, bridges, TIER))
        site.commit(RULES | {"one more": ("deny", "zone-1", "zone-2")})
        kill(victim)
        eventually(lambda: published(client, site), explain=site.logs)
        (other,) = [each for each in bridges if each is not victim]
        assert leader(client, bridges, TIER) is other
        tier = tier_of(client, TIER)
        native.parse(tier, parts_of(client, TIER))
        assert tier["spec"]["revision"] in {1, 2, 3}
        other.send_signal(signal.SIGTERM)
        assert other.wait(60) == 0
        lease = client.get(f"/apis/coordination.k8s.io/v1/namespaces/default/leases/zonebridge-{TIER}").json()
        assert not lease["spec"].get("holderIdentity"), "it gave the lease back"


@pytest.fixture
def good():
    with KubernetesServer() as server:
        server.install([CRDS])
        yield server


@pytest.fixture
def refusing(good, tmp_path):
    """A kubeconfig whose token nobody knows."""
    config = yaml.safe_load(good.kubeconfig.read_text())
    config["users"][0]["user"]["token"] = "not-this-one"
    path = tmp_path / "refusing"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def dead(good, tmp_path):
    """A kubeconfig of a cluster that was there once."""
    with KubernetesServer(tmp_path / "dead") as server:
        return server.kubeconfig


def port_of(process):
    for line in process.log.read_text().splitlines():
        if '"event": "serving"' in line:
            return json.loads(line)["port"]
    return None


def reasons(client):
    """Of the Events about the Tier."""
    events = client.get("/api/v1/namespaces/default/events").raise_for_status().json()["items"]
    return {each["reason"] for each in events if each["involvedObject"]["name"] == TIER}


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


@pytest.mark.timeout(300)
def test_each_of_three_clusters_fails_alone(good, refusing, dead, tmp_path):
    kubeconfigs = {"dead": dead, "refusing": refusing, "good": good.kubeconfig}
    clusters = [cluster_settings(name, path, tier=TIER) for name, path in kubeconfigs.items()]
    with (
        client_of(good) as client,
        Site(tmp_path, clusters, RULES, metrics={"address": "127.0.0.1:0"}) as site,
    ):
        bridge = site.start()
        eventually(lambda: published(client, site), explain=site.logs)
        client.delete(f"/apis/zonebridge.io/v1alpha1/policychunks/{next(iter(parts_of(client, TIER)))}")
        eventually(lambda: parts_of(client, TIER), explain=site.logs)
        eventually(lambda: "TierTampered" in reasons(client), explain=site.logs)
        port = eventually(lambda: port_of(bridge), explain=site.logs)
        assert get(port, "/healthz") == "ok\n"
        assert get(port, "/readyz") == "ok\n"
        metrics = get(port, "/metrics")
        assert 'zonebridge_tier_revision{cluster="good"} 1.0' in metrics
        assert 'zonebridge_drift_total{cluster="good",kind="PolicyChunk"} 1.0' in metrics
        assert 'zonebridge_leading{cluster="dead"} 0.0' in metrics
        code, told = site.status()
        assert (code, set(told)) == (1, {"dead", "refusing", "good"})
        assert [told[name]["ready"] for name in ("dead", "refusing", "good")] == [False, False, True]
        assert "no answer" in told["dead"]["problem"]
        assert "renew its credentials" in told["refusing"]["problem"]
        site.panorama.faults.add(Fault("slow", times=100, seconds=100))
        eventually(lambda: site.panorama.faults.queue[0].times < 100)
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(60) == 0, "a Panorama that hangs doesn't hold up the end"
        site.panorama.faults.queue.clear()
