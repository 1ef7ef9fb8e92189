"""`make bench-commit`: an administrator edits one rule of 10,000 and commits; until the tier says so, and what that costs.

Prints and writes JSON lines {"name", "value", "unit"}. The bridge is the program as it is run; the Panorama and the API
server are the mocks, each in a process of its own, and all share this machine's processors.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import httpx
import yaml

from bridge.managers.panorama import PanoramaAccess, PanoramaApi
from mocks.kubernetes import KubernetesServer
from tests.bench.panorama import PASSWORD, configuration, panorama
from tests.bridge.processes import PROGRAM, client_of, cluster_settings, eventually, kill, tier_of
from tests.bridge.running import CRDS

RESULTS = Path("build/bench/commit.jsonl")
RULES, TIMES = 10_000, 5
LEVEL = "/config/devices/entry[@name='localhost.localdomain']/device-group/entry[@name='bench']"
TICK = os.sysconf("SC_CLK_TCK")


class Administrator:
    """Edits the candidate and commits it."""

    def __init__(self, host: str, ca_file: Path) -> None:
        self.api = PanoramaApi(PanoramaAccess((host,), username="admin", password=lambda: PASSWORD, ca_file=ca_file))

    def edit_rule(self, number: int) -> None:
        """One rule in the middle is for one more zone."""
        rule = f"{LEVEL}/pre-rulebase/security/rules/entry[@name='rule {RULES // 2}']"
        self.api.set(rule, f"<to><member>zone-{number}</member></to>")

    def edit_address(self, number: int) -> None:
        """An address that some rules have, by themselves or in a group."""
        self.api.set(f"{LEVEL}/address/entry[@name='host-7']", f"<ip-netmask>172.16.0.{number}</ip-netmask>")

    def commit(self) -> None:
        self.api.commit("<commit></commit>")


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """Of all its threads, since it began."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_megabytes(process: subprocess.Popen[bytes]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextmanager
def bridge(folder: Path, host: str, ca_file: Path, kube: KubernetesServer) -> Iterator[subprocess.Popen[bytes]]:
    """`zonebridge sync`, which asks Panorama twice a second."""
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    reach = {
        "hosts": [host],
        "username": "admin",
        "passwordFile": str(password),
        "caFile": str(ca_file),
        "pollInterval": "500ms",
    }
    cluster = cluster_settings("bench", kube.kubeconfig, deviceGroup="bench")
    settings = {"panorama": reach, "clusters": [cluster], "metrics": {"address": None}}
    file = folder / "zonebridge.yaml"
    file.write_text(yaml.safe_dump(settings | {"infrastructure": {"apiServer": False}}))
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([str(PROGRAM), "sync", "-c", str(file)], stderr=log) as run,
    ):
        try:
            yield run
        finally:
            kill(run)


def figures(folder: Path) -> Iterator[tuple[str, float, str]]:
    path = folder / "running.xml"
    path.write_text(configuration(RULES))
    with KubernetesServer() as kube, client_of(kube) as client, panorama(path) as (host, ca_file):
        kube.install([CRDS])
        administrator = Administrator(host, ca_file)
        with bridge(folder, host, ca_file, kube) as process:
            started = time.monotonic()
            eventually(lambda: tier_of(client), every=0.01)
            yield "from nothing: start to published", time.monotonic() - started, "s"
            yield "from nothing: processor time of the bridge", processor_seconds(process), "s"
            for what, edit in (("one rule", administrator.edit_rule), ("one address", administrator.edit_address)):
                taken = [_published(client, process, edit, number, administrator) for number in range(TIMES)]
                yield f"{what} edited: commit to published", statistics.median(each[0] for each in taken), "s"
                yield f"{what} edited: processor time of the bridge", statistics.median(each[1] for each in taken), "s"
            yield "peak memory of the bridge", peak_megabytes(process), "MB"


def _published(
    client: httpx.Client,
    process: subprocess.Popen[bytes],
    edit: Callable[[int], None],
    number: int,
    administrator: Administrator,
) -> tuple[float, float]:
    """Seconds from the commit to the next revision, and what the bridge took of a processor meanwhile."""
    before = _revision(client)
    edit(number)
    busy, started = processor_seconds(process), time.monotonic()
    administrator.commit()
    eventually(lambda: _revision(client) > before, every=0.01)
    return time.monotonic() - started, processor_seconds(process) - busy


def _revision(client: httpx.Client) -> int:
    return int((tier_of(client) or {"spec": {"revision": 0}})["spec"]["revision"])


def _write(results: TextIO, name: str, value: float, unit: str) -> None:
    line = json.dumps({"name": name, "value": round(value, 3), "unit": unit})
    print(line, flush=True)
    results.write(line + "\n")


def main() -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w") as results, tempfile.TemporaryDirectory() as folder:
        for figure in figures(Path(folder)):
            _write(results, *figure)


if __name__ == "__main__":
    main()
