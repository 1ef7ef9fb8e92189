"""Marks and rows of what changes: all of the difference, and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings

from bridge.pages.changed_pairs import ITSELF, changed_cells, zone_groups
from bridge.pages.parts import Mark
from bridge.pages.policy_matrix import PolicyMatrix
from bridge.preview.wording import ANY_OTHER_ZONE
from tests.bridge.pages.companies import changed_company
from tests.strategies import flows, policies
from zones.difference import difference
from zones.policy import Verdict
from zones.verdict import decide

AT = datetime(2026, 1, 1, tzinfo=UTC)


def without_schedules(policy):
    """And without infrastructure: a year of moments is nothing that a page shows."""
    entries = tuple(replace(each, schedule=None) for each in policy.entries)
    return replace(policy, infrastructure=(), entries=entries)


def turned(policy, flow):
    """The policy with the opposite verdict of the rule that decides a flow, and that verdict."""
    origin = decide(policy, flow).origin
    place = next(place for place, each in enumerate(policy.entries) if each.origin == origin)
    entry = policy.entries[place]
    opposite = Verdict.DENY if entry.verdict is Verdict.ALLOW else Verdict.ALLOW
    entries = (*policy.entries[:place], replace(entry, verdict=opposite), *policy.entries[place + 1 :])
    return replace(policy, entries=entries), opposite


@settings(max_examples=settings.default.max_examples // 4)
@given(policies().map(without_schedules), flows())
def test_a_flow_that_changes_is_in_a_cell_with_its_mark_and_in_one_row(old, flow):
    new, verdict = turned(old, flow)
    seen = difference(old, new, AT)
    matrix = PolicyMatrix(new, (old,))
    cells = changed_cells(matrix, seen)
    row, column = (matrix.places.get(end.zone, matrix.other) for end in (flow.source, flow.destination))
    same = row == column == matrix.other and flow.source.zone == flow.destination.zone
    assert cells.marks[row, column] in {Mark.OPENS if verdict is Verdict.ALLOW else Mark.CLOSES, Mark.BOTH}
    assert f"{row},{column}{',same' * same}" in cells.details["changed"]
    rows = [
        (from_zone, to_zone, id(piece))
        for group in zone_groups(seen)
        for from_zone in group.from_zones
        for to_zone in group.to_zones
        for piece in group.pieces
    ]
    wanted = [
        (
            change.from_zone or ANY_OTHER_ZONE,
            ITSELF if change.intrazone else change.to_zone or ANY_OTHER_ZONE,
            id(piece),
        )
        for change in seen.zones
        for piece in change.pieces
    ]
    assert sorted(rows) == sorted(wanted)


def test_an_edit_for_many_zones_is_few_rows():
    groups = zone_groups(changed_company().flows)
    (reset,) = [group for group in groups if group.to_zones == ("monitoring",) and len(group.from_zones) > 8]
    assert "web" in reset.from_zones
    assert len(groups) < 8
