"""A shadowed entry is one whose verdict could be any without a flow that notices."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import entries
from tests.zones.test_difference import ALLOW, NARROW, NIGHT, NOW, TEN, WEB_TO_DATA, policy, rule
from zones.difference import difference
from zones.difference.shadows import shadowed
from zones.net import ALL_PORTS, NO_ADDRESS, TCP, Ranges
from zones.policy import Traffic, Verdict
from zones.rules import Origin, RuleType

ANY = rule("any", Verdict.DENY)
LOW, HIGH = (
    rule(name, Verdict.DENY, **WEB_TO_DATA, traffic=(Traffic(TCP, Ranges((span,))),))
    for name, span in (("low", (0, 443)), ("high", (444, 65535)))
)
WHOLE = rule("whole", Verdict.ALLOW, **WEB_TO_DATA, traffic=(Traffic(TCP, ALL_PORTS),))


@pytest.mark.parametrize(
    ("rules", "takers"),
    [
        ([ALLOW, WHOLE], {}),
        ([WHOLE, ALLOW], {1: ["whole"]}),
        ([ANY, ALLOW], {1: ["any"]}),
        ([LOW, HIGH, WHOLE], {2: ["low", "high"]}),
        ([LOW, WHOLE], {}),
        ([replace(WHOLE, schedule=NIGHT), ALLOW], {}),
        ([replace(WHOLE, sources=TEN), replace(ALLOW, sources=NARROW)], {}),
        ([replace(WHOLE, sources=TEN | NARROW), replace(ALLOW, sources=NARROW)], {1: ["whole"]}),
        ([rule("intra", Verdict.DENY, pairing=RuleType.INTRAZONE), ANY], {}),
        ([rule("i", Verdict.DENY, pairing=RuleType.INTRAZONE), rule("x", Verdict.DENY, pairing=RuleType.INTERZONE), ANY], {2: ["i", "x"]}),
        ([ANY, replace(ALLOW, sources=NO_ADDRESS)], {}),
    ],
)  # fmt: skip
def test_who_takes_what_is_named(rules, takers):
    found = shadowed(policy(*rules), NOW)
    assert {place: [each.name for each in origins] for place, origins in found.items()} == takers


@settings(max_examples=60, deadline=None)
@given(st.lists(entries(), max_size=5))
def test_a_shadowed_entry_decides_nothing_and_every_other_decides_something(given_entries):
    rules = [replace(each, origin=Origin(f"rule {at}", None, "pre", "dg")) for at, each in enumerate(given_entries)]
    found = shadowed(policy(*rules), NOW)
    for at, entry in enumerate(rules):
        other = Verdict.DENY if entry.verdict is Verdict.ALLOW else Verdict.ALLOW
        flipped = [*rules[:at], replace(entry, verdict=other), *rules[at + 1 :]]
        decides = bool(difference(policy(*rules), policy(*flipped), NOW).zones)
        assert not (decides and at in found)
        if not decides and at not in found:
            assert not difference(policy(entry), policy(replace(entry, verdict=other)), NOW).zones  # matches nothing
