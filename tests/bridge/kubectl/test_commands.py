"""`kubectl zonebridge` by a real kubectl, against the small Kubernetes API: as an application team and a SOC use it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bridge.kubectl import cli
from mocks.kubernetes import KubernetesServer
from tests.enforcer import smallcluster as world

pytestmark = pytest.mark.apiserver  # for its kubectl
CONTROLLER = "zonebridge.io/zone-enforcer"


def event(name, pod, reason="ZoneDenied", *, namespace="shop", at="2026-11-29T08:00:00.000000Z", count=1, **more):
    body = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "eventTime": at,
        "reportingController": CONTROLLER,
        "reportingInstance": "zone-enforcer-n1",
        "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod, "uid": "u"},
        "action": "Denied",
        "reason": reason,
        "type": "Warning",
        "note": f"tcp/23 to 10.1.0.20 (zone 'db') denied by rule 'interzone-default' ({name})",
    }
    if count > 1:
        body["series"] = {"count": count, "lastObservedTime": "2026-11-29T09:00:00.000000Z"}
    return body | more


@pytest.fixture
def server(programs, monkeypatch, tmp_path):
    """web and db in shop, a tier, and kubectl on the PATH with a kubeconfig whose context's namespace is shop."""
    with KubernetesServer() as running:
        for definition in (*world.definitions(), world._definition("Zone", "zones")):
            running.create(definition)
        metadata = {"name": "shop", "annotations": {"zonebridge.io/zones": "web,db"}}
        running.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        running.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
        for name, ip, zone in (("web-0", "10.1.0.10", "web"), ("db-0", "10.1.0.20", "db")):
            pod = world.pod(name, ip, zone)
            running.create(pod)
            running.set_status(pod)
        tier = world.tier(7)
        for each in (tier.tier, *tier.parts):
            running.create(each)
        config = yaml.safe_load(running.kubeconfig.read_text())
        (context,) = config["contexts"]
        context["context"]["namespace"] = "shop"
        config["contexts"].append({"name": "elsewhere", "context": context["context"] | {"namespace": "other"}})
        path = tmp_path / "config"
        path.write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(path))
        monkeypatch.setenv("PATH", f"{programs.kubectl.parent}{os.pathsep}{os.environ['PATH']}")
        yield running


@pytest.fixture
def plugin(server, capfd):
    """Its exit code and what it prints, on either side."""

    def go(*words):
        code = cli.run([*words])
        out, err = capfd.readouterr()
        return int(code), out, err

    return go


def test_explain_takes_names_of_the_contexts_namespace(plugin):
    code, out, err = plugin("explain", "web-0", "pod/db-0", "--port", "23", "-o", "json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["verdict"], found["rule"]["name"]) == ("deny", "interzone-default")
    assert (found["source"]["name"], found["destination"]["zone"]) == ("pod/shop/web-0", "db")
    assert "ask the firewall team" in found["advice"][0]
    code, out, _ = plugin("explain", "web-0", "10.1.0.20", "--port", "5432")
    assert code == 0
    assert "allow  by 'allow-web' (pre of k8s-prod)" in out


def test_the_namespace_is_an_options_or_a_contexts(plugin):
    assert "no pod 'web-0' in namespace 'other'" in plugin("explain", "web-0", "db-0", "-n", "other", "--port", "1")[2]
    code, _, err = plugin("explain", "web-0", "db-0", "--context", "elsewhere", "--port", "1")
    assert (code, "in namespace 'other'" in err) == (2, True)
    assert plugin("explain", "shop/web-0", "pod/shop/db-0", "--context=elsewhere", "--port=1")[0] == 0


def test_why_names_refusals_the_latest_first_and_what_to_do(plugin, server):
    server.create(event("a", "web-0"))
    server.create(event("b", "web-0", count=14))
    server.create(event("c", "db-0", "ZoneNotEntitled", at="2026-11-29T08:30:00.000000Z"))
    server.create(event("d", "web-0", namespace="other"))
    server.create(event("e", "web-0", "Unhealthy", reportingController="kubelet"))
    told = json.loads(plugin("why", "-o", "json")[1])
    assert [(each["pod"], each["reason"], each["count"]) for each in told] == [
        ("web-0", "ZoneDenied", 14),
        ("db-0", "ZoneNotEntitled", 1),
        ("web-0", "ZoneDenied", 1),
    ]
    assert len(json.loads(plugin("why", "-A", "-o", "json")[1])) == 4
    assert [each["pod"] for each in json.loads(plugin("why", "db-0", "-o", "json")[1])] == ["db-0"]
    code, out, _ = plugin("why", "pod/web-0")
    assert (code, out.count("ask the firewall team"), " x14 " in out) == (0, 1, True)


def test_without_a_refusal_why_says_where_else_to_look(plugin):
    code, out, _ = plugin("why")
    assert (code, "NetworkPolicies" in out) == (0, True)
    assert plugin("why", "nobody")[0] == 2
    assert plugin("why", "web-0", "-A")[0] == 2


def test_zones_say_what_the_namespace_may_use(plugin, server):
    for zone, known, pods in (("web", True, 1), ("vault", True, 0), ("wep", False, 1)):
        body = {"apiVersion": "zonebridge.io/v1alpha1", "kind": "Zone", "metadata": {"name": zone, "labels": {"zonebridge.io/tier": "panorama"}}}  # fmt: skip
        server.create(body | {"spec": {"zone": zone, "known": known}})
        server.set_status(body | {"status": {"pods": pods, "isolated": 0, "nodes": pods, "namespaces": pods}})
    found = json.loads(plugin("zones", "-o", "json")[1])
    assert [(each["zone"], each["known"], each["pods"], each["allowed"]) for each in found] == [
        ("vault", True, 0, False),
        ("web", True, 1, True),
        ("wep", False, 1, False),
    ]
    assert "allowed" not in json.loads(plugin("zones", "-A", "-o", "json")[1])[0]
    assert "ALLOWED IN shop" in plugin("zones")[1]


def test_status_names_the_nodes_that_are_behind_and_ends_with_1_until_it_is_ready(plugin, server):
    tier = world.tier(7).tier
    for node, revision in (("n1", 7), ("n2", 6)):
        state = {"apiVersion": "zonebridge.io/v1alpha1", "kind": "NodeState", "metadata": {"name": node}}
        server.create(state)
        digest = tier["spec"]["digest"] if revision == 7 else "d"
        server.set_status(state | {"status": {"tier": "panorama", "revision": revision, "digest": digest}})
    code, out, _ = plugin("status")
    assert (code, "node n2 has revision 6" in out, "n1" in out) == (1, True, False)
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "r",
        "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    server.set_status(tier | {"status": {"conditions": [ready], "nodes": {"total": 2, "inSync": 1}}})
    code, out, _ = plugin("status", "-o", "json")
    value = json.loads(out)
    assert (code, value["revision"], [each["node"] for each in value["behind"]]) == (0, 7, ["n2"])


def test_no_cluster_no_right_and_bad_words_are_told_with_a_code(plugin, server, monkeypatch):
    code, _, err = plugin("status", "--context", "nowhere")
    assert (code, "nowhere" in err, "what it says is above" in err) == (1, True, True)
    for words in (["explain", "web-0"], ["explain", "a/b/c/d", "db-0"], ["frobnicate"], ["zones", "-o", "yaml"], []):
        code, _, err = plugin(*words)
        assert (code, err.startswith("kubectl zonebridge: ")) == (2, True), words
    monkeypatch.setenv("PATH", "/nonexistent")
    code, _, err = plugin("status")
    assert (code, "kubectl is not on the PATH" in err) == (2, True)


def test_nothing_of_it_stays(plugin, tmp_path, monkeypatch):
    """Neither its folder nor kubectl's proxy, which would be a way to the cluster for as long as it ran."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert plugin("zones", "-A")[0] == 0
    assert not list(tmp_path.glob("kubectl-zonebridge-*"))
    running = subprocess.run(["pgrep", "-f", f"unix-socket={tmp_path}"], capture_output=True, text=True, check=False)
    assert not running.stdout


def test_only_its_own_user_reaches_the_proxy(server):
    from bridge.kubectl.kubectl import Kubectl, KubectlProxy  # noqa: PLC0415 - of this test alone

    with KubectlProxy(Kubectl([])) as proxy:
        proxy._start()
        assert Path(proxy._folder.name).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (["ex"], {"explain\tsay which rule decides a connection of a pod, why no rule before it did, and what its team can do"}),
        (["explain", "w"], {"web-0"}),
        (["explain", "web-0", "pod/d"], {"pod/db-0"}),
        (["explain", "web-0", "shop/"], {"shop/web-0", "shop/db-0"}),
        (["explain", "web-0", "db-0", ""], set()),
        (["why", "-n", ""], {"shop", "other"}),
        (["why", "-n", "other", ""], set()),
        (["why", "--context", "else"], {"elsewhere"}),
        (["why", "--context=elsewhere", "w"], set()),
        (["why", "-o", ""], {"text", "json"}),
        (["explain", "--protocol", "s"], {"sctp"}),
        (["quarantine", "add", "pod/w"], {"pod/web-0"}),
        (["quarantine", "l"], {"list\tsay which there are, and what each does"}),
    ],
)  # fmt: skip
def test_a_shell_completes(server, words, some, capfd):
    assert cli.run(["__complete", *words]) == 0
    *found, last = capfd.readouterr().out.splitlines()
    assert last == ":4"
    names = {each for each in found if not each.startswith("-")}
    assert names >= some
    assert bool(names) == bool(some)


def test_kubectl_finds_it_and_completes_by_it(server, programs, tmp_path, monkeypatch):
    """As two programs on the PATH, which is all that kubectl asks of a plugin."""
    for name, what in (("kubectl-zonebridge", "main"), ("kubectl_complete-zonebridge", "complete")):
        script = tmp_path / name
        script.write_text(f"#!{sys.executable}\nfrom bridge.kubectl.cli import {what}\n{what}()\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(cli.__file__).removesuffix("/bridge/kubectl/cli.py"))
    kubectl = str(programs.kubectl)
    answer = subprocess.run([kubectl, "zonebridge", "explain", "web-0", "db-0", "--port=5432"], capture_output=True, text=True, check=False)  # fmt: skip
    assert "allow  by 'allow-web'" in answer.stdout, answer.stderr
    shown = subprocess.run([kubectl, "__complete", "zonebridge", "explain", "w"], capture_output=True, text=True, check=False)  # fmt: skip
    assert "web-0" in shown.stdout.splitlines(), shown
