"""A small cluster for tests: definitions of our kinds, pods, nodes, and tiers made of two rules."""

import asyncio
import time

from mocks.kubernetes import ApiError
from mocks.kubernetes.calls import Call
from zones.net import TCP, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict
from zones.rules import Log, Origin
from zones.tiers import native
from zones.zone import ANY_ZONE, ENTITLEMENT_ANNOTATION, Zoning

TIER = "panorama"
ALLOW_WEB = Origin("allow-web", "11111111-2222-3333-4444-555555555555", "pre", "k8s-prod")
DENY_ALL = Origin("interzone-default", None, "default", "")
_KINDS = {
    "Tier": "tiers",
    "PolicyChunk": "policychunks",
    "AddressSet": "addresssets",
    "PodSlice": "podslices",
    "NodeState": "nodestates",
    "Quarantine": "quarantines",
}


def definitions():
    return [_definition(kind, plural) for kind, plural in _KINDS.items()]


def _definition(kind, plural):
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    version = {
        "name": native.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{native.GROUP}"},
        "spec": {"group": native.GROUP, "scope": "Cluster", "names": names, "versions": [version]},
    }


def policy(*ports):
    """web may reach db on these ports; nothing else passes."""
    allow = Entry(
        ALLOW_WEB,
        Verdict.ALLOW,
        from_zones=frozenset({"web"}),
        to_zones=frozenset({"db"}),
        traffic=(Traffic(TCP, Ranges.of((port, port) for port in ports)),),
    )
    deny = Entry(DENY_ALL, Verdict.DENY, log=Log(start=True))
    return Policy(Zoning(), (), (allow, deny), frozenset({"web", "db"}))


def tier(revision, *ports):
    return native.render(policy(*(ports or (5432,))), TIER, revision)


def pod(name, ip, zone="", *, namespace="shop", node="n1", phase="Running", **spec):
    labels = {"app": name} | ({"zonebridge.io/zone": zone} if zone else {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]} | spec,
        "status": {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}]},
    }


def quarantine(name, *, pod=("web", "u"), namespace="shop", workload="", **spec):
    """Of a pod by its name and uid, or of a workload."""
    named = {"workload": {"namespace": namespace, "name": workload}} if workload else {}
    named = named or {"pod": {"namespace": namespace, "name": pod[0], "uid": pod[1]}}
    told = {"reason": "beacon", "requestedBy": "ann", "source": "person", "duration": "1h"}
    metadata = {"name": name, "creationTimestamp": "2026-03-02T12:00:00Z"}
    return {"apiVersion": native.API_VERSION, "kind": "Quarantine", "metadata": metadata, "spec": named | told | spec}


def node(name, ip, cidr):
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        "status": {"addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}]},
    }


def fill(server):
    """Definitions, a namespace, a node, two pods. Pods have a status only as their kubelet writes it."""
    for definition in definitions():
        server.create(definition)
    server.create(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "shop", "annotations": {ENTITLEMENT_ANNOTATION: ANY_ZONE}},
        }
    )
    server.create(node("n1", "192.0.2.1", "10.1.0.0/24"))
    add_pod(server, pod("web-1", "10.1.0.10", "web"))
    add_pod(server, pod("db-0", "10.1.0.20", "db"))


def add_pod(server, raw):
    server.create(raw)
    server.set_status(raw)


def publish(server, rendered, *, parts=True):
    """As the bridge does it: parts first, the pointer last."""
    for part in rendered.parts if parts else ():
        create_once(server, part)
    path = f"tiers/{TIER}"
    if not replace_spec(server, rendered.tier):
        server.create(rendered.tier)
    return path


def create_once(server, item):
    try:
        server.create(item)
    except Exception as error:
        if "already exists" not in str(error):
            raise


def replace_spec(server, item):
    call = Call(server._resource(item), "", item["metadata"]["name"], agent="bridge")
    try:
        live = server.verbs.get(call).body
    except ApiError:
        return False
    server.verbs.update(call, live | {"spec": item["spec"]})
    return True


async def eventually(condition, seconds=40.0):
    """Wait, without blocking the loop, until a condition holds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.01)
    return value
