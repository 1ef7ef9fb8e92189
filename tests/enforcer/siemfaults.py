"""What must hold between the agent and its SIEM whatever fails: scenarios of any size, played to real processes.

Tests play them small, `make soak-siem` in full. Each gives its figures and raises AssertionError where one is wrong.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from mocks.kubernetes import KubernetesServer
from mocks.siem import HecServer, Token
from tests.enforcer import disks
from tests.enforcer import smallcluster as cluster
from tests.enforcer.pipeline import TALLY, packet_of

SECRET = "6f1f4c1e-3c0a-4a3e-9a51-1f0f3f6f2f5b"
REPOSITORY = Path(__file__).parents[2]


@dataclass
class Ledger:
    """Takes the place of the collector's journal: what was indexed, in which request, without keeping a million events."""

    requests: int = 0
    total: int = 0
    first: dict = field(default_factory=dict)  # id: the request that brought it
    repeated: Counter = field(default_factory=Counter)  # by the request that had brought it before
    flows: dict = field(default_factory=lambda: defaultdict(set))  # by life: numbers of packets
    sequences: list = field(default_factory=list)
    alerts: list = field(default_factory=list)

    def append(self, events):
        self.requests += 1
        self.total += len(events)
        for event in events:
            self._note(event.fields["id"], event.event)

    def _note(self, name, record):
        key = bytes.fromhex(name)
        before = self.first.setdefault(key, self.requests)
        if before != self.requests:
            self.repeated[before] += 1
            return
        self.sequences.append(record["sequence"])
        if record["kind"] == "flow":
            life, number = packet_of(record["source"]["address"], record["source"]["port"])
            self.flows[life].add(number)
        else:
            self.alerts.append(record)

    def runs(self):
        """The unbroken runs of sequence numbers: one for each life of the agent, where nothing is missing between."""
        found = []
        for number in sorted(self.sequences):
            if found and number == found[-1][1] + 1:
                found[-1][1] = number
            else:
                found.append([number, number])
        return found

    def told(self, kind):
        return [alert for alert in self.alerts if alert["alert"] == kind]


@dataclass(frozen=True)
class Tally:
    fed: int
    put: int
    written: int
    lost_in_memory: int
    lost_on_disk: int


class Agent:
    """One life of the agent."""

    def __init__(self, stage, life, count, rate):
        self.life, self._stage = life, stage
        self._tally = stage.directory / f"tally-{life}"
        self._tally.write_bytes(bytes(TALLY.size))
        self.log = stage.directory / f"agent-{life}.log"
        command = [sys.executable, "-m", "tests.enforcer.pipeline", stage.settings, self._tally, life, count, rate]
        environment = os.environ | {"TOKEN": SECRET, "PYTHONPATH": str(REPOSITORY)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                list(map(str, command)), cwd=REPOSITORY, env=environment, stdout=log, stderr=log
            )

    @property
    def tally(self):
        return Tally(*TALLY.unpack(self._tally.read_bytes()))

    @property
    def status(self):
        """As `zone-enforcer status` shows it; a few seconds old."""
        try:
            return json.loads((self._stage.state / "status.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return {}

    def until(self, holds, seconds=120.0):
        deadline = time.monotonic() + seconds
        while not (value := holds()):
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.tally}\n{self.log.read_text()[-3000:]}"
            time.sleep(0.01)
        return value

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(60) == 0, self.log.read_text()[-3000:]


class Stage:
    """A cluster in small, a SIEM, and an agent that may have many lives."""

    def __init__(self, directory, *, acknowledge=False, spool=None, state=None, **hec):
        self.directory = directory
        self._stack = ExitStack()
        self.kubernetes = self._stack.enter_context(KubernetesServer(directory / "kubernetes", bookmark_seconds=1))
        cluster.fill(self.kubernetes)
        cluster.publish(self.kubernetes, cluster.tier(1))
        self.hec = HecServer(Token(SECRET, use_ack=acknowledge), keep=100, **hec)
        self.ledger = self.hec.journal = Ledger()
        self._stack.enter_context(self.hec)
        self.agents = []
        self.settings = directory / "enforcer.json"
        self.state = state or directory / "state"
        destination = {
            "name": "siem",
            "type": "hec",
            "url": self.hec.url,
            "tokenEnv": "TOKEN",
            "caFile": str(self.hec.ca_file),
            "timeout": "1m",
            "acknowledge": acknowledge,
        }
        content = {
            "cluster": "prod",
            "tier": cluster.TIER,
            "nodeName": "n1",
            "kubeconfig": str(self.kubernetes.kubeconfig),
            "stateDir": str(self.state),
            "flows": {"window": "200ms"},
            "spool": spool or {},
            "destinations": [destination],
        }
        self.settings.write_text(json.dumps(content))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for agent in self.agents:
            if agent.process.poll() is None:
                agent.kill()
        self._stack.close()

    def agent(self, count, rate=20_000):
        self.agents.append(Agent(self, len(self.agents), count, rate))
        return self.agents[-1]

    def all_there(self, agent, count, seconds=120.0):
        """Every packet of this life has reached the SIEM, and nothing the agent knows of is missing."""
        agent.until(lambda: len(self.ledger.flows[agent.life]) >= count, seconds)
        assert self.ledger.flows[agent.life] == set(range(count))


def away(directory, count, *, rate=20_000, cuts=3, seconds=120.0, acknowledge=False):
    """The SIEM is away while `count` events arrive; while they are caught up with it breaks off a few times more."""
    with Stage(directory, acknowledge=acknowledge) as stage:
        stage.hec.stop()
        agent = stage.agent(count, rate)
        agent.until(lambda: agent.tally.fed == count and agent.tally.written == agent.tally.put >= count, seconds)
        waiting, began = agent.tally.put, time.monotonic()
        stage.hec.start()
        for cut in range(cuts):
            agent.until(lambda cut=cut: len(stage.ledger.first) > waiting * (cut + 1) // (cuts + 2), seconds)
            stage.hec.reset_after_commit()
        stage.all_there(agent, count, seconds)
        caught_up = time.monotonic() - began
        agent.stop()
        ledger, tally = stage.ledger, agent.tally
        assert (tally.lost_in_memory, tally.lost_on_disk) == (0, 0)
        assert len(ledger.runs()) == 1, f"missing in between: {ledger.runs()}"
        assert len(ledger.repeated) <= cuts * (8 if acknowledge else 1), ledger.repeated
        return {
            "events": count,
            "records": len(ledger.first),
            "lost": 0,
            "duplicates": sum(ledger.repeated.values()),
            "batches cut off": cuts,
            "batches delivered twice": len(ledger.repeated),
            "seconds to catch up": round(caught_up, 1),
        }


def kills(directory, count, *, rate=5_000, within=2.0, seconds=120.0):
    """The agent is killed `count` times under load, at any moment `within` its first seconds; the last life isn't."""
    tallies, chance = [], random.Random(count)
    with Stage(directory) as stage:
        for _ in range(count):
            agent = stage.agent(1 << 20, rate)
            agent.until(lambda agent=agent: agent.tally.written, seconds)
            time.sleep(chance.uniform(0, within))
            agent.kill()
            tallies.append(agent.tally)
        last = stage.agent(1000, rate)
        stage.all_there(last, 1000, seconds)
        ledger = stage.ledger
        last.until(lambda: (run := ledger.runs()[-1])[1] - run[0] + 1 == last.tally.put, seconds)
        tallies.append(last.tally)
        last.stop()
        runs = ledger.runs()
        assert len(runs) == count + 1, f"missing in between: {runs}"
        delivered = [end - first + 1 for first, end in runs]
        delivered[-1] = min(delivered[-1], tallies[-1].put)  # what came after the last look
        for tally, got in zip(tallies, delivered, strict=True):
            assert tally.written <= got <= tally.put, (tally, got)
        lost = [tally.put - got for tally, got in zip(tallies, delivered, strict=True)]
        assert lost[-1] == 0
        assert len(ledger.repeated) <= count, ledger.repeated
        return {
            "kills": count,
            "records made": sum(tally.put for tally in tallies),
            "records delivered": len(ledger.first),
            "written and not delivered": 0,
            "made and not written": sum(lost),
            "made and not written, most at a kill": max(lost),
            "packets read and not told, most at a kill": max(
                tally.fed - len(ledger.flows[life]) for life, tally in enumerate(tallies)
            ),
            "duplicates": sum(ledger.repeated.values()),
            "batches delivered twice": len(ledger.repeated),
        }


def revoked(directory, count, *, rate=5_000, seconds=120.0):
    """The token is revoked in the middle of the stream, and restored once the agent has said so and all have arrived."""
    with Stage(directory) as stage:
        agent = stage.agent(count, rate)
        agent.until(lambda: len(stage.ledger.flows[0]) > count // 4, seconds)
        stage.hec.disable(SECRET)
        agent.until(lambda: agent.tally.fed == count and agent.status["destinations"][0]["held"], seconds)
        held = agent.status["destinations"][0]
        stage.hec.enable(SECRET)
        stage.all_there(agent, count, seconds)
        raised = agent.until(lambda: stage.ledger.told("destination-trouble"), seconds)[0]
        agent.stop()
        assert "token is disabled" in held["trouble"]
        assert "token is disabled" in raised["message"]
        assert len(stage.ledger.runs()) == 1
        assert not stage.ledger.repeated
        return {
            "events": count,
            "records": len(stage.ledger.first),
            "lost": 0,
            "duplicates": 0,
            "waiting when it was restored": held["backlog"],
        }


def poisoned(directory, count, *, rate=5_000, seconds=120.0):
    """The collector refuses a few of the events, wherever they stand in a batch: these alone are set aside."""
    bad = {0, 1, count // 3, count // 2, count - 1}

    def refuses(event):
        source = event.get("source", {})
        return event["kind"] == "flow" and packet_of(source["address"], source["port"])[1] in bad

    with Stage(directory) as stage:
        stage.hec.refuses = refuses
        agent = stage.agent(count, rate)
        agent.until(lambda: len(stage.ledger.flows[0]) == count - len(bad), seconds)
        refused = stage.state / "refused/siem.jsonl"
        agent.until(lambda: refused.exists() and refused.read_bytes().count(b"\n") == len(bad), seconds)
        agent.stop()
        aside = [json.loads(line)["record"] for line in refused.read_text().splitlines()]
        numbers = {packet_of(each["source"]["address"], each["source"]["port"])[1] for each in aside}
        assert numbers == bad
        assert stage.ledger.flows[0] == set(range(count)) - bad
        assert not stage.ledger.repeated
        return {"events": count, "set aside": len(aside), "delivered once": len(stage.ledger.first), "duplicates": 0}


def disk_full(directory, count, *, rate=10_000, seconds=120.0):
    """No room on the disk from the start, and the SIEM away until memory is used up too. `directory` is the disk.

    The SIEM comes back before there is room again: it is told what is kept and how much isn't, to the last record.
    """
    state = directory / "state"
    state.mkdir()
    filler = disks.fill(directory)
    with (
        tempfile.TemporaryDirectory() as elsewhere,
        Stage(Path(elsewhere), state=state, spool={"drop": "newest"}) as stage,
    ):
        stage.hec.stop()
        agent = stage.agent(count, rate)
        agent.until(lambda: agent.tally.fed == count, seconds)
        agent.until(lambda: (told := agent.tally).written + told.lost_on_disk + told.lost_in_memory >= count, seconds)
        assert agent.tally.lost_on_disk
        stage.hec.start()
        ledger = stage.ledger
        agent.until(lambda: ledger.told("log-loss"), seconds)
        lost = sum(alert["count"] for alert in ledger.told("log-loss"))
        problems = [alert["message"] for alert in ledger.told("node-problem")]
        filler.unlink()
        agent.until(lambda: not agent.status.get("problems", [""]), seconds)
        agent.until(lambda: len(ledger.first) + agent.tally.lost_on_disk == agent.tally.put, seconds)
        agent.stop()
        runs = ledger.runs()
        missing = sum(after[0] - before[1] - 1 for before, after in pairwise(runs))
        assert any("No space left" in problem for problem in problems), problems
        assert lost == missing == agent.tally.lost_on_disk + agent.tally.lost_in_memory, (lost, missing, agent.tally)
        return {
            "events": count,
            "records made": agent.tally.put,
            "records delivered": len(ledger.first),
            "lost": missing,
            "told to be lost": lost,
        }
