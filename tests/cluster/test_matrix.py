"""Measured connections of every pair against what the policy means, on real kubelets, CNI plug-ins and kube-proxies."""

import pytest

from tests.cluster.apps import NAMESPACES
from tests.cluster.matrix import Matrix, disagreements
from tests.cluster.policy import configuration, meaning

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(300)]


def test_every_connection_is_as_the_policy_says(installed, tmp_path):
    file = tmp_path / "panorama.xml"
    file.write_text(configuration())
    matrix = Matrix.of(installed.cluster, meaning(installed.bridge, file), NAMESPACES)
    try:
        connections = matrix.connections()
        assert len(matrix.pods) >= 10
        assert {outcome for each in connections for outcome in each.expected} >= {"allowed", "timeout", "refused"}
        assert disagreements(connections) == []
    finally:
        matrix.close()
