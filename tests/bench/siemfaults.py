"""`make soak-siem`: a million events while the SIEM is away, fifty kills under load, and the other faults in full.

Figures go to build/bench/siem-faults.jsonl, one line a scenario. Ends with 1 at the first thing that must not happen.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.enforcer import disks, siemfaults

RESULTS = Path("build/bench/siem-faults.jsonl")
EVENTS, KILLS = int(os.environ.get("EVENTS", "1000000")), int(os.environ.get("KILLS", "50"))
PATIENCE = 1800.0
SCENARIOS: dict[str, Callable[[Path], dict[str, object]]] = {
    "away": lambda folder: siemfaults.away(folder, EVENTS, rate=10_000, cuts=20, seconds=PATIENCE),
    "away-acknowledged": lambda folder: siemfaults.away(
        folder, EVENTS // 10, rate=10_000, cuts=5, seconds=PATIENCE, acknowledge=True
    ),
    "kills": lambda folder: siemfaults.kills(folder, KILLS, seconds=PATIENCE),
    "revoked": lambda folder: siemfaults.revoked(folder, EVENTS // 20, seconds=PATIENCE),
    "poisoned": lambda folder: siemfaults.poisoned(folder, EVENTS // 20, seconds=PATIENCE),
    "disk-full": lambda folder: _on_a_disk(folder, max(EVENTS // 10, 25_000)),  # more than memory holds
}


def _on_a_disk(folder: Path, count: int) -> dict[str, object]:
    with disks.small(folder / "disk", 64 << 20) as disk:
        told: dict[str, object] = siemfaults.disk_full(disk, count, seconds=PATIENCE)
        return told


def main(*wanted: str) -> int:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w", encoding="utf-8") as file:
        for name in wanted or SCENARIOS:
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    told = SCENARIOS[name](Path(folder))
                except AssertionError as error:
                    print(f"{name}: {error}", file=sys.stderr)
                    return 1
            line = json.dumps({"scenario": name, **told, "seconds": round(time.monotonic() - began)})
            print(line, flush=True)
            file.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
