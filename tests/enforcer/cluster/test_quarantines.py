"""When a quarantine ends: on time, and never early, whoever sets a clock and however often the agent begins anew."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.cluster import quarantines
from enforcer.cluster.quarantines import QuarantineTerms
from enforcer.cluster.view import ObjectPage, View, WatchedKind, WatchedObject
from enforcer.status.problems import of_quarantines
from tests.enforcer import smallcluster as world
from tests.enforcer.clocks import Clock
from zones import decode
from zones.siem.alerts import AlertKind
from zones.tiers.slices import render

CREATED = 1_772_452_800  # 2026-03-02T12:00:00Z
STAMP = "2026-03-02T12:00:00Z"


def quarantine(name="q", *, pod="web-1", uid="u-1", created=STAMP, **spec):
    raw = world.quarantine(name, pod=(pod, uid), **spec)
    return raw | {"metadata": {"name": name, "uid": f"of-{name}", "creationTimestamp": created}}


def raw_pod(name="web-1", uid="u-1", ip="10.1.0.1"):
    raw = world.pod(name, ip, "web")
    return raw | {"metadata": raw["metadata"] | {"uid": uid}}


def view_of(clock, *listed, at=None, pods=None, before=None):
    """An agent's view when everything is listed. `before`: the file of an earlier run."""
    made = View("panorama", (), "n1", quarantines=QuarantineTerms(clock))
    if before is not None:
        made.known_before(made.quarantines.restore(before, "boot"))
    for kind in WatchedKind:
        told = {WatchedKind.PODS: (raw_pod(),) if pods is None else pods, WatchedKind.QUARANTINES: listed}
        made.fold(ObjectPage(kind, told.get(kind, ()), at=at))
    return made


def held(view):
    view.end_quarantines()
    return sorted(pod.name for pod in view.own_pods() if pod.quarantined)


def test_a_pod_is_held_as_soon_as_the_object_is_there_and_free_as_soon_as_it_is_gone():
    view = view_of(Clock())
    assert view.fold(WatchedObject(WatchedKind.QUARANTINES, quarantine()))
    assert held(view) == ["web-1"]
    assert view.fold(WatchedObject(WatchedKind.QUARANTINES, quarantine(), gone=True))
    assert held(view) == []


@pytest.mark.parametrize(
    ("changes", "who"),
    [
        ({"dryRun": True}, []),
        ({"held": "too many"}, []),
        ({"held": "too many", "approvedBy": "bob"}, ["web-1"]),
        ({"duration": "nonsense"}, []),
        ({"uid": "another"}, []),
        ({"pod": "web-2"}, []),
        ({"workload": "web-1"}, ["web-1"]),
        ({"workload": "other"}, []),
    ],
)
def test_whom_an_object_holds(changes, who):
    assert held(view_of(Clock(), quarantine(**changes))) == who


def test_a_new_pod_of_the_same_name_is_free_and_new_labels_free_nobody():
    view = view_of(Clock(), quarantine())
    relabelled = raw_pod()
    relabelled["metadata"]["labels"] = {"app": "other"}
    view.fold(WatchedObject(WatchedKind.PODS, relabelled))
    assert held(view) == ["web-1"]
    view.fold(WatchedObject(WatchedKind.PODS, raw_pod(), gone=True))
    view.fold(WatchedObject(WatchedKind.PODS, raw_pod(uid="u-2")))
    assert held(view) == []


def test_pods_of_kube_system_are_never_held():
    raw = quarantine(workload="coredns")
    raw["spec"]["workload"]["namespace"] = "kube-system"
    pod = raw_pod("coredns")
    pod["metadata"]["namespace"] = "kube-system"
    assert held(view_of(Clock(), raw, pods=[pod])) == []


def test_one_that_is_being_deleted_is_over_whatever_keeps_it():
    raw = quarantine()
    view = view_of(Clock(), raw)
    raw = raw | {"metadata": raw["metadata"] | {"deletionTimestamp": STAMP, "finalizers": ["example.com/stay"]}}
    view.fold(WatchedObject(WatchedKind.QUARANTINES, raw))
    assert held(view) == []


def test_pods_of_other_nodes_are_known_as_held_by_their_uid():
    view = view_of(Clock(), quarantine(), pods=())
    node = {"metadata": {"name": "n2", "uid": "n"}, "spec": {"podCIDRs": ["10.2.0.0/24"]}, "status": {}}
    view.fold(ObjectPage(WatchedKind.NODES, [node]))
    pods = [decode.pod(raw_pod(uid=uid, ip=ip)).item for uid, ip in (("u-1", "10.2.0.1"), ("u-2", "10.2.0.2"))]
    view.fold(ObjectPage(WatchedKind.SLICES, [render("panorama", "s", "n2", pods, ["zonebridge.io/zone"])]))
    assert {str(pod.addresses[0]): pod.quarantined for pod in view.holders.remote()} == {
        "10.2.0.1": True,
        "10.2.0.2": False,
    }
    view.fold(WatchedObject(WatchedKind.QUARANTINES, quarantine(), gone=True))
    assert not any(pod.quarantined for pod in view.holders.remote())


def test_it_ends_by_itself_and_says_when_it_is_worth_a_look():
    clock = Clock()
    view = view_of(clock)
    view.fold(WatchedObject(WatchedKind.QUARANTINES, quarantine()))
    assert view.quarantines.next_end() == 3600
    clock.now = 3599.9
    assert held(view) == ["web-1"]
    clock.now = 3600.0
    assert held(view) == []
    assert list(view.quarantines.lasting()) == []


def test_a_longer_duration_counts_from_the_same_beginning():
    clock = Clock()
    view = view_of(clock)
    view.fold(WatchedObject(WatchedKind.QUARANTINES, quarantine()))
    clock.now = 3000.0
    view.fold(WatchedObject(WatchedKind.QUARANTINES, quarantine(duration="2h")))
    clock.now = 7199.0
    assert held(view) == ["web-1"]
    clock.now = 7200.0
    assert held(view) == []


def test_what_was_made_while_the_agent_was_away_has_only_the_rest_of_its_time():
    clock = Clock()
    view = view_of(clock, quarantine(), at=CREATED + 3000)
    clock.now = 599.0
    assert held(view) == ["web-1"]
    clock.now = 602.0
    assert held(view) == []


def test_without_the_api_servers_time_it_is_late_and_not_early():
    clock = Clock()
    view = view_of(clock, quarantine())
    clock.now = 3599.0
    assert held(view) == ["web-1"]


def of_replica_set(name="web-5d9f", **changes):
    """A running pod, whose controller lets go of it where `name` is empty: by a label, whoever may set one."""
    raw = raw_pod(**changes)
    owners = [{"kind": "ReplicaSet", "name": name, "controller": True}] if name else []
    return raw | {"metadata": raw["metadata"] | {"ownerReferences": owners}}


@pytest.mark.parametrize("after", ["", "other-77aa"])
def test_a_pod_whose_controller_lets_go_of_it_stays_in_the_quarantine_of_its_workload(after):
    clock = Clock()
    view = view_of(clock, quarantine(workload="web"), pods=[of_replica_set()])
    assert held(view) == ["web-1"]
    for label in ("one", "two"):
        raw = of_replica_set(after)
        raw["metadata"]["labels"]["more"] = label
        view.fold(WatchedObject(WatchedKind.PODS, raw))
        assert held(view) == ["web-1"]
        (told,) = of_quarantines(view.quarantines, view.own_pods(), observes=False)
        assert told.kind is AlertKind.QUARANTINED
    again = view_of(
        clock, quarantine(workload="web"), pods=[of_replica_set(after)], before=view.quarantines.content("boot")
    )
    assert held(again) == ["web-1"]
    clock.now = 3600.0
    assert (held(view), held(again)) == ([], [])


def test_of_pods_that_are_gone_nothing_is_kept():
    view = view_of(Clock(), quarantine(workload="web"), pods=[of_replica_set()])
    known = view.quarantines.content("boot")
    assert b"u-1" in known
    again = view_of(Clock(), quarantine(workload="web"), pods=[of_replica_set(uid="u-2")], before=known)
    assert b"u-1" not in again.quarantines.content("boot")
    again.fold(WatchedObject(WatchedKind.PODS, of_replica_set(uid="u-2"), gone=True))
    assert b"u-2" not in again.quarantines.content("boot")


def test_where_the_kind_can_not_be_listed_those_known_before_hold_until_they_are_over():
    clock = Clock()
    content = view_of(clock, quarantine()).quarantines.content("boot")
    made = View("panorama", (), "n1", quarantines=QuarantineTerms(clock))
    made.known_before(made.quarantines.restore(content, "boot"))
    for kind in WatchedKind:
        problem = "404" if kind is WatchedKind.QUARANTINES else ""
        made.fold(ObjectPage(kind, [raw_pod()] if kind is WatchedKind.PODS else (), problem=problem))
    assert made.complete
    assert held(made) == ["web-1"]
    clock.now = 3600.0
    assert held(made) == []


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"boot": "boot", "quarantines": [{}]}', b'{"boot": "boot"}'])
def test_a_file_that_is_damaged_is_none(content):
    assert QuarantineTerms(Clock()).restore(content, "boot") == ()


def test_a_file_of_another_boot_is_none(tmp_path):
    known = QuarantineTerms(Clock())
    quarantines.save(tmp_path, view_of(Clock(), quarantine()).quarantines.content("boot"))
    assert quarantines.load(known, tmp_path, "another") == ()
    assert quarantines.load(known, tmp_path, "boot") == ("q",)


@dataclass
class Machines:
    """A node whose agent restarts, and an API server whose clock is set; `now` is the true time."""

    now: float = 0.0
    offset: float = 0.0
    raw: dict | None = None
    created: float = 0.0
    clock: Clock = field(default_factory=Clock)
    view: View = None

    def __post_init__(self):
        self.view = view_of(self.clock)

    @property
    def server_time(self):
        return int(CREATED + self.now + self.offset)

    def create(self):
        if self.raw is None:
            stamp = STAMP if self.server_time == CREATED else _stamp(self.server_time)
            self.raw, self.created = quarantine(created=stamp), self.now
            self.view.fold(WatchedObject(WatchedKind.QUARANTINES, self.raw))

    def wait(self, seconds):
        self.now += seconds
        self.clock.now += seconds

    def restart(self):
        content = self.view.quarantines.content("boot")
        listed = [self.raw] if self.raw else []
        self.view = view_of(self.clock, *listed, at=self.server_time, before=content)

    def list_again(self):
        self.view.fold(ObjectPage(WatchedKind.QUARANTINES, [self.raw] if self.raw else (), at=self.server_time))


def _stamp(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


STEPS = st.one_of(
    st.tuples(st.just("create")),
    st.tuples(st.just("wait"), st.sampled_from([0.4, 1.0, 600.0, 1799.7, 3599.0])),
    st.tuples(st.just("set"), st.sampled_from([-7200.0, -0.5, 0.7, 3600.0, 86400.0])),
    st.tuples(st.just("restart")),
    st.tuples(st.just("list")),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=14))
def test_whatever_happens_it_ends_on_time_and_never_early(steps):
    at = Machines()
    for name, *arguments in steps:
        match name:
            case "create":
                at.create()
            case "wait":
                at.wait(*arguments)
            case "set":
                at.offset += arguments[0]
            case "restart":
                at.restart()
            case "list":
                at.list_again()
        if at.raw is not None:
            assert (held(at.view) == ["web-1"]) == (at.now - at.created < 3600)


@settings(max_examples=100)
@given(st.floats(0, 7200), st.floats(0, 1))
def test_an_agent_that_comes_later_ends_it_within_two_seconds_of_its_time(late, fraction):
    """Both of the API server's times are cut off to whole seconds."""
    raw = quarantine(created=_stamp(int(CREATED + fraction)))
    clock = Clock()
    view = view_of(clock, raw, at=int(CREATED + fraction + late))
    left = 3600 - late
    if left > 0:
        assert held(view) == ["web-1"]
        clock.now = max(0.0, left - 0.01)
        assert held(view) == ["web-1"]
    clock.now = max(0.0, left) + 2.0
    assert held(view) == []
