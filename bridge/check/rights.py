"""Who may do what: the installer before, the bridge and the enforcers afterwards. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.check.snapshot import ClusterSnapshot
from zones.runtime.findings import Finding, Group, some

GROUP = Group("Rights")


def check(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    for who in dict.fromkeys(review.who for review in snapshot.access):
        asked = [review for review in snapshot.access if review.who == who]
        refused = [review.may for review in asked if review.allowed is False]
        unasked = [review.may for review in asked if review.allowed is None]
        if refused:
            yield GROUP.failed(f"{who} may not {some(refused)}", _grant(who))
        if unasked:
            yield GROUP.unknown(
                f"whether {who} may {some(unasked)} could not be asked",
                "ask with the right to create reviews of access",
            )
        if not refused and not unasked:
            yield GROUP.ok(f"{who} may {some(review.may for review in asked)}: all that is needed")


def _grant(who: str) -> str:
    if who == "you":
        return "install with the rights of cluster-admin"
    return "apply config/deploy again, or helm upgrade: its roles were changed"
