"""All checks on one snapshot, in the order in which somebody reads them. Pure."""

from __future__ import annotations

from bridge.check import clocks, cluster, dataplane, installation, nodes, reach, rights, services, traffic
from bridge.check.snapshot import ClusterSnapshot
from zones.runtime.findings import Finding

GROUPS = (cluster, dataplane, nodes, rights, installation, services, clocks, reach, traffic)


def findings(snapshot: ClusterSnapshot) -> list[Finding]:
    return [finding for group in GROUPS for finding in group.check(snapshot)]
