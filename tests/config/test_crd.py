"""The custom resource definitions in a real API server: they keep every byte, and refuse what must not be."""

import asyncio
import copy
import json
import subprocess
from datetime import time
from ipaddress import ip_network

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from bridge.tier.cluster import TierApi
from tests.apiserver.installed import CONFIG
from tests.strategies import policies
from zones.infrastructure import ApiServerEnds, api_server_rules
from zones.kube.client import ApiServer, ClusterAccess
from zones.kube.errors import ClusterConflictError, ClusterRefusedError
from zones.net import ICMP, SCTP, TCP, AddressSet, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict, usual_infrastructure
from zones.rules import Log, Origin, RuleType
from zones.schedule import Schedule, Weekly
from zones.tiers import native
from zones.zone import Zoning


def rich_policy():
    """Every field of the language, and enough of it for several chunks and address sets."""
    many = AddressSet.parse(f"10.{n // 128}.{n % 128 * 2}.0/24" for n in range(9000))
    v6 = AddressSet.parse(f"2001:db8:{n:x}::/48" for n in range(0, 9000, 2))
    shift = Schedule("shift", (Weekly(0, time(22), time(6)),), "Europe/Berlin")
    everything = Entry(
        Origin("Zähler — “quoted” \\ rule", "0b1f5a6e-0000-4000-8000-000000000001", "pre", "Größe & Co"),
        Verdict.RESET,
        RuleType.INTERZONE,
        frozenset({"web", "app"}),
        frozenset(),
        many | v6,
        AddressSet.parse(["192.0.2.0/25", "::ffff:192.0.2.1/128", "fd00::/8"]),
        (
            Traffic(TCP, Ranges(((80, 80), (8000, 8999))), Ranges(((1024, 65535),)), destination_workload="cart"),
            Traffic(ICMP, icmp_type=0, source_workload="probe"),
            Traffic(SCTP),
            Traffic(47),
        ),
        shift,
        Log(start=True, end=True, profile="to-siem"),
        ("threats", "example.com"),
    )
    rules = [
        Entry(Origin(f"rule {n}", None, "post", "dg"), Verdict.ALLOW, from_zones=frozenset({f"zone-{n}"}))
        for n in range(700)
    ]
    everywhere = AddressSet.parse(["192.0.2.10", "198.51.100.0/28", "2001:db8::10"])
    defaults = (
        Entry(Origin("intrazone-default", None, "default", "Shared"), Verdict.ALLOW, RuleType.INTRAZONE),
        Entry(Origin("interzone-default", None, "default", "Shared"), Verdict.DENY),
    )
    return Policy(
        Zoning.of({"corp": [ip_network("10.0.0.0/8")], "untrust": [ip_network("0.0.0.0/0"), ip_network("::/0")]}),
        (
            *usual_infrastructure(frozenset({"kube-system"}), frozenset({"kube-system"}), frozenset({"coredns"})),
            *api_server_rules(ApiServerEnds(everywhere, Ranges(((443, 443), (6443, 6443))), frozenset({"cp1"}))),
        ),
        (everything, *rules, *defaults),
        frozenset({"web", "app"}),
    )


def with_cluster(kube, work):
    async def run():
        cluster = TierApi(ApiServer(ClusterAccess("real", kube.kubeconfig)))
        try:
            return await work(cluster)
        finally:
            await cluster.close()

    return asyncio.run(run())


def publish(kube, rendered):
    """Apply a tier and read it back."""
    name = rendered.tier["metadata"]["name"]

    async def work(cluster):
        for each in (*rendered.parts, rendered.tier):
            applied = await cluster.apply(each)
            assert applied["spec"] == each["spec"]
        return await cluster.tier(name), await cluster.parts(name)

    return with_cluster(kube, work)


def small(name, revision=1, zone="web"):
    policy = Policy(Zoning(), (), (Entry(Origin("a", None, "pre", "dg"), Verdict.DENY, to_zones=frozenset({zone})),))
    return native.render(policy, name, revision)


@pytest.mark.apiserver
def test_a_rich_policy_comes_back_from_the_api_server_as_it_was(defined):
    policy = rich_policy()
    rendered = native.render(policy, "rich", 1, native.TierSource("panorama", "Größe & Co", "7/abc"))
    kinds = {part["kind"] for part in rendered.parts}
    assert kinds == {"PolicyChunk", "AddressSet"}
    tier, parts = publish(defined, rendered)
    assert native.parse(tier, parts) == policy


@pytest.mark.apiserver
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(policy=policies())
def test_any_policy_comes_back_as_it_was(defined, policy):
    name = f"any-{native.render(policy, 'x', 1).digest[:12]}"
    tier, parts = publish(defined, native.render(policy, name, 1))
    assert native.parse(tier, parts) == policy


def refused(kube, wanted, complaint):
    async def work(cluster):
        with pytest.raises(ClusterRefusedError, match=complaint):
            await cluster.apply(wanted)

    with_cluster(kube, work)


@pytest.mark.apiserver
def test_a_part_never_changes(defined):
    rendered = small("never")
    publish(defined, rendered)
    part = rendered.parts[0] | {"spec": small("never", zone="db").parts[0]["spec"]}
    refused(defined, part, "never changes")


@pytest.mark.apiserver
def test_an_address_set_never_changes(defined):
    rendered = native.render(rich_policy(), "never-set", 1)
    found = copy.deepcopy(next(part for part in rendered.parts if part["kind"] == "AddressSet"))
    publish(defined, rendered)
    found["spec"]["prefixes"].pop()
    refused(defined, found, "never changes")


@pytest.mark.apiserver
def test_a_tier_changes_only_upwards(defined):
    publish(defined, small("upwards", revision=5))
    refused(defined, small("upwards", revision=4).tier, "higher revision")
    refused(defined, small("upwards", revision=5, zone="db").tier, "higher revision")
    publish(defined, small("upwards", revision=5))
    publish(defined, small("upwards", revision=6, zone="db"))


@pytest.mark.apiserver
def test_a_stale_resource_version_is_a_conflict(defined):
    publish(defined, small("conflict"))
    late = small("conflict", revision=2).tier
    late["metadata"] |= {"resourceVersion": "1"}

    async def work(cluster):
        with pytest.raises(ClusterConflictError):
            await cluster.apply(late)

    with_cluster(defined, work)


@pytest.mark.apiserver
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("revision",), 0),
        (("digest",), "nonsense"),
        (("zoning", "networks"), [{"cidr": "10.0.0.0/99", "zone": "corp"}]),
        (("unknown",), 1),
    ],
)
def test_nonsense_is_refused(defined, path, value):
    tier = copy.deepcopy(small("nonsense").tier)
    inner = tier["spec"]
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    refused(defined, tier, path[-1])


@pytest.mark.apiserver
def test_kubectl_get_shows_what_people_need(defined):
    publish(defined, small("shown", revision=3))

    async def work(cluster):
        await cluster.write_status(
            "shown",
            {
                "zones": 4,
                "nodes": {"total": 3, "inSync": 2},
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "True",
                        "reason": "Published",
                        "message": "fine",
                        "lastTransitionTime": "2026-01-01T00:00:00Z",
                    }
                ],
            },
        )

    with_cluster(defined, work)
    header, row = defined.kubectl("get", "zbtier", "shown").splitlines()
    assert " ".join(header.split()) == "NAME REVISION DEVICE GROUP ENTRIES ZONES NODES IN SYNC READY AGE"
    assert row.split()[:6] == ["shown", "3", "1", "4", "3", "2"]
    assert "True" in row


@pytest.mark.apiserver
def test_a_nodes_state_is_told_by_its_enforcer(defined):
    state = {
        "apiVersion": native.API_VERSION,
        "kind": "NodeState",
        "metadata": {"name": "node-1"},
        "spec": {},
    }
    defined.kubectl("apply", "-f", "-", stdin=json.dumps(state))
    status = {
        "tier": "elsewhere",
        "revision": 3,
        "digest": "",
        "appliedAt": "2026-01-01T00:00:00.123456+00:00",
        "mode": "observe",
        "problems": ["the disk is full"],
    }
    defined.kubectl(
        "patch", "nodestate", "node-1", "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
    )
    _, row = defined.kubectl("get", "zbnode", "node-1").splitlines()
    assert row.split()[:4] == ["node-1", "elsewhere", "3", "observe"]
    assert "the disk is full" in row
    with pytest.raises(subprocess.CalledProcessError):
        defined.kubectl(
            "patch", "nodestate", "node-1", "--subresource=status", "--type=merge", "-p", '{"status": {"mode": "off"}}'
        )


def definitions():
    for path in sorted((CONFIG / "crd").glob("*.yaml")):
        yield yaml.safe_load(path.read_text())["spec"]


def versions():
    return [(spec["names"]["kind"], version) for spec in definitions() for version in spec["versions"]]


def schema_of(version):
    return version["schema"]["openAPIV3Schema"]


@pytest.mark.parametrize(("kind", "version"), versions(), ids=lambda each: each if isinstance(each, str) else "")
def test_every_field_and_column_is_described(kind, version):
    """Down to the leaves; what Kubernetes itself describes is left out."""
    schema = schema_of(version)
    assert schema["description"]
    assert list(_undescribed(schema, kind)) == []
    assert [each["name"] for each in version["additionalPrinterColumns"] if not each.get("description")] == []


@pytest.mark.parametrize(("kind", "version"), versions(), ids=lambda each: each if isinstance(each, str) else "")
def test_nothing_grows_without_bound(kind, version):
    """Each list, map and text says how much of it there may be; a number whether it may be negative."""
    assert list(_unbounded(schema_of(version), kind)) == []


def test_kinds_are_found_by_one_name_and_by_a_short_one_each():
    names = [spec["names"] for spec in definitions()]
    kinds = {"Tier", "PolicyChunk", "AddressSet", "NodeState", "Zone", "PodSlice", "Quarantine", "Revision"}
    assert {name["kind"] for name in names} == kinds
    assert all(name["categories"] == ["zonebridge"] for name in names)
    short = [each for name in names for each in name["shortNames"]]
    assert len(set(short)) == len(names)
    assert all(each.startswith("zb") for each in short), "no other project's"
    assert all(spec["scope"] == "Cluster" for spec in definitions())


@pytest.mark.apiserver
@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("tier", "above every NetworkPolicy"),
        ("tier.spec.zoning.entitlement", "strict, the default zone alone"),
        ("tier.spec.digest", "SHA-256, in hexadecimal"),
        ("policychunk.spec.entries.traffic.ports", "Destination ports, as 80,8000-8999"),
        ("addressset.spec.prefixes", "IPv4 and IPv6"),
        ("nodestate.status.appliedAt", "loaded into the kernel"),
        ("zone.status.isolated", "without right"),
        ("podslice.spec.pods.addresses", "addresses"),
        ("revision.spec.replaces", "in force before"),
    ],
)
def test_kubectl_explains(defined, field, words):
    said = " ".join(defined.kubectl("explain", "--api-version=zonebridge.io/v1alpha1", field).split())
    assert words in said


def _undescribed(schema, path):
    for name, field in schema.get("properties", {}).items():
        if name not in {"apiVersion", "kind", "metadata"} and "description" not in field:
            yield f"{path}.{name}"
        yield from _undescribed(field, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            yield from _undescribed(schema[inner], f"{path}[]")
    assert "default" not in schema, "a default would change what is written, and with it the digest"


def _unbounded(schema, path):
    for name, field in schema.get("properties", {}).items():
        if name not in {"apiVersion", "kind", "metadata"}:
            yield from _unbounded(field, f"{path}.{name}")
    if "items" in schema:
        yield from _unbounded(schema["items"], f"{path}[]")
    bound = {
        "string": schema.keys() & {"maxLength", "enum"} or schema.get("format") == "date-time",
        "array": "maxItems" in schema,
        "integer": "minimum" in schema,
        "object": "additionalProperties" not in schema or "maxProperties" in schema,
        "boolean": True,
    }
    if not bound[schema["type"]]:
        yield path
