"""The one door to the nft program: check, load in one transaction, list, delete. In the current network namespace.

Judges nothing and keeps nothing. `enforcer.reconcile` calls it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from enforcer.errors import KernelError, LoadError, PrivilegeError
from enforcer.ruleset import TABLE

_SHOWN = 200  # characters of an offending line
_AT_LINE = re.compile(r":(\d+):\d+(?:-\d+)?: (?:Error: )?(.*)")
_BLOCK = re.compile(r"^\t(\w+) (\S+) \{\n(.*?)^\t\}$", re.MULTILINE | re.DOTALL)
_ELEMENTS = re.compile(r"^\t\telements = \{(.*?)\}\n", re.MULTILINE | re.DOTALL)
_COUNTER = re.compile(r"counter packets (\d+) bytes (\d+)")


@dataclass(frozen=True, slots=True)
class Listing:
    """Our table as the kernel has it: the text of every object by keyword and name, and the elements by set."""

    objects: Mapping[tuple[str, str], str] = field(hash=False)
    elements: Mapping[str, frozenset[str]] = field(hash=False)

    def named(self, *keywords: str) -> list[str]:
        return [name for keyword, name in self.objects if keyword in keywords]


@dataclass(frozen=True, slots=True)
class Nft:
    """Runs nft. `timeout` bounds one run, in seconds."""

    program: str = "nft"
    timeout: float = 120.0

    def check(self, text: str) -> None:
        """Whether the kernel would take it; changes nothing. Raises LoadError."""
        self._load(text, "--check")

    def load(self, text: str) -> None:
        """One transaction. Raises LoadError; nothing has changed then."""
        self._load(text)

    def table_exists(self) -> bool:
        listed = self._run(["list", "tables", "inet"])
        if listed.returncode:
            _refuse("listing the tables", listed.stderr)
        return f"table inet {TABLE}" in listed.stdout.splitlines()

    def delete(self) -> None:
        """Remove our table; fine where there is none."""
        self.load(f"add table inet {TABLE}\ndelete table inet {TABLE}\n")

    def listing(self, *, elements: bool) -> Listing | None:
        """Our table as it is now, without counters' values; None where there is none."""
        if not self.table_exists():
            return None
        options = ["--stateless"] if elements else ["--stateless", "--terse"]
        return parse_listing(self._listed(options), elements=elements)

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes of the first counter of each chain that has one, by the chain's name."""
        found = ((name, _COUNTER.search(body)) for keyword, name, body in _BLOCK.findall(self._listed(["--terse"])))
        return {name: (int(counter[1]), int(counter[2])) for name, counter in found if counter is not None}

    def _listed(self, options: list[str]) -> str:
        listed = self._run([*options, "list", "table", "inet", TABLE])
        if listed.returncode:
            _refuse(f"listing the table {TABLE}", listed.stderr)
        return listed.stdout

    def _load(self, text: str, *options: str) -> None:
        done = self._run([*options, "--file", "-"], text)
        if done.returncode:
            _refuse("loading the rules", done.stderr, text)

    def _run(self, arguments: list[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [self.program, *arguments]
        try:
            return subprocess.run(  # noqa: S603 - arguments are ours
                command, input=text, capture_output=True, text=True, timeout=self.timeout, check=False
            )
        except FileNotFoundError as error:
            raise PrivilegeError(f"{self.program} is not installed; install nftables on this node's image") from error
        except subprocess.TimeoutExpired as error:
            raise KernelError(f"{self.program} did not end within {self.timeout:.0f} s; it was stopped") from error


def _refuse(doing: str, stderr: str, text: str = "") -> NoReturn:
    if "Operation not permitted" in stderr:
        raise PrivilegeError(f"{doing}: not permitted; run as root or with the capability NET_ADMIN")
    first = stderr.strip().splitlines()[0] if stderr.strip() else "nft gave no reason"
    found = _AT_LINE.search(first)
    lines = text.splitlines()
    if found is None or not 0 < int(found[1]) <= len(lines):
        raise LoadError(f"{doing}: {first[:_SHOWN]}")
    raise LoadError(f"{doing}: {found[2][:_SHOWN]}, in line {found[1]}: {lines[int(found[1]) - 1].strip()[:_SHOWN]}")


def parse_listing(text: str, *, elements: bool) -> Listing:
    """What nft lists of one table; what stands outside of its objects (flags) is the table's own text."""
    objects: dict[tuple[str, str], str] = {("table", TABLE): "".join(_BLOCK.sub("", text).split())}
    held: dict[str, frozenset[str]] = {}
    for keyword, name, body in _BLOCK.findall(text):
        objects[keyword, name] = _ELEMENTS.sub("", body)
        if elements and keyword in {"set", "map"}:
            found = _ELEMENTS.search(body)
            held[name] = frozenset(_separate(found[1])) if found else frozenset()
    return Listing(objects, held)


def _separate(text: str) -> list[str]:
    """Elements between commas; a comma within quotes separates nothing."""
    parts = re.findall(r'(?:[^",]|"[^"]*")+', " ".join(text.split()))
    return [part.strip() for part in parts if part.strip()]
