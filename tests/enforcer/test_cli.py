"""The commands as their users call them: one line and an exit code where something is wrong, never a traceback."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory

import pytest
import yaml

from mocks.kubernetes import KubernetesServer
from tests.enforcer import smallcluster as world


def call(*arguments, on=None, **environment):
    command = [sys.executable, "-c", "from enforcer.cli import main; main()", *map(str, arguments)]
    command = command if on is None else on.command(command)
    plain = {key: value for key, value in os.environ.items() if not key.startswith("ZONEBRIDGE_")}
    with TemporaryDirectory() as state:  # its default is the machine's own
        wanted = plain | {"ZONEBRIDGE_STATE_DIR": state} | environment
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=wanted, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def objects(tmp_path):
    """A tier and pods as files."""
    tier, pods = tmp_path / "tier.yaml", tmp_path / "pods.json"
    rendered = world.tier(1)
    tier.write_text(yaml.safe_dump_all([*rendered.parts, rendered.tier]))
    items = [world.pod("web-1", "10.1.0.10", "web"), world.pod("db-0", "10.1.0.20", "db")]
    pods.write_text(json.dumps({"kind": "List", "items": [*items, world.node("n1", "192.0.2.1", "10.1.0.0/24")]}))
    return tier, pods


def test_render_of_files(objects):
    tier, pods = objects
    done = call("render", "--tier", tier, "--pods", pods, "--node", "n1")
    assert done.returncode == 0, done.stderr
    assert "10.1.0.10" in done.stdout
    assert done.stdout == call("render", "--tier", tier, "--pods", pods, "--node", "n1").stdout


def test_render_of_the_live_cluster(tmp_path):
    with KubernetesServer() as server:
        world.fill(server)
        settings = tmp_path / "enforcer.yaml"
        settings.write_text(json.dumps({"cluster": world.TIER, "nodeName": "n1", "kubeconfig": str(server.kubeconfig)}))
        missing = call("render", "-c", settings)
        assert (missing.returncode, missing.stderr) == (1, "there is no tier 'panorama'; the bridge makes it\n")
        world.publish(server, world.tier(1))
        done = call("render", "-c", settings)
    assert done.returncode == 0, done.stderr
    assert "10.1.0.20" in done.stdout


def test_render_of_a_damaged_tier_says_so(objects):
    tier, _ = objects
    tier.write_text(tier.read_text().replace("allow-web", "allow-all"))
    done = call("render", "--tier", tier)
    assert done.returncode == 1
    assert "holds other content than its name says" in done.stderr


@pytest.mark.parametrize("content", ["just text", "kind: Tier", "{", "[1]", "- kind: Pod\n  metadata: {}"])
def test_render_of_something_else_is_bad_input(tmp_path, content):
    path = tmp_path / "tier.yaml"
    path.write_text(content)
    done = call("render", "--tier", path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_settings_faults_come_one_a_line(tmp_path):
    settings = tmp_path / "enforcer.yaml"
    settings.write_text("colour: red\nmode: maybe\n")
    done = call("run", "-c", settings)
    assert done.returncode == 2
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["cluster", "mode", "colour"]


@pytest.mark.kernel
def test_a_spool_that_cannot_be_written_ends_run_with_one_line(world, tmp_path):
    (tmp_path / "file").write_text("")
    settings = tmp_path / "enforcer.yaml"
    settings.write_text(
        json.dumps(
            {
                "cluster": "prod",
                "nodeName": "n1",
                "stateDir": str(tmp_path / "state"),
                "spool": {"dir": f"{tmp_path}/file/spool"},
            }
        )
    )
    done = call("run", "-c", settings, on=world.n1)
    assert done.returncode == 2
    assert "spool.dir" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.kernel
def test_run_without_a_way_to_kubernetes_is_bad_input(world, tmp_path):
    settings = tmp_path / "enforcer.yaml"
    settings.write_text(json.dumps({"cluster": "prod", "nodeName": "n1", "stateDir": str(tmp_path / "state")}))
    done = call("run", "-c", settings, on=world.n1)
    assert done.returncode == 2
    assert "service account" in done.stderr
    assert "zonebridge" not in world.n1.run(["nft", "list", "tables"]).stdout  # what never had a tier is not closed
    assert call("flush", "--yes", "-c", settings, on=world.n1).returncode == 0
    assert "zonebridge" not in world.n1.run(["nft", "list", "tables"]).stdout


def test_flush_asks_first(tmp_path):
    done = call("flush")
    assert done.returncode == 2
    assert "--yes" in done.stderr


STATUS = {
    "cluster": "prod",
    "node": "n1",
    "mode": "enforce",
    "inForce": "enforced",
    "uplinks": ["eth0"],
    "bridgePorts": {"known": 12, "unknown": ["veth7a"]},
    "tier": "panorama",
    "standing": "current",
    "why": "",
    "revision": 7,
    "digest": "d",
    "appliedAt": "2026-11-21T11:22:28+00:00",
    "complete": True,
    "passes": 3,
    "problems": [],
    "pods": 2,
    "nodes": 1,
    "zones": {"web": 2},
    "records": {"denied": 5},
    "lost": {"kernel": 3},
    "spool_bytes": 12,
    "spool_capacity": 4096,
    "queues": {"outbox": {"length": 3, "capacity": 50_000}},
    "log": {"waiting": 100, "buffer": 16_000_000},
    "alerts": {"conditions": 1, "suppressed": 977},
    "pod_events": {"written": 4, "failed": 0, "suppressed": 0},
    "silence": {"pods": 2.5},
    "pass_seconds": {"last": 0.002, "longest": 0.25, "sum": 0.3, "buckets": {"0.1": 2, "+Inf": 3}},
    "change_seconds": {"last": 0.004, "longest": 0.5, "sum": 0.6, "buckets": {"0.1": 2, "+Inf": 3}},
    "destinations": [
        {
            "name": "siem",
            "sent": 1,
            "sentMeans": "accepted",
            "refused": 0,
            "lost": 0,
            "retries": 2,
            "backlog": 4,
            "oldest": 61.5,
            "lastSuccess": 1_795_260_148.0,
            "aside": 300,
            "held": True,
            "trouble": "the token is disabled",
        }
    ],
}


@pytest.fixture
def told(tmp_path):
    def write(age=0, **more):
        time = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
        (tmp_path / "status.json").write_text(json.dumps(STATUS | {"time": time} | more))
        return tmp_path

    return write


def test_status_as_table(told):
    done = call("status", "--state-dir", told())
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    for text in (
        *("revision 7", "web 2", "kernel 3", "the token is disabled", "waiting 4, the oldest for 62 s", "all is well"),
        *("outbox 3 of 50000", "977 denials told with others", "written 4", "after 2.0 ms, at most 250.0 ms"),
        *("12 held to their pod's addresses; whose pod is not known: veth7a",),
        *("100 of 16000000 bytes wait", "silent for up to 2 s", "tried again 2"),
    ):
        assert text in shown


HOSTILE = "no answer from [fd00::1]:8088 [/b] :bomb: \x9b31m\u202e"
SHOWN = "no answer from [fd00::1]:8088 [/b] :bomb: \\x9b31m\\u202e"


def test_status_shows_what_others_say_as_they_say_it_and_nothing_of_it_steers_a_terminal(told):
    trouble = [STATUS["destinations"][0] | {"trouble": HOSTILE}]
    done = call("status", "--state-dir", told(problems=[HOSTILE], destinations=trouble))
    assert done.returncode == 1
    assert " ".join(done.stdout.split()).count(SHOWN) == 3, "the problem, the destination's trouble, and what is wrong"
    assert done.stdout.replace("\n", "").isprintable()
    shown = call("status", "--state-dir", told(problems=[HOSTILE]), "-o", "json").stdout
    assert shown.replace("\n", "").isprintable()
    assert json.loads(shown)["problems"] == [HOSTILE]


def test_status_as_json(told):
    done = call("status", "--state-dir", told(), "-o", "json")
    assert json.loads(done.stdout)["healthy"] is True


@pytest.mark.parametrize(
    ("age", "more", "why"),
    [
        (3600, {}, "old; is zone-enforcer running?"),
        (-3600, {}, "was the clock set back"),
        (0, {"standing": "tampered", "why": "tier deleted"}, "tier deleted"),
        (0, {"problems": ["pod x: bad address"]}, "bad address"),
    ],
)
def test_status_that_is_not_well_ends_with_1(told, age, more, why):
    done = call("status", "--state-dir", told(age, **more), "-o", "json")
    assert done.returncode == 1
    assert why in json.loads(done.stdout)["reason"]


def test_status_of_a_node_without_an_agent(tmp_path):
    done = call("status", "--state-dir", tmp_path)
    assert done.returncode == 1
    assert "is zone-enforcer running" in done.stderr


def test_unknown_options_are_bad_input():
    assert call("run", "--colour", "red").returncode == 2
