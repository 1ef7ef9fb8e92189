"""Who edits the candidate configuration, as Panorama tells. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, tostring

from bridge.managers import Editor
from zones.canonical import digest


@dataclass(frozen=True, slots=True)
class Pending:
    """The answers to what is changed and locked; None where the question was refused."""

    changes: Element | None
    config_locks: Element | None
    commit_locks: Element | None

    @property
    def version(self) -> str:
        """Changes with what is edited, as far as Panorama's list of changes tells."""
        return digest([tostring(self.changes).decode() if self.changes is not None else ""])[:16]

    @property
    def editors(self) -> tuple[Editor, ...]:
        """By name: everybody who has changed something or holds a lock."""
        counted = Counter(_owners(self.changes))
        lock_owners = {
            kind: frozenset(_holders(locks))
            for kind, locks in (("config", self.config_locks), ("commit", self.commit_locks))
        }
        return tuple(
            Editor(admin, counted[admin], tuple(kind for kind, admins in lock_owners.items() if admin in admins))
            for admin in sorted(counted.keys() | lock_owners["config"] | lock_owners["commit"])
        )


def _owners(changes: Element | None) -> Iterator[str]:
    for entry in () if changes is None else changes.iter("entry"):
        owner = (entry.findtext("owner") or entry.findtext("admin") or "").strip()
        if owner:
            yield owner


def _holders(locks: Element | None) -> Iterator[str]:
    for entry in () if locks is None else locks.iter("entry"):
        name = entry.get("name")
        if name:
            yield name
