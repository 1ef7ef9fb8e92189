"""What the rules do to real connections, beyond the verdict on their first packet."""

import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_network

import pytest

from enforcer.netlink import nflog
from enforcer.rules.ruleset import Mode
from mocks.lab import Outcome, Probe, measure
from tests.enforcer.world import NOW, OPTIONS
from zones.net import TCP, UDP, parse_ports
from zones.policy import Entry, Policy, Traffic, Verdict, usual_infrastructure
from zones.rules import NO_LOG, Log, Origin, RuleType
from zones.zone import Zoning

pytestmark = pytest.mark.kernel


def entry(name, verdict, from_zones=None, to_zones=None, *traffic, pairing=RuleType.UNIVERSAL, log=NO_LOG):
    zones = [None if each is None else frozenset(each.split()) for each in (from_zones, to_zones)]
    return Entry(Origin(name, None, "pre", "dg"), verdict, pairing, *zones, traffic=traffic or (Traffic(),), log=log)


INTRAZONE = entry("intrazone-default", Verdict.ALLOW, pairing=RuleType.INTRAZONE)
INTERZONE = entry("interzone-default", Verdict.DENY)
INFRASTRUCTURE = usual_infrastructure(frozenset(), frozenset(), frozenset())


def policy(*entries, infrastructure=INFRASTRUCTURE, networks=None):
    return Policy(Zoning.of(networks or {}), infrastructure, (*entries, INTRAZONE, INTERZONE))


BOTH_WAYS = (entry("to data", Verdict.ALLOW, "web", "data"), entry("back", Verdict.ALLOW, "data", "web"))


@pytest.fixture
def inventory(world):
    """p0, p1 and q0 in web, p2 and q1 in data; p3 and p4 are not known."""
    zones = {"p0": "web", "p1": "web", "q0": "web", "p2": "data", "q1": "data"}
    return world.inventory(*(world.pod(name, zone) for name, zone in zones.items()))


@pytest.fixture
def reconciler(world):
    with world.reconciler() as made:
        yield made


def outcomes(world, *tries, transport="tcp", timeout=0.6):
    """Outcomes of (source, target, port), each tried in both families, which must agree."""
    machines = world.machines
    asked = [
        Probe(machines[source], address, port, transport)
        for source, target, port in tries
        for address in (machines[target].ip, machines[target].ip6)
    ]
    found = measure(asked, timeout)
    assert found[::2] == found[1::2]
    return found[::2]


def test_reset_is_refused_at_once_and_denied_is_silence(world, reconciler, inventory):
    rules = entry("reset", Verdict.RESET, "web", "data", Traffic(TCP, parse_ports("80"))), entry("no", Verdict.DENY)
    reconciler.apply(policy(*rules), inventory, NOW)
    assert outcomes(world, ("p0", "p2", 80), ("p0", "p2", 443)) == [Outcome.REFUSED, Outcome.TIMEOUT]


def test_reset_reaches_a_pod_that_talks_to_its_own_node_and_the_node_itself(world, reconciler, inventory):
    rules = entry("reset", Verdict.RESET, "web nodes", "nodes web data")
    reconciler.apply(policy(rules, infrastructure=()), inventory, NOW)
    assert outcomes(world, ("p0", "n1", 80), ("n1", "p0", 80), ("n1", "q1", 80)) == [Outcome.REFUSED] * 3


def test_an_icmp_error_about_an_allowed_flow_comes_back(world, reconciler, inventory):
    rules = (entry("to data", Verdict.ALLOW, "web", "data", Traffic(UDP)),)
    reconciler.apply(policy(*rules), inventory, NOW)
    assert outcomes(world, ("p0", "p2", 7), ("p0", "q1", 7), transport="udp") == [Outcome.REFUSED] * 2


def test_a_reply_passes_though_its_own_direction_is_denied(world, reconciler, inventory):
    reconciler.apply(policy(BOTH_WAYS[0]), inventory, NOW)
    assert outcomes(world, ("p0", "p2", 80), ("p2", "p0", 80)) == [Outcome.ALLOWED, Outcome.TIMEOUT]
    assert outcomes(world, ("p0", "p2", 80), ("p2", "p0", 80), transport="udp") == [Outcome.ALLOWED, Outcome.TIMEOUT]


def test_a_node_reaches_its_own_pods_whatever_the_rules_and_others_do_not(world, reconciler, inventory):
    reconciler.apply(policy(), inventory, NOW)
    # p3 is not known yet: it is this node's by its link, and the kubelet's first probe must not wait.
    tries = ("n1", "p0", 80), ("n1", "p3", 80), ("n2", "p0", 80), ("p0", "n1", 80), ("n1", "q0", 80), ("n2", "p3", 80)
    assert outcomes(world, *tries) == [*[Outcome.ALLOWED] * 2, *[Outcome.TIMEOUT] * 4]


def test_traffic_without_a_pod_is_not_touched(world, reconciler, inventory):
    reconciler.apply(policy(entry("nothing", Verdict.DENY)), inventory, NOW)
    assert (
        outcomes(world, ("n1", "n2", 80), ("n2", "n1", 80), ("n1", "outside", 80), ("outside", "n1", 80))
        == [Outcome.ALLOWED] * 4
    )


def test_a_pod_that_is_not_known_yet_reaches_nobody(world, reconciler, inventory):
    networks = {"web": [ip_network("0.0.0.0/0"), ip_network("::/0")]}
    reconciler.apply(policy(networks=networks), inventory, NOW)
    assert outcomes(world, ("p3", "p0", 80), ("p3", "p4", 80)) == [Outcome.TIMEOUT, Outcome.TIMEOUT]
    known = inventory.with_pod(world.pod("p3", "web"))
    reconciler.apply(policy(networks=networks), known, NOW)
    assert outcomes(world, ("p3", "p0", 80), ("p3", "p4", 80)) == [Outcome.ALLOWED, Outcome.TIMEOUT]


def test_a_service_is_judged_as_the_pod_that_answers(world, reconciler, inventory):
    reconciler.apply(policy(BOTH_WAYS[0]), inventory, NOW)
    service = world.lab.service(8080, [world.machines["p2"]], target_port=80)
    other = world.lab.service(8081, [world.machines["p0"]], target_port=80)
    try:
        allowed, denied = (
            measure(
                [Probe(world.machines[who], address, made.port) for address in (made.place.ip, made.place.ip6)], 0.6
            )
            for who, made in (("p0", service), ("p2", other))
        )
    finally:
        world.lab.withdraw(service)
        world.lab.withdraw(other)
    assert allowed == [Outcome.ALLOWED] * 2
    assert denied == [Outcome.TIMEOUT] * 2


def test_a_connection_picked_up_in_the_middle_is_not_judged_the_wrong_way_round(world, reconciler, inventory):
    """The server of a forgotten connection talks on; its direction is allowed, the connection is not."""
    with ExitStack() as stack:
        for listener in world.lab.listen(world.machines["p2"], 9001, talk_every=0.02):
            stack.callback(listener.close)
        reconciler.apply(policy(*BOTH_WAYS), inventory, NOW)
        talk = world.lab.conversation(world.machines["p0"], world.machines["p2"].ip, 9001, silence=0.3, speak=False)
        stack.callback(talk.close)
        assert talk.wait(alive=True)
        reconciler.apply(policy(BOTH_WAYS[1]), inventory, NOW)
        world.n1.run(["conntrack", "-F"])
        assert talk.wait(alive=False)
        again = time.monotonic() + 0.5
        while time.monotonic() < again:
            assert not talk.alive


def test_observe_mode_logs_what_it_would_deny_and_drops_nothing(world, inventory):
    with world.reconciler(replace(OPTIONS, mode=Mode.OBSERVE)) as reconciler, world.log() as log:
        reset = entry("reset", Verdict.RESET, "web", "data", Traffic(TCP, parse_ports("80")))
        applied = reconciler.apply(policy(reset), inventory, NOW)
        assert outcomes(world, ("p0", "p2", 80), ("p0", "p2", 443)) == [Outcome.ALLOWED] * 2
        terminals = {applied.ruleset.terminals[each.prefix.split(":")[1]] for each in logged(log, 4)}
        # Connections of earlier tests may still send, and belong to none now.
        assert {each.origin.name for each in terminals} - {"infrastructure/no-connection"} == {
            "reset",
            "interzone-default",
        }
        assert not any(each.enforced for each in terminals)


def logged(log, at_least, seconds=3.0):
    found = []
    deadline = time.monotonic() + seconds
    while len(found) < at_least and time.monotonic() < deadline:
        found += [nflog.parse(each) for each in log.read()]
    return found


def test_log_records_tell_the_direction_and_the_connection(world, reconciler, inventory):
    with world.log() as log, ExitStack() as stack:
        rules = entry("to data", Verdict.ALLOW, "web", "data", log=Log(start=True))
        applied = reconciler.apply(policy(rules), inventory, NOW)
        talk = world.lab.conversation(world.machines["p0"], world.machines["p2"].ip, 443, every=0.02, silence=0.3)
        stack.callback(talk.close)
        assert talk.wait(alive=True)
        (first,) = logged(log, 1)
        assert applied.ruleset.origins[first.prefix.split(":")[1]].name == "to data"
        assert (str(first.source), str(first.destination)) == (world.machines["p0"].ip, world.machines["p2"].ip)
        assert (first.destination_port, first.protocol, first.tcp_flags) == (443, TCP, 0x02)
        assert world.machines["p0"].link
        with world.inside():
            assert socket.if_indextoname(first.indev) == world.machines["p0"].link

        reconciler.apply(policy(), inventory, NOW)
        both = {(each.prefix[-1], str(each.source)) for each in logged(log, 6)}
        assert ("o", world.machines["p0"].ip) in both
        assert both <= {("o", world.machines["p0"].ip), ("r", world.machines["p2"].ip)}


def counted(world, reconciler, key):
    with world.inside():
        return reconciler.counters()[key][0]


def test_a_flood_of_denials_is_limited_in_the_log_and_whole_in_the_counter(world, inventory):
    few = replace(OPTIONS, log_rate=5, log_burst=5)
    with world.reconciler(few) as reconciler, world.log() as log:
        applied = reconciler.apply(policy(), inventory, NOW)
        source = world.machines["p0"].netns.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(500):
            source.sendto(b"x", (world.machines["p2"].ip, 80))
        source.close()
        (key,) = (key for key, each in applied.ruleset.terminals.items() if each.origin == INTERZONE.origin)
        deadline = time.monotonic() + 20
        while (packets := counted(world, reconciler, key)) < 500 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert packets == 500
        assert 1 <= len(logged(log, 20, seconds=0.3)) <= 10


def test_another_tables_drop_stands_and_its_rules_are_not_touched(world, reconciler, inventory):
    world.n1.nft("add table inet cni\nadd chain inet cni forward { type filter hook forward priority 10; }")
    world.n1.nft("add rule inet cni forward tcp dport 443 counter drop")
    try:
        before = world.n1.run(["nft", "list", "table", "inet", "lab_cni"]).stdout
        reconciler.apply(policy(*BOTH_WAYS), inventory, NOW)
        assert outcomes(world, ("p0", "p2", 80), ("p0", "p2", 443)) == [Outcome.ALLOWED, Outcome.TIMEOUT]
        reconciler.flush()
        assert world.n1.run(["nft", "list", "table", "inet", "lab_cni"]).stdout == before
        assert "counter packets" in world.n1.run(["nft", "list", "table", "inet", "cni"]).stdout
    finally:
        world.n1.nft("delete table inet cni")


def test_everybodys_listing_still_works_and_says_what_it_is(world, reconciler, inventory):
    """nft must be able to list the raw rules: kube-proxy and people do."""
    applied = reconciler.apply(policy(*BOTH_WAYS), inventory, NOW)
    assert not applied.problems
    listed = world.n1.run(["nft", "list", "ruleset"])
    assert listed.returncode == 0
    assert "really: zone of client in addresses . zone of server in addresses" in listed.stdout
    assert world.n1.run(["nft", "-j", "list", "ruleset"]).returncode == 0
