"""A Service's address that nothing translated: refused at once and told by its own rule, as kube-proxy would have it."""

import select
import time
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from enforcer.flows.flows import SERVICE_ZONE, FlowNames, name, read
from enforcer.netlink import nflog
from enforcer.rules.options import Mode, RulesetOptions
from enforcer.settings import models as node_settings
from enforcer.wiring import options
from mocks.lab import Lab, Outcome, Probe, measure, unavailable
from mocks.lab.addresses import Place
from mocks.lab.services import Service, load
from tests.enforcer.world import NOW, OPTIONS, World
from zones.net import AddressSet
from zones.policy import Entry, Policy, Verdict, usual_infrastructure
from zones.rules import Log, Origin, RuleType
from zones.zone import Zoning

pytestmark = pytest.mark.kernel

IN_SERVICES = "10.96.0.0/12", "fd00:10:96::/112"
SERVICE, SERVICE6 = "10.96.0.77", "fd00:10:96::77"
WITH_SERVICES = replace(OPTIONS, services=IN_SERVICES)
UNTRANSLATED = "infrastructure/untranslated-service"
USUAL = usual_infrastructure(*[frozenset({"kube-system"})] * 2, frozenset({"coredns"}))
ZONING = Zoning.of({"untrust": [ip_network("0.0.0.0/0"), ip_network("::/0")]})


def policy(*pairs):
    allowed = [
        Entry(
            Origin(f"{a} to {b}", None, "pre", "dg"), Verdict.ALLOW, RuleType.UNIVERSAL, frozenset({a}), frozenset({b})
        )
        for a, b in pairs
    ]
    rest = Entry(Origin("rest", None, "default", "Shared"), Verdict.DENY, log=Log(start=True))
    return Policy(ZONING, USUAL, (*allowed, rest))


@pytest.fixture(scope="module", params=["routed", "bridged"])
def stage(request):
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with ExitStack() as stack:
        world = World(stack.enter_context(Lab("services")), bridge=request.param == "bridged")
        yield world, stack.enter_context(world.log())


@pytest.fixture
def world(stage):
    world = stage[0]
    # What kube-proxy has in its iptables mode for a Service without endpoints: after ours.
    world.n1.nft(
        f"""table inet proxy
        delete table inet proxy
        table inet proxy {{
            chain refusals {{
                type filter hook forward priority 0;
                ip daddr {SERVICE} reject with icmpx port-unreachable
                ip6 daddr {SERVICE6} reject with icmpx port-unreachable
            }}
        }}"""
    )
    yield world
    world.n1.nft("delete table inet proxy")


@pytest.fixture
def logged(stage):
    log = stage[1]

    def logged(applied):
        found = []
        while select.select([log], [], [], 0.2)[0]:
            found += [read(nflog.parse(body), applied.ruleset.terminals, NOW.timestamp()) for body in log.read()]
        return found

    while select.select([log], [], [], 0.2)[0]:
        log.read()
    return logged


def tried(world, source="p0", port=80, seconds=1.0):
    machine = world.machines[source]
    return set(
        measure([Probe(machine, at, port, kind) for at in (SERVICE, SERVICE6) for kind in ("tcp", "udp")], seconds)
    )


def known(world):
    return world.inventory(world.pod("p0", "web"), world.pod("p1", "app"), world.pod("q0", "app"))


@pytest.mark.parametrize("allowed", [(), (("web", "untrust"),)])
def test_a_service_without_endpoints_is_refused_at_once_and_told_as_a_service(world, logged, allowed):
    with world.enforcing(WITH_SERVICES) as node:
        applied = node.enforce(policy(*allowed), known(world))
        begun = time.monotonic()
        assert tried(world, seconds=20) == {Outcome.REFUSED}
        assert time.monotonic() - begun < 10
        names = FlowNames(lambda _: None, ZONING, services=AddressSet.parse(IN_SERVICES))
        told = {
            (each.origin.name, name(each, names).destination.zone, str(each.destination)) for each in logged(applied)
        }
        assert told == {(UNTRANSLATED, SERVICE_ZONE, SERVICE), (UNTRANSLATED, SERVICE_ZONE, SERVICE6)}


def test_without_the_setting_it_is_what_it_was(world, logged):
    with world.enforcing() as node:
        applied = node.enforce(policy(), known(world))
        assert tried(world, seconds=0.4) == {Outcome.TIMEOUT}
        assert {each.origin.name for each in logged(applied)} == {"rest"}


def test_a_service_with_endpoints_is_judged_by_who_answers_it(world, logged):
    place = Place(SERVICE, SERVICE6)
    behind = [Service(place, 80, [world.machines["q0"]], 80, transport=kind) for kind in ("tcp", "udp")]
    with world.enforcing(WITH_SERVICES) as node:
        load(world.n1, behind)
        try:
            applied = node.enforce(policy(("web", "app")), known(world))
            assert tried(world, seconds=20) == {Outcome.ALLOWED}
            # A port that the Service hasn't is translated by nobody.
            assert tried(world, port=81, seconds=20) == {Outcome.REFUSED}
            assert {each.origin.name for each in logged(applied)} == {UNTRANSLATED}
            applied = node.enforce(policy(), known(world))
            assert tried(world, seconds=0.4) == {Outcome.TIMEOUT}
            assert {each.origin.name for each in logged(applied)} == {"rest"}
        finally:
            load(world.n1, [])


def test_observing_drops_nothing_and_others_than_pods_are_not_concerned(world, logged):
    world.n1.nft("flush chain inet proxy refusals")
    observing = replace(WITH_SERVICES, mode=Mode.OBSERVE)
    with world.enforcing(observing) as node:
        applied = node.enforce(policy(), known(world))
        assert Outcome.REFUSED not in tried(world, seconds=0.4)
        # The way on may end in an error of a router's, which is a packet of its own.
        assert {(each.origin.name, each.enforced) for each in logged(applied) if not each.reply} == {
            (UNTRANSLATED, False)
        }
    with world.enforcing(WITH_SERVICES) as node:
        applied = node.enforce(policy(), known(world))
        assert Outcome.REFUSED not in tried(world, "n1", seconds=0.4)
        assert logged(applied) == []


def test_a_pod_that_nobody_knows_is_told_as_unknown_first(world, logged):
    with world.enforcing(WITH_SERVICES) as node:
        applied = node.enforce(policy(), known(world))
        assert tried(world, "p4", seconds=0.4) == {Outcome.TIMEOUT}
        assert {each.origin.name for each in logged(applied)} == {"infrastructure/unknown-pod"}


def test_the_setting_reaches_the_rules_and_a_restored_table_knows_whether_it_changed(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("cluster: prod\nnodeName: n1\nserviceNetworks: [10.96.0.0/12, 'fd00:10:96::/112']\n")
    given = node_settings.load(path, {})
    assert options(given).services == IN_SERVICES
    plain = {"serviceNetworks": list(IN_SERVICES)}
    assert (
        RulesetOptions.plainly(plain)
        == RulesetOptions(services=IN_SERVICES)
        == RulesetOptions.plainly(RulesetOptions(services=IN_SERVICES).values())
    )
    assert RulesetOptions.plainly(plain) != RulesetOptions.plainly({})
    assert RulesetOptions.plainly({"serviceNetworks": "10.96.0.0/12"}) is None
    assert (
        FlowNames(lambda _: None, ZONING, services=AddressSet.parse(IN_SERVICES)).end(ip_address("10.95.0.1")).zone
        == "untrust"
    )
