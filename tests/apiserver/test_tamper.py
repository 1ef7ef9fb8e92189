"""Everybody tries everything against the tier, on a real API server with config/ installed; docs/security.md has the table."""

import asyncio
import json
import re
import sys
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address

import pytest

from bridge.alerts import Alerts
from bridge.feeds import Feeds
from bridge.tier.cluster import TierApi
from bridge.tier.sync import CompileTarget, Sync
from bridge.tier.watcher import TierWatcher
from enforcer.status import problems
from tests.apiserver.installed import BRIDGE, CONFIG, operators_rights
from tests.apiserver.tamper import history, installation, quarantined, surroundings, tier, zoned
from tests.apiserver.tamper.aftermath import CHANGES, ISOLATED_CHANGES, NO_EFFECT_CHANGES, PUT_BACK_CHANGES
from tests.apiserver.tamper.attempt import SAID, By
from tests.apiserver.tamper.people import ADMINISTRATOR, OPERATOR, People
from tests.bridge.world import FakeManager, RecordingSink, rule, run_here
from tests.enforcer import frame_attempts, wire_attempts
from tests.realkube import RealKube
from zones import decode
from zones.addresses.inventory import Inventory
from zones.kube.client import ApiServer, ClusterAccess
from zones.net import AddressSet
from zones.policy import Policy
from zones.rules import Addresses, AddressObject
from zones.siem.alerts import AlertKind
from zones.siem.alerts import AlertKind as NodeAlert
from zones.tiers import native
from zones.zone import ISOLATED, Zoning

REFUSED = (
    *tier.ATTEMPTS,
    *quarantined.ATTEMPTS,
    *zoned.ATTEMPTS,
    *surroundings.ATTEMPTS,
    *installation.ATTEMPTS,
    *history.ATTEMPTS,
)
ALL = (
    *REFUSED,
    *installation.GUARDED_BY_FILES,
    *CHANGES,
    *wire_attempts.ATTEMPTS,
    *frame_attempts.ATTEMPTS,
    *wire_attempts.STOPPED,
)
KINDS = "refused", "no effect", "put back", "isolated", "denied and told", "stopped by the kernel itself"
SECURITY = CONFIG.parent / "docs" / "security.md"


def named(each):
    return each.name


@pytest.fixture(scope="module")
def people(guarded):
    with People(guarded) as everybody:
        yield everybody


def send(people, who, request):
    body = request.body
    if request.method == "PUT":
        live = people[ADMINISTRATOR].get(request.path).json()
        body = body | {"metadata": body["metadata"] | {"resourceVersion": live["metadata"].get("resourceVersion", "")}}
    content = body if body is None or isinstance(body, str) else json.dumps(body)
    if content and "UID OF n1" in content:
        content = content.replace("UID OF n1", people.uid_of_n1)
    headers = {"Content-Type": request.content_type, **dict(request.headers)}
    return people[who].request(
        request.method, request.path, content=content, params=dict(request.query) or None, headers=headers
    )


@pytest.fixture(scope="module")
def filed(programs, tmp_path_factory):
    """A server that has config/static-admission on its disk, and in the API one policy of ours; its operator."""
    folder = tmp_path_factory.mktemp("admission")
    plugin = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyConfiguration",
        "staticManifestsDir": str(CONFIG / "static-admission"),
    }
    plugins = [{"name": "ValidatingAdmissionPolicy", "configuration": plugin}]
    configuration = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins}
    (folder / "admission.json").write_text(json.dumps(configuration))
    flags = (
        "--feature-gates=ManifestBasedAdmissionControlConfig=true",
        f"--admission-control-config-file={folder / 'admission.json'}",
    )
    with RealKube(programs, flags) as server, server.client() as admin:
        server.kubectl("apply", "-f", str(CONFIG / "deploy" / "admission-tier.yaml"))
        for path, body in operators_rights():
            admin.post(path, json=body).raise_for_status()
        with server.client(OPERATOR, ["system:authenticated"]) as operator:
            yield {OPERATOR: operator}


@pytest.mark.apiserver
@pytest.mark.parametrize("attempt", installation.GUARDED_BY_FILES, ids=named)
def test_is_refused_by_files(filed, attempt, until):
    def in_force():
        """RBAC takes a moment; who else refuses is told by the answer."""
        return "User" not in send(filed, attempt.who, attempt.requests[0]).json().get("message", "")

    until(in_force, seconds=60)
    refused(filed, attempt)


@pytest.mark.apiserver
@pytest.mark.parametrize("attempt", REFUSED, ids=named)
def test_is_refused(people, attempt):
    refused(people, attempt)


def refused(people, attempt):
    by_policy = attempt.by.startswith("`")
    for request in attempt.requests:
        answer = send(people, attempt.who, request)
        assert answer.is_client_error, f"{request} was accepted"
        message = answer.json()["message"]
        assert (
            f"ValidatingAdmissionPolicy '{attempt.by.strip('`')}'" if by_policy else SAID.get(attempt.by, "")
        ) in message
        assert by_policy == ("ValidatingAdmissionPolicy" in message)
        assert attempt.by != By.NODE or SAID[By.RBAC] not in message
        assert attempt.says in message


@pytest.mark.apiserver
@pytest.mark.parametrize("change", NO_EFFECT_CHANGES, ids=named)
def test_has_no_effect(people, change):
    change.act(people)


@pytest.mark.apiserver
@pytest.mark.parametrize("change", PUT_BACK_CHANGES, ids=named)
def test_is_put_back(people, change):
    """By the bridge, with its own rights, as its watch tells it; tests/bridge has how soon that is."""
    asyncio.run(put_back(people, change, f"of-{change.name}"))


async def put_back(people, change, name):
    many = AddressSet.parse(f"10.{n // 128}.{n % 128 * 2}.0/24" for n in range(200))
    manager = FakeManager(rule("a"), rule("b", sources=Addresses((AddressObject("b", many),))))
    sink, feeds = RecordingSink(), Feeds(None, lambda: None)
    cluster = TierApi(ApiServer(ClusterAccess("c1", people.kube.kubeconfig_for(BRIDGE))))
    target, alerts = CompileTarget("c1", name, "dg", Zoning()), Alerts("c1", name, [sink])
    sync = Sync(target, manager, cluster, alerts, feeds, run_blocking=run_here)
    guard = TierWatcher(sync, lambda kind: cluster.follow(kind, name))
    tasks = []

    async def shown():
        """All that a tier is: what it means, its parts and what is told of it."""
        tier, parts = await cluster.tier(name), await cluster.parts(name)
        try:
            return native.parse(tier, parts), sorted(parts), tier["status"].get("nodes")
        except (TypeError, KeyError, native.TierError):  # it is gone, or its status is still to come
            return None

    try:
        await sync.once()
        before = await shown()
        assert before is not None
        tasks += [asyncio.create_task(work) for work in (guard.watch(), guard.repair(lambda outcome: None))]
        await asyncio.to_thread(change.act, people, name)
        async with asyncio.timeout(60):
            while (AlertKind.TIER_TAMPERED.reason, False) not in sink.told or await shown() != before:  # noqa: ASYNC110 - polls the API server
                await asyncio.sleep(0.05)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await cluster.close()


@pytest.mark.apiserver
@pytest.mark.parametrize("change", ISOLATED_CHANGES, ids=named)
def test_is_isolated(people, change):
    """What enforcers make of it: the zone that each address is judged by, and the alert."""
    change.act(people)
    inventory = seen(people)
    PROOFS[change.name](inventory)


def seen(people):
    """The cluster as an enforcer sees it."""
    admin = people[ADMINISTRATOR]
    listed = {kind: admin.get(f"/api/v1/{kind}").json()["items"] for kind in ("pods", "nodes", "namespaces")}
    allowed = {each.name: each.allowed for each in (decode.namespace(raw).item for raw in listed["namespaces"])}
    pods = [decode.pod(raw).item for raw in listed["pods"]]
    nodes = [decode.node(raw).item for raw in listed["nodes"]]
    return Inventory(
        {pod.uid: replace(pod, allowed=allowed[pod.namespace]) for pod in pods}, {node.name: node for node in nodes}
    )


def lost_zone(inventory):
    address = ip_address("10.1.1.7")
    (pod,) = (pod for pod in inventory.pods.values() if address in pod.addresses)
    assert inventory.directory().endpoint(address, Zoning()).zone == ISOLATED
    (condition,) = problems.of_zones(Policy(Zoning(), (), ()), [pod])
    assert condition.kind is NodeAlert.ZONE_CLAIMED


def claimed_address(inventory):
    address = ip_address("10.1.2.66")
    (liar,) = (pod for pod in inventory.pods.values() if pod.name == "liar")
    assert address in liar.addresses
    assert inventory.directory().holder(address).name == "victim"
    (condition,) = problems.of_places([(address, liar)], "n1")
    assert condition.kind is NodeAlert.ADDRESS_MISPLACED


PROOFS = {
    "owner-keeps-a-lost-zone": lost_zone,
    "node-claims-an-address": claimed_address,
}


def rows():
    """The table as it should stand in docs/security.md."""
    for number, each in enumerate(ALL, 1):
        yield f"| {number} | {each.who} | {each.what} | {each.outcome} | `{each.name}` |"


def counts():
    """How many of each kind, as docs/security.md says it."""
    kinds = Counter(next(kind for kind in KINDS if each.outcome.startswith(kind)) for each in ALL)
    return f"{len(ALL)} attempts: " + ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS)


def test_the_table_in_the_docs_is_what_is_tried():
    """`python -m tests.apiserver.test_tamper` prints it, and how many there are of each kind."""
    assert f"\n{counts()}.\n" in SECURITY.read_text()
    table = [line for line in SECURITY.read_text().splitlines() if re.match(r"\| \d", line)]
    assert table == list(rows())
    assert len({each.name for each in ALL}) == len(table) >= 160


if __name__ == "__main__":
    print(*rows(), sep="\n")
    print(counts(), file=sys.stderr)
