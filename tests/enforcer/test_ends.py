"""Connections that end, as the kernel tells of them: real ones, in both families, translated and not."""

import json
import select
import socket
import struct
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from enforcer.flows.connections import Connections, beginning
from enforcer.flows.flows import FlowNames
from enforcer.kernel import conntrack_events
from enforcer.kernel.conntrack_events import ConnectionEvents
from enforcer.netlink import conntrack
from enforcer.netlink.messages import ACK, REQUEST, attribute, netfilter, number
from enforcer.netlink.sockets import NETFILTER, open_socket
from enforcer.rules.connmark import ConnmarkLayout
from tests.enforcer import packets
from tests.enforcer.test_enforcement import INFRASTRUCTURE, INTERZONE, entry
from tests.enforcer.world import OPTIONS
from zones.net import ICMP, ICMP6, TCP, UDP
from zones.policy import Policy, Verdict
from zones.rules import Log
from zones.siem.records import Stamp
from zones.zone import Zoning

pytestmark = pytest.mark.kernel
MARKS = OPTIONS.marks
ENDS = Log(end=True, profile="siem")
LINGER_NOT = struct.pack("ii", 1, 0)
FAMILIES = ("ip", "ip6")


def set_timeout(node, kind, seconds):
    node.netns.write_sysctl(f"net/netfilter/nf_conntrack_{kind}", seconds)


def age(node):
    """As if the connections that live had been silent for long."""
    original, timeout, update = 1, 7, conntrack.SUBSYSTEM
    with node.netns.inside(), closing(open_socket(NETFILTER)) as channel:
        for told in list(conntrack_events.alive()):
            family = 2 if conntrack.connection(told).original.source.version == 4 else 10
            which = attribute(original | 0x8000, told.fields[original])
            channel.send(netfilter(update, REQUEST | ACK, 1, family, 0, which, number(timeout, 1)))
            channel.recv(4096)


def policy(*entries):
    return Policy(Zoning.of({}), INFRASTRUCTURE, (*entries, INTERZONE))


TOLD = entry("told", Verdict.ALLOW, "web", "data", log=ENDS)
UNTOLD = entry("untold", Verdict.ALLOW, "web", "web")


@pytest.fixture(scope="module")
def node(world):
    """The enforced node soon forgets what has closed."""
    for kind in ("tcp_timeout_time_wait", "tcp_timeout_close", "icmp_timeout", "icmpv6_timeout"):
        set_timeout(world.n1, kind, 1)
    with world.inside():
        assert conntrack_events.has_labels()
        assert conntrack_events.account() == {"acct": True, "timestamp": True, "events": True}
    return world.n1


@pytest.fixture
def inventory(world):
    zones = {"p0": "web", "p1": "web", "q0": "web", "p2": "data", "q1": "data"}
    return world.inventory(*(world.pod(name, zone) for name, zone in zones.items()))


def moment(text):
    return datetime.fromisoformat(text).timestamp()


class Heard:
    """What is told of a node's connections."""

    def __init__(self, world, directory, **options):
        self.world, self.names_of = world, directory
        self.names = FlowNames(directory.holder, Zoning.of({}), "panorama", 7, ())
        with world.inside():
            self.source = ConnectionEvents(options.get("marks", MARKS), options.get("buffer", 16 * 2**20))
            remembered = conntrack_events.remembered()
        self.connections = Connections(
            options.get("marks", MARKS), options.get("capacity", 10_000), remembered=remembered
        )
        self.stamp = Stamp("lab", "n1", "boot", 1)
        self.records = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.source.close()

    def learn(self, applied):
        self.connections.learn(applied.ruleset.terminals)

    def hear(self):
        told = self.connections.take(self.source.read(), self.names, self.stamp, time.time())
        self.records += map(json.loads, told)

    def alive(self):
        """Who lives. To be asked makes the kernel look, and forget whose time is over."""
        with self.world.inside():
            return [found for told in conntrack_events.alive() if (found := beginning(told)) is not None]

    def until(self, many, seconds=40):
        deadline = time.monotonic() + seconds
        while len(self.records) < many:
            assert time.monotonic() < deadline, f"{len(self.records)} of {many} ends: {self.records}"
            self.alive()
            self.hear()
            time.sleep(0.02)
        return self.records


@pytest.fixture
def enforced(world, node, inventory):
    node.netns.run(["conntrack", "-F"])
    with world.enforcing() as made, Heard(world, world.directory(inventory)) as heard:
        heard.learn(made.enforce(policy(TOLD, UNTOLD), inventory))
        yield made, heard


def talk(world, source, ip, port=80, said=b"hello", *, reset=False):
    """One connection from its beginning to its end."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with world.machines[source].netns.inside():
        made = socket.socket(family, socket.SOCK_STREAM)
    with made:
        made.settimeout(20)
        made.connect((ip, port))
        own = made.getsockname()
        made.sendall(said)
        assert made.recv(100) == said
        if reset:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        else:
            made.shutdown(socket.SHUT_WR)
            assert made.recv(100) == b""
    return own


def test_a_connection_that_is_closed_is_told_with_its_rule_its_times_and_all_that_it_carried(world, enforced):
    _, heard = enforced
    before = time.time()
    opened = [talk(world, "p0", getattr(world.machines["p2"], family), said=b"x" * 50)[1] for family in FAMILIES]
    after = time.time()
    for record in heard.until(2):
        assert (record["moment"], record["reason"]) == ("end", "tcp-fin")
        assert (record["verdict"], record["rule"]["name"], record["logProfile"]) == ("allow", "told", "siem")
        assert (record["source"]["pod"], record["source"]["zone"]) == ("p0", "web")
        assert (record["destination"]["workload"], record["destination"]["zone"]) == ("p2", "data")
        assert record["destination"]["port"] == 80
        assert "natAddress" not in record["source"] | record["destination"]
        assert record["packets"] == record["sent"]["packets"] + record["received"]["packets"] >= 8
        assert record["bytes"] == record["sent"]["bytes"] + record["received"]["bytes"] >= 100 + 40 * record["packets"]
        assert before - 1 <= moment(record["time"]) <= moment(record["end"]) <= after + 5
    assert sorted(each["source"]["port"] for each in heard.records) == sorted(opened)


def ask(world, source, ip, port=80):
    """One datagram and its answer."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with world.machines[source].netns.inside():
        made = socket.socket(family, socket.SOCK_DGRAM)
    with made:
        made.settimeout(20)
        made.bind(("::" if ":" in ip else "0.0.0.0", next(world.source_ports)))
        made.connect((ip, port))
        made.send(b"hello")
        assert made.recv(100) == b"hello"
        return made.getsockname()


def test_what_has_no_end_of_its_own_ages_out(world, enforced):
    _, heard = enforced
    asked = [ask(world, "p0", getattr(world.machines["p2"], family))[1] for family in FAMILIES]
    age(world.n1)
    for record in heard.until(2):
        assert (record["protocol"], record["reason"]) == ("udp", "aged-out")
        assert (record["sent"]["packets"], record["received"]["packets"]) == (1, 1)
    assert sorted(each["source"]["port"] for each in heard.records) == sorted(asked)


def ping(source, source_ip, ip, protocol):
    probe = packets.Probe(source, source_ip, ip, protocol)
    with probe.open() as made:
        probe.start(made)
        while probe.outcome is None:
            assert select.select([made], [], [], 20)[0]
            probe.hear(made)


def test_a_ping_is_told_by_its_type(world, enforced):
    _, heard = enforced
    source, target = world.machines["p0"], world.machines["p2"]
    ping(source, source.ip, target.ip, ICMP)
    ping(source, source.ip6, target.ip6, ICMP6)
    told = {(each["protocol"], each["icmpType"], each["sent"]["packets"]) for each in heard.until(2)}
    assert told == {("icmp", 8, 1), ("icmp6", 128, 1)}
    assert all("port" not in each["source"] and "natAddress" not in each["source"] for each in heard.records)


def test_who_reset_a_connection_is_told_where_it_is_certain(world, enforced):
    _, heard = enforced
    with pytest.raises(ConnectionRefusedError):
        talk(world, "p0", world.machines["p2"].ip, 9999)
    assert [each["reason"] for each in heard.until(1)] == ["tcp-rst-from-server"]
    talk(world, "p0", world.machines["p2"].ip, reset=True)
    assert [each["reason"] for each in heard.until(2)][1:] == ["tcp-rst"]


def test_only_rules_that_log_the_end_have_their_connections_told(world, enforced):
    _, heard = enforced
    talk(world, "p0", world.machines["p1"].ip)
    talk(world, "p0", world.machines["p2"].ip)
    assert [each["rule"]["name"] for each in heard.until(1)] == ["told"]
    assert len(heard.connections) == 0
    assert heard.alive() == []


def address_of(machine, record):
    """Of the family that the record is about."""
    return machine.ip6 if ":" in record["source"]["address"] else machine.ip


def test_a_service_is_told_as_what_was_dialled_and_who_answered(world, enforced):
    _, heard = enforced
    service = world.lab.service(81, [world.machines["p2"]], target_port=80)
    try:
        for family in FAMILIES:
            talk(world, "p0", getattr(service, family), 81)
        heard.until(2)
    finally:
        world.lab.withdraw(service)
    for record in heard.records:
        to = record["destination"]
        assert (to["address"], to["port"]) == (address_of(world.machines["p2"], record), 80)
        assert (to["natAddress"], to["natPort"]) == (address_of(service, record), 81)
        assert "natAddress" not in record["source"]


def test_a_masqueraded_pod_is_told_by_its_own_address_and_by_the_one_that_others_see(world, enforced, inventory):
    made, heard = enforced
    heard.learn(made.enforce(policy(entry("out", Verdict.ALLOW, "web", None, log=ENDS)), inventory))
    world.n1.masquerade(*world.lab.inside_prefixes)
    try:
        for family in FAMILIES:
            talk(world, "p0", getattr(world.lab.outside, family))
        heard.until(2)
    finally:
        world.n1.masquerade()
    for record in heard.records:
        source = record["source"]
        assert (source["address"], source["pod"]) == (address_of(world.machines["p0"], record), "p0")
        assert source["natAddress"] == address_of(world.n1, record)
        assert "natAddress" not in record["destination"]


def test_ingress_through_a_node_port_is_told_by_its_real_client_on_the_first_node(world, enforced, inventory):
    """Whoever answers, here or on another node: this node hides the client, and so knows it."""
    made, heard = enforced
    heard.learn(made.enforce(policy(entry("in", Verdict.ALLOW, None, "data", log=ENDS)), inventory))
    ports = {"p2": 30_090, "q1": 30_091}
    services = [world.lab.service(80, [world.machines[name]], node_port=port) for name, port in ports.items()]
    try:
        for port in ports.values():
            for family in FAMILIES:
                talk(world, "outside", getattr(world.n1, family), port)
        heard.until(4)
    finally:
        for service in services:
            world.lab.withdraw(service)
    assert {record["destination"]["pod"] for record in heard.records} == ports.keys()
    for record in heard.records:
        source, to = record["source"], record["destination"]
        node = address_of(world.n1, record)
        assert source["address"] == address_of(world.lab.outside, record)
        assert (to["natAddress"], to["natPort"]) == (node, ports[to["pod"]])
        assert source.get("natAddress") in ({node} if to["pod"] == "q1" else {node, None})


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_connection_that_is_denied_later_ends_by_policy(world, enforced, inventory, transport):
    made, heard = enforced
    talking = world.lab.conversation(world.machines["p0"], world.machines["p2"].ip, 80, transport=transport)
    made.enforce(policy(UNTOLD), inventory)
    deadline = time.monotonic() + 20
    while talking.alive:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with impatient(world.n1):  # TCP's ends go on trying, rarer each time
        talking.close()
        age(world.n1)
        (record,) = heard.until(1)
    assert (record["reason"], record["verdict"], record["rule"]["name"]) == ("policy-deny", "allow", "told")


@contextmanager
def impatient(node):
    """A node that gives TCP up after a second without a packet, whatever it waits for."""
    kinds = [f"tcp_timeout_{each}" for each in ("unacknowledged", "fin_wait", "close_wait", "last_ack")]
    with node.netns.inside():
        usual = {kind: int(Path(f"/proc/sys/net/netfilter/nf_conntrack_{kind}").read_text()) for kind in kinds}
    for kind in kinds:
        set_timeout(node, kind, 1)
    try:
        yield
    finally:
        for kind, seconds in usual.items():
            set_timeout(node, kind, seconds)


def test_what_a_program_ends_has_no_known_reason(world, enforced):
    _, heard = enforced
    ask(world, "p0", world.machines["p2"].ip)
    world.n1.netns.run(["conntrack", "-D", "-p", "udp"])
    assert [each["reason"] for each in heard.until(1)] == ["unknown"]


def test_connections_from_before_are_told_too(world, enforced):
    """An agent that is started again asks the kernel who lives, and by which rule."""
    _, former = enforced
    _, port, *_ = ask(world, "p0", world.machines["p2"].ip)
    with Heard(world, former.names_of) as heard:
        heard.connections._rules = dict(former.connections._rules)
        heard.connections.counted(heard.connections.count_anew(), heard.alive(), heard.names, time.time())
        age(world.n1)
        (record,) = heard.until(1)
    assert (record["source"]["port"], record["rule"]["name"]) == (port, "told")


def test_a_rule_that_is_gone_and_a_pod_that_is_another_now_are_told_as_they_were(world, enforced, inventory):
    made, heard = enforced
    talk(world, "p0", world.machines["p2"].ip)
    heard.hear()
    moved = world.inventory(world.pod("p0", "data"), world.pod("p2", "web"))
    heard.learn(made.enforce(policy(UNTOLD), moved))
    heard.names = FlowNames(world.directory(moved).holder, Zoning.of({}), "panorama", 8)
    (record,) = heard.until(1)
    assert (record["source"]["zone"], record["destination"]["zone"], record["rule"]["name"]) == ("web", "data", "told")
    assert record["revision"] == 7


def test_without_bits_in_the_mark_ends_are_told_as_well(world, node, inventory):
    unmarked = replace(OPTIONS, marks=ConnmarkLayout(0))
    with world.enforcing(unmarked) as made, Heard(world, world.directory(inventory), marks=ConnmarkLayout(0)) as heard:
        heard.learn(made.enforce(policy(TOLD, UNTOLD), inventory))
        talk(world, "p0", world.machines["p2"].ip6)
        talk(world, "p0", world.machines["p1"].ip6)
        assert [each["rule"]["name"] for each in heard.until(1)] == ["told"]


def test_what_the_kernel_has_no_room_for_is_counted_to_the_message(world, enforced, inventory):
    """A reader that sleeps, with room for a few. Ground truth: the connections that were made, and are gone."""
    many = 300
    with Heard(world, world.directory(inventory), buffer=4096) as deaf:
        deaf.connections._rules = dict(enforced[1].connections._rules)
        for _ in range(many):
            ask(world, "p0", world.machines["p2"].ip)
        world.n1.netns.run(["conntrack", "-F"])
        heard = list(deaf.source.read())
        assert len(heard) + deaf.source.dropped == 2 * many
        assert 0 < len(heard) < many


def test_the_program_conntrack_reads_the_same(world, enforced):
    """Foreign eyes on the same connections: addresses, ports, counters, mark, id, by event."""
    _, heard = enforced
    eyes = world.n1.netns.popen(["conntrack", "-E", "-e", "NEW,DESTROY", "-o", "xml,id,timestamp"])
    seen, made = {}, []
    with world.inside():
        every = ConnectionEvents(ConnmarkLayout(0))
    service = world.lab.service(81, [world.machines["p2"]], target_port=80)
    try:
        await_eyes(world, eyes)
        for family in FAMILIES:
            made.append(talk(world, "p0", getattr(service, family), 81)[:2])
            made.append(ask(world, "p0", getattr(world.machines["p2"], family))[:2])
        age(world.n1)
        heard.until(4)
        for told in every.read():
            found = conntrack.connection(told)
            if told.event is conntrack.ConntrackEvent.ENDED:
                seen[found.id] = found
        theirs = {}
        while not seen.keys() <= theirs.keys():
            line = eyes.stdout.readline()
            assert line, "conntrack has ended"
            if line.startswith("<flow"):
                flow = ET.fromstring(line)
                if flow.get("type") == "destroy":
                    theirs[int(flow.find("meta[@direction='independent']/id").text)] = flow
    finally:
        every.close()
        eyes.kill()
        eyes.wait()
        eyes.stdout.close()
        world.lab.withdraw(service)
    ours = [(str(each.original.source), each.original.source_port) for each in seen.values()]
    assert sorted(each for each in ours if each in made) == sorted(made), "each once"
    others = [each for each in seen.values() if (str(each.original.source), each.original.source_port) not in made]
    assert not others, [(each.original, each.reply, each.sent, each.received, each.state) for each in others]
    for which, ours in seen.items():
        assert described(theirs[which]) == (ours.original, ours.reply, ours.sent, ours.received, ours.mark)


def await_eyes(world, eyes):
    """Until the program sees."""
    deadline = time.monotonic() + 20
    with world.inside():
        while f" {eyes.pid} " not in Path("/proc/net/netlink").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def described(flow):
    def way(direction):
        layer3, layer4 = (flow.find(f"meta[@direction='{direction}']/layer{n}") for n in (3, 4))
        ends = [ip_address(layer3.find(each).text) for each in ("src", "dst")]
        protocol = {"tcp": TCP, "udp": UDP}[layer4.get("protoname")]
        return conntrack.FlowTuple(*ends, protocol, *(int(layer4.find(each).text) for each in ("sport", "dport")))

    def counted(direction):
        found = flow.find(f"meta[@direction='{direction}']/counters")
        return conntrack.Counted(int(found.find("packets").text), int(found.find("bytes").text))

    mark = flow.find("meta[@direction='independent']/mark")
    number = 0 if mark is None else int(mark.text)
    return way("original"), way("reply"), counted("original"), counted("reply"), number
