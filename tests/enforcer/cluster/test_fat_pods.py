"""Pods that a developer made as large as the API server takes them leave agents and bridges the memory that they have."""

import json
import subprocess
import sys

import pytest

from mocks.kubernetes import KubernetesServer
from tests.enforcer import smallcluster as world

PODS, LABELS = 40, 6_000
ROOM = 110  # MiB. Read by pages of a size it is 14 and 62; by pages of a number, 147 and 146


@pytest.fixture(scope="module")
def server():
    """Half a megabyte of labels each: none needs to run."""
    with KubernetesServer() as running:
        world.fill(running)
        for number in range(PODS):
            made = world.pod(f"fat-{number}", f"10.1.0.{100 + number}", "web")
            made["metadata"]["labels"] |= {f"l{number}-{at}": f"{number}-{at}-".ljust(60, "v") for at in range(LABELS)}
            running.create(made)
        yield running


@pytest.mark.parametrize("who", ["agent", "bridge"])
def test_fat_pods_take_no_more_than_a_page_of_them(server, who):
    command = [sys.executable, "-m", "tests.enforcer.cluster.fatreader", who, str(server.kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["pods"] == PODS + 2
    assert told["grown"] < ROOM, told
