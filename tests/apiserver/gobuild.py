"""Programs of a pinned Go module, built once into a folder outside the tree. It runs nothing but Go."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

OLDEST_GO = (1, 21)  # the first that fetches by itself the newer Go that go.mod asks for


class GoBuildError(Exception):
    """Go ended with an error. The message names the log and has its end."""


@dataclass(frozen=True, slots=True)
class GoBuild:
    """What is built from the module in a folder; each package becomes a program of its last name."""

    module: Path
    packages: tuple[str, ...]
    tags: str = ""
    ldflags: str = "-s -w"
    cgo: bool = False  # some need a C compiler

    @property
    def programs(self) -> tuple[str, ...]:
        return tuple(package.rpartition("/")[2] for package in self.packages)

    def complete(self, folder: Path) -> bool:
        return all(os.access(folder / program, os.X_OK) for program in self.programs)

    def into(self, folder: Path) -> None:
        """Build the programs into a folder, once even where two ask. Raises GoBuildError."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.complete(folder):
                return
            with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as target:
                self._run_go(Path(target), folder / "build.log")
                for program in self.programs:
                    (Path(target) / program).rename(folder / program)

    def _run_go(self, target: Path, log: Path) -> None:
        command = ["go", "build", "-trimpath", f"-tags={self.tags}", "-ldflags", self.ldflags, "-o", f"{target}/"]
        environment = os.environ | {"CGO_ENABLED": str(int(self.cgo)), "GOWORK": "off"}
        with log.open("w") as output:
            ended = subprocess.run(
                [*command, *self.packages], cwd=self.module, env=environment, stdout=output, stderr=output, check=False
            )
        if ended.returncode:
            end = log.read_text(errors="replace").strip()[-1000:]
            raise GoBuildError(f"building {', '.join(self.programs)} failed; the whole log is {log}, its end:\n{end}")


def cache_root() -> Path:
    """Where built programs are kept, outside the tree."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zonebridge"


def why_no_go() -> str | None:
    """Why there is no Go here that can build; None where there is one."""
    if shutil.which("go") is None:
        return "there is no Go"
    shown = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", shown)
    if found is not None and (int(found[1]), int(found[2])) < OLDEST_GO:
        return f"{shown} is too old to build it"
    return None
