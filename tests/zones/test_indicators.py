"""Feeds in their forms: what is of use is kept with what is said of it, the rest counted, and nothing is guessed."""

import json
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zones.indicators import (
    FeedFields,
    FeedForm,
    Indicator,
    IndicatorFeedError,
    IndicatorIndex,
    parse_feed,
    stix_networks,
)

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def networks(text, form, **fields):
    feed = parse_feed(text, form, "f", FeedFields(**fields) if fields else None)
    return [str(indicator.network) for indicator in feed.indicators], feed.unusable


def test_text_as_spamhaus_and_abuse_ch_write_it():
    text = "; Spamhaus DROP\n192.0.2.0/24 ; SBL1\n# comment\n198.51.100.7\n2001:db8::/32 // x\nbad.example.com\n\n192.0.2.0/24\n"
    assert networks(text, FeedForm.TEXT) == (["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32"], 1)


def test_json_lines_with_their_fields():
    text = '{"cidr":"192.0.2.0/24","sblid":"SBL1","score":90,"end":"2027-01-01T00:00:00Z"}\n{"type":"metadata"}\nno\n'
    feed = parse_feed(text, FeedForm.JSON_LINES, "drop", FeedFields("cidr", "sblid", "score", "end"))
    until = datetime(2027, 1, 1, tzinfo=UTC)
    assert feed.indicators == (Indicator(ip_network("192.0.2.0/24"), "drop", "SBL1", 90, None, until),)
    assert feed.unusable == 2


def test_csv_by_its_header_and_without_the_column_it_is_a_fault():
    text = '# by us\nip,why\n192.0.2.1,"a, b"\nnowhere,c\n'
    assert networks(text, FeedForm.CSV, address="ip", name="why") == (["192.0.2.1/32"], 1)
    with pytest.raises(IndicatorFeedError, match="no column 'address'"):
        networks(text, FeedForm.CSV, address="address")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("[ipv4-addr:value = '192.0.2.1']", ["192.0.2.1/32"]),
        ("[ipv4-addr:value ISSUBSET '192.0.2.0/24']", ["192.0.2.0/24"]),
        ("[ipv6-addr:value='2001:db8::1' OR ipv4-addr:value = '192.0.2.1']", ["2001:db8::1/128", "192.0.2.1/32"]),
        ("[ipv4-addr:value = '192.0.2.1'] OR [ipv4-addr:value = '192.0.2.2']", ["192.0.2.1/32", "192.0.2.2/32"]),
        ("[ipv4-addr:value = '192.0.2.1' AND network-traffic:dst_port = 443]", []),
        ("[ipv4-addr:value = '192.0.2.1'] AND [ipv4-addr:value = '192.0.2.2']", []),
        ("[ipv4-addr:value = '192.0.2.1'] FOLLOWEDBY [domain-name:value = 'a.example']", []),
        ("[ipv4-addr:value != '192.0.2.1']", []),
        ("[NOT ipv4-addr:value = '192.0.2.1']", []),
        ("[ipv4-addr:value = '192.0.2.1'] WITHIN 5 SECONDS", []),
        ("[domain-name:value = 'bad.example']", []),
        ("[ipv4-addr:value = 'nonsense' OR ipv4-addr:value = '192.0.2.1']", []),
        ("[ipv4-addr:value = '0.0.0.0/0']", []),
        ("", []),
        (None, []),
    ],
)
def test_stix_patterns_of_addresses_alone_are_of_use(pattern, found):
    assert list(map(str, stix_networks(pattern))) == found


def test_a_bundle_keeps_confidence_expiry_and_phases_and_counts_the_rest():
    indicator = {"type": "indicator", "name": "C2", "pattern": "[ipv4-addr:value = '192.0.2.1']", "confidence": 70, "valid_from": "2026-01-01T00:00:00Z", "valid_until": "2027-01-01T00:00:00.000Z", "indicator_types": ["malicious-activity"], "kill_chain_phases": [{"kill_chain_name": "mitre-attack", "phase_name": "command-and-control"}]}  # fmt: skip
    objects = [indicator, {"type": "identity"}, indicator | {"pattern": "[file:name = 'x']"}, indicator | {"revoked": True}, 5]  # fmt: skip
    feed = parse_feed(json.dumps({"type": "bundle", "objects": objects}), FeedForm.STIX, "taxii")
    (found,) = feed.indicators
    assert (found.confidence, found.until, feed.unusable) == (70, datetime(2027, 1, 1, tzinfo=UTC), 1)
    assert found.labels == ("malicious-activity", "mitre-attack:command-and-control")


@pytest.mark.parametrize("text", ["", "[]", '{"objects": 5}', "[" * 9999])
def test_what_is_no_bundle_is_a_fault(text):
    with pytest.raises(IndicatorFeedError):
        parse_feed(text, FeedForm.STIX)


def test_a_page_that_says_an_error_is_no_empty_feed():
    with pytest.raises(IndicatorFeedError, match="none of its"):
        parse_feed("<html>\n<body>503</body>\n", FeedForm.TEXT)
    assert parse_feed("# nothing today\n", FeedForm.TEXT).indicators == ()


def test_a_feed_too_large_is_refused():
    with pytest.raises(IndicatorFeedError, match="more than 2"):
        parse_feed("192.0.2.1\n192.0.2.2\n192.0.2.3\n", FeedForm.TEXT, most=2)


@given(st.text(max_size=300), st.sampled_from(FeedForm))
def test_any_text_is_a_feed_or_a_fault(text, form):
    try:
        feed = parse_feed(text, form)
    except IndicatorFeedError:
        return
    assert all(indicator.network.prefixlen >= 8 for indicator in feed.indicators)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(8, 32)), max_size=30), st.integers(0, 2**32 - 1))
def test_the_index_says_what_a_naive_search_says(prefixes, number):
    listed = [
        Indicator(ip_network((base, length), strict=False), str(at)) for at, (base, length) in enumerate(prefixes)
    ]
    found = IndicatorIndex(listed).at(ip_address(number), NOW)
    holding = [one.network.prefixlen for one in listed if ip_address(number) in one.network]
    assert (found.network.prefixlen if found else None) == max(holding, default=None)
