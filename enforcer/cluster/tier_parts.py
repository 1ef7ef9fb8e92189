"""The parts of a tier as text, each read when it is asked for and not kept: all at once they are many times their text.

`enforcer.cluster.view` and `enforcer.cluster.last_good` make them for `enforcer.cluster.tier`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from zones.canonical import Json


class TierParts(Mapping[str, Json]):
    """By name. `read` makes an object of a text, `plain` a line of JSON, which a text may be already."""

    def __init__(
        self, texts: Mapping[str, bytes], read: Callable[[bytes], Json], plain: Callable[[bytes], bytes] = bytes
    ) -> None:
        self._held = texts
        self._read = read
        self._plain = plain

    def __getitem__(self, name: str) -> Json:
        return self._read(self._held[name])

    def text(self, name: str) -> bytes:
        """As it is held. Raises KeyError."""
        return self._held[name]

    def line(self, name: str) -> bytes:
        """As one line of JSON. Raises KeyError."""
        return self._plain(self._held[name])

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)
