"""What talks now and would be cut off: the Events of nodes that observe. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bridge.check.snapshot import ClusterSnapshot
from zones.runtime.findings import Finding, Group, some

GROUP = Group("What enforcing would deny")
REASON = "ZoneWouldDeny"
MOST = 10


def check(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    if not snapshot.installed:
        return
    events = snapshot.of("events")
    observing = [
        item["metadata"]["name"]
        for item in snapshot.of("nodestates").items
        if (item.get("status") or {}).get("mode") == "observe"
    ]
    if events.problem:
        yield GROUP.unknown(f"the Events can't be listed: {events.problem}", "ask with more rights")
        return
    counted: Counter[tuple[str, str]] = Counter()
    messages: dict[tuple[str, str], str] = {}
    for item in events.items:
        if item.get("reason") == REASON:
            about = item.get("regarding") or item.get("involvedObject") or {}
            key = about.get("namespace", ""), about.get("name", "")
            counted[key] += int((item.get("series") or {}).get("count") or item.get("count") or 1)
            messages[key] = str(item.get("note") or item.get("message") or "")
    for key, _ in counted.most_common(MOST):
        yield GROUP.warning(
            f"{key[0]}/{key[1]}: {messages[key]}", "a rule in Panorama, another zone label, or let it end"
        )
    if len(counted) > MOST:
        yield GROUP.warning(f"{len(counted) - MOST} more pods", "the SIEM has all of it: records with enforced: false")
    if not counted and observing:
        yield GROUP.ok(f"nothing in the last hour on {some(observing)}; the SIEM remembers longer")
