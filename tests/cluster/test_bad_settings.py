"""A setting that enforcers refuse stops at the first node; the rules stay everywhere."""

import pytest

from tests.cluster.installation import ENFORCER_NAMESPACE, ONE_BY_ONE
from tests.cluster.matrix import disagreements

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(400)]


def test_a_bad_setting_stops_at_one_node(installed, matrix):
    before = {pod["metadata"]["name"] for pod in enforcers(installed)}
    installed.enforcer["noSuchSetting"], installed.at_once = 1, ONE_BY_ONE
    installed.apply()
    installed.cluster.wait(lambda: max(map(failures, new(installed, before)), default=0) >= 2, "it failed twice", 120)
    assert len(new(installed, before)) == 1, "the other node's enforcer is the former one"
    assert disagreements(matrix().connections()) == []
    del installed.enforcer["noSuchSetting"]
    installed.set_mode("enforce")
    assert [failures(pod) for pod in enforcers(installed)] == [0, 0]


def enforcers(installed):
    return installed.cluster.objects("pods", ENFORCER_NAMESPACE, "app.kubernetes.io/name=zone-enforcer")


def new(installed, before):
    return [pod for pod in enforcers(installed) if pod["metadata"]["name"] not in before]


def failures(pod):
    return sum(each["restartCount"] for each in pod["status"].get("containerStatuses", []))
