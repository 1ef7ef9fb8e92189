"""`make bench-siem`: what records cost on this machine, as JSON lines {"name", "value", "unit"}.

Each module in MODULES has `figures()`, a generator of `Figure`; name some modules to run only these.
Needs root, or `unshare -Urnm`. Every module brings its own network namespaces and removes them.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

MODULES = ("stages", "pipeline", "enforcement")
RESULTS = Path("build/bench/siem.jsonl")


def main(wanted: tuple[str, ...]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w") as file:
        for name in wanted:
            for figure in importlib.import_module(f"tests.bench.siem.{name}").figures():
                line = json.dumps(asdict(figure))
                print(line, flush=True)
                file.write(line + "\n")
                file.flush()


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or MODULES)
