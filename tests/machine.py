"""Keeps a test run off the machine that it runs on, and tells at its end whether it did.

The run moves into a network namespace of its own, so that whatever a test starts finds the run's loopback and the run's
nftables. Where no namespace may be made there is no right to change the machine's rules either, and the run stays where
it is. A state directory is each test's own to give: the settings' default is the machine's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mocks.lab.netns import OWN, LabError, Netns, enter

STATE = Path("/var/lib/zonebridge")


@dataclass(slots=True)
class Machine:
    """What a run must leave as it was, and the run's own place beside it."""

    home: Netns
    own: Netns | None
    state: Path
    before: dict[str, str] = field(default_factory=dict)

    @classmethod
    def leave(cls, state: Path = STATE) -> Machine:
        """Move this thread, and whatever starts from it, off the machine."""
        home = Netns("the machine", os.open(OWN, os.O_RDONLY))
        try:
            own = Netns.create("the test run")
        except LabError:
            own = None
        machine = cls(home, own, state)
        machine.before = machine.condition()
        machine._enter_own()
        if own is not None:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return machine

    @classmethod
    def stay(cls, state: Path = STATE) -> Machine:
        """For a run whose tests other processes run: they leave, each for a network of its own."""
        machine = cls(Netns("the machine", os.open(OWN, os.O_RDONLY)), None, state)
        machine.before = machine.condition()
        return machine

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """For what needs the machine's network, such as a package registry."""
        enter(self.home.fd, self.home.name)
        try:
            yield
        finally:
            self._enter_own()

    def condition(self) -> dict[str, str]:
        """What a test could have changed, by its name: the rules, and the files of an agent."""
        with self.at_home():
            return {"the machine's nftables rules": _ruleset(), str(self.state): _files(self.state)}

    def changed(self) -> list[str]:
        """What isn't as it was, in words."""
        return [
            f"{name} changed while the tests ran, from\n{self.before[name] or '(nothing)'}\nto\n{now or '(nothing)'}"
            for name, now in self.condition().items()
            if now != self.before[name]
        ]

    def close(self) -> None:
        enter(self.home.fd, self.home.name)
        if self.own is not None:
            self.own.close()
        self.home.close()

    def _enter_own(self) -> None:
        if self.own is not None:
            enter(self.own.fd, self.own.name)


def _ruleset() -> str:
    """Without counters, which packets change."""
    if shutil.which("nft") is None:
        return ""
    return subprocess.run(["nft", "--stateless", "list", "ruleset"], capture_output=True, text=True, check=False).stdout


def _files(folder: Path) -> str:
    """Name, size and time of each: a folder without files is one too."""
    if not folder.exists():
        return ""
    return "\n".join(
        f"{path} {path.lstat().st_size} {path.lstat().st_mtime_ns}" for path in [folder, *sorted(folder.rglob("*"))]
    )
