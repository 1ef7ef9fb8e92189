"""Kubelets by what their nodes' enforcers say: one that isn't known leaves it unknown."""

import pytest

from bridge.posture.check import CheckResult
from bridge.posture.checks import kubelets
from tests.bridge.posture.cases import OPEN_KUBELETS, made, node_state
from tests.bridge.posture.test_checks import named, outcomes, snapshot

IDS = [check.id for check in kubelets.CHECKS]
NODES = [made("Node", "n1"), made("Node", "n2")]


def results(*objects):
    after = outcomes(snapshot(*NODES, *objects))
    return {after[name].result for name in IDS}


def test_where_all_say_so_all_pass():
    assert results(node_state("n1"), node_state("n2")) == {CheckResult.PASS}


@pytest.mark.parametrize("name", OPEN_KUBELETS)
def test_one_that_is_open_is_named(name):
    seen = snapshot(*NODES, node_state("n1"), node_state("n2", **OPEN_KUBELETS[name]))
    assert named(seen, f"kubelet-{name}") == ["Node n2"]
    assert {f"kubelet-{each}" for each in OPEN_KUBELETS} == set(IDS)


@pytest.mark.parametrize("other", [None, {"problem": "the kubelet refuses (403)"}, {}])
def test_one_that_isnt_known_is_unknown(other):
    state = node_state("n2", kubelet=other or {"settings": {}})
    assert results(node_state("n1"), *([] if other is None else [state])) == {CheckResult.UNKNOWN}


def test_an_enforcer_that_doesnt_ask_leaves_it_unknown():
    silent = node_state("n2")
    del silent["status"]["kubelet"]
    assert results(node_state("n1"), silent) == {CheckResult.UNKNOWN}
    assert "nobody asked the kubelet of n2" in outcomes(snapshot(*NODES, node_state("n1"), silent))["kubelet-pids"].why


def test_an_open_kubelet_fails_whatever_others_dont_say():
    assert named(snapshot(*NODES, node_state("n1", anonymous=True)), "kubelet-anonymous") == ["Node n1"]


def test_without_nodes_nothing_is_known():
    after = outcomes(snapshot())
    assert {after[name].result for name in IDS} == {CheckResult.UNKNOWN}


def test_settings_that_are_missing_are_no_good_ones():
    """An enforcer of another version."""
    few = node_state("n1", kubelet={"settings": {"anonymous": False}})
    after = outcomes(snapshot(NODES[0], few))
    assert {name for name in IDS if after[name].result is CheckResult.PASS} == {"kubelet-anonymous"}
