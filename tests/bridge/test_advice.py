"""What an application team is told about a connection of its pods, on a live cluster."""

import json

import pytest
import yaml

from bridge.explain.advice import EGRESS, INGRESS, selecting
from mocks.kubernetes import KubernetesServer
from mocks.panorama import Panorama, PanoramaServer
from tests.bridge.test_cli import CRDS
from tests.panorama_xml import config_text, rule, rulebase

CONFIG = config_text(
    groups={
        "dg": rulebase(
            "pre",
            rule("no telnet", "deny", from_="web", to="db", destination="10.1.0.2"),
            rule("web", from_="web", to="web"),
        )
    }
)
PODS = {
    "web": ({"zonebridge.io/zone": "web"}, "10.1.0.1"),
    "db": ({"zonebridge.io/zone": "db"}, "10.1.0.2"),
    "db2": ({"zonebridge.io/zone": "db"}, "10.1.0.3"),
    "stray": ({}, "10.1.0.4"),
    "claims": ({"zonebridge.io/zone": "vault"}, "10.1.0.5"),
    "typo": ({"zonebridge.io/zone": "wep"}, "10.1.0.6"),
    "web2": ({"zonebridge.io/zone": "web", "app": "web2"}, "10.1.0.7"),
}


def policy(name, selector, **spec):
    return {"metadata": {"name": name}, "spec": {"podSelector": selector} | spec}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "db"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_a_selector_selects_as_kubernetes_says(selector, selected):
    found = selecting([policy("p", selector)], {"app": "web"}, INGRESS)
    assert found == (("p",) if selected else ())


@pytest.mark.parametrize(
    ("spec", "directions"),
    [
        ({}, {INGRESS}),
        ({"egress": []}, {INGRESS, EGRESS}),
        ({"policyTypes": ["Egress"]}, {EGRESS}),
        ({"policyTypes": ["Ingress"], "egress": []}, {INGRESS}),
    ],
)
def test_a_network_policy_is_for_the_directions_that_it_has(spec, directions):
    assert {each for each in (INGRESS, EGRESS) if selecting([policy("p", {}, **spec)], {}, each)} == directions


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster with the tier of CONFIG, pods in several zones and a NetworkPolicy."""
    directory = tmp_path_factory.mktemp("advice")
    with (
        PanoramaServer(Panorama(CONFIG, users={"reader": "secret"}, commit_seconds=0)) as panorama,
        KubernetesServer() as server,
    ):
        server.install([CRDS])
        (directory / "password").write_text("secret")
        settings = directory / "settings.yaml"
        settings.write_text(
            yaml.safe_dump(
                {
                    "panorama": {
                        "hosts": [f"127.0.0.1:{panorama.port}"],
                        "username": "reader",
                        "passwordFile": str(directory / "password"),
                        "caFile": str(panorama.ca_file),
                    },
                    "clusters": [{"name": "c1", "deviceGroup": "dg", "kubeconfig": str(server.kubeconfig)}],
                    "zones": {"networks": {"corp": ["192.0.2.0/24"]}},
                }
            )
        )
        metadata = {"name": "shop", "annotations": {"zonebridge.io/zones": "web,db,wep,default"}}
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        for name, (labels, address) in PODS.items():
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": labels}}
            server.create(pod | {"spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "n1"}})
            server.set_status(pod | {"status": {"phase": "Running", "podIPs": [{"ip": address}], "podIP": address}})
        yield server, settings


@pytest.fixture
def ask(run, cluster):
    """Ask about tcp/23 to somebody; the values of the answer."""
    server, settings = cluster
    assert run("sync", "--once", "-c", settings)[0] == 0

    def go(source, destination, *more, code=0):
        arguments = "--protocol", "tcp", "--port", "23", "--kubeconfig", server.kubeconfig, "-o", "json", *more
        found, out, err = run("explain", source, destination, *arguments)
        assert found == code, err
        return json.loads(out) if found == 0 else err

    return go


def test_the_team_is_told_what_to_do(ask):
    for source, destination, verdict, words in (
        (
            "pod/shop/web",
            "pod/shop/db2",
            "deny",
            "ask the firewall team for a rule from zone 'web' to zone 'db', tcp/23",
        ),
        ("pod/shop/web", "pod/shop/db", "deny", "rule 'no telnet' (pre of dg) refuses it"),
        ("pod/shop/stray", "pod/shop/db", "deny", "has no label zonebridge.io/zone"),
        ("pod/shop/claims", "pod/shop/db", "deny", "claims zone 'vault', which its namespace may not use"),
        ("pod/shop/typo", "pod/shop/db", "deny", "no rule in Panorama knows zone 'wep'"),
        ("pod/shop/web", "pod/shop/web2", "allow", "this firewall lets it pass"),
    ):
        found = ask(source, destination)
        assert (found["verdict"], words in "; ".join(found["advice"])) == (verdict, True), (source, found)


def test_an_address_is_a_pods_or_somebodys_outside(ask):
    assert ask("pod/shop/web", "10.1.0.3")["destination"]["name"] == "pod/shop/db2"
    outside = ask("pod/shop/web", "192.0.2.7")
    assert (outside["destination"]["zone"], outside["destination"]["workload"]) == ("corp", None)
    refused = ask("pod/shop/web", "10.96.0.9", "--service-network", "10.96.0.0/12")
    assert (refused["verdict"], refused["rule"]["name"]) == ("reset", "infrastructure/untranslated-service")
    assert "nobody answers behind this Service" in refused["advice"][0]


def test_what_is_neither_is_2(ask):
    assert "is no pod" in ask("pod/shop/web", "db.example", code=2)
