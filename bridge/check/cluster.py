"""The API server: its version, and whether it has what the tier is guarded by. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bridge.check.snapshot import ClusterSnapshot
from zones.runtime.findings import Finding, Group

GROUP = Group("Kubernetes")
OLDEST = (1, 30)
POLICIES = "validatingadmissionpolicies"


def check(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    match = re.match(r"v?(\d+)\.(\d+)", snapshot.version)
    if match is None:
        yield GROUP.unknown("the API server doesn't say its version", "check the kubeconfig and the connection")
    elif (int(match[1]), int(match[2])) < OLDEST:
        yield GROUP.failed(
            f"the API server is {snapshot.version}",
            f"upgrade it to {OLDEST[0]}.{OLDEST[1]} or later, which has ValidatingAdmissionPolicy v1",
        )
    else:
        yield GROUP.ok(f"the API server is {snapshot.version}")
    if snapshot.admission.problem:
        yield GROUP.unknown(
            f"whether it has ValidatingAdmissionPolicies: {snapshot.admission.problem}", "ask with more rights"
        )
    elif any(item.get("name") == POLICIES for item in snapshot.admission.items):
        yield GROUP.ok("it has ValidatingAdmissionPolicies, which guard the tier")
    else:
        yield GROUP.failed(
            "it serves no admissionregistration.k8s.io/v1 ValidatingAdmissionPolicies",
            "enable that API group (--runtime-config); without it nothing but RBAC guards the tier",
        )
