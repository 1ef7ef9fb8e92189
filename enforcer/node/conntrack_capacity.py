"""Whether the kernel's table of connections has room: what finds none is dropped before any rule, and told by nobody.

It reads the kernel's own counts and changes nothing. `enforcer.service` asks through `enforcer.wiring`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_STATISTICS = Path("/proc/net/stat/nf_conntrack")
_SETTINGS = Path("/proc/sys/net/netfilter")
_NEARLY_FULL = 0.95


@dataclass(slots=True)
class Tracking:
    """Remembers what was lost until the last look. Its words stay the same while a problem lasts."""

    statistics: Path = _STATISTICS
    settings: Path = _SETTINGS
    _lost: int | None = None

    def problems(self) -> list[str]:
        """Raises nothing: what can't be found out is no problem."""
        try:
            count, most = (int((self.settings / f"nf_conntrack_{name}").read_text()) for name in ("count", "max"))
            lost = _lost(self.statistics.read_text().splitlines())
        except (OSError, ValueError, IndexError):
            return []
        before, self._lost = self._lost, lost
        table = f"the kernel's table of connections (net.netfilter.nf_conntrack_max: {most})"
        remedy = "raise that, and look for who opens so many"
        if before is not None and lost > before:
            return [f"{table} had no room: what found none was dropped before any rule, without a record; {remedy}"]
        return [f"{table} is nearly full; {remedy}"] if count >= most * _NEARLY_FULL else []


def _lost(lines: Iterable[str]) -> int:
    """Packets and connections, over all processors: a line for each, hexadecimal, under a line of names."""
    names, *counts = (line.split() for line in lines)
    columns = [names.index("drop"), names.index("early_drop")]
    return sum(int(line[column], 16) for line in counts for column in columns)
