"""What is installed: namespaces and their levels, the bridge, the enforcers, the admission policies, the Tier. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.check.snapshot import ClusterSnapshot, Json, labels, names
from zones.runtime.findings import Finding, Group, some

GROUP = Group("Installation")
ENFORCE = "pod-security.kubernetes.io/enforce"
ZONES = "zonebridge.io/zones"
POLICIES = (
    *("addresses", "api-server", "installation", "namespaces", "nodes", "nodestates", "podslices", "quarantines"),
    *("services", "system", "tier", "workloads", "zones", "zoning"),
)
REPLICAS = 2


def check(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    kinds = snapshot.of("customresourcedefinitions")
    if not snapshot.installed and kinds.problem:
        yield GROUP.unknown(f"whether anything is installed: {kinds.problem}", "ask with more rights")
        return
    if not snapshot.installed:
        yield GROUP.ok("nothing is installed yet: the cluster alone was looked at")
        return
    yield from _levels(snapshot)
    yield from _bridge(snapshot)
    yield from _enforcers(snapshot)
    yield from _policies(snapshot)
    yield from _tier(snapshot)
    yield from _teams(snapshot)


def _levels(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    namespaces = snapshot.of("namespaces")
    if namespaces.problem:
        yield GROUP.unknown(f"the namespaces can't be listed: {namespaces.problem}", "ask with more rights")
        return
    agents = namespaces.named(snapshot.names.enforcer)
    if agents is None:
        yield GROUP.failed(f"there is no namespace {snapshot.names.enforcer}", "name it with --enforcer-namespace")
    elif labels(agents).get(ENFORCE, "privileged") != "privileged":
        yield GROUP.failed(
            f"namespace {snapshot.names.enforcer} is '{labels(agents)[ENFORCE]}', which lets no enforcer in",
            f"kubectl label --overwrite namespace {snapshot.names.enforcer} {ENFORCE}=privileged",
        )
    bridge = namespaces.named(snapshot.names.bridge)
    if bridge is None:
        yield GROUP.failed(f"there is no namespace {snapshot.names.bridge}", "name it with --namespace")
    elif labels(bridge).get(ENFORCE) != "restricted":
        yield GROUP.warning(
            f"namespace {snapshot.names.bridge} lets more than 'restricted' pods in, though the bridge needs no more",
            f"kubectl label --overwrite namespace {snapshot.names.bridge} {ENFORCE}=restricted",
        )
    else:
        yield GROUP.ok("Pod Security: only the enforcers' namespace is privileged")


def _bridge(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    deployments = snapshot.of("deployments")
    deployment = deployments.named("zonebridge", snapshot.names.bridge)
    look = f"kubectl -n {snapshot.names.bridge} get pods, and their events and logs"
    if deployments.problem:
        yield GROUP.unknown(f"the Deployments can't be listed: {deployments.problem}", "ask with more rights")
    elif deployment is None:
        yield GROUP.warning(
            f"no Deployment zonebridge in namespace {snapshot.names.bridge}",
            "if the bridge runs elsewhere that is right; nobody changes the tier otherwise",
        )
    else:
        wanted, ready = deployment["spec"].get("replicas", 1), (deployment.get("status") or {}).get("readyReplicas", 0)
        if ready < wanted:
            yield GROUP.failed(f"{ready} of {wanted} bridges are ready", look)
        elif wanted < REPLICAS:
            yield GROUP.warning("there is one bridge alone", "run two on clusters of more than one node")
        else:
            yield GROUP.ok(f"all {wanted} bridges are ready")


def _enforcers(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    daemon_sets = snapshot.of("daemonsets")
    daemon_set = daemon_sets.named("zone-enforcer", snapshot.names.enforcer)
    if daemon_sets.problem:
        yield GROUP.unknown(f"the DaemonSets can't be listed: {daemon_sets.problem}", "ask with more rights")
    elif daemon_set is None:
        yield GROUP.failed(
            f"no DaemonSet zone-enforcer in namespace {snapshot.names.enforcer}", "nothing is enforced: install it"
        )
    else:
        status = daemon_set.get("status") or {}
        wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
        if ready < wanted:
            yield GROUP.failed(
                f"{ready} of {wanted} enforcers are ready",
                f"kubectl -n {snapshot.names.enforcer} get pods -o wide; the kernel keeps its rules meanwhile",
            )
        else:
            yield GROUP.ok(f"all {wanted} enforcers are ready")


def _policies(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    policies, bindings = snapshot.of("validatingadmissionpolicies"), snapshot.of("validatingadmissionpolicybindings")
    if problem := policies.problem or bindings.problem:
        yield GROUP.unknown(f"the admission policies can't be listed: {problem}", "ask with more rights")
        return
    ours = [item for item in policies.items if item["metadata"]["name"].startswith("zonebridge-")]
    bound = {item["spec"]["policyName"]: item["spec"].get("validationActions", ()) for item in bindings.items}
    missing = {f"zonebridge-{policy}" for policy in POLICIES} - set(names(ours))
    idle = {name for name in names(ours) if "Deny" not in bound.get(name, ())}
    apply = "apply config/deploy again, or helm upgrade"
    if missing:
        yield GROUP.failed(f"admission policies are missing: {some(missing)}", apply)
    if idle:
        yield GROUP.failed(f"admission policies are bound to nothing or don't deny: {some(idle)}", apply)
    if open_ := names(policy for policy in ours if policy["spec"].get("failurePolicy", "Fail") != "Fail"):
        yield GROUP.failed(f"admission policies let pass what they can't judge: {some(open_)}", apply)
    if warned := names(policy for policy in ours if _warnings(policy)):
        yield GROUP.warning(
            f"the API server has doubts about {some(warned)}", "kubectl get validatingadmissionpolicy NAME -o yaml"
        )
    if ours and not missing and not idle and not open_:
        yield GROUP.ok(f"all {len(ours)} admission policies are in force")


def _warnings(policy: Json) -> bool:
    return bool((policy.get("status") or {}).get("typeChecking", {}).get("expressionWarnings"))


def _tier(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    tiers = snapshot.of("tiers")
    tier = tiers.named(snapshot.names.tier)
    if tiers.problem:
        yield GROUP.unknown(f"the Tiers can't be listed: {tiers.problem}", "ask with more rights")
    elif tier is None:
        yield GROUP.failed(
            f"there is no Tier {snapshot.names.tier}: no revision was ever published",
            f"kubectl -n {snapshot.names.bridge} logs deploy/zonebridge says why, and check -c FILE asks Panorama",
        )
        yield from _alerts(snapshot)
    else:
        unmet = [
            condition
            for condition in (tier.get("status") or {}).get("conditions", ())
            if condition["status"] != ("False" if condition["type"] == "Stale" else "True")
        ]
        for one in unmet:
            yield GROUP.failed(f"the Tier's condition {one['type']}: {one['message']}", "docs/troubleshooting.md")
        if not unmet:
            yield GROUP.ok(f"the Tier is at revision {tier['spec']['revision']} and well")


def _alerts(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    """What the bridge told last of each trouble, unless that it is over: without a Tier nothing else tells."""
    latest: dict[str, Json] = {}
    mine = [item for item in snapshot.of("alerts").items if item["involvedObject"].get("name") == snapshot.names.tier]
    for alert in sorted(mine, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or "")):
        latest[str(alert["reason"]).removesuffix("Over")] = alert
    for reason, alert in sorted(latest.items()):
        if alert["reason"] == reason:
            yield GROUP.failed(f"the bridge says {reason}: {alert.get('message', '')}", "docs/troubleshooting.md")


def _teams(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    """Host-network pods are the node to every tier."""
    namespaces = snapshot.of("namespaces").items
    zoned = [namespace for namespace in namespaces if ZONES in (namespace["metadata"].get("annotations") or {})]
    loose = names(item for item in zoned if labels(item).get(ENFORCE, "privileged") == "privileged")
    if loose:
        yield GROUP.warning(
            f"{some(loose)}: may use zones, and may run pods on the nodes' network, which no zone rule judges",
            f"kubectl label namespace NAMESPACE {ENFORCE}=baseline",
        )
