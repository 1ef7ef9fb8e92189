"""How many log records are lost, to the record: against a model of the kernel, and against the kernel."""

import asyncio
import select
import socket
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.errors import LoadError
from enforcer.flows.log_audit import LogAudit
from enforcer.flows.log_counters import LogCounters
from enforcer.flows.loss_ledger import LossLedger, Reading
from enforcer.netlink.sockets import NflogSocket
from enforcer.rules.ruleset import TABLE
from tests.enforcer.test_enforcement import INTERZONE, entry, policy
from tests.enforcer.world import GROUP, OPTIONS
from zones.policy import Verdict

READING = Reading(1, 0, 0)


class Log:
    """A log as the kernel keeps it: counted, numbered, read in order; what there is no room for is gone."""

    def __init__(self, counted):
        self.table, self.logged = 1, counted
        self.waiting, self.numbered, self.next = [], 0, 0
        self.read = self.missed = self.lost = 0

    def put(self, many, room):
        self.logged += many
        for number in range(self.numbered, self.numbered + many):
            if len(self.waiting) < room:
                self.waiting.append(number)
            else:
                self.lost += 1
        self.numbered += many

    def take(self, many):
        for number in self.waiting[:many]:
            self.missed += number - self.next
            self.next, self.read = number + 1, self.read + 1
        del self.waiting[:many]

    def replace_table(self):
        self.table, self.logged = self.table + 1, 0

    def look(self, ledger):
        reading = Reading(self.table, self.logged, 0)
        return ledger.look(reading, self.read, self.missed, idle=not self.waiting)


EVENTS = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 30), st.integers(0, 20)),
    st.tuples(st.just("take"), st.integers(1, 30)),
    st.tuples(st.just("look")),
)
CHANGES = st.one_of(EVENTS, st.tuples(st.just("replace_table")))


def told(log, ledger, events):
    for name, *given_ in events:
        if name == "look":
            assert log.look(ledger) <= log.lost
        else:
            getattr(log, name)(*given_)
    log.take(1000)
    return [log.look(ledger) for _ in range(2)][-1]


@given(st.integers(0, 5), st.lists(EVENTS, max_size=40))
def test_when_it_is_quiet_the_loss_is_known_to_the_record(counted, events):
    log, ledger = Log(counted), LossLedger()
    ledger.begin(Reading(1, counted, 0))
    assert told(log, ledger, events) == log.lost


@given(st.booleans(), st.lists(CHANGES, max_size=40))
def test_tables_that_come_and_go_never_make_a_loss(known, events):
    log, ledger = Log(0), LossLedger()
    ledger.begin(READING if known else None)
    assert log.missed <= told(log, ledger, events) <= log.lost


def test_what_was_counted_before_the_log_was_open_is_nobodys():
    ledger = LossLedger()
    ledger.begin(Reading(1, 1000, 0))
    for _ in range(2):
        assert ledger.look(Reading(1, 1010, 0), 10, 0, idle=True) == 0
    for _ in range(2):
        lost = ledger.look(Reading(1, 1030, 0), 10, 0, idle=True)
    assert lost == 20


class Kernel:
    """Counters that a test sets."""

    def __init__(self):
        self.now, self.rules, self.asked = READING, {}, 0

    def reading(self):
        return self.now

    def held_back(self):
        self.asked += 1
        if isinstance(self.rules, Exception):
            raise self.rules
        return dict(self.rules)

    def close(self):
        pass


class Quiet:
    ours = lost = 0
    idle = True


def held_back(audit):
    audit.lost(Quiet)
    return asyncio.run(audit.held_back())


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize("before", [0, 7])
def test_what_a_limit_holds_back_is_told_by_rule_and_each_packet_once(before):
    """What was held back before is for the former agent to tell."""
    kernel, clock = Kernel(), Clock()
    kernel.now, kernel.rules = Reading(1, 0, before), {"a": before}
    audit = LogAudit(kernel, clock)
    audit.begin()
    assert held_back(audit) == []
    steps = (
        (Reading(1, 0, before + 3), {"a": before + 3}, [("a", 3)]),
        (Reading(1, 0, before + 3), {"a": before + 3}, []),
        (Reading(1, 0, before + 8), {"a": before + 4, "b": 4}, [("a", 1), ("b", 4)]),
        (Reading(1, 0, before + 10), {"a": 2, "b": 4}, [("a", 2)]),  # a rule that was loaded again
        (Reading(2, 0, 5), {"b": 5}, [("b", 5)]),
    )
    for reading, rules, expected in steps:
        clock.now += 10
        kernel.now, kernel.rules = reading, rules
        assert held_back(audit) == expected


def test_rules_are_looked_at_rarely_and_again_when_it_failed():
    kernel, clock = Kernel(), Clock()
    audit = LogAudit(kernel, clock)
    audit.begin()
    assert held_back(audit) == []
    for unlogged, seconds, answer, expected in (
        (5, 1, {"a": 5}, [("a", 5)]),
        (6, 1, {"a": 6}, []),
        (6, 10, LoadError("no"), []),
        (6, 10, {"a": 6}, [("a", 1)]),
    ):
        clock.now += seconds
        kernel.now, kernel.rules = Reading(1, 0, unlogged), answer
        assert held_back(audit) == expected
    assert kernel.asked == 3


@contextmanager
def audited(world, size, **options):
    """An enforced node, its log with so much room, and what is said of both."""
    with world.enforcing(replace(OPTIONS, **options)) as node, world.inside():
        log, counters = NflogSocket(GROUP, size), LogCounters(TABLE)
        audit = LogAudit(counters)
        audit.begin()
        try:
            yield node, log, audit
        finally:
            counters.close()
            log.close()


def flood(world, many, port=80):
    source = world.machines["p0"].netns.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(many):
        source.sendto(b"x", (world.machines["p2"].ip, port))
    source.close()


def arrive(node, many, seconds=30):
    """The rules have seen them all: a machine that is busy takes its time."""
    deadline = time.monotonic() + seconds
    while (counted := sum(packets for packets, _ in node.reconciler.counters().values())) < many:
        assert time.monotonic() < deadline, f"{counted} of {many} packets"
        time.sleep(0.02)
    assert counted == many


def drain(log):
    while select.select([log], [], [], 0.3)[0]:
        log.read()


def denying(world):
    return policy(), world.inventory(world.pod("p0", "web"), world.pod("p2", "data"))


@pytest.mark.kernel
class TestKernel:
    @pytest.mark.parametrize("size", [4096, 16 * 2**20])
    def test_a_stopped_readers_loss_is_told_to_the_record(self, world, size):
        """Ground truth: the rule's counter of packets, against what was read."""
        many = 20_000
        with audited(world, size) as (node, log, audit):
            if log.buffer_bytes < size:
                pytest.skip("only root of the whole machine gets a buffer for bursts")
            node.enforce(*denying(world))
            drain(log)
            audit.begin()
            flood(world, many)
            arrive(node, many)
            drain(log)
            told = [audit.lost(log) for _ in range(3)]
            assert told[-1] == many - log.ours
            assert (told[-1] > 0) == (size == 4096)

    def test_revisions_that_come_and_go_are_no_loss(self, world):
        """Whole tables too: somebody deletes ours, and it is loaded again while packets are logged."""
        _, inventory = denying(world)
        others = [
            policy(),
            policy(entry("another", Verdict.DENY, "web", "data")),
            policy(entry("one", Verdict.RESET, "web")),
        ]
        sent = 0
        with audited(world, 16 * 2**20) as (node, log, audit):
            for round_ in range(12):
                node.enforce(others[round_ % 3], inventory)
                flood(world, 50)
                sent += 50
                if round_ % 4 == 3:
                    node.reconciler._table.invalidate()
                log.read()
                assert audit.lost(log) == 0
            deadline = time.monotonic() + 30
            while log.ours < sent and time.monotonic() < deadline:
                drain(log)
            assert [audit.lost(log) for _ in range(3)] == [0, 0, 0]
            assert log.ours == sent

    def test_what_the_limit_holds_back_is_told_by_the_rule(self, world):
        many, allowed = 500, 5
        with audited(world, 16 * 2**20, log_rate=1, log_burst=allowed) as (node, log, audit):
            applied = node.enforce(*denying(world))
            audit.begin()
            flood(world, many)
            arrive(node, many)
            drain(log)
            assert [audit.lost(log) for _ in range(3)][-1] == 0
            ((rule, held), *more) = asyncio.run(audit.held_back())
            assert more == []
            assert applied.ruleset.terminals[rule].origin == INTERZONE.origin
            assert held == many - log.ours < many - allowed + 1

    def test_without_a_limit_everything_is_logged(self, world):
        with audited(world, 16 * 2**20, log_rate=0) as (node, log, audit):
            node.enforce(*denying(world))
            flood(world, 3000)
            arrive(node, 3000)
            drain(log)
            assert log.ours == 3000
            audit.lost(log)
            assert asyncio.run(audit.held_back()) == []
