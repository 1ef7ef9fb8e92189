"""NetworkPolicies of application teams, enforced by kube-router beside us: what the tier allows they can narrow, and widen nothing."""

import json

import pytest

from mocks.lab import Outcome, Probe, measure
from tests.cluster.matrix import disagreements
from tests.cluster.system import KUBE_ROUTER_USER, kube_router
from tests.cluster.team_policies import NOT_ALLOWED, POLICIES, NarrowedMatrix

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(600)]
CHAINS = ("KUBE-ROUTER-INPUT", "KUBE-ROUTER-FORWARD", "KUBE-ROUTER-OUTPUT")


@pytest.fixture
def engine(installed):
    """kube-router on every node with the teams' policies; at the end neither it nor its rules are there."""
    cluster = installed.cluster
    cluster.apply(*kube_router(), *POLICIES)
    kubeconfig = cluster.authority.kubeconfig("kube-router", KUBE_ROUTER_USER)
    for node in cluster.nodes.values():
        node.start_kube_router(kubeconfig)
    yield
    listed = {"apiVersion": "v1", "kind": "List", "items": list(POLICIES)}
    cluster.kubectl("delete", "-f", "-", stdin=json.dumps(listed))
    for node in cluster.nodes.values():
        node.kill("kube-router")
        for chain in CHAINS:
            node.require(["iptables", "-F", chain])


def test_policies_of_teams_narrow_and_never_widen(installed, engine, matrix):
    by_the_tier, now = matrix(), matrix()
    narrowed = NarrowedMatrix.beside(now)
    pairs = list(zip(by_the_tier.connections(), narrowed.connections(), strict=True))
    taken = [after for before, after in pairs if before.expected == {Outcome.ALLOWED} and after.expected == NOT_ALLOWED]
    to_data = [after for before, after in pairs if ":" not in before.target and before.target.startswith("data")]
    assert taken, "a policy takes what the tier allows"
    assert any(each.expected == NOT_ALLOWED for each in to_data), "the tier denies what a policy allows"
    assert any(each.expected == {Outcome.ALLOWED} for each in to_data)
    installed.cluster.wait(lambda: Outcome.ALLOWED not in outcomes(taken), "kube-router enforces", 60)
    assert disagreements([after for _, after in pairs]) == []


def outcomes(connections):
    return measure([Probe(each.source, each.ip, each.port, each.protocol) for each in connections], 0.5)
