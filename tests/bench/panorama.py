"""`make bench-panorama`: fetch, parse, compile and render generated configurations, each in a process of its own.

Prints and writes JSON lines {"name", "value", "unit"}. The Panorama is the mock, in another process, on loopback.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from bridge import garbage_collection
from bridge.managers.panorama import PanoramaAccess, PanoramaApi, PanoramaManager
from tests.panorama_xml import config_text, entry, members, rule, rulebase, section
from zones.compile import compile_policy
from zones.tiers import native
from zones.zone import Zoning

RESULTS = Path("build/bench/panorama.jsonl")
SIZES = (1_000, 10_000, 20_000)
OBJECTS_A_RULE = 5
DEVICE_GROUPS = 1_000
ZONES = [f"zone-{number}" for number in range(40)]
POLLS = 20
PASSWORD = "bench"


def configuration(rules: int, beside: int = 10, seed: int = 1) -> str:
    """A device group with so many rules and five objects a rule; a thousand others with `beside` rules each."""
    chance = random.Random(seed)
    count = rules * OBJECTS_A_RULE
    addresses = (
        entry(f"host-{n}", f"<ip-netmask>10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}</ip-netmask>")
        for n in range(count * 3 // 5)
    )
    groups = (
        entry(f"group-{n}", members("static", *(f"host-{chance.randrange(count * 3 // 5)}" for _ in range(4))))
        for n in range(count // 5)
    )
    services = (
        entry(f"service-{n}", f"<protocol><tcp><port>{1 + n % 65000}</port></tcp></protocol>")
        for n in range(count // 5)
    )
    own = section("address", *addresses) + section("address-group", *groups) + section("service", *services)
    own += rulebase("pre", *(_rule(number, count, chance) for number in range(rules)))
    theirs = rulebase("pre", *(rule(f"other {n}", from_="zone-1", to="zone-2") for n in range(beside)))
    others = {f"branch-{number}": theirs for number in range(DEVICE_GROUPS)}
    return config_text(groups={"top": "", "bench": own} | others, parents={"bench": "top"})


def _rule(number: int, count: int, chance: random.Random) -> str:
    return rule(
        f"rule {number}",
        chance.choice(["allow", "allow", "allow", "deny"]),
        from_=chance.choice(ZONES),
        to=chance.choice(ZONES),
        source=[f"host-{chance.randrange(count * 3 // 5)}", f"group-{chance.randrange(count // 5)}"],
        destination=[f"host-{chance.randrange(count * 3 // 5)}", f"group-{chance.randrange(count // 5)}"],
        service=f"service-{chance.randrange(count // 5)}",
        extra="<log-end>yes</log-end><description>made for a benchmark</description>",
    )


@contextmanager
def panorama(path: Path, commit_seconds: float = 1.0) -> Iterator[tuple[str, Path]]:
    """A mock Panorama in a process of its own: its address and CA file."""
    command = [sys.executable, "-m", "mocks", "panorama", "--config", str(path), "--password", PASSWORD]
    command += ["--commit-seconds", str(commit_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = process.stdout.readline() if process.stdout else ""
            found = re.search(r"https://(\S+?)/api/ ca (\S+)", ready)
            if found is None:
                raise RuntimeError(f"the mock Panorama did not start: {ready!r}")
            yield found[1], Path(found[2])
        finally:
            process.terminate()


def one_pass(host: str, ca_file: str) -> None:
    """What the sync service does for a changed configuration; prints its figures as one JSON object."""
    garbage_collection.look_rarely()
    manager = _manager(host, Path(ca_file))
    manager.version()
    marks = [time.perf_counter()]
    rulebase_read = manager.rulebase()
    marks.append(time.perf_counter())
    compiled = compile_policy(rulebase_read, Zoning())
    marks.append(time.perf_counter())
    if compiled.policy is None:
        raise RuntimeError(f"refused: {compiled.refusals[:3]}")
    rendered = native.render(compiled.policy, "panorama", 1)
    marks.append(time.perf_counter())
    steps = [after - before for before, after in itertools.pairwise(marks)]
    calls, busy = manager.api.calls, time.process_time()
    for _ in range(POLLS):
        manager.version()
    print(
        json.dumps(
            {
                "total": marks[-1] - marks[0],
                "fetch and parse": steps[0],
                "compile": steps[1],
                "render": steps[2],
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "poll cpu": (time.process_time() - busy) / POLLS * 1000,
                "poll calls": (manager.api.calls - calls) / POLLS,
                "received": manager.api.received / 2**20,
                "objects": len(rendered.parts) + 1,
            }
        )
    )


def _manager(host: str, ca_file: Path) -> PanoramaManager:
    access = PanoramaAccess((host,), username="admin", password=lambda: PASSWORD, ca_file=ca_file)
    return PanoramaManager(PanoramaApi(access), "bench")


UNITS = {
    "configuration": "MiB",
    "peak": "MB",
    "poll cpu": "ms",
    "poll calls": "calls",
    "received": "MiB",
    "objects": "objects",
}


def main() -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w") as results, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "running.xml"
        totals = {size: _case(results, path, f"{size} rules", configuration(size)) for size in SIZES}
        _case(results, path, "1000 rules in 60 MB", configuration(1_000, beside=180))
        _tell(results, "growth from 10,000 to 20,000 rules", totals[20_000] / totals[10_000], "times")


def _case(results: TextIO, path: Path, name: str, text: str) -> float:
    """Measure one configuration and tell its figures; the seconds of the whole pass."""
    path.write_text(text)
    figures = {"configuration": path.stat().st_size / 2**20} | _measure(path)
    for figure, value in figures.items():
        _tell(results, f"{name}: {figure}", value, UNITS.get(figure, "s"))
    return figures["total"]


def _measure(path: Path) -> dict[str, float]:
    with panorama(path) as (host, ca_file):
        command = [sys.executable, "-m", "tests.bench.panorama", host, str(ca_file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _tell(results: TextIO, name: str, value: float, unit: str) -> None:
    line = json.dumps({"name": name, "value": round(value, 3), "unit": unit})
    print(line)
    results.write(line + "\n")


if __name__ == "__main__":
    one_pass(*sys.argv[1:]) if len(sys.argv) > 1 else main()
