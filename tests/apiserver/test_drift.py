"""What somebody with every right does to the tier of a real API server: put back, and told with who it was."""

import pytest

from bridge.errors import ManagerUnreachableError
from tests.bridge.processes import ROOT, eventually, install, parts_of, tier_of
from tests.bridge.running import Bridge, Judge
from tests.bridge.world import FakeManager, many
from zones.compile import compile_policy
from zones.tiers import native
from zones.zone import Zoning

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(300)]
TIER = "drift"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture(scope="module")
def client(kube):
    install(kube)
    with kube.client() as administrator:
        yield administrator


@pytest.fixture(scope="module")
def manager():
    return FakeManager(*many(120))


@pytest.fixture
def bridge(kube, client, manager):
    """At work, its tier published, and asked of the manager only once in ten minutes."""
    with Bridge(kube.kubeconfig, manager, TIER, interval=600.0) as working:
        eventually(lambda: is_whole(client, manager))
        eventually(lambda: working.work.passed)
        yield working


def is_whole(client, manager):
    tier, parts = tier_of(client, TIER), parts_of(client, TIER)
    try:
        wanted = compile_policy(manager.current, Zoning()).policy
        return native.parse(tier, parts) == wanted and "status" in tier
    except (native.TierError, TypeError):
        return False


def some_part(client):
    return f"{ROOT}/policychunks/{min(parts_of(client, TIER))}"


def spoil(client):
    spec = {"revision": tier_of(client, TIER)["spec"]["revision"] + 5, "policyChunks": []}
    path = f"{ROOT}/tiers/{TIER}?fieldManager=kubectl-edit"
    client.patch(path, json={"spec": spec}, headers=MERGE).raise_for_status()


def forge_status(client):
    path = f"{ROOT}/tiers/{TIER}/status?fieldManager=liar"
    client.patch(path, json={"status": {"nodes": {"total": 9, "inSync": 9}}}, headers=MERGE).raise_for_status()


def hold(client):
    path = some_part(client)
    body = {"metadata": {"finalizers": ["x.example/stay"]}}
    client.patch(f"{path}?fieldManager=holder", json=body, headers=MERGE).raise_for_status()
    client.delete(path).raise_for_status()


def unlabel(client):
    body = {"metadata": {"labels": {native.TIER_LABEL: None}}}
    client.patch(some_part(client), json=body, headers=MERGE).raise_for_status()


def replace_content(client):
    """A part is deleted and made anew under its name with less in it."""
    path = some_part(client)
    part = client.get(path).json()
    client.delete(path).raise_for_status()
    spec = {"entries": part["spec"]["entries"][:1]}
    made = {"apiVersion": native.API_VERSION, "kind": part["kind"], "spec": spec}
    made["metadata"] = {"name": part["metadata"]["name"], "labels": part["metadata"]["labels"]}
    client.post(f"{path.rsplit('/', 1)[0]}?fieldManager=forger", json=made)


def add(client):
    part = client.get(some_part(client)).json()
    made = {"apiVersion": native.API_VERSION, "kind": part["kind"], "spec": part["spec"]}
    made["metadata"] = {"name": f"{TIER}-stranger", "labels": {native.TIER_LABEL: TIER}}
    client.post(f"{ROOT}/policychunks?fieldManager=stranger", json=made).raise_for_status()


ATTEMPTS = {
    "the Tier changed": (spoil, "spec.policyChunks, spec.revision by kubectl-edit (Update"),
    "the Tier deleted": (lambda client: client.delete(f"{ROOT}/tiers/{TIER}").raise_for_status(), "was deleted"),
    "its status forged": (forge_status, "status.nodes.inSync, status.nodes.total by liar (Update"),
    "a part deleted": (lambda client: client.delete(some_part(client)).raise_for_status(), "was deleted"),
    "a part held back from deletion": (hold, "metadata.finalizers"),
    "a part without its label": (unlabel, "was deleted"),
    "a part with other content": (replace_content, "PolicyChunk"),
    "a part too many": (add, f"'{TIER}-stranger' was added by stranger (Update"),
}


@pytest.mark.parametrize("what", ATTEMPTS)
def test_it_is_put_back_and_told(bridge, client, manager, what):
    act, words = ATTEMPTS[what]
    asked = len(manager.asked)
    listed = len(bridge.listed)
    act(client)
    eventually(lambda: any(words in alert.message for alert in bridge.told("TierTampered")))
    eventually(lambda: is_whole(client, manager) and f"{TIER}-stranger" not in parts_of(client, TIER))
    eventually(lambda: "deletionTimestamp" not in client.get(some_part(client)).json()["metadata"])
    status = tier_of(client, TIER)["status"]
    assert status["nodes"] == {"total": 0, "inSync": 0}
    assert len(manager.asked) == asked, "the manager is not needed"
    assert len(bridge.listed) == listed, "and nothing is listed again"


def test_it_is_put_back_after_a_restart_without_the_manager(kube, client, manager, bridge):
    """The bridge that ran before has left; the next one never hears of the manager."""
    wanted = compile_policy(manager.current, Zoning()).policy
    away = FakeManager()
    away.trouble = ManagerUnreachableError("asking Panorama: no answer")
    bridge.__exit__()
    with Bridge(kube.kubeconfig, away, TIER) as orphan, Judge(kube.kubeconfig, TIER, [wanted]) as judge:
        eventually(lambda: orphan.work.passed)
        spoil(client)
        client.delete(some_part(client)).raise_for_status()
        eventually(lambda: is_whole(client, manager))
        eventually(lambda: orphan.told("TierTampered"))
        eventually(lambda: judge.policy == wanted)
        assert judge.faults == []
