"""`zone-enforcer check` on nodes of the lab: what is well, what isn't, and that it leaves nothing behind."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from enforcer import node_check
from enforcer.cli import app
from mocks.lab import Lab, unavailable
from mocks.siem import Siem

TOKEN = "6f1f4c1e-3c0a-4a3e-9a51-1f0f3f6f2f5b"


class World:
    """A node of a lab, whose own SIEM listens on its loopback, and settings for it."""

    def __init__(self, directory, node, siem):
        self.directory, self.node, self.siem = directory, node, siem
        (directory / "token").write_text(TOKEN)
        self.settings = {
            "cluster": "c",
            "stateDir": str(directory / "state"),
            "nodeName": "n1",
            "destinations": [
                {
                    "name": "splunk",
                    "type": "hec",
                    "url": siem.hec.url,
                    "tokenFile": str(directory / "token"),
                    "caFile": str(siem.ca_file),
                    "timeout": "5s",
                }
            ],
        }

    def check(self):
        file = self.directory / "enforcer.yaml"
        file.write_text(yaml.safe_dump(self.settings))
        with self.node.netns.inside():
            return CliRunner().invoke(app, ["check", "-c", str(file), "-o", "json"])

    def wrong(self):
        """The exit code, and what was no ok, in words."""
        result = self.check()
        assert result.output, result.exception
        findings = json.loads(result.output)["findings"]
        assert all(each["do"] for each in findings if each["status"] != "ok"), "each finding says what to do"
        return result.exit_code, [f"{each['group']}: {each['what']}" for each in findings if each["status"] == "failed"]


@pytest.fixture
def world(tmp_path):
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with Lab("nodecheck") as lab:
        node = lab.node("n1")
        node.pod("p0")
        with node.netns.inside(), Siem(TOKEN) as siem:
            yield World(tmp_path, node, siem)


@pytest.mark.kernel
def test_a_node_that_is_fit(world):
    before = world.node.netns.require(["nft", "list", "ruleset"])
    assert world.wrong() == (0, [])
    assert world.node.netns.require(["nft", "list", "ruleset"]) == before
    assert not world.siem.hec.events
    assert not (world.directory / "state").exists()


@pytest.mark.kernel
def test_what_passes_by_is_found(world):
    world.node.netns.run(["tc", "qdisc", "add", "dev", "pod1", "clsact"])
    code, wrong = world.wrong()
    assert code == 1
    assert ["a program or filter at the ingress (tc)" in each for each in wrong] == [True]


@pytest.mark.kernel
def test_a_token_that_is_refused_and_a_stranger_in_the_siems_place(world):
    (world.directory / "token").write_text("00000000-0000-0000-0000-000000000000")
    assert "the token is not known" in str(world.wrong())
    del world.settings["destinations"][0]["caFile"]
    code, wrong = world.wrong()
    assert code == 1
    assert "certificate that can't be verified" in str(wrong)


@pytest.mark.kernel
def test_wrong_settings_end_with_2(world):
    world.settings["noSuchSetting"] = 1
    assert world.check().exception.exit_code == 2


def test_a_full_connection_table_and_one_without_counters(tmp_path):
    for name, content in (("count", "950"), ("max", "1000"), ("acct", "0"), ("timestamp", "1")):
        (tmp_path / f"nf_conntrack_{name}").write_text(f"{content}\n")
    found = list(node_check._conntrack(tmp_path))
    assert [each.status for each in found] == ["warning", "warning"]
    assert "950 of 1000" in found[0].what
    assert "nf_conntrack_acct" in found[1].what


def test_no_connection_tracking(tmp_path):
    (found,) = node_check._conntrack(tmp_path)
    assert found.status == "failed"
    assert "nf_conntrack" in found.do
