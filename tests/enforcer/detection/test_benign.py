"""A week and two days of a cluster in which nothing bad happens, and a million sources: no high alert, bounded memory."""

import os
import subprocess
import sys
from collections import Counter
from ipaddress import ip_address
from random import Random

import pytest

from enforcer.detection.terms import DAY, HOUR, MINUTE
from enforcer.flows.flows import FlowEnd
from tests.enforcer.detection.facts import ALLOW, DENY, accepted, denied, entry, outside, pod, policy
from tests.enforcer.detection.test_scans import Watched
from zones.policy import Verdict
from zones.rules import Origin

WORKLOADS = [f"app{number}" for number in range(30)]
NODE = FlowEnd(ip_address("192.0.2.1"), "nodes", node="n1")


class Week:
    """Events of a node in the order of their time. Each is drawn by the same seed, so that a failure comes again."""

    def __init__(self, days):
        self.random, self.days, self.events = Random(4711), days, []
        for workload in WORKLOADS:
            self.application(workload)
        self.rollouts()
        self.cron()
        self.prometheus()
        self.probes()
        self.misconfigured()
        self.background()
        self.policy_changes()
        self.events.sort(key=lambda event: event[0])

    def every(self, seconds, spread=0.1, start=0.0):
        at = start + self.random.uniform(0, seconds)
        while at < self.days * DAY:
            yield at
            at += seconds * self.random.uniform(1 - spread, 1 + spread)

    def application(self, workload):
        """Its few services outside, more by day than by night; a backup each night."""
        peers = [(f"198.51.{self.random.randrange(256)}.{number}", 443) for number in range(4)]
        for at in self.every(10 * MINUTE, 0.8):
            if self.random.random() < (0.9 if 8 <= at % DAY / HOUR < 20 else 0.2):
                address, port = self.random.choice(peers)
                self.events.append((at, "outbound", workload, address, port, self.random.randrange(2_000, 3_000_000)))
        for day in range(self.days):
            self.events.append((day * DAY + 2 * HOUR, "outbound", workload, peers[0][0], 443, 60 * 2**20))

    def rollouts(self):
        """New pods with new addresses, which try for some minutes what is not up yet, or no more allowed."""
        for at in self.every(6 * HOUR, 0.9):
            workload = self.random.choice(WORKLOADS)
            for number in range(self.random.randrange(3, 12)):
                source = pod(f"10.1.{self.random.randrange(256)}.{number}", workload)
                for attempt in range(10):
                    self.events.append(
                        (at + number + attempt * 5, "denied", source, pod("10.3.0.5", "cache", "data"), 6379)
                    )

    def cron(self):
        """A workload a day that lives for some seconds and speaks to somebody new."""
        for number, at in enumerate(self.every(HOUR, 0.0)):
            self.events.append((at, "outbound", f"job{number}", f"203.0.113.{number % 250}", 443, 5_000))

    def prometheus(self):
        """It scrapes every pod, which is allowed, and the ports of five that a rule denies."""
        for at in self.every(MINUTE, 0.0):
            for number in range(5):
                self.events.append(
                    (
                        at,
                        "denied",
                        pod("10.1.9.9", "prometheus", "ops", "ops"),
                        pod(f"10.4.0.{number}", "x", "data"),
                        9100,
                    )
                )

    def probes(self):
        for at in self.every(10 * MINUTE):
            for port in range(30):
                self.events.append((at, "denied", NODE, pod("10.1.0.7"), 8000 + port))

    def misconfigured(self):
        """For days: an application that asks three databases on four ports, again and again."""
        for at in self.every(5 * MINUTE):
            for number in range(3):
                for port in (5432, 3306, 1433, 27017):
                    self.events.append(
                        (at, "denied", pod("10.1.0.8", "legacy"), pod(f"10.5.0.{number}", "db", "data"), port)
                    )

    def background(self):
        """Of the Internet: many sources, each at a few addresses."""
        for at in self.every(2 * MINUTE, 0.9):
            source = outside(f"{self.random.randrange(1, 200)}.{self.random.randrange(256)}.9.9")
            for number in range(self.random.randrange(1, 8)):
                self.events.append((at, "denied", source, pod(f"10.1.0.{number}"), 22))

    def policy_changes(self):
        """From the eighth day on a rule a day, and what it allows is used at once by all."""
        for day in range(7, self.days):
            at = day * DAY + 10 * HOUR
            self.events.append((at, "policy", day))
            for number, workload in enumerate(WORKLOADS):
                self.events.append((at + 60 * number, "new", workload, f"100.{day}.{number}.9", day))


def test_a_benign_week_and_two_days_have_no_high_alert():
    watched = Watched()
    rules = [entry(ALLOW), entry(DENY, Verdict.DENY)]
    watched.detection.learn(policy(*rules))
    week = Week(9)
    for at, kind, *what in week.events:
        watched.at = at
        watched.detection.tick()
        if kind == "denied":
            watched.detection.denied(denied(*what))
        elif kind == "policy":
            rules.append(entry(Origin(f"day {what[0]}", f"u{what[0]}", "pre", "dg")))
            watched.detection.learn(policy(*rules))
        elif kind == "new":
            workload, address, day = what
            watched.detection.accepted(accepted(address, workload, origin=Origin(f"day {day}", f"u{day}", "pre", "dg")))
        else:
            workload, address, port, octets = what
            watched.detection.accepted(accepted(address, workload, port))
            watched.detection.ended(accepted(address, workload, port), 1.0, octets)
    severities = Counter(str(hit.alert(0).severity) for hit in watched.hits)
    assert len(week.events) > 100_000
    assert severities["high"] == severities["critical"] == 0, [hit.message for hit in watched.hits][:5]
    assert severities["medium"] == 0, [hit.message for hit in watched.hits][:5]
    assert sum(severities.values()) <= 20, severities
    assert watched.detection.suppressed["policy"] == 2 * len(WORKLOADS)
    assert watched.detection.evicted == 0


MEMORY = """
import resource
from ipaddress import IPv4Address
from enforcer.flows.flows import FlowEnd
from tests.enforcer.detection.facts import denied, pod
from tests.enforcer.detection.test_scans import Watched
watched, target = Watched(), pod("10.1.0.2", "db", "data")
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
for number in range(SOURCES):
    watched.detection.denied(denied(FlowEnd(IPv4Address(0x10000000 + number), "untrust"), target, number % 60_000 + 1))
print(peak() - before, watched.detection.evicted, len(watched.detection.scans.ports))
"""


@pytest.mark.timeout(300)
def test_sources_without_end_take_less_than_100_megabytes_and_are_told_as_too_many():
    """In a process of its own, whose peak counts. Beyond the capacity it doesn't grow: SOURCES=1000000 takes as much."""
    sources = int(os.environ.get("SOURCES", "120000"))
    script = MEMORY.replace("SOURCES", str(sources))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=280)
    kilobytes, evicted, tracked = map(int, ran.stdout.split())
    assert kilobytes < 100 * 1000
    assert tracked == 50_000
    assert evicted == 2 * (sources - 50_000)
