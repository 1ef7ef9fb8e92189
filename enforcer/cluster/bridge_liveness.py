"""Whether a bridge is at work: it renews the Tier's status every minute while its manager answers. Pure.

`enforcer.service` tells it what the watch has told.
"""

from __future__ import annotations

from dataclasses import dataclass

from enforcer.cluster.view import Change, ObjectPage, WatchedKind


@dataclass(slots=True)
class Renewal:
    """`at`: when the Tier was last another one, by a clock of this process that nobody sets; None: there is none."""

    tier: str
    at: float | None = None
    _version: str = ""

    def see(self, change: Change, now: float) -> None:
        if change.kind is not WatchedKind.TIERS:
            return
        for raw in change.objects if isinstance(change, ObjectPage) else (change.raw,):
            metadata = raw["metadata"]
            version = metadata["resourceVersion"]
            if metadata["name"] == self.tier and version != self._version:
                self._version, self.at = version, now
