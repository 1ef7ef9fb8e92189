import itertools
import sys
import time
from types import SimpleNamespace

import pytest

from mocks.lab import Outcome, Probe, measure

pytestmark = pytest.mark.kernel


class TestMeasure:
    def test_all_pairs_at_once(self, lab, record_testsuite_property):
        nodes = [lab.node(f"node-{n}") for n in range(1, 4)]
        pods = [nodes[n % 3].pod(f"p{n}") for n in range(14)]
        for pod in pods:
            lab.listen(pod, 80)
        denied = {pod.ip for pod in pods[::2]}
        for node in nodes:
            members = ", ".join(sorted(denied))
            node.nft(
                "table inet cut { chain p { type filter hook postrouting priority 90; }; }\n"
                f"add rule inet cut p ct state new ip daddr {{ {members} }} drop"
            )
        probes = [Probe(source, target.ip, 80) for source in pods for target in pods]
        started = time.monotonic()
        outcomes = measure(probes, timeout=1.0)
        took = time.monotonic() - started
        record_testsuite_property("lab: seconds for 196 pairs, half of them dropped", round(took, 3))
        sys.stdout.write(f"196 pairs, half of them dropped: {took:.2f} s\n")
        for probe, outcome in zip(probes, outcomes, strict=True):
            to_itself = probe.ip == probe.source.ip
            expected = Outcome.TIMEOUT if probe.ip in denied and not to_itself else Outcome.ALLOWED
            assert outcome is expected, probe
        assert took < 2.5

    def test_an_answer_that_is_there_counts_although_nobody_has_looked_in_time(self, lab, monkeypatch):
        """A busy machine stops the prober; it neither invents a loss nor hides what came through."""
        node = lab.node("node-1")
        lab.listen(node, 80)
        times = itertools.chain([0.0], itertools.repeat(60.0))
        monkeypatch.setattr("mocks.lab.probe.time", SimpleNamespace(monotonic=lambda: next(times)))
        assert measure([Probe(node, node.ip, 80)], timeout=1.0) == [Outcome.ALLOWED]
