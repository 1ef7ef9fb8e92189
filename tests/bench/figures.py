"""What a benchmark gives: figures, as JSON lines on the terminal and in a file. Its `__main__` calls `run`."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

BUILD = Path("build/bench")


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    unit: str


def run(package: str, modules: Iterable[str]) -> None:
    """The figures of some modules of `tests.bench.<package>`, each of which has a generator `figures()`."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{package}.jsonl").open("w") as file:
        for name in modules:
            for figure in importlib.import_module(f"tests.bench.{package}.{name}").figures():
                line = json.dumps(asdict(figure))
                print(line, flush=True)
                file.write(line + "\n")
                file.flush()
