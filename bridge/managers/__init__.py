"""Firewall managers: each package here reads one manager and answers in `zones.rules`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bridge.managers.provenance import Commit, Provenance
from zones.rules import Rulebase

__all__ = ["Commit", "Manager", "Provenance"]


@dataclass(frozen=True, slots=True)
class Editor:
    """An administrator with uncommitted changes, so many, or with a lock. `locks`: "config" and "commit"."""

    admin: str
    changes: int = 0
    locks: tuple[str, ...] = ()


class Manager(Protocol):
    """What the sync service needs of a firewall manager. Calls block; errors are `bridge.errors.ManagerError`."""

    def version(self) -> str:
        """A text that changes when the running configuration may have changed. Cheap."""
        ...

    def rulebase(self) -> Rulebase:
        """What the running configuration means for this manager's device group."""
        ...

    def provenance(self) -> Provenance:
        """Which manager answered last, and the commits it knows of. One cheap call; what fails is said in it."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
