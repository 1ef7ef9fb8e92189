"""The locks of administrators: one on the configuration, and on commits as many as want one. It refuses others' work.

The appliance holds them; the operational commands take, release and show them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement

from mocks.panorama.replies import ApiError, Code


@dataclass(frozen=True, slots=True)
class Lock:
    admin: str
    comment: str = ""


@dataclass(slots=True)
class Locks:
    """All of them are for the whole appliance; the scope that a request names is not looked at."""

    config: dict[str, Lock] = field(default_factory=dict)
    commit: dict[str, Lock] = field(default_factory=dict)

    def add(self, kind: str, admin: str, comment: str = "") -> None:
        if kind == "commit":
            if admin in self.commit:
                raise ApiError(Code.NOT_POSSIBLE, f"Commit lock is already held by {admin}")
            self.commit[admin] = Lock(admin, comment)
            return
        if admin in self.config:
            raise ApiError(Code.NOT_POSSIBLE, "You already own a config lock for scope shared")
        if self.config:
            raise ApiError(
                Code.NOT_POSSIBLE, f"Config for scope shared is currently locked by {', '.join(self.config)}"
            )
        self.config[admin] = Lock(admin, comment)

    def remove(self, kind: str, admin: str) -> None:
        held = self.commit if kind == "commit" else self.config
        if admin not in held:
            raise ApiError(
                Code.NOT_POSSIBLE,
                f"Commit lock is not currently held by {admin}"
                if kind == "commit"
                else "Config is not currently locked for scope shared",
            )
        del held[admin]

    def refuse_edit(self, admin: str) -> None:
        """Raise where somebody else holds the configuration."""
        others = [holder for holder in self.config if holder != admin]
        if others:
            raise ApiError(Code.NOT_POSSIBLE, f"Configuration is locked by {others[0]}")

    def refuse_commit(self, admin: str) -> None:
        others = [holder for holder in (*self.commit, *self.config) if holder != admin]
        if others:
            raise ApiError(
                Code.NOT_POSSIBLE, f"Other administrators are holding device wide commit locks: {', '.join(others)}"
            )


def render(kind: str, held: dict[str, Lock]) -> Element:
    """What `show commit-locks` and `show config-locks` show."""
    node = Element(f"{kind}-locks")
    for lock in held.values():
        entry = SubElement(node, "entry", {"name": lock.admin})
        SubElement(entry, "type").text = "shared"
        SubElement(entry, "loggedin").text = "yes"
        SubElement(entry, "comment").text = lock.comment
    return node
