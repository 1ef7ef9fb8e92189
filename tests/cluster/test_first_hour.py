"""What a platform team does in its first hour with the product, on a cluster that is in use, and what it must not cost."""

import pytest

from mocks.lab import Outcome
from tests.cluster.installation import ONE_BY_ONE
from tests.cluster.matrix import disagreements
from tests.cluster.policy import RULES, configuration
from tests.cluster.traffic import Traffic, some
from tests.panorama_xml import rule

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(400)]
ROUNDS = 20


def test_the_bridge_outlives_a_tier_that_opens_nothing_to_it(installed):
    """From its own pod it reaches the API server, Panorama and the SIEM, whatever the rulebase says."""
    outside = installed.cluster.outside
    told = len(outside.records())
    without_the_bridges = [each for each in RULES if "pods-to-siem" not in each]
    before = installed.revision()
    for rules in (without_the_bridges, [*without_the_bridges, rule("one-more", from_="web", to="data")], RULES):
        outside.commit(configuration(*rules))
        before = installed.wait_revision(before + 1)
    installed.wait_in_sync()
    denied = [each for each in outside.records()[told:] if each.get("verdict") == "deny"]
    assert [each for each in denied if each["source"].get("namespace") == "zonebridge-system"] == []


def test_observing_opens_everything_and_enforcing_loses_nothing(installed, matrix, until):
    connections = matrix().connections()
    denied = [each for each in some(connections, Outcome.TIMEOUT) if "port" not in each.target]
    with Traffic(some(connections, Outcome.ALLOWED)) as traffic:
        installed.set_mode("observe")
        with Traffic(denied) as opened:
            opened.wait_rounds(ROUNDS // 2, until)
        installed.set_mode("enforce", ONE_BY_ONE)
        traffic.wait_rounds(ROUNDS // 2, until)
    assert (traffic.lost, opened.lost) == ([], [])
    assert disagreements(connections) == []
