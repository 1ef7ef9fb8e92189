"""See before you commit, on the real kernel: what nodes count reaches the bridge, `usage` and `preview` say it, and after the
commit exactly that happens to real packets.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
import yaml

from mocks.lab import Outcome, connect, unavailable
from tests.demo import change
from tests.demo.company import example
from tests.demo.matrix import connections, measured, policy_of
from tests.demo.world import World
from zones.policy import Verdict

BIN = Path(sys.executable).parent
TOKEN = "what-nodes-know-4711"
TRIES = 3


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class CountingWorld(World):
    """With a bridge that collects what nodes count, and nodes that count for it, each second."""

    def _set_stage(self):
        self.collector_port = free_port()
        super()._set_stage()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.directory / "collector-ca.crt"))
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(str(self.directory / "collector.key"))
        for part in certificate.cert_chain_pems:
            part.write_to_path(str(self.directory / "collector.crt"), append=True)
        (self.directory / "collector-token").write_text(TOKEN)
        for node in self.nodes:
            self.lab.relay(self.collector_port, where=node)

    def wait(self, condition, what, seconds=10.0):
        """A machine may be slow."""
        return super().wait(condition, what, 4 * seconds)

    def _bridge_settings(self):
        path = super()._bridge_settings()
        collector = {
            "address": f"127.0.0.1:{self.collector_port}",
            "tokenFile": str(self.directory / "collector-token"),
            "certFile": str(self.directory / "collector.crt"),
            "keyFile": str(self.directory / "collector.key"),
        }
        evidence = {"url": f"sqlite:///{self.directory / 'evidence.db'}", "collector": collector}
        self.settings = self._write(path.name, yaml.safe_load(path.read_text()) | {"evidence": evidence})
        return self.settings

    def _enforcer_settings(self, node):
        path = super()._enforcer_settings(node)
        settings = yaml.safe_load(path.read_text())
        settings["destinations"].append(
            {
                "name": "bridge",
                "type": "hec",
                "url": f"https://127.0.0.1:{self.collector_port}",
                "records": "seen",
                "tokenFile": str(self.directory / "collector-token"),
                "caFile": str(self.directory / "collector-ca.crt"),
            }
        )
        return self._write(path.name, settings | {"seen": {"window": "1s"}})


@pytest.fixture(scope="module")
def world():
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with CountingWorld(example()) as staged:
        staged.start_product()
        yield staged


def command(world, *words):
    """Its exit code, its JSON, and what it says on standard error; as whoever has the bridge's settings."""
    line = [str(BIN / "zonebridge"), *words, "-c", str(world.settings), "-o", "json"]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ)
    return ended.returncode, json.loads(ended.stdout) if ended.stdout else {}, ended.stderr


def hits(world, origin):
    """Of a rule, as `usage` says it."""
    code, found, err = command(world, "usage")
    assert code == 0, err
    return sum(each["hits"] for each in found["rules"] if origin.uuid and each["rule"].get("uuid") == origin.uuid)


@pytest.mark.kernel
@pytest.mark.timeout(300)
def test_what_is_seen_previewed_committed_and_measured_agree(world):
    before = connections(world.company, policy_of(world.company), world.machines)
    planned = change.prepare(world, before)
    cut, opens = planned.cuts, planned.opens
    after = {
        (each.source, each.ip, each.port): each
        for each in connections(world.company, policy_of(world.company, world.candidate_file()), world.machines)
    }
    stays = next(
        each
        for each in before
        if each.decision.verdict is Verdict.ALLOW
        and each.decision.origin.rulebase == "pre"
        and each.decision.origin != cut.decision.origin
        and after[each.source, each.ip, each.port].decision.verdict is Verdict.ALLOW
    )
    talk = world.lab.conversation(world.machines[cut.source], cut.ip, cut.port)
    other = world.lab.conversation(world.machines[stays.source], stays.ip, stays.port)
    for _ in range(TRIES):
        assert connect(world.machines[cut.source], cut.ip, cut.port) is Outcome.ALLOWED
    count = TRIES + 1
    world.wait(lambda: hits(world, cut.decision.origin) >= count, "usage tells every connection", 60.0)

    code, preview, err = command(world, "preview")
    assert code == 1, err
    assert f"{count} connections that were seen would be denied, of 1 kinds" in err
    assert hits(world, cut.decision.origin) == count, "each connection counts once"
    (seen,) = (each for each in preview["seen"] if each["old"]["verdict"] == "allow")
    ends = {pod.name: pod for pod in world.company.pods}
    assert (seen["from"]["zone"], seen["to"]["zone"], seen["port"]) == (cut.from_zone, cut.to_zone, cut.port)
    assert (seen["to"]["namespace"], seen["to"]["workload"]) == (ends[cut.destination].namespace, ends[cut.destination].workload)  # fmt: skip
    assert (seen["connections"], seen["depends"]) == (count, [])
    assert seen["old"]["rule"]["name"] == cut.decision.origin.name
    assert sorted(preview["coverage"]["nodes"]) == [node.name for node in world.nodes]
    assert talk.alive, "a preview changes nothing"
    assert connect(world.machines[opens.source], opens.ip, opens.port, 0.3) is not Outcome.ALLOWED

    world.panorama.panorama.commit()
    revision = world.revision()
    world.wait(lambda: not talk.alive, "the connection that the preview named is cut", 30.0)
    world.wait(lambda: world.revision() >= revision and world.in_sync(), "both nodes report it", 30.0)
    denied = {"deny": Outcome.TIMEOUT, "reset": Outcome.REFUSED}[seen["new"]["verdict"]]
    assert connect(world.machines[cut.source], cut.ip, cut.port, 0.5) is denied
    assert connect(world.machines[opens.source], opens.ip, opens.port) is Outcome.ALLOWED
    assert other.alive, "what the preview didn't name lives on"
    changed = [
        each for each in before if each.decision.verdict != after[each.source, each.ip, each.port].decision.verdict
    ]
    assert len(changed) >= 2
    results = [each for some in measured([after[each.source, each.ip, each.port] for each in changed], world.machines) for each in some]  # fmt: skip
    assert [each for each in results if not each.agrees] == []
    code, preview, err = command(world, "preview")
    assert (code, preview["changes"]) == (0, []), "nothing is left to commit"
