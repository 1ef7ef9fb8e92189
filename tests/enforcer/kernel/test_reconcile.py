"""What the reconciler does to the kernel's table, and what it does when somebody else does something to it."""

import select
from datetime import datetime, timedelta

import pytest

from enforcer.errors import LockedError
from enforcer.kernel.nft import Nftables
from enforcer.kernel.reconcile import AppliedAction, Reconciler
from enforcer.kernel.stance import TierAnswer
from enforcer.kernel.transaction import Transaction
from enforcer.netlink import sockets
from enforcer.restart import snapshot
from enforcer.restart.saved import Keeper
from enforcer.rules.chains.base_chains import HOOKED, OLD_NUMBERS
from enforcer.rules.options import Failure
from enforcer.rules.ruleset import TABLE as NAME
from mocks.lab import Outcome
from tests.enforcer import nftprogram
from tests.enforcer.test_enforcement import BOTH_WAYS, entry, outcomes, policy
from tests.enforcer.world import NOW, OPTIONS, WholeFeeds
from zones.policy import Verdict
from zones.schedule import Absolute, Schedule

pytestmark = pytest.mark.kernel

TABLE = "inet zonebridge"


@pytest.fixture
def inventory(world):
    zones = {"p0": "web", "p1": "web", "p2": "data", "q0": "web", "q1": "data"}
    return world.inventory(*(world.pod(name, zone) for name, zone in zones.items()))


@pytest.fixture
def reconciler(world):
    with world.reconciler() as made:
        yield made


def listed(world):
    with world.inside():
        return nftprogram.listing()


def handle(world):
    """Which table it is: another one has another handle."""
    return world.n1.run(["nft", "-a", "list", "table", "inet", NAME]).stdout.splitlines()[0]


def test_the_first_pass_loads_and_the_next_leaves_the_kernel_alone(world, reconciler, inventory):
    rules = policy(*BOTH_WAYS)
    assert reconciler.apply(rules, inventory, NOW, revision=7).action is AppliedAction.FIRST_LOAD
    assert reconciler.apply(rules, inventory, NOW, revision=7).action is AppliedAction.NONE  # looks at all elements
    before = sockets.generation()
    again = reconciler.apply(policy(*BOTH_WAYS), inventory, NOW, revision=8)
    assert (again.action, again.revision, again.problems, again.drift) == (AppliedAction.NONE, 8, (), None)
    assert sockets.generation() == before


def test_a_pod_comes_and_goes_by_elements_alone(world, reconciler, inventory):
    rules = policy(*BOTH_WAYS)
    reconciler.apply(rules, inventory, NOW)
    more = inventory.with_pod(world.pod("p3", "data")).with_pod(world.pod("p4", "web"))
    assert reconciler.apply(rules, more, NOW).action is AppliedAction.ELEMENTS
    assert outcomes(world, ("p0", "p3", 80), ("p0", "p4", 80)) == [Outcome.ALLOWED] * 2
    assert reconciler.apply(rules, inventory, NOW).action is AppliedAction.ELEMENTS
    assert outcomes(world, ("p0", "p3", 80)) == [Outcome.TIMEOUT]
    assert reconciler.apply(rules, inventory, NOW).drift is None


def test_a_pods_change_writes_no_rule_but_those_that_hold_the_number(world, reconciler, inventory):
    """Any rule with a verdict would have the kernel walk through the whole table."""

    def rules_with_handles(name):
        return world.n1.run(["nft", "-a", "list", "chain", *TABLE.split(), name]).stdout.splitlines()

    chains = ("forward", "input", "output", "police", "dispatch4")
    rules = policy(*BOTH_WAYS)
    reconciler.apply(rules, inventory, NOW)
    before = {name: rules_with_handles(name) for name in chains}
    assert reconciler.apply(rules, inventory.with_pod(world.pod("p3", "data")), NOW).action is AppliedAction.ELEMENTS
    for name in chains:
        written = [line for line in rules_with_handles(name) if line not in before[name]]
        assert [OLD_NUMBERS.decode() in line for line in written] == ([True] if name in HOOKED else [])
    assert reconciler.apply(rules, inventory, NOW).drift is None


def test_a_new_policy_is_swapped_in_and_rules_that_stay_keep_their_counters(world, reconciler, inventory):
    reconciler.apply(policy(BOTH_WAYS[0]), inventory, NOW)
    assert outcomes(world, ("p0", "p2", 80)) == [Outcome.ALLOWED]
    applied = reconciler.apply(policy(BOTH_WAYS[0], entry("new", Verdict.ALLOW, "data", "web")), inventory, NOW)
    assert applied.action is AppliedAction.SWAP
    assert outcomes(world, ("p2", "p0", 80)) == [Outcome.ALLOWED]
    counted = {applied.ruleset.origins[key].name: packets for key, (packets, _) in reconciler.counters().items()}
    assert counted["to data"] > 0


def test_swapping_leaves_nothing_behind(world, reconciler, inventory):
    reconciler.apply(policy(), inventory, NOW)
    plain = listed(world)
    reconciler.apply(policy(*BOTH_WAYS), inventory.with_pod(world.pod("p3", "fresh")), NOW)
    reconciler.apply(policy(), inventory, NOW)
    assert listed(world) == plain


def test_a_schedule_opens_and_closes(world, reconciler, inventory):
    noon = datetime(2026, 3, 2, 12)
    lunch = Schedule("lunch", (Absolute(noon, noon + timedelta(hours=1)),))
    rule = entry("to data", Verdict.ALLOW, "web", "data")
    rules = policy(type(rule)(rule.origin, rule.verdict, rule.pairing, rule.from_zones, rule.to_zones, schedule=lunch))
    applied = reconciler.apply(rules, inventory, NOW)
    assert applied.ruleset.next_change == NOW + timedelta(hours=1)
    assert outcomes(world, ("p0", "p2", 80)) == [Outcome.ALLOWED]
    assert reconciler.apply(rules, inventory, NOW + timedelta(hours=1)).action is AppliedAction.SWAP
    assert outcomes(world, ("p0", "p2", 80)) == [Outcome.TIMEOUT]


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("flush ruleset", "the table was deleted"),
        (f"delete table {TABLE}", "the table was deleted"),
        (f"flush chain {TABLE} forward", "chain forward"),
        (f"flush chain {TABLE} dispatch4", "chain dispatch4"),
        (f"insert rule {TABLE} police accept", "chain police"),
        (f"add chain {TABLE} mine {{ type filter hook forward priority -50; }}", "chain mine"),
        (f"add set {TABLE} mine {{ type ipv4_addr; }}", "set mine"),
        (f"add counter {TABLE} mine", "counter mine"),
        (f"add table {TABLE} {{ flags dormant; }}", "table zonebridge"),
        (f"flush map {TABLE} pairs4", "the elements of pairs4"),
        (f"delete element {TABLE} addresses4 {{ 10.244.1.2 }}", "the elements of addresses4"),
        (f'add element {TABLE} addresses6 {{ fd99::1 : 1 . "web" }}', "the elements of addresses6"),
        (f'add element {TABLE} pairs4 {{ "web" . "net/nodes" : accept }}', "the elements of pairs4"),
    ],
)
def test_what_others_change_is_told_and_put_back(world, reconciler, inventory, deed, told):
    rules = policy(*BOTH_WAYS)
    reconciler.apply(rules, inventory, NOW)
    before = listed(world)
    foreign = world.n1.run(["nft", "list", "table", "inet", "lab_cni"]).stdout
    world.n1.nft(deed)

    applied = reconciler.apply(rules, inventory, NOW)

    assert applied.problems == ()
    assert applied.drift is not None
    assert told in applied.drift.what
    assert [each.split(" (")[0] for each in applied.drift.who] == ["nft"]
    assert listed(world) == before
    assert reconciler.apply(rules, inventory, NOW).drift is None
    if deed == "flush ruleset":
        world.n1.nft(foreign)
    assert outcomes(world, ("p0", "p2", 80), ("p0", "n1", 80)) == [Outcome.ALLOWED, Outcome.TIMEOUT]


def test_what_others_change_is_put_back_while_everything_else_changes_too(world, reconciler, inventory):
    reconciler.apply(policy(*BOTH_WAYS), inventory, NOW)
    world.n1.nft(f"flush map {TABLE} pairs4\nflush chain {TABLE} police4\nflush set {TABLE} live")
    world.n1.nft(f"delete element {TABLE} addresses4 {{ {world.machines['p0'].ip} }}")
    wanted = policy(entry("new", Verdict.DENY, "fresh"), BOTH_WAYS[0]), inventory.with_pod(world.pod("p3", "fresh"))
    applied = reconciler.apply(*wanted, NOW)
    assert {"chain police4", "the elements of pairs4", "the elements of addresses4"} <= set(applied.drift.what)
    assert reconciler.apply(*wanted, NOW).drift is None
    mended = listed(world)
    reconciler.flush()
    reconciler.apply(*wanted, NOW)
    assert listed(world) == mended


def test_changes_in_other_tables_are_no_drift(world, reconciler, inventory):
    rules = policy(*BOTH_WAYS)
    reconciler.apply(rules, inventory, NOW)
    world.n1.nft("add table inet other\nadd set inet other s { type ipv4_addr; }")
    applied = reconciler.apply(rules, inventory, NOW)
    world.n1.nft("delete table inet other")
    assert (applied.drift, applied.action) == (None, AppliedAction.NONE)


@pytest.mark.parametrize("rules", [policy(*BOTH_WAYS), None], ids=["a tier", "no tier"])
def test_what_a_pass_has_heard_calls_for_no_other(world, reconciler, inventory, rules):
    """Also where there is no table to look at: of bridges, on a node without them, and any without a tier."""

    def calls():
        return bool(select.select([reconciler], [], [], 0)[0])

    for _ in range(2):
        reconciler.apply(rules, inventory, NOW)
    assert not calls()
    world.n1.nft("add table inet other")
    world.n1.run(["ip", "link", "add", "other", "type", "dummy"])
    assert calls()
    reconciler.apply(rules, inventory, NOW)
    called = calls()
    world.n1.nft("delete table inet other")
    world.n1.run(["ip", "link", "delete", "other"])
    assert not called


def test_a_refused_load_keeps_the_last_good_rules_and_says_why(world, reconciler, inventory, monkeypatch):
    reconciler.apply(policy(*BOTH_WAYS), inventory, NOW, revision=1)
    before = listed(world)
    broken = Transaction.flush_chain
    monkeypatch.setattr(Transaction, "flush_chain", lambda self, name: broken(self, "nowhere"))
    applied = reconciler.apply(policy(), inventory, NOW, revision=2)
    assert applied.revision == 1
    assert applied.action is AppliedAction.NONE
    assert any("emptying the chain nowhere" in problem for problem in applied.problems)
    assert listed(world) == before
    assert outcomes(world, ("p0", "p2", 80)) == [Outcome.ALLOWED]

    monkeypatch.undo()
    recovered = reconciler.apply(policy(), inventory, NOW, revision=2)
    assert (recovered.revision, recovered.problems, recovered.drift) == (2, (), None)


def test_a_second_agent_on_the_node_is_refused_and_the_next_one_is_not(world):
    with world.inside():
        first = Reconciler("n1")
        with pytest.raises(LockedError, match="another zone-enforcer"):
            Reconciler("n1")
        first.stop()
        Reconciler("n1").stop()


def test_the_next_agent_takes_over_without_a_gap(world, inventory):
    rules = policy(*BOTH_WAYS)
    with world.inside():
        first = WholeFeeds("n1", OPTIONS)
        first.apply(policy(entry("old", Verdict.DENY, "web", "data"), *BOTH_WAYS), inventory, NOW)
        first.stop()
    talk = world.lab.conversation(world.machines["p0"], world.machines["p1"].ip, 80, every=0.01, silence=0.2)
    table = handle(world)
    with world.reconciler() as second:
        applied = second.apply(rules, inventory, NOW)
        assert (applied.action, applied.problems) == (AppliedAction.TAKE_OVER, ())
        assert handle(world) == table, "where a table is replaced, packets come to rules whose sets are empty yet"
        taken = listed(world)
        second.flush()
        assert second.apply(rules, inventory, NOW).action is AppliedAction.FIRST_LOAD
        assert listed(world) == taken
        assert talk.alive
        talk.close()


LIKE_OURS = """
    add table inet zonebridge
    delete table inet zonebridge
    table inet zonebridge {
        map addresses4 { type ipv4_addr : mark; }
        counter logged { }
        counter unlogged { }
        chain forward { type filter hook forward priority -5; policy accept; }
        chain input { type filter hook input priority 99; policy accept; }
        chain output { type filter hook output priority -5; policy accept; }
    }
"""
EARLY = "{ type filter hook forward priority -400; policy drop; }"


@pytest.mark.parametrize(
    ("edit", "stays"),
    [
        (f"add set {TABLE} extra {{ type ipv4_addr; }}\nadd chain {TABLE} early {EARLY}", True),
        (f"add element {TABLE} local4 {{ 10.244.2.3 }}\nflush chain {TABLE} forward", True),
        (f"add counter {TABLE} extra", False),
        (f"delete chain {TABLE} forward", False),
        (LIKE_OURS, False),
    ],
    ids=["more", "other content", "no kind of ours", "no packets come", "declared otherwise"],
)
def test_whatever_stands_under_our_name_is_made_ours(world, inventory, edit, stays):
    with world.inside():
        first = WholeFeeds("n1", OPTIONS)
        first.apply(policy(*BOTH_WAYS), inventory, NOW)
        first.stop()
        right = nftprogram.listing()
    world.n1.nft(edit)
    table = handle(world)
    with world.reconciler() as second:
        applied = second.apply(policy(*BOTH_WAYS), inventory, NOW)
        assert (applied.action, applied.problems) == (AppliedAction.TAKE_OVER, ())
        assert (handle(world) == table) is stays
        assert listed(world) == right
        assert second.apply(policy(*BOTH_WAYS), inventory, NOW).action is AppliedAction.NONE


@pytest.mark.parametrize("failure", Failure)
def test_a_node_that_can_not_ask_for_a_tier(world, inventory, failure):
    with world.reconciler(failure=failure) as reconciler:
        applied = reconciler.apply(None, inventory, NOW, answer=TierAnswer.SILENT)
        closed = failure is Failure.CLOSED
        assert applied.action is (AppliedAction.FIRST_LOAD if closed else AppliedAction.NONE)
        assert outcomes(world, ("n1", "p0", 80), ("p0", "p1", 80), ("outside", "p2", 80), ("n1", "n2", 80)) == [
            Outcome.ALLOWED,
            *[Outcome.TIMEOUT if closed else Outcome.ALLOWED] * 2,
            Outcome.ALLOWED,
        ]
        assert reconciler.apply(policy(*BOTH_WAYS), inventory, NOW).problems == ()
        assert outcomes(world, ("p0", "p1", 80), ("outside", "p2", 80)) == [Outcome.ALLOWED, Outcome.TIMEOUT]
        assert reconciler.apply(None, inventory, NOW).action is AppliedAction.NONE


def test_after_a_node_restart_the_last_good_rules_are_there_before_anybody_is_asked(world, inventory, tmp_path):
    with world.inside():
        first = WholeFeeds("n1", OPTIONS, state_dir=tmp_path)
        first.apply(policy(*BOTH_WAYS), inventory, NOW, revision=5)
        first.stop()
        nftprogram.nft("delete", "table", "inet", NAME)  # what a restart of the node does
    with world.reconciler(state_dir=tmp_path) as second:
        restored = second.restore()
        assert (restored.action, restored.revision, restored.problems) == (AppliedAction.FIRST_LOAD, 5, ())
        assert "to data" in {origin.name for origin in restored.ruleset.origins.values()}
        # The node's own pods come back with other addresses: nobody is in a zone for having had one.
        assert outcomes(world, ("p0", "q1", 80), ("p0", "n1", 80)) == [Outcome.TIMEOUT, Outcome.TIMEOUT]
        assert outcomes(world, ("n1", "p0", 80), ("n1", "p3", 80)) == [Outcome.ALLOWED, Outcome.ALLOWED]  # probes
        assert outcomes(world, ("n1", "q1", 80)) == [Outcome.TIMEOUT]  # not its own
        assert outcomes(world, ("n1", "p4", 53), transport="udp") == [Outcome.ALLOWED]
        assert any('"web"' in each for each in listed(world).elements["addresses4"])
        assert second.apply(None, inventory, NOW, answer=TierAnswer.WAITING).action is AppliedAction.NONE
        assert second.apply(policy(*BOTH_WAYS), inventory, NOW).action is AppliedAction.TAKE_OVER
        assert outcomes(world, ("p0", "q1", 80), ("n1", "p0", 80)) == [Outcome.ALLOWED, Outcome.ALLOWED]


def test_a_damaged_state_file_is_no_state(world, inventory, tmp_path):
    (tmp_path / snapshot.FILE).write_bytes(b"0000\n{}")
    with world.reconciler(state_dir=tmp_path) as reconciler:
        assert reconciler.restore(inventory).action is AppliedAction.FIRST_LOAD  # closed
        assert outcomes(world, ("p0", "p1", 80)) == [Outcome.TIMEOUT]


def test_a_full_disk_stops_no_enforcement(world, inventory, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with world.reconciler(state_dir=blocked) as reconciler:
        applied = reconciler.apply(policy(*BOTH_WAYS), inventory, NOW, revision=1)
        assert (applied.action, applied.revision) == (AppliedAction.FIRST_LOAD, 1)
        reconciler.settle()
        assert "can't be written" in reconciler.apply(policy(*BOTH_WAYS), inventory, NOW, revision=1).problems[0]
        assert outcomes(world, ("p0", "p2", 80)) == [Outcome.ALLOWED]


def test_flush_removes_the_table_and_nothing_else(world, inventory, tmp_path):
    with world.reconciler(state_dir=tmp_path) as reconciler:
        reconciler.apply(policy(), inventory, NOW)
        reconciler.flush()
        assert "zonebridge" not in world.n1.run(["nft", "list", "tables"]).stdout
        assert "lab_cni" in world.n1.run(["nft", "list", "tables"]).stdout
        assert not list(tmp_path.iterdir())


def test_rules_are_saved_at_once_and_pods_later(world, inventory, tmp_path, monkeypatch):
    """Gathering everybody takes a while; what others did to the kernel is no reason for it."""
    kept = []
    monkeypatch.setattr("enforcer.restart.schedule.RESTS", 0.0)
    monkeypatch.setattr(Keeper, "keep", lambda self, what, *, thorough: kept.append((what.revision, thorough)))
    rules, more = policy(*BOTH_WAYS), inventory.with_pod(world.pod("p3", "data"))
    with world.reconciler(state_dir=tmp_path) as reconciler:
        reconciler.apply(rules, inventory, NOW, revision=1)
        assert reconciler.apply(rules, more, NOW, revision=1).action is AppliedAction.ELEMENTS
        world.n1.nft(f"flush map {TABLE} pairs4")
        assert reconciler.apply(rules, more, NOW, revision=1).drift is not None
        assert kept == [(1, True)]
        reconciler.apply(rules, more, NOW, revision=2)
        assert kept == [(1, True), (2, False)]
        monkeypatch.setattr("enforcer.restart.schedule.SAVE_EVERY", 0.0)
        for _ in range(2):
            reconciler.apply(rules, inventory, NOW, revision=2)
        assert kept == [(1, True), (2, False), (2, False)]


def test_revisions_in_a_row_are_saved_when_they_rest(world, inventory, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr("enforcer.restart.schedule.RESTS", 0.0)
    monkeypatch.setattr(Keeper, "keep", lambda self, what, *, thorough: kept.append(what.revision))
    with world.reconciler(state_dir=tmp_path) as reconciler:
        for number in range(1, 5):
            rules = policy(*BOTH_WAYS[: number % 2])
            assert reconciler.apply(rules, inventory, NOW, revision=number).action is not AppliedAction.NONE
        assert kept == [1]
        assert reconciler.apply(rules, inventory, NOW, revision=4).action is AppliedAction.NONE
        assert kept == [1, 4]
        reconciler.apply(policy(*BOTH_WAYS), inventory, NOW, revision=5)
        reconciler.settle()
        assert kept == [1, 4, 5]


@pytest.fixture
def looked(monkeypatch):
    """The whole looks at the table, and the sets that were looked through."""
    seen = []
    look, elements = Nftables.look, Nftables.elements
    monkeypatch.setattr(Nftables, "look", lambda self, *a, **k: seen.append("all") or look(self, *a, **k))
    monkeypatch.setattr(
        Nftables, "elements", lambda self, table, name: seen.append(name) or elements(self, table, name)
    )
    return seen


@pytest.mark.parametrize(
    "case",
    [
        (f"delete element {TABLE} addresses4 {{ 10.244.1.2 }}", "the elements of addresses4", []),
        (f'add element {TABLE} addresses6 {{ fd99::1 : 0 . "web" }}', "the elements of addresses6", []),
        (f"flush set {TABLE} local4", "the elements of local4", []),
        (f"flush map {TABLE} pairs4", "the elements of pairs4", ["pairs4"]),
        (f"flush chain {TABLE} dispatch4", "chain dispatch4", []),
        (f"add chain {TABLE} mine\nadd rule {TABLE} mine drop", "chain mine", []),
        (f"add set {TABLE} mine {{ type ipv4_addr; }}\nadd element {TABLE} mine {{ 10.0.0.1 }}", "set mine", []),
    ],
)
def test_only_what_others_changed_is_looked_at_and_rules_keep_their_counters(
    world, reconciler, inventory, looked, case
):
    rules, (deed, told, looked_through) = policy(*BOTH_WAYS), case
    reconciler.apply(rules, inventory, NOW)
    assert outcomes(world, ("p0", "p2", 80)) == [Outcome.ALLOWED]
    before, counted = listed(world), reconciler.counters()
    world.n1.nft(deed)
    looked.clear()

    applied = reconciler.apply(rules, inventory, NOW)

    assert (applied.drift.what, applied.problems, looked) == ((told,), (), looked_through)
    assert listed(world) == before
    assert reconciler.counters() == counted
    assert reconciler.apply(rules, inventory, NOW).drift is None


def test_what_was_missed_is_found_by_a_look_at_everything(world, reconciler, inventory, looked, monkeypatch):
    rules = policy(*BOTH_WAYS)
    reconciler.apply(rules, inventory, NOW)
    before = listed(world)
    monkeypatch.setattr("enforcer.kernel.nft_monitor._MOST", 0)
    world.n1.nft(f"delete element {TABLE} addresses4 {{ 10.244.1.2 }}\nflush chain {TABLE} police4")
    looked.clear()
    applied = reconciler.apply(rules, inventory, NOW)
    assert {"the elements of addresses4", "chain police4"} == set(applied.drift.what)
    assert looked[0] == "all"
    monkeypatch.undo()
    assert listed(world) == before
    assert reconciler.apply(rules, inventory, NOW).drift is None


def test_an_element_that_others_took_is_put_back_while_its_pod_changes(world, reconciler, inventory):
    """What they took is what the kernel was told last, not what it is told now."""
    rules = policy(*BOTH_WAYS)
    reconciler.apply(rules, inventory, NOW)
    gone, moved = world.machines["p0"].ip, world.machines["p1"].ip
    world.n1.nft(f"delete element {TABLE} addresses4 {{ {gone}, {moved} }}")
    changed = inventory.without_pod("p0").with_pod(world.pod("p1", "data")).with_pod(world.pod("p3", "web"))
    applied = reconciler.apply(rules, changed, NOW)
    assert (applied.drift.what, applied.problems) == (("the elements of addresses4",), ())
    assert outcomes(world, ("p3", "p1", 80), ("p0", "p1", 80)) == [Outcome.ALLOWED, Outcome.TIMEOUT]
    assert reconciler.apply(rules, changed, NOW).drift is None
    mended = listed(world)
    reconciler.flush()
    reconciler.apply(rules, changed, NOW)
    assert listed(world) == mended


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_edit_at_the_moment_of_our_own_change_is_not_taken_for_ours(world, reconciler, inventory, monkeypatch, when):
    """Between the look and the commit, and between the commit and the next look."""
    rules = policy(*BOTH_WAYS)
    reconciler.apply(rules, inventory, NOW)
    commit, deeds = Nftables.commit, [f"delete element {TABLE} addresses4 {{ {world.machines['p0'].ip} }}"]

    def interrupted(self, made):
        if when == "before" and deeds:
            world.n1.nft(deeds.pop())
        commit(self, made)
        if deeds:
            world.n1.nft(deeds.pop())

    monkeypatch.setattr(Nftables, "commit", interrupted)
    more = inventory.with_pod(world.pod("p3", "data"))
    assert reconciler.apply(rules, more, NOW).drift is None
    monkeypatch.undo()
    assert reconciler.apply(rules, more, NOW).drift.what == ("the elements of addresses4",)
    assert reconciler.apply(rules, more, NOW).drift is None
    assert outcomes(world, ("p0", "p3", 80)) == [Outcome.ALLOWED]


def test_an_edit_of_the_very_element_that_we_change_is_found_by_loading_anew(world, reconciler, inventory, monkeypatch):
    rules = policy(*BOTH_WAYS)
    reconciler.apply(rules, inventory, NOW)
    commit, deeds = Nftables.commit, [f"delete element {TABLE} addresses4 {{ {world.machines['p0'].ip} }}"]
    monkeypatch.setattr(
        Nftables, "commit", lambda self, made: (deeds and world.n1.nft(deeds.pop()), commit(self, made))
    )
    fewer = inventory.without_pod("p0")
    assert "deleting elements from addresses4" in reconciler.apply(rules, fewer, NOW).problems[0]
    monkeypatch.undo()
    applied = reconciler.apply(rules, fewer, NOW)
    assert (applied.drift.what, applied.problems) == (("the elements of addresses4",), ())
    mended = listed(world)
    reconciler.flush()
    reconciler.apply(rules, fewer, NOW)
    assert listed(world) == mended


def test_what_a_failed_pass_left_torn_is_mended_by_the_next(world, reconciler, inventory, monkeypatch):
    rules = policy(*BOTH_WAYS)
    reconciler.apply(rules, inventory, NOW)
    before = listed(world)
    world.n1.nft(f"delete element {TABLE} addresses4 {{ 10.244.1.2 }}\nflush chain {TABLE} police4")
    with monkeypatch.context() as broken:
        broken.setattr(Reconciler, "_wanted", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            reconciler.apply(rules, inventory, NOW)
    assert {"the elements of addresses4", "chain police4"} == set(reconciler.apply(rules, inventory, NOW).drift.what)
    assert listed(world) == before
    assert reconciler.apply(rules, inventory, NOW).drift is None
