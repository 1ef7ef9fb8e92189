"""`zonebridge verify` where real enforcers rule real packets: probe pods as namespaces, run by something like a kubelet."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from bridge.evidence.database import Database
from bridge.segmentation.probe import READY
from bridge.segmentation.store import Measurements
from mocks.lab import Outcome, connect, unavailable
from mocks.lab.kubelet import pod_status
from tests.demo.company import example
from tests.demo.world import World

NAMESPACE, ZONES = "zonebridge-probes", "zone=web,zone=app,zone=data"
MERGE = {"Content-Type": "application/merge-patch+json"}
BIN = Path(sys.executable).parent
RUN = "import sys, pathlib; from bridge.segmentation.probe import main; sys.exit(main(sys.argv[2:], pathlib.Path(sys.argv[1])))"


class PatientWorld(World):
    def wait(self, condition, what, seconds=10.0):
        """A machine may be slow."""
        return super().wait(condition, what, 4 * seconds)


class ProbeKubelet(threading.Thread):
    """Starts each probe pod's program in a network namespace of its own, and reports what becomes of it."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self._world, self._client = world, world._client
        self._ending, self._running = threading.Event(), {}
        self.images = set()
        self.error = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self.join()
        for process, _ in self._running.values():
            process.kill()
            process.wait()

    def run(self):
        while not self._ending.wait(0.1):
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - the test tells it
                self.error = error
                return

    def _look(self):
        pods = {pod["metadata"]["uid"]: pod for pod in self._client.get(self._path()).json()["items"]}
        for uid in self._running.keys() - pods.keys():
            process, _ = self._running.pop(uid)
            process.kill()
            process.wait()
        for uid, pod in pods.items():
            name = pod["metadata"]["name"]
            if uid not in self._running:
                self._begin(uid, pod)
            process, machine = self._running[uid]
            phase = pod.get("status", {}).get("phase", "Pending")
            if phase == "Pending":
                listens = pod["metadata"]["labels"]["zonebridge.io/probe"] == "listener"
                if not listens or connect(machine, machine.ip, READY, 0.2) is Outcome.ALLOWED:
                    self._report(name, pod_status(machine, "Running"))
            elif phase == "Running" and process.poll() is not None:
                ended = {"exitCode": process.returncode, "message": self._message(uid).read_text()}
                containers = [{"name": "probe", "state": {"terminated": ended}}]
                phase = "Failed" if process.returncode else "Succeeded"
                self._report(name, pod_status(machine, phase) | {"containerStatuses": containers})

    def _begin(self, uid, pod):
        (container,) = pod["spec"]["containers"]
        assert container["command"] == ["python3", "-m", "bridge.segmentation.probe"]
        self.images.add(container["image"])
        node = self._world.nodes[len(self._running) % 2]
        machine = node.pod(f"p{uid[:8]}")
        name = pod["metadata"]["name"]
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}}
        binding["target"] = {"apiVersion": "v1", "kind": "Node", "name": node.name}
        self._client.post(f"{self._path(name)}/binding", json=binding).raise_for_status()
        command = machine.netns.command([sys.executable, "-c", RUN, str(self._message(uid)), *container["args"]])
        self._running[uid] = subprocess.Popen(command, stdout=subprocess.DEVNULL), machine

    def _message(self, uid):
        return self._world.directory / f"message-{uid}"

    def _report(self, name, status):
        self._client.patch(f"{self._path(name)}/status", json={"status": status}, headers=MERGE).raise_for_status()

    def _path(self, name=None):
        return f"/api/v1/namespaces/{NAMESPACE}/pods" + (f"/{name}" if name else "")


@pytest.fixture(scope="module")
def world():
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with PatientWorld(example()) as made:
        annotations = {"zonebridge.io/zones": "*", "zonebridge.io/probe-image": "registry.example/zonebridge:1"}
        made.kubelet.namespace(NAMESPACE, annotations=annotations)
        made.start_product()
        yield made


@pytest.fixture
def verify(world):
    database = world.directory / "evidence.db"
    settings = yaml.safe_load((world.directory / "zonebridge.yaml").read_text())
    path = world._write("verify.yaml", settings | {"evidence": {"url": f"sqlite:///{database}"}})

    def measured(*words):
        command = [str(BIN / "zonebridge"), "verify", "-c", str(path), "-o", "json", "--scope", ZONES, *words]
        with ProbeKubelet(world) as kubelet:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert kubelet.error is None
        assert not world._client.get(f"/api/v1/namespaces/{NAMESPACE}/pods").json()["items"], "probe pods are left"
        assert ended.stdout, ended.stderr
        return ended.returncode, json.loads(ended.stdout), kubelet, f"sqlite:///{database}"

    return measured


@pytest.mark.kernel
def test_who_is_told_to_end_leaves_no_pods(world, verify):
    """SIGTERM, as a pipeline ends what it no longer wants."""
    command = [str(BIN / "zonebridge"), "verify", "-c", str(world.directory / "verify.yaml"), "--scope", ZONES]
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        world.wait(lambda: len(world._client.get(pods).json()["items"]) == 3, "listeners are there")
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "its probe pods are deleted" in said
    assert world._client.get(pods).json()["items"] == []


@pytest.mark.kernel
@pytest.mark.timeout(240)  # two measurements, each with seconds to wait for answers that don't come
def test_what_is_measured_is_what_the_policy_says_and_where_the_rules_are_gone_it_says_that(world, verify):
    code, found, kubelet, url = verify()
    assert found["differences"] == []
    assert found["doubts"] == []
    assert (code, found["agree"]) == (0, found["tried"])
    assert kubelet.images == {"registry.example/zonebridge:1"}
    pairs = {(cell["from"], cell["to"]): cell for cell in found["cells"] if cell["family"] == "IPv6"}
    assert len(pairs) == 9
    assert pairs["web", "data"]["closed"]
    assert not pairs["web", "data"]["open"]
    assert any(cell["open"] and cell["closed"] for cell in pairs.values())
    assert len({probe["node"] for probe in found["probes"]}) == 2
    database = Database(url)
    (recorded,) = Measurements(database).between("demo", 0, 2**62)
    database.close()
    assert recorded.content == found

    for name, process in world._processes.items():  # nobody puts the rules back
        if name.startswith("zone-enforcer"):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    for node in world.nodes:
        tables = node.netns.require(["nft", "list", "tables"]).split("\n")
        for table in filter(None, tables):
            node.netns.require(["nft", "delete", *table.split()])
    code, found, *_ = verify()
    assert code == 1
    assert {each["kind"] for each in found["differences"]} == {"open though denied"}
    assert ("web", "data") in {(each["from"], each["to"]) for each in found["differences"]}
