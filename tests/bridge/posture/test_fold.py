"""Folding changes is listing all: for any changes, in any order, the snapshot is that of the objects that are left."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.posture.catalogue import BY_ID
from bridge.posture.check import CheckOutcome, CheckResult
from bridge.posture.fold import PostureFold
from bridge.posture.objects import ObjectName, PostureViolation
from bridge.posture.snapshot import Input, PostureTerms
from bridge.posture.transitions import transitions
from tests.bridge.posture.cases import bound, made
from tests.bridge.posture.test_checks import snapshot
from zones.siem.alerts import Severity

NAMES = ("a", "b", "c")
changes = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["made", "changed", "gone", "broken"])), max_size=20
)


def binding(name, role):
    return bound(name, role, None, "shop")


@given(changes, st.booleans())
def test_changes_and_a_list_are_the_same(steps, listed_again):
    fold, there = PostureFold(PostureTerms()), {}
    folded = fold.of(Input.ROLE_BINDINGS)
    folded.list_page((), first=True, last=True)
    for name, step in steps:
        raw = binding(name, step)
        if step == "gone":
            there.pop(name, None)
        else:
            there[name] = made("RoleBinding", name, "shop", roleRef=None) if step == "broken" else raw
        folded.change(there.get(name, raw), gone=step == "gone")
    if listed_again:
        raws = list(there.values())
        folded.list_page(raws[:1], first=True, last=False)
        folded.list_page(raws[1:], first=False, last=True)
    expected = snapshot(*there.values()).role_bindings
    assert bool(folded.current.problem) == bool(expected.problem)
    if not expected.problem:
        assert sorted(folded.current.items, key=str) == sorted(expected.items, key=str)


def test_a_list_in_parts_counts_when_its_last_part_is_there():
    fold = PostureFold(PostureTerms())
    folded = fold.of(Input.ROLE_BINDINGS)
    folded.list_page([binding("a", "r")], first=True, last=False)
    assert Input.ROLE_BINDINGS in fold.unasked
    folded.list_page([binding("b", "r")], first=False, last=True)
    assert [item.of.name for item in folded.current.items] == ["a", "b"]


def outcome(result, *objects, why="why"):
    violations = [
        PostureViolation(ObjectName("Pod", name, "shop"), f"Pod shop/{name} is privileged") for name in objects
    ]
    return CheckOutcome(BY_ID["privileged-pods"], result, why, violations)


def told(before, after):
    last = {} if before is None else {before.check.id: before}
    return [(each.over, each.severity, each.about["new"]) for each in transitions(last, [after], "2.0.1")]


def test_only_what_changes_is_told():
    well, wrong = outcome(CheckResult.PASS), outcome(CheckResult.FAIL, "a")
    unknown = outcome(CheckResult.UNKNOWN)
    assert told(None, well) == []
    assert told(None, wrong) == [(False, Severity.HIGH, 1)]
    assert told(wrong, wrong) == []
    assert told(wrong, outcome(CheckResult.FAIL, "a", "b")) == [(False, Severity.HIGH, 1)]
    assert told(outcome(CheckResult.FAIL, "a", "b"), wrong) == [(False, Severity.HIGH, 0)]
    assert told(wrong, well) == [(True, Severity.LOW, 0)]
    assert told(well, unknown) == [(False, Severity.LOW, 0)]
    assert told(unknown, outcome(CheckResult.UNKNOWN, why="another")) == [(False, Severity.LOW, 0)]
    assert told(well, outcome(CheckResult.NOT_APPLICABLE)) == []
