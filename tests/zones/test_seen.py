"""What nodes say they saw: every row survives its record, and what isn't a row is refused with its fault."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zones.net import ETHERTYPES
from zones.policy import Verdict
from zones.rules import Origin
from zones.seen import Counting, SeenEnd, SeenFlow, SeenKey, SeenRecordError, counting_of, seen_of

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NETWORKS = st.sampled_from(["10.1.2.3/32", "10.1.2.0/24", "2001:db8::1/128", "2001:db8::/64"]).map(ip_network)
NAMES = TEXTS.filter(bool)
ENDS = st.builds(SeenEnd, NAMES, TEXTS, TEXTS, st.none() | NETWORKS)
RULES = st.builds(Origin, NAMES, st.none() | NAMES, NAMES, TEXTS)
KEYS = st.builds(
    SeenKey,
    ENDS,
    ENDS,
    st.sampled_from([1, 6, 17, 47, 58, 132, ETHERTYPES + 0x0806, ETHERTYPES + 0x88B5]),
    st.none() | st.integers(0, 65535),
    RULES,
    st.sampled_from(list(Verdict)),
    st.booleans(),
    st.none() | st.integers(0, 255),
)
COUNTS = st.integers(0, 2**40)
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@st.composite
def flows(draw):
    first, last = sorted((draw(TIMES), draw(TIMES)))
    return SeenFlow(draw(KEYS), draw(COUNTS), draw(COUNTS), draw(COUNTS), first, last)


@given(flows())
def test_a_row_survives_its_record(flow):
    assert seen_of(json.loads(json.dumps(flow.json()))) == flow


@given(st.builds(Counting, TIMES, TIMES, TIMES, COUNTS, COUNTS, COUNTS, COUNTS))
def test_what_a_node_says_of_its_counting_survives_its_record(counting):
    assert counting_of(json.loads(json.dumps(counting.json()))) == counting


ROW = SeenFlow(
    SeenKey(SeenEnd("web", "shop", "front"), SeenEnd("data", "shop", "db"), 6, 5432, Origin("r", "u", "pre", "dg"), Verdict.ALLOW),
    3,
    900,
    1,
    datetime(2026, 3, 1, tzinfo=UTC),
    datetime(2026, 3, 2, tzinfo=UTC),
).json()  # fmt: skip


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"connections": -1}, "connections must be an integer"),
        ({"connections": True}, "connections must be an integer"),
        ({"bytes": 2**53 + 1}, "bytes must be an integer"),
        ({"source": {"zone": "\ud800"}}, "zone has half a character"),
        ({"rule": {"name": "r\udfff", "rulebase": "pre"}}, "name has half a character"),
        ({"first": "0001-01-01T00:00:00+23:59"}, "first must be a time from the year 2000 to 2999"),
        ({"last": "9999-12-31T23:59:59-23:59"}, "last must be a time from the year 2000 to 2999"),
        ({"port": 70000}, "port must be an integer"),
        ({"protocol": "nonsense"}, "invalid literal"),
        ({"protocol": "-5"}, "no protocol"),
        ({"verdict": "maybe"}, "not a valid Verdict"),
        ({"enforced": "yes"}, "enforced must be true or false"),
        ({"source": {"zone": "x" * 600}}, "zone must be a text of at most 512"),
        ({"source": {"zone": "x\0"}}, "zone must be a text"),
        ({"source": {}}, "zone is missing"),
        ({"source": "web"}, "string indices|no attribute"),
        ({"source": {"zone": "o", "network": "10.0.0.0/99"}}, "10.0.0.0/99"),
        ({"rule": {"name": "r"}}, "rulebase is missing"),
        ({"rule": {"name": "r", "rulebase": "pre", "uuid": 5}}, "uuid must be a text"),
        ({"first": "2026-03-01T00:00:00"}, "time zone"),
        ({"first": "yesterday"}, "yesterday"),
        ({"last": "2026-02-01T00:00:00Z"}, "last is before first"),
    ],
)
def test_what_is_no_row_is_refused_with_its_fault(change, why):
    with pytest.raises(SeenRecordError, match=why):
        seen_of(ROW | change)
