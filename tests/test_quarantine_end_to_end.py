"""Cut off by a tag in Panorama and by a SOAR, on the real kernel: from the tag to the last packet, and back."""

import json
import time

import httpx
import pytest
import yaml

from mocks.lab import Outcome, connect, unavailable
from tests.demo.company import example
from tests.demo.matrix import connections, policy_of
from tests.demo.world import World
from tests.test_preview_end_to_end import free_port
from zones.policy import Verdict

TAG, TOKEN = "k8s-quarantine", "what-a-soar-knows"
SECONDS = 2.0


class QuarantineWorld(World):
    """With a bridge that follows a tag, is woken up by Panorama's log forwarding, and listens to a SOAR."""

    def _set_stage(self):
        self.wake_port, self.soar_port = free_port(), free_port()
        super()._set_stage()
        (self.directory / "soar-token").write_text(TOKEN)

    def wait(self, condition, what, seconds=10.0):
        """A machine may be slow."""
        return super().wait(condition, what, 4 * seconds)

    def _bridge_settings(self):
        path = super()._bridge_settings()
        token = str(self.directory / "soar-token")
        more = {
            "wakeUp": {"address": f"127.0.0.1:{self.wake_port}", "tokenFile": token},
            "quarantine": {
                "tag": {"name": TAG, "interval": "1h"},
                "listener": {"address": f"127.0.0.1:{self.soar_port}", "tokenFile": token},
            },
        }
        return self._write(path.name, yaml.safe_load(path.read_text()) | more)

    def ask(self, method, port, path, **body):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.request(
            method, f"http://127.0.0.1:{port}{path}", headers=headers, json=body or None, trust_env=False, timeout=20
        )

    def wake_up(self):
        assert self.ask("POST", self.wake_port, "/wake-up").status_code == 202

    def quarantines(self):
        return self.object("quarantines").get("items", [])


@pytest.fixture(scope="module")
def world():
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with QuarantineWorld(example()) as staged:
        staged.start_product()
        yield staged


@pytest.fixture(scope="module")
def ways(world):
    """A connection that is allowed, and another one between other pods, each by a rule between two pods."""
    pods = {pod.name: pod for pod in world.company.pods}
    open_ones = [
        each
        for each in connections(world.company, policy_of(world.company), world.machines)
        if each.decision.verdict is Verdict.ALLOW and {each.source, each.destination} <= pods.keys()
    ]
    cut = open_ones[0]
    ends = {cut.source, cut.destination}
    other = next(each for each in open_ones if not ends & {each.source, each.destination})
    return pods, cut, other


@pytest.mark.kernel
@pytest.mark.timeout(240)
def test_a_tag_cuts_the_pod_that_has_the_address_within_two_seconds_and_lets_it_out_when_it_goes(world, ways):
    pods, cut, other = ways
    source = world.machines[cut.source]
    talk = world.lab.conversation(source, cut.ip, cut.port)
    stays = world.lab.conversation(world.machines[other.source], other.ip, other.port)
    mappings = world.panorama.panorama.mappings
    mappings.register(str(source.ip), TAG)
    tagged = time.monotonic()
    world.wake_up()
    world.wait(lambda: not talk.alive, "the tagged pod's connection is cut", 10.0)
    cut_after = talk.died_at - tagged if talk.died_at else time.monotonic() - tagged
    (made,) = world.quarantines()
    assert (made["spec"]["pod"]["name"], made["spec"]["source"]) == (cut.source, "panorama-tag")
    assert made["spec"]["pod"]["namespace"] == pods[cut.source].namespace
    assert connect(source, cut.ip, cut.port, 0.5) is not Outcome.ALLOWED
    assert stays.alive, "others lose nothing"
    world.wait(lambda: any(event.get("alert") == "quarantined" for event in world.events()), "the SIEM hears of it")
    print(f"cut {cut_after:.2f} s after the tag")
    assert cut_after < SECONDS

    mappings.unregister(str(source.ip), TAG)
    for _ in range(2):  # a tag is gone when it is at two looks
        world.wake_up()
        time.sleep(2.5)  # the bridge is woken up every two seconds at most
    world.wait(lambda: not world.quarantines(), "the quarantine goes with its tag")
    world.wait(lambda: connect(source, cut.ip, cut.port, 0.5) is Outcome.ALLOWED, "the pod is let out")
    assert stays.alive


@pytest.mark.kernel
@pytest.mark.timeout(240)
def test_a_soar_cuts_a_pod_off_by_its_address_and_lets_it_out(world, ways):
    _pods, cut, other = ways
    source = world.machines[cut.source]
    stays = world.lab.conversation(world.machines[other.source], other.ip, other.port)
    asked = {"address": str(source.ip), "reason": "beacon", "reference": "INC-1", "requestedBy": "ann@example.com"}
    answer = world.ask("POST", world.soar_port, "/quarantines", **asked)
    assert answer.status_code == 201, answer.text
    name = answer.json()["name"]
    assert (answer.json()["state"], answer.json()["requestedBy"]) == ("in force", "ann@example.com")
    world.wait(lambda: connect(source, cut.ip, cut.port, 0.5) is not Outcome.ALLOWED, "the pod is cut off")
    again = world.ask("POST", world.soar_port, "/quarantines", **asked)
    assert (again.status_code, again.json()["name"]) == (200, name), "the same asked twice is one quarantine"
    assert world.ask("DELETE", world.soar_port, f"/quarantines/{name}").status_code == 200
    world.wait(lambda: connect(source, cut.ip, cut.port, 0.5) is Outcome.ALLOWED, "the pod is let out")
    assert stays.alive
    told = [event for event in world.events() if event.get("alert") == "quarantined"]
    assert any("ann@example.com" in json.dumps(event) for event in told)
