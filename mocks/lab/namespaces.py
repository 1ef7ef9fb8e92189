"""The namespaces of one lab: made with its mark, emptied of processes and closed together.

It never touches a namespace that it didn't make. The lab and its nodes ask it.
"""

from __future__ import annotations

import re

from mocks.lab import leftovers, wiring
from mocks.lab.netns import LabError, Netns

NAME = re.compile(r"[a-z0-9-]{1,32}")


class Namespaces:
    """Those of the lab named `prefix`."""

    def __init__(self, prefix: str) -> None:
        if not NAME.fullmatch(prefix):
            raise LabError(f"{prefix!r} can't name a lab; take up to 32 small letters, digits and dashes")
        self.prefix = prefix
        self._made: list[Netns] = []

    def create(self, name: str) -> Netns:
        netns = Netns.create(f"{self.prefix}/{name}")
        self._made.append(netns)
        wiring.prepare(netns, leftovers.mark(self.prefix))
        return netns

    def close(self, *which: Netns) -> None:
        """End the processes that live in them, whoever started these, and let go."""
        try:
            leftovers.evict({netns.inode for netns in which})
        finally:
            for netns in which:
                self._made.remove(netns)
                netns.close()

    def close_all(self) -> None:
        self.close(*self._made)
