"""What `zonebridge check` and `zone-enforcer check` say of a real cluster and its nodes, when it is well and when not."""

import json

import pytest

from tests.cluster.installation import ENFORCER_NAMESPACE, NAMESPACE

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(300)]
OF_THIS_MACHINE = "VLAN-tagged"  # a setting of its kernel's, which no namespace has for itself
WELL = ("admission policies are in force", "all 2 bridges are ready", "all 2 enforcers are ready", "and well")


def test_an_installation_that_is_well(installed):
    found = installed.check()["findings"]
    said = [each["what"] for each in found if each["status"] == "ok"]
    assert all(any(words in each for each in said) for words in WELL), said
    assert any("clocks of 2 nodes" in each for each in said), said
    wrong = [each["what"] for each in found if each["status"] in {"failed", "unknown"}]
    assert [each for each in wrong if OF_THIS_MACHINE not in each] == []
    # no DaemonSet tells of this cluster's plug-ins, which are files
    assert [each["status"] for each in found if "network plug-in" in each["what"]] == ["warning"]
    assert not [each for each in found if "doubts" in each["what"]], (
        "the API server finds no fault in the policies' types"
    )


def test_a_bridge_reaches_panorama_from_its_own_pod(installed):
    shown = execute(installed, NAMESPACE, "deploy/zonebridge", "zonebridge", "check", "-o", "json")
    reached = [each for each in json.loads(shown.stdout)["findings"] if each["group"] == "Panorama and SIEM"]
    assert [each["status"] for each in reached] == ["ok"], reached


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_a_node_from_within(installed, until, node):
    pod, where = f"pod/{installed.enforcer_pod(node)['metadata']['name']}", installed.cluster.nodes[node]

    def wrong():
        shown = execute(installed, ENFORCER_NAMESPACE, pod, "zone-enforcer", "check", "-o", "json")
        assert shown.stdout, shown.stderr
        failed = [each for each in json.loads(shown.stdout)["findings"] if each["status"] in {"failed", "unknown"}]
        assert all(each["do"] for each in failed)
        assert shown.returncode == (1 if failed else 0), shown.stderr
        return [each["what"] for each in failed]

    before = wrong()
    link = next(
        line.split(":")[1].split("@")[0].strip()
        for line in where.require(["ip", "-o", "link", "show", "type", "veth"]).splitlines()
        if "eth0@" not in line.split(":")[1]
    )
    where.require(["tc", "qdisc", "add", "dev", link, "clsact"])
    try:
        found = [each for each in wrong() if f"such as {link}) have a program or filter at the ingress (tc)" in each]
        assert found, "and soon the enforcer says so itself"
    finally:
        where.require(["tc", "qdisc", "del", "dev", link, "clsact"])
    until(lambda: wrong() == before, 60, 1)
    assert [each for each in before if OF_THIS_MACHINE not in each] == []


def execute(installed, namespace, pod, *command):
    return installed.cluster.control.try_kubectl("exec", "-n", namespace, pod, "--", *command)
