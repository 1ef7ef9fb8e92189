"""A run that is killed leaves no process, and nothing else that the next run doesn't remove."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import cluster as clusters
from tests.cluster.cluster import OWNER, purge

pytestmark = [pytest.mark.cluster, pytest.mark.registry]
# Two nodes without anything of Kubernetes, and a process that is not the node's first.
KILLED = """
import os, sys
from pathlib import Path
from tests.cluster import cluster
from tests.cluster.programs import programs
from tests.cluster.policy import configuration
cluster.FOLDERS = Path(sys.argv[1])
made = cluster.Cluster(programs(), configuration())
made.prepare()
made.nodes["n1"].spawn("sleep", ["sleep", "1000"])
print(made.folder, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_run_is_cleaned_up_after(until, cluster, tmp_path, monkeypatch):
    """In a folder of its own: other clusters may come and go meanwhile, and clean up as well."""
    monkeypatch.setattr(clusters, "FOLDERS", tmp_path)
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, check=False)
    folder = Path(ended.stdout.strip())
    assert folder.is_dir(), ended.stderr
    groups = [Path(path) for path in json.loads((folder / OWNER).read_text())["cgroups"]]
    assert groups
    assert all(group.exists() for group in groups)
    until(lambda: not processes_of(folder))
    purge()
    assert not folder.exists()
    assert not any(group.exists() for group in groups)


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
