"""Each check on a real API server: objects that pass, one that fails, and a right that is missing."""

import asyncio
import json
import time

import pytest

from bridge.posture.catalogue import CHECKS
from bridge.posture.check import CheckResult
from bridge.posture.evaluation import Evaluation
from bridge.posture.gather import READINGS, gather
from bridge.posture.snapshot import Input, PostureTerms
from tests.apiserver.installed import CONFIG, FLAGS
from tests.bridge.posture.cases import BAD, GOOD, RBAC, bound, made
from tests.realkube import RealKube
from zones.kube.client import ApiServer, ClusterAccess

pytestmark = pytest.mark.apiserver
# The first wants a cluster with one namespace (test_checks.py), the other takes a policy of ours away.
ELSEWHERE = {"namespaces-as-boundaries", "admission-in-force"}
GROUPS = {kind: READINGS[kind].path.split("/")[2] if "apis" in READINGS[kind].path else "" for kind in Input}
SECONDS = 20


@pytest.fixture(scope="module")
def cluster(programs):
    """Everything of config/deploy, and in which every check passes. Pod Security's labels count, and refuse nobody."""
    with RealKube(programs, (*FLAGS, "--disable-admission-plugins=PodSecurity")) as kube:
        kube.kubectl("apply", "-f", str(CONFIG / "crd"))
        kube.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        kube.kubectl("apply", "-k", str(CONFIG / "deploy"))
        kube.kubectl("delete", "clusterrolebinding", "zonebridge-reader")  # by which everybody may read NodeStates
        apply(kube, [*GOOD, *readers()])
        yield kube


@pytest.fixture(scope="module")
def good(cluster):
    return outcomes(cluster.kubeconfig)


@pytest.fixture(scope="module")
def half_blind(cluster, good):
    """What each sees who may read all lists but one."""
    return {kind: seen_without(cluster, kind) for kind in Input}


@pytest.fixture(scope="module")
def bad(cluster, good, half_blind):
    """After all cases were applied, and one of our own policies was unbound."""
    for objects in BAD.values():
        assert objects
    apply(cluster, [each for objects in BAD.values() for each in objects])
    cluster.kubectl("delete", "validatingadmissionpolicybinding", "zonebridge-zones")
    return outcomes(cluster.kubeconfig)


def apply(kube, objects):
    """A status, where an object has one, is written beside it. Namespaces and accounts come first."""
    first = {"Namespace": 0, "ServiceAccount": 1}
    ordered = sorted(objects, key=lambda each: first.get(each["kind"], 2))
    text = "\n---\n".join(json.dumps(each) for each in ordered)
    kube.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    for each in objects:
        if "status" in each:
            patch = json.dumps({"status": each["status"]})
            name = each["metadata"]["name"]
            kube.kubectl("patch", "nodestates.zonebridge.io", name, "--subresource=status", "--type=merge", "-p", patch)


def readers():
    for hidden in Input:
        name = reader(hidden)
        rules = [
            {"verbs": ["get", "list"], "apiGroups": [GROUPS[kind]], "resources": [kind.value.partition("/")[0]]}
            for kind in Input
            if kind is not hidden
        ]
        yield made("ClusterRole", name, None, RBAC, rules=rules)
        yield bound(name, name, {"kind": "User", "name": name, "apiGroup": RBAC.partition("/")[0]})


def reader(hidden):
    return f"all-but-{hidden.name.lower().replace('_', '-')}"


def snapshot(kubeconfig):
    async def look():
        server = ApiServer(ClusterAccess("", kubeconfig))
        try:
            return await gather(server, PostureTerms())
        finally:
            await server.close()

    return asyncio.run(look())


def judged(seen):
    return {outcome.check.id: outcome for outcome in Evaluation().outcomes(seen)}


def outcomes(kubeconfig):
    return judged(snapshot(kubeconfig))


def seen_without(kube, kind):
    """A right counts after a moment."""
    kubeconfig, deadline = kube.kubeconfig_for(reader(kind)), time.monotonic() + SECONDS
    while True:
        seen = snapshot(kubeconfig)
        if len(seen.hidden) == 1 or time.monotonic() > deadline:
            return seen
        time.sleep(0.1)


def test_every_check_passes_where_all_is_well(good):
    wanting = {name: each.why for name, each in good.items() if each.result is not CheckResult.PASS}
    assert wanting == {}


def test_every_check_has_its_case():
    assert set(BAD) | ELSEWHERE == {check.id for check in CHECKS}


@pytest.mark.parametrize("name", BAD)
def test_a_check_fails_and_names_the_object(bad, name):
    outcome, wanted = bad[name], BAD[name][-1]
    assert outcome.result is CheckResult.FAIL, outcome.why
    named = {(each.of.kind, each.of.name): each for each in outcome.violations}
    violation = named[wanted["kind"], wanted["metadata"]["name"]]
    if not name.startswith(("unseen-traffic", "kubelet-")):  # only the status of that one is written, or none is known
        assert violation.changed.manager == "kubectl"


def test_what_fails_is_what_was_done(bad):
    """Nothing else is named where nothing else was done."""
    for name in ("host-pid-pods", "host-port-pods", "secrets-in-environment", "cluster-admins", "volume-creators"):
        assert [each.of.name for each in bad[name].violations] == [BAD[name][-1]["metadata"]["name"]]


def test_the_firewalls_own_policies_are_missed(bad):
    assert [violation.what for violation in bad["admission-in-force"].violations] == [
        "ValidatingAdmissionPolicy zonebridge-zones has no binding that denies"
    ]


@pytest.mark.parametrize("hidden", Input)
def test_who_may_not_read_a_list_gets_no_pass_of_it(half_blind, hidden):
    seen = half_blind[hidden]
    assert [problem.partition(":")[0] for problem in seen.hidden] == [hidden.value]
    needing = {check.id for check in CHECKS if hidden in check.needs}
    assert needing
    for name, outcome in judged(seen).items():
        if name in needing:
            assert outcome.result is CheckResult.UNKNOWN, name
            assert "forbidden" in outcome.why
        else:
            assert outcome.result is CheckResult.PASS, (name, outcome.why)


def test_no_secret_is_ever_asked_for():
    assert not any("secrets" in reading.path for reading in READINGS.values())
