"""Measured connections of every pair against what the policy means, on real kubelets, CNI plug-ins and kube-proxies."""

import pytest

from tests.cluster.matrix import disagreements

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(300)]


def test_every_connection_is_as_the_policy_says(installed, matrix):
    now = matrix()
    connections = now.connections()
    assert len(now.pods) >= 10
    assert {outcome for each in connections for outcome in each.expected} >= {"allowed", "timeout", "refused"}
    assert disagreements(connections) == []
