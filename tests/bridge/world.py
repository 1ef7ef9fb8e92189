"""A manager and a cluster in memory for the tests of the bridge. The cluster can be told to die at any call."""

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bridge.alerts import Alerts
from bridge.compilation.recompile import nothing_more
from bridge.feeds import Feeds
from bridge.feeds.fetch import FeedContent, FeedError
from bridge.history.revision import REVISION
from bridge.managers import Commit, Provenance
from bridge.tier.lifelines import never_cut_off
from bridge.tier.plan import Part
from bridge.tier.sync import CompileTarget, Sync
from zones.kube.errors import ClusterConflictError
from zones.net import TCP, AddressSet, Ranges
from zones.rules import L4, Action, Application, Applications, Log, Origin, Rule, Rulebase, RuleType
from zones.tiers import native
from zones.zone import Zoning

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """The process dies here."""


def rule(name, action=Action.ALLOW, **fields):
    fields.setdefault("origin", Origin(name, f"uuid-{name}", "pre", "dg"))
    return Rule(action=action, **fields)


def rulebase(*rules, zones=("web", "db")):
    return Rulebase(
        "dg",
        tuple(rules),
        Rule(Origin("intrazone-default", None, "default", "Shared"), Action.ALLOW, RuleType.INTRAZONE),
        Rule(Origin("interzone-default", None, "default", "Shared"), Action.DENY),
        frozenset(zones),
    )


def many(count, start=0):
    """Rules that make more than one chunk where there are hundreds of them."""
    return [
        rule(f"rule {n}", from_zones=frozenset({f"zone-{n}"}), log=Log(end=True)) for n in range(start, start + count)
    ]


def inexpressible(name="by user"):
    return rule(name, Action.DENY, conditions=("a cluster can't know its user: bob",))


def workload(name, port=5432):
    return Applications((Application(name, name, (L4(TCP, Ranges(((port, port),))),)),))


class FakeManager:
    """Says what it is told to say; `trouble` is raised instead where it is set."""

    def __init__(self, *rules):
        self.trouble = None
        self.asked = []
        self.number = 0
        self.commits = []
        self.commit(*rules)

    def commit(self, *rules, zones=("web", "db"), feeds=()):
        self.number += 1
        self.commits.insert(0, Commit(self.number, "Commit", "alice", f"change {self.number}", "2026/01/01 13:00:00"))
        self.current = replace(rulebase(*rules, zones=zones), feeds=feeds)

    def version(self):
        self.asked.append("version")
        if self.trouble:
            raise self.trouble
        return str(self.number)

    def rulebase(self):
        self.asked.append("rulebase")
        return self.current

    def provenance(self):
        self.asked.append("provenance")
        return Provenance(serial="0070", commits=tuple(self.commits), oldest_job=1)

    def close(self):
        pass


class FakeCluster:
    """A cluster's tier objects. `dies_at`: the call before which (`after` False) or after which the process dies."""

    def __init__(self):
        self.tier_object = None
        self.held = {}
        self.kept = {}
        self.recorded = {}
        self.nodes = []
        self.events = []
        self.calls = []
        self.version = 0
        self.dies_at = None
        self.dies_after = False
        self.watch = lambda: None

    async def _call(self, what, effect=lambda: None):
        number = len(self.calls)
        self.calls.append(what)
        if number == self.dies_at and not self.dies_after:
            raise Killed
        result = effect()
        self.watch()
        if number == self.dies_at:
            raise Killed
        return copy.deepcopy(result)

    @property
    def writes(self):
        return [call for call in self.calls if call.split()[0] in {"create", "apply", "delete", "status"}]

    def policy(self):
        return None if self.tier_object is None else native.parse(self.tier_object, self.held)

    async def tier(self, name):
        return await self._call("get tier", lambda: self.tier_object)

    async def parts(self, tier):
        return await self._call("list parts", lambda: self.held)

    async def node_states(self):
        return await self._call("list nodes", lambda: self.nodes)

    async def apply(self, wanted):
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        return await self._call(f"apply {kind} {name}", lambda: self._store(copy.deepcopy(wanted)))

    async def create(self, part):
        kind, name = part["kind"], part["metadata"]["name"]
        return await self._call(f"create {kind} {name}", lambda: self._create(copy.deepcopy(part)))

    def _create(self, part):
        if part["metadata"]["name"] in self.held | self.kept | self.recorded:
            raise ClusterConflictError("creating a part: 409: there is one")
        return self._store(part)

    def _store(self, wanted):
        if wanted["kind"] == REVISION:
            self.recorded[wanted["metadata"]["name"]] = wanted
            return wanted
        if wanted["kind"] != native.TIER:
            self.kept.pop(wanted["metadata"]["name"], None)
            self.held[wanted["metadata"]["name"]] = wanted
            return wanted
        live = self.tier_object
        asked = wanted["metadata"].pop("resourceVersion", None)
        if live is not None and asked not in {None, live["metadata"]["resourceVersion"]}:
            raise ClusterConflictError("applying Tier: 409: somebody was first")
        if live is not None and "status" in live:
            wanted["status"] = live["status"]
        self.version += 1
        wanted["metadata"]["resourceVersion"] = str(self.version)
        self.tier_object = wanted
        return wanted

    async def delete(self, part):
        return await self._call(f"delete {part.kind} {part.name}", lambda: self._delete(part.name))

    def _delete(self, name):
        if name in self.kept | self.recorded:
            self.kept.pop(name, None)
            self.recorded.pop(name, None)
            return None
        held = self.held.get(name, {"metadata": {}})
        if not held["metadata"].get("finalizers"):
            self.held.pop(name, None)
            return None
        held["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        return held

    async def retire(self, part, tier):
        return await self._call(f"retire {part.kind} {part.name}", lambda: self._retire(part.name))

    def _retire(self, name):
        self.kept[name] = self.held.pop(name)
        return self.kept[name]

    async def revisions(self, tier):
        return await self._call("list revisions", lambda: list(self.recorded.values()))

    async def part(self, part):
        return await self._call("get part", lambda: (self.held | self.kept).get(part.name))

    async def apply_status(self, wanted):
        name = wanted["metadata"]["name"]
        return await self._call(
            f"status {wanted['kind']}", lambda: self.recorded[name].update(status=copy.deepcopy(wanted["status"]))
        )

    async def kept_parts(self, tier):
        return await self._call(
            "list kept parts", lambda: [Part(each["kind"], name) for name, each in self.kept.items()]
        )

    async def write_status(self, tier, status):
        return await self._call("status", lambda: self._status(status))

    def _status(self, status):
        self.version += 1
        self.tier_object = self.tier_object | {"status": copy.deepcopy(status)}
        self.tier_object["metadata"]["resourceVersion"] = str(self.version)
        return self.tier_object["status"]

    async def release(self, part):
        await self._call(f"release {part.kind} {part.name}", lambda: self._release(part))

    def _release(self, part):
        held = self.tier_object if part.kind == native.TIER else self.held.get(part.name)
        if held is None:
            return
        dying = [held["metadata"].pop(name, None) for name in ("finalizers", "ownerReferences", "deletionTimestamp")][2]
        if dying and part.kind == native.TIER:
            self.tier_object = None
        elif dying:
            del self.held[part.name]

    async def record(self, tier, reason, message, *, warning):
        await self._call("event", lambda: self.events.append((reason, warning)))


class RecordingSink:
    def __init__(self):
        self.alerts = []
        self.checkpoints = []

    async def send(self, alert):
        self.alerts.append(alert)

    async def checkpoint(self, cluster, tier, checkpoint):
        self.checkpoints.append(checkpoint)

    @property
    def told(self):
        return [(alert.kind.reason, alert.over) for alert in self.alerts]


class Clock:
    def __init__(self):
        self.now = START
        self.set_by = timedelta()

    def __call__(self):
        return self.now

    def forward(self, **how_long):
        self.now += timedelta(**how_long)

    def set(self, **how_far):
        """Somebody sets the machine's time: no time passes."""
        self.now += timedelta(**how_far)
        self.set_by += timedelta(**how_far)

    def seconds(self):
        """Of the clock that nobody sets."""
        return (self.now - self.set_by).timestamp()


async def run_here(call):
    return call()


class World:
    """A manager, a cluster, and the sync between them; `restart` is a new process."""

    def __init__(
        self, *rules, present=None, infrastructure_of=nothing_more, cut_off=never_cut_off, retention=None, **target
    ):
        self.present = present
        self.retention = retention
        self.infrastructure_of = infrastructure_of
        self.cut_off = cut_off
        self.manager = FakeManager(*rules)
        self.cluster = FakeCluster()
        self.sink = RecordingSink()
        self.clock = Clock()
        self.fetched = {}
        self.target = CompileTarget("c1", "panorama", "dg", Zoning(), **target)
        self.restart()

    def restart(self):
        self.cluster.calls.clear()
        self.cluster.dies_at = None
        alerts = Alerts("c1", "panorama", [self.sink])
        self.feeds = Feeds(self._fetch, lambda: None, now=self.clock, clock=self.clock.seconds)
        self.sync = Sync(
            self.target,
            self.manager,
            self.cluster,
            alerts,
            self.feeds,
            run_blocking=run_here,
            now=self.clock,
            clock=self.clock.seconds,
            present=lambda: self.present,
            infrastructure=self.infrastructure_of,
            cut_off=self.cut_off,
            retention=self.retention,
        )

    async def _fetch(self, feed):
        if feed.name not in self.fetched:
            raise FeedError(f"fetching {feed.location}: it is away")
        return FeedContent(AddressSet.parse(self.fetched[feed.name]))

    def condition(self, kind):
        conditions = self.cluster.tier_object["status"]["conditions"]
        return next((each["status"], each["reason"]) for each in conditions if each["type"] == kind)
