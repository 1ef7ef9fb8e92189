"""A real cluster for the tests of its kind, what is installed on it, and what every test of it needs."""

import os
from collections import Counter
from datetime import UTC, datetime

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.apiserver.programs import Unavailable
from tests.cluster import machine
from tests.cluster.addresses import NODES
from tests.cluster.apps import NAMESPACES, everything
from tests.cluster.cluster import Cluster
from tests.cluster.installation import Installation
from tests.cluster.matrix import Matrix
from tests.cluster.policy import configuration, meaning
from tests.cluster.programs import programs

TIMINGS = pytest.StashKey[dict[str, dict[str, float]]]()
ENDS = ("source", "destination")
FIGURES = pytest.StashKey[dict[str, str]]()
PRINTED = {"timings": TIMINGS, "figures": FIGURES}
APART = {"test_chart.py": "releases", "test_networks.py": "networks"}


def nodes(*kinds):
    """A mark: these tests on a cluster with such nodes, once for each kind; without it, on the usual one."""
    marked = [pytest.param(plans, id=name) for name, plans in kinds]
    return pytest.mark.parametrize("cluster", marked, indirect=True, scope="session")


def pytest_collection_modifyitems(items):
    """A cluster ends before the next begins: those on the usual one first.

    Of these, those that begin without the product: each that comes later would cost two installations.
    """
    items.sort(
        key=lambda item: (
            "cluster" in getattr(getattr(item, "callspec", None), "params", {}),
            "absent" not in getattr(item, "fixturenames", ()),
        )
    )


class ClustersApart(LoadScopeScheduling):
    """With workers: what is on the usual cluster is one's; the releases and all other clusters are whoever's is free."""

    def _split_scope(self, nodeid):
        return next((scope for file, scope in APART.items() if file in nodeid), "usual")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ClustersApart(config, log)


@pytest.fixture(scope="session")
def cluster(request, pytestconfig):
    """Two nodes, up and empty. A machine that can't have it is told so; in CI, parts that are missing are a failure."""
    plans = getattr(request, "param", NODES)
    if reason := machine.unavailable():
        pytest.skip(f"no cluster on this machine: {reason}")
    found = programs()
    if isinstance(found, Unavailable):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(found.reason)
    with Cluster(found, configuration(), plans) as made:
        kind = " ".join(f"{plan.plugin}/{plan.proxy}/{plan.scheme}" for plan in plans)
        pytestconfig.stash.setdefault(TIMINGS, {})[kind] = made.timings
        yield made


@pytest.fixture(scope="session")
def apps(cluster):
    """The application teams' workloads, before the product comes."""
    cluster.apply(*everything())
    cluster.wait(lambda: running(cluster), "every workload is ready", 180)
    return cluster


@pytest.fixture(scope="session")
def installation(apps):
    return Installation(apps)


@pytest.fixture
def installed(installation):
    """The product in force with its usual settings, whatever an earlier test did to it."""
    installation.install()
    return installation


@pytest.fixture
def matrix(installation, tmp_path):
    """Every connection of this moment by the usual configuration, `matrix()`; its pods' namespaces are closed at the end."""
    made = []

    def of_now():
        file = tmp_path / "panorama.xml"
        file.write_text(configuration())
        made.append(Matrix.of(installation.cluster, meaning(installation.bridge, file), NAMESPACES))
        return made[-1]

    yield of_now
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def figures(pytestconfig):
    """What is measured and printed at the end, by what it is of; no test is judged by it."""
    return pytestconfig.stash.setdefault(FIGURES, {})


@pytest.fixture
def absent(installation):
    """The product is nowhere, neither in the API nor in a kernel."""
    installation.uninstall()
    return installation


def running(cluster):
    workloads = [each for kind in ("deployments", "statefulsets") for each in cluster.objects(kind)]
    return all(each["status"].get("readyReplicas") == each["spec"]["replicas"] for each in workloads)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure comes with what the SIEM got in its time: a connection that was lost is told there if it was denied."""
    report = yield
    cluster = item.funcargs.get("cluster")
    if cluster and report.failed:
        began = datetime.fromtimestamp(call.start, UTC).isoformat()
        report.sections.append(("What the SIEM got meanwhile", "\n".join(received(cluster.outside, began))))
    return report


def received(outside, since):
    """What was denied in force, and the alerts: equal ones once, with the first one's time and how many there were."""
    first, counts = {}, Counter()
    for record in outside.records():
        if record.get("time", "") < since or record.get("verdict") == "allow" or record.get("enforced") is False:
            continue
        ends = [f"{end.get('pod') or end.get('zone')} {end.get('address')}" for end in map(record.get, ENDS) if end]
        what = " -> ".join(ends), record.get("alert"), (record.get("rule") or {}).get("name"), record.get("message")
        text = ", ".join(str(each) for each in what if each)
        first.setdefault(text, f"{record.get('time')} {record.get('node')}")
        counts[text] += 1
    return [f"{first[text]}: {text} ({count})"[:300] for text, count in counts.items()][:200]


def pytest_sessionfinish(session):
    """A worker hands on what is printed."""
    if hasattr(session.config, "workeroutput"):
        printed = {name: session.config.stash.get(key, {}) for name, key in PRINTED.items()}
        session.config.workeroutput["cluster"] = printed


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    for name, values in getattr(node, "workeroutput", {}).get("cluster", {}).items():
        node.config.stash.setdefault(PRINTED[name], {}).update(values)


def pytest_terminal_summary(terminalreporter, config):
    for kind, timings in config.stash.get(TIMINGS, {}).items():
        shown = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in timings.items())
        terminalreporter.line(f"{kind}, seconds after the cluster's start: {shown}")
    for what, figure in config.stash.get(FIGURES, {}).items():
        terminalreporter.line(f"{what}: {figure}")
