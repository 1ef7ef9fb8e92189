"""Half a minute of tests/bench/soak.py: kills, restarts, commits and tampering all at once."""

import random

import pytest

from tests.bench.soak import Soak
from tests.bridge.processes import install
from tests.realkube import RealKube


@pytest.mark.apiserver
@pytest.mark.timeout(600)
def test_after_every_quiet_moment_the_tier_is_what_panorama_says(programs, tmp_path):
    seed = random.randrange(10**6)
    with RealKube(programs) as kube:
        install(kube)
        summary = Soak(kube, tmp_path, random.Random(seed)).run(10, round_seconds=5)
    assert summary["quiet moments"] >= 3, seed
    assert summary["mixtures or steps back"] == 0, seed
