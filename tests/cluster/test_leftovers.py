"""A run that is killed leaves no process, and nothing else that the next run doesn't remove."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.cgroups import hierarchies
from tests.cluster.cluster import purge

pytestmark = [pytest.mark.cluster, pytest.mark.registry]
# Two nodes without anything of Kubernetes, and a process that is not the node's first.
KILLED = """
import os, sys
from tests.cluster.addresses import NODES
from tests.cluster.cluster import Cluster
from tests.cluster.programs import programs
from tests.cluster.policy import configuration
made = Cluster(programs(), configuration())
made.prepare()
made.nodes["n1"].spawn("sleep", ["sleep", "1000"])
print(made.folder, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_run_is_cleaned_up_after(until, cluster):
    before = everything()
    ended = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    folder = Path(ended.stdout.strip())
    assert folder.is_dir(), ended.stderr
    assert everything() - before
    until(lambda: not processes_of(folder))
    purge()
    assert not folder.exists()
    assert everything() == before


def everything():
    return {path for top in hierarchies().values() for path in top.iterdir() if "zonebridge-cluster" in path.name}


def processes_of(folder):
    """Those whose command names the run's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found += [entry] if str(folder) in (entry / "cmdline").read_text() else []
            except OSError:
                continue
    return found
