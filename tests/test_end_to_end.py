"""The whole product on the real kernel: what is measured between pods is what Panorama says, before, during and after."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest
import yaml

from mocks.lab import Outcome, connect, unavailable
from mocks.serving import Fault
from tests.demo import change
from tests.demo.company import EXAMPLE, example
from tests.demo.matrix import connections, measured, policy_of
from tests.demo.world import World
from tests.exports import VARIABLE, exports

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def world():
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with World(example()) as staged:
        staged.start_product()
        yield staged


def measure_all(world, wanted):
    return [each for some in measured(wanted, world.machines) for each in some]


def wrong(world, policy):
    wanted = connections(world.company, policy, world.machines)
    assert len(wanted) > 1000
    results = measure_all(world, wanted)
    return [
        f"{each.connection.source} -> {each.connection.ip} tcp/{each.connection.port} is {each.outcome}, "
        f"'{each.connection.decision.origin.name}' says {each.connection.expected}"
        for each in results
        if not each.agrees
    ]


@pytest.fixture(scope="module")
def policy(world):
    return policy_of(world.company)


@pytest.mark.kernel
@pytest.mark.timeout(300)
def test_every_connection_is_what_the_policy_says(world, policy):
    assert wrong(world, policy) == []


@pytest.mark.kernel
def test_the_siem_hears_of_a_denied_connection_with_names(world, until):
    source = world.machines["storefront-5b8c7d9f4-k2x8q"]
    target = world.machines["orders-db-0"]
    connect(source, target.ip, 5432, timeout=0.3)

    def heard():
        return [e for e in world.events() if e.get("alert") == "denied-flow" and "orders-db" in json.dumps(e)]

    text = json.dumps(until(heard))
    assert all(name in text for name in ("No web to data", "EMEA", "storefront", "web", "data"))


@pytest.mark.kernel
def test_an_unknown_zone_raises_an_alert(world, until):
    until(lambda: any(e.get("alert") == "zone-unknown" and "sandbox" in json.dumps(e) for e in world.events()))


@pytest.mark.kernel
def test_an_agent_that_is_killed_leaves_its_rules_in_force(world, policy):
    name = "zone-enforcer-node-1"
    world._processes[name].send_signal(signal.SIGKILL)
    world._processes.pop(name).wait()
    closed = [each for each in connections(world.company, policy, world.machines) if each.port == 5432]
    assert [each.outcome for each in measure_all(world, closed)] == [each.expected for each in closed]
    world.restart_enforcer(world.nodes[0])
    world.wait(world.in_sync, "the agent is back")


@pytest.mark.kernel
def test_a_panorama_that_is_away_changes_nothing(world, policy):
    world.panorama.faults.add(Fault("reset", times=10**6))
    some = [each for each in connections(world.company, policy, world.machines) if each.port == 8080]
    assert [each.outcome for each in measure_all(world, some)] == [each.expected for each in some]
    world.panorama.faults.queue.clear()


@pytest.mark.kernel
@pytest.mark.timeout(300)
def test_a_commit_opens_one_connection_and_cuts_another(world, policy):
    before = connections(world.company, policy, world.machines)
    planned = change.prepare(world, before)
    talk = world.lab.conversation(world.machines[planned.cuts.source], planned.cuts.ip, planned.cuts.port)
    revision = world.revision()
    world.panorama.panorama.commit()
    source = world.machines[planned.opens.source]
    world.wait(
        lambda: connect(source, planned.opens.ip, planned.opens.port, 0.2) is Outcome.ALLOWED, "the new rule opens"
    )
    world.wait(lambda: not talk.alive, "the revoked rule cuts")
    world.wait(lambda: world.revision() > revision and world.in_sync(), "both nodes report it")
    assert wrong(world, policy_of(world.company, world.candidate_file())) == []


def run(*command, **environment):
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
    )


def device_groups():
    for path in exports():
        entries = parse(path).findall("devices/entry/device-group/entry")
        for name in dict.fromkeys(entry.get("name") for entry in entries):
            yield pytest.param(path, name, id=f"{path.name}-{name}", marks=pytest.mark.kernel)


ABSENT = pytest.param(None, None, id="none", marks=pytest.mark.skip(reason=f"{VARIABLE} names no folder of exports"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("path", "group"), list(device_groups()) or [ABSENT])
def test_the_demo_works_on_exports_that_nobody_here_wrote(path, group):
    done = run("python", "-m", "tests.demo", "--commits", "1", "--panorama-config", str(path), "--device-group", group)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert ", 0 differ" in done.stdout


COMPANY = ["--panorama-config", str(EXAMPLE / "panorama.xml"), "--device-group"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["zonebridge", "compile", "--panorama-config", "no.xml", "--device-group", "x"], "no.xml"),
        (["zonebridge", "compile", "--panorama-config", "README.md", "--device-group", "x"], "README.md"),
        (["zonebridge", "compile", *COMPANY, "prod-eu"], "prod-eu-1"),
        (["python", "-m", "tests.demo", *COMPANY, "prod-eu"], "prod-eu-1"),
        (["python", "-m", "tests.demo", "--panorama-config", "no.xml", "--device-group", "x"], "no.xml"),
        (["python", "-m", "tests.demo", "--device-group", "x"], "PANORAMA_CONFIG"),
        (["zonebridge", "sync", "-c", "no.yaml"], "no.yaml"),
        (["zone-enforcer", "run", "-c", "no.yaml"], "no.yaml"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(command, words):
    done = run(*command)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.kernel
def test_a_wrong_password_at_panorama_is_told_and_publishes_nothing(world):
    settings = world.directory / "wrong.yaml"
    secret = world.directory / "wrong-password"
    secret.write_text("wrong")
    text = (world.directory / "zonebridge.yaml").read_text()
    settings.write_text(text.replace(str(world.directory / "panorama-password"), str(secret)))
    revision = world.revision()
    done = run("zonebridge", "sync", "--once", "-c", str(settings))
    assert done.returncode == 1
    assert "credentials" in done.stderr
    assert world.revision() == revision


@pytest.mark.kernel
def test_a_spool_that_cannot_be_written_is_told_at_the_start(world):
    settings = world.directory / "spool.yaml"
    given = yaml.safe_load((world.directory / "zone-enforcer-node-1.yaml").read_text())
    own = {"stateDir": str(world.directory / "nobodys-state"), "spool": {"dir": "/proc/nowhere"}}
    settings.write_text(yaml.safe_dump(given | own))
    done = run("zone-enforcer", "run", "-c", str(settings))
    assert done.returncode == 2
    assert "/proc/nowhere" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
