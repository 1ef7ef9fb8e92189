"""An installation whose Panorama is away, refuses the key, or has a rulebase that can't be kept: the cluster goes on
untouched, and what it says of itself says what is wrong.
"""

import json

import pytest

from mocks.lab import Outcome
from tests.cluster.installation import NAMESPACE
from tests.cluster.matrix import disagreements
from tests.cluster.outside import PANORAMA_PORT
from tests.cluster.policy import RULES, configuration
from tests.cluster.traffic import Traffic, some
from tests.panorama_xml import rule

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(400)]
ROUNDS = 5
BY_A_USER = "<source-user><member>bob</member></source-user>"  # whom no cluster knows
AWAY = f"""table inet away {{
  chain in {{ type filter hook input priority 0; tcp dport {PANORAMA_PORT} reject with tcp reset; }}
}}"""


@pytest.fixture
def panorama_away(absent):
    """`back()` ends it."""
    netns = absent.cluster.outside.netns
    netns.require(["nft", "-f", "-"], stdin=AWAY)
    yield lambda: netns.require(["nft", "delete", "table", "inet", "away"])
    netns.run(["nft", "delete", "table", "inet", "away"])
    absent.cluster.outside.commit(configuration())


def test_an_installation_in_trouble_touches_nothing_and_says_what_is_wrong(absent, panorama_away, matrix, until):
    cluster, outside = absent.cluster, absent.cluster.outside
    connections = matrix().connections()
    everything = [each for each in connections if each.protocol == "tcp"]
    key = absent.folder / "secrets" / "api-key"
    with Traffic(some(connections, Outcome.ALLOWED)) as of_the_policy:
        with Traffic(everything[:: len(everything) // 60]) as of_all:
            key.write_text("LUFRPT1hIGtleSB0aGF0IGlzIG5vbmU=")
            absent.apply_kinds()
            absent.apply()
            absent.wait_enforcers()
            absent.cluster.wait(lambda: "refused" in asked(absent), "Panorama is away, and check says so", 90)
            panorama_away()
            cluster.wait(
                lambda: "refuses our credentials" in asked(absent), "the key is refused, and check says so", 60
            )
            cluster.wait(lambda: "ManagerRefused" in checked(absent), "an alert tells of the key", 60)
            assert ready(absent) == 0, "a rollout with a wrong key stops"
            outside.commit(configuration(rule("inexpressible", "deny", extra=BY_A_USER), *RULES))
            key.write_text(outside.api_key)
            absent.apply_secrets(NAMESPACE)
            cluster.wait(lambda: "RevisionRefused" in checked(absent), "the first revision is refused", 120)
            assert "'inexpressible'" in checked(absent)
            assert "ManagerRefused" not in checked(absent), "what is over isn't told any more"
            assert absent.revision() == 0
            told = [absent.state(node)["problems"] for node in cluster.nodes]
            assert all("no tier" in str(each).lower() for each in told), told
            of_all.wait_rounds(ROUNDS, until)
            assert of_all.lost == []
        outside.commit(configuration())
        absent.wait_rolled_out()
        absent.wait_in_sync()
        of_the_policy.wait_rounds(ROUNDS, until)
    assert of_the_policy.lost == []
    assert disagreements(connections) == []


def ready(installation):
    deployment = installation.cluster.object("deployments", "zonebridge", NAMESPACE)
    return deployment["status"].get("readyReplicas", 0)


def checked(installation):
    """What `zonebridge check` finds wrong, by the administrator's kubeconfig."""
    findings = installation.check()["findings"]
    return "\n".join(each["what"] for each in findings if each["status"] == "failed")


def asked(installation):
    """What a bridge's pod finds wrong with its own settings."""
    control = installation.cluster.control
    command = ["exec", "-n", NAMESPACE, "deploy/zonebridge", "--", "zonebridge", "check", "-o", "json"]
    shown = control.try_kubectl(*command).stdout
    findings = json.loads(shown)["findings"] if shown.startswith("{") else []
    return "\n".join(each["what"] for each in findings if each["group"] == "Panorama and SIEM" and each["do"])
