"""The matrix says what the policy means, and its few paths cover what they should."""

import re
from collections import Counter
from dataclasses import replace
from unittest.mock import patch

from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.pages import drawing, policy_matrix
from bridge.pages.policy_matrix import CLASSES, PolicyMatrix
from bridge.pages.zone_pairs import ANY_OTHER, natural
from tests.bridge.pages.companies import ZONES, company, many_zones
from tests.strategies import INTERZONE, INTRAZONE, flows, policies
from zones.policy import Entry, Policy, Verdict
from zones.quarantine import closed
from zones.rules import Origin
from zones.verdict import decide
from zones.zone import QUARANTINE, Zoning

KEYS = [each.key for each in CLASSES]


def cell(matrix, from_zone, to_zone):
    row, column = (matrix.places.get(zone, matrix.other) for zone in (from_zone, to_zone))
    return KEYS[matrix.cells[row][column]], matrix.counts[row][column]


def put_in_quarantine(policy, flow):
    """The same, where the zone `data` is that of pods in quarantine."""

    def zones(named):
        return named and frozenset(QUARANTINE if zone == "data" else zone for zone in named)

    entries = (
        replace(each, from_zones=zones(each.from_zones), to_zones=zones(each.to_zones)) for each in policy.entries
    )
    ends = (replace(e, zone=QUARANTINE if e.zone == "data" else e.zone) for e in (flow.source, flow.destination))
    return replace(policy, entries=tuple(entries)), replace(
        flow, **dict(zip(("source", "destination"), ends, strict=True))
    )


@given(policies(), flows(), st.sampled_from([0, policy_matrix.MOST_UNFOLDED]))
def test_a_closed_cell_has_no_flow_that_is_allowed_and_an_open_one_none_that_is_denied(policy, flow, unfolded):
    policy, flow = put_in_quarantine(replace(policy, infrastructure=()), flow)
    verdict = decide(policy, flow).verdict
    with patch.object(policy_matrix, "MOST_UNFOLDED", unfolded):
        matrix = PolicyMatrix(policy)
    assert len(matrix.matrix("Zones", {}, {}).details["rules"]) == len(closed(policy).entries)
    # The cell of any other zone to any other is of two zones, not of one with itself.
    assume(flow.source.zone != flow.destination.zone or flow.source.zone in matrix.places)
    key, count = cell(matrix, flow.source.zone, flow.destination.zone)
    if key in {"closed", "denied"}:
        assert verdict is not Verdict.ALLOW
    elif key == "open":
        assert verdict is Verdict.ALLOW
    else:
        assert count


@given(
    policies(), st.sampled_from(["web", "nobody", QUARANTINE]), st.sampled_from(["web", "data", "somebody", QUARANTINE])
)
def test_the_rules_of_a_pair_are_those_that_pair_it(policy, from_zone, to_zone):
    pairs = PolicyMatrix(policy).pairs
    mask = pairs.concerning(from_zone, to_zone, same=from_zone == to_zone)
    entries = closed(policy).entries
    assert [mask >> place & 1 == 1 for place in range(len(entries))] == [
        entry.pairs(from_zone, to_zone) for entry in entries
    ]


def test_cells_count_the_rules_that_decide():
    matrix = PolicyMatrix(company().policy)
    assert cell(matrix, "web", "data") == ("denied", 0)
    assert cell(matrix, "partner", "app") == ("part1", 1)
    assert cell(matrix, "mgmt", "web") == ("closed", 0)
    assert cell(matrix, "app", "app")[0] == "exceptions"
    assert cell(matrix, "some-label", "monitoring") == ("part1", 1)


def test_two_hundred_zones_are_few_paths_that_cover_each_cell_once():
    matrix = PolicyMatrix(many_zones().policy)
    drawn = drawing.drawn(matrix.matrix("Zones", {}, {}))
    assert len(matrix.zones) == ZONES + 2, "all of them, that of pods in quarantine, and any other"
    assert len(drawn.cells) + len(drawn.glyphs) + len(drawn.marks) <= 2 * len(CLASSES)
    assert not drawn.counts
    covered = Counter()
    for path in drawn.cells:
        for x, y, wide, high in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)", path.d):
            assert int(high) == drawing.UNIT
            row = int(y) // drawing.UNIT
            for column in range(int(x) // drawing.UNIT, (int(x) + int(wide)) // drawing.UNIT):
                covered[row, column] += 1
                assert KEYS[matrix.cells[row][column]] == path.key
    assert len(covered) == (ZONES + 2) ** 2
    assert set(covered.values()) == {1}


def test_zones_that_no_rule_names_are_one_row():
    policy = many_zones().policy
    matrix = PolicyMatrix(replace(policy, known_zones=policy.known_zones | {"quiet-1", "quiet-2"}))
    assert matrix.folded[-2:] == ("quiet-1", "quiet-2")
    assert "quiet-1" not in matrix.zones
    assert matrix.zones[-1] == ANY_OTHER


def test_a_zone_may_have_the_name_that_stands_for_all_others():
    entry = Entry(Origin("to it", None, "pre", "dg"), Verdict.ALLOW, to_zones=frozenset({ANY_OTHER}))
    matrix = PolicyMatrix(Policy(Zoning(), (), (entry, INTERZONE), frozenset({ANY_OTHER, "web"})))
    assert matrix.zones.count(ANY_OTHER) == 2
    assert cell(matrix, "web", ANY_OTHER)[0] == "open"
    assert cell(matrix, "web", "a label")[0] == "closed"


def test_the_zone_of_pods_in_quarantine_is_closed_but_for_what_names_it():
    allow_all = Entry(Origin("all", None, "pre", "dg"), Verdict.ALLOW)
    probe = Entry(
        Origin("probe", None, "pre", "dg"),
        Verdict.ALLOW,
        from_zones=frozenset({"tools"}),
        to_zones=frozenset({QUARANTINE}),
    )
    matrix = PolicyMatrix(Policy(Zoning(), (), (allow_all, INTRAZONE, INTERZONE), frozenset({"web"})))
    assert QUARANTINE in matrix.zones, "though no rule and no configuration names it"
    assert cell(matrix, "web", "web") == ("open", 0)
    for pair in ((QUARANTINE, "web"), ("web", QUARANTINE), (QUARANTINE, QUARANTINE), ("any label", QUARANTINE)):
        assert cell(matrix, *pair) == ("denied", 0)
    words = {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in matrix.in_words().rows}
    assert words["web"][0] == "every zone, itself included, but quarantine"
    assert words[QUARANTINE] == ["", "", "", "every zone, itself included"]
    named = PolicyMatrix(Policy(Zoning(), (), (probe, allow_all, INTERZONE), frozenset({"web"})))
    assert cell(named, "tools", QUARANTINE)[0] == "open"
    assert cell(named, QUARANTINE, "tools")[0] == "denied"


def test_zones_are_sorted_as_people_do():
    names = ["zone-10", "Zone-9", "a", "zone-9b", "9", "\u0663", "zone-"]
    assert sorted(names, key=natural) == ["\u0663", "9", "a", "zone-", "Zone-9", "zone-9b", "zone-10"]


def test_long_names_keep_both_ends():
    assert drawing.shortened("payments-frontend-production", 12) == "payments…ion"
    assert drawing.shortened("web", 12) == "web"
