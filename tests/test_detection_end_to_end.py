"""Detectors on the real kernel: scans between namespaces, a new peer outside, a listed address; and what is no news."""

import json
from datetime import UTC, datetime
from itertools import product

import pytest
import yaml

from mocks.lab import Outcome, connect, unavailable
from tests.demo.company import example
from tests.demo.matrix import connection, connections, policy_of
from tests.demo.world import World
from zones.policy import Verdict

PORTS = range(2001, 2016)


class DetectingWorld(World):
    """With detectors on each node, which learn for a second."""

    def wait(self, condition, what, seconds=10.0):
        """A machine may be slow."""
        return super().wait(condition, what, 4 * seconds)

    def _enforcer_settings(self, node):
        path = super()._enforcer_settings(node)
        feed = self.directory / "indicators.txt"
        feed.write_text("# of a test\n" + "".join(f"{host.ip}\n{host.ip6}\n" for host in self.company.hosts))
        detection = {
            "addressSweep": {"addresses": 3},
            "firstContact": {"learning": "1s"},
            "indicators": [{"name": "bad", "file": str(feed)}],
        }
        return self._write(
            path.name, yaml.safe_load(path.read_text()) | {"seen": {"window": "1s"}, "detection": detection}
        )

    def detections(self, detector):
        return [event for event in self.events() if event.get("detector") == detector]


@pytest.fixture(scope="module")
def world():
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with DetectingWorld(example()) as staged:
        staged.start_product()
        yield staged


@pytest.fixture(scope="module")
def ways(world):
    """Connections between pods, and to hosts outside, with what the policy says of each."""
    pods = {pod.name: pod for pod in world.company.pods}
    return pods, connections(world.company, policy_of(world.company), world.machines)


def is_denied(way, pods):
    return (
        way.decision.verdict is not Verdict.ALLOW
        and way.decision.origin.rulebase != "infrastructure"
        and {way.source, way.destination} <= pods.keys()
    )


@pytest.mark.kernel
@pytest.mark.timeout(240)
def test_a_real_port_scan_is_one_alert_with_its_evidence_at_the_fifteenth_port(world, ways):
    pods, every = ways
    way = next(way for way in every if is_denied(way, pods))
    source = world.machines[way.source]
    for port in PORTS[:-1]:
        assert connect(source, way.ip, port, 0.2) is not Outcome.ALLOWED
    world.wait(lambda: len([event for event in world.events() if event.get("kind") == "flow"]) >= 14, "they are told")
    assert world.detections("port-scan") == []
    assert connect(source, way.ip, PORTS[-1], 0.2) is not Outcome.ALLOWED
    world.wait(lambda: world.detections("port-scan"), "the scan is told")
    (alert,) = world.detections("port-scan")
    assert (alert["alert"], alert["severity"], alert["value"], alert["threshold"]) == ("detection", "high", 15, 15)
    assert (alert["source"]["namespace"], alert["source"]["workload"]) == (pods[way.source].namespace, pods[way.source].workload)  # fmt: skip
    assert alert["destination"]["address"] == way.ip
    assert alert["targets"] == [f"tcp/{port}" for port in PORTS]
    assert alert["attack"]["technique"] == "T1046"
    assert alert["configuration"].startswith("zonebridge show ")


@pytest.mark.kernel
@pytest.mark.timeout(240)
def test_a_real_sweep_is_told(world, ways):
    pods, every = ways
    denied = [way for way in every if is_denied(way, pods)]
    targets = {}
    for way in denied:
        targets.setdefault((way.source, way.port), {})[way.ip] = way
    (source, port), found = next((key, ips) for key, ips in targets.items() if len(ips) >= 3)
    for ip in found:
        connect(world.machines[source], ip, port, 0.2)
    world.wait(lambda: world.detections("address-sweep"), "the sweep is told")
    assert world.detections("address-sweep")[0]["source"]["workload"] == pods[source].workload


@pytest.mark.kernel
@pytest.mark.timeout(240)
def test_who_speaks_to_somebody_new_or_listed_outside_is_told(world, ways):
    pods, now, company = ways[0], datetime.now(UTC), world.company
    policy, hosts = policy_of(company), company.hosts
    judged = (
        connection(company, policy, world.machines, (pod, host), port, family, now)
        for pod, host, port, family in product(company.pods, hosts, company.ports, (4, 6))
    )
    outside = [way for way in judged if way.decision.verdict is Verdict.ALLOW]
    for host in hosts:
        world.lab.listen(world.machines[host.name], *company.ports)
    ways_of = {}
    for way in outside:
        ways_of.setdefault(way.source, {})[way.ip, way.port] = way
    way, other, *_ = next(several for several in ways_of.values() if len(several) > 1).values()
    source = world.machines[way.source]
    assert connect(source, way.ip, way.port) is Outcome.ALLOWED
    world.wait(lambda: world.detections("indicator-hit"), "the listed address is told")
    alert = world.detections("indicator-hit")[0]
    assert (alert["severity"], alert["passed"], alert["indicator"]["feed"]) == ("high", True, "bad")
    assert connect(source, other.ip, other.port) is Outcome.ALLOWED
    world.wait(lambda: world.detections("first-contact"), "the new peer is told")
    assert pods[way.source].workload in json.dumps(world.detections("first-contact"))
    assert all(event["severity"] == "informational" for event in world.detections("first-contact"))
