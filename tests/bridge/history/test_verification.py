"""Any history that a bridge records is accepted; a change of any byte of it is named; what was in force at T is found."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.history.archive import Archive
from bridge.history.comparison import as_preview, changes_json
from bridge.history.ledger import Retention, RevisionLedger
from bridge.history.revision import ChainPlace, Reasons, policy_of, recorded_of, revision_object, sealed
from bridge.history.verification import breaks
from bridge.managers import Commit, Provenance
from zones.policy import Entry, Policy, Verdict
from zones.rules import Origin
from zones.runtime.errors import InputError
from zones.tiers import native
from zones.zone import Zoning

START = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = ("web", "db", "mail")
LAST = (
    Entry(Origin("intrazone-default", None, "default", ""), Verdict.ALLOW),
    Entry(Origin("interzone-default", None, "default", ""), Verdict.DENY),
)


def policy(*named):
    entries = tuple(Entry(Origin(name, f"uuid-{name}", "pre", "dg"), verdict) for name, verdict in named)
    return Policy(Zoning(), (), (*entries, *LAST), frozenset(ZONES))


POLICIES = (
    policy(),
    policy(("a", Verdict.ALLOW)),
    policy(("a", Verdict.DENY), ("b", Verdict.ALLOW)),
    policy(("b", Verdict.ALLOW), ("a", Verdict.DENY)),
    policy(*((f"rule {n}", Verdict.ALLOW) for n in range(70))),
)


@st.composite
def steps(draw):
    """What happens: a policy is recorded, whether its Tier is then written, how many seconds pass, what is known."""
    text = st.text(max_size=6)
    commit = st.builds(Commit, st.integers(0, 99), st.just("Commit"), text, text, text)
    provenance = st.builds(Provenance, text, text, text, st.lists(commit, max_size=2))
    why = st.builds(Reasons, st.just(("commit",)), st.lists(commit, max_size=2), provenance, text)
    step = st.tuples(st.sampled_from(POLICIES), st.booleans(), st.integers(0, 3), why)
    return draw(st.lists(step, min_size=1, max_size=6))


class Told:
    """A history, made as a bridge makes it; `events` are the times at which a Tier was written, with its policy."""

    def __init__(self, steps):
        self.revisions, self.parts, self.tier, self.events = [], {}, None, []
        ledger, now = RevisionLedger(), START
        for policy, written, seconds, why in steps:
            now += timedelta(seconds=seconds)
            rendered = native.render(policy, "panorama", ledger.least(1), native.TierSource("panorama", "dg", "1"))
            live = ledger.record_of(self.tier)
            place = ChainPlace(ledger.last, live.revision if live else 0)
            raw = json.loads(json.dumps(revision_object(rendered.tier, place, why, now)))
            self.revisions.append(raw | {"status": sealed(raw["spec"], {"changes": {"notComputed": "why"}})})
            ledger = ledger.with_(recorded_of(raw))
            self.parts |= {part["metadata"]["name"]: part for part in rendered.parts}
            if written:
                self.tier = rendered.tier
                self.events.append((now, policy))

    @property
    def archive(self):
        return Archive(None, self.tier, self.revisions, RevisionLedger.of(map(recorded_of, self.revisions)))

    def breaks(self, revisions=None, parts=None):
        return breaks(revisions or self.revisions, self.parts if parts is None else parts, self.tier)


@given(steps())
def test_what_was_recorded_is_accepted(steps):
    told = Told(steps)
    assert told.breaks() == (() if told.tier else told.breaks()[:1])
    assert [told.tier is None] * (told.tier is None) == [each.revision == 0 for each in told.breaks()]


@given(steps(), st.integers(-2, 25))
def test_what_was_in_force_at_an_instant_is_the_last_tier_that_was_written_until_then(steps, seconds):
    told, at = Told(steps), START + timedelta(seconds=seconds)
    until_then = [policy for when, policy in told.events if when <= at]
    if not until_then:
        with pytest.raises(InputError, match="no record says"):
            told.archive.at(at)
        return
    found = told.archive.at(at)
    assert policy_of(told.archive.raw(found.revision)["spec"], told.parts) == until_then[-1]
    in_force = [policy_of(told.archive.raw(each.revision)["spec"], told.parts) for each in told.archive.in_force]
    assert in_force[::-1] == [policy for _, policy in told.events]


def altered(draw, raw):
    """The object with one character of its JSON changed, where it is another object then."""
    text = json.dumps({name: raw[name] for name in ("metadata", "spec", "status") if name in raw})
    at = draw(st.integers(0, len(text) - 1))
    new = draw(st.sampled_from('0123456789abcdefxyz "{}[],:-é'))
    try:
        made = json.loads(text[:at] + new + text[at + 1 :])
    except ValueError:
        made = None
    assume(isinstance(made, dict) and isinstance(made.get("spec"), dict) and isinstance(made.get("metadata"), dict))
    assume(made != json.loads(text) and made["metadata"].get("name") is not None)
    assume("status" in made or "status" not in raw)
    return raw | made


@given(st.data(), steps())
def test_a_changed_byte_of_a_record_is_named(data, steps):
    told = Told(steps)
    at = data.draw(st.integers(0, len(told.revisions) - 1))
    changed = altered(data.draw, told.revisions[at])
    found = told.breaks([*told.revisions[:at], changed, *told.revisions[at + 1 :]])
    number = told.revisions[at]["spec"]["revision"]
    assert any(each.revision == number or f"panorama-{number}" in each.what for each in found)


@given(st.data(), steps())
def test_a_changed_byte_of_a_part_is_named(data, steps):
    told = Told(steps)
    name = data.draw(st.sampled_from(sorted(told.parts)))
    part = told.parts[name]
    changed = altered(data.draw, {"metadata": {"name": name}, "spec": part["spec"]})
    assume(changed["metadata"]["name"] == name)
    found = told.breaks(parts=told.parts | {name: part | {"spec": changed["spec"]}})
    assert any(f"part '{name}'" in each.what for each in found)


@given(st.data(), steps())
def test_a_record_that_is_missing_from_between_or_comes_twice_is_named(data, steps):
    told = Told(steps)
    assume(len(told.revisions) > 2)
    at = data.draw(st.integers(1, len(told.revisions) - 2))
    without = told.breaks([*told.revisions[:at], *told.revisions[at + 1 :]])
    assert any(each.revision == told.revisions[at + 1]["spec"]["revision"] and "a gap" in each.what for each in without)
    assert told.breaks([*told.revisions, told.revisions[at]])


@given(steps(), st.integers(2, 4))
def test_a_history_that_was_shortened_from_its_beginning_is_whole(steps, keep):
    told = Told(steps)
    assume(told.tier is not None)
    gone = {each.revision for each in told.archive.ledger.expired(told.tier, Retention(keep), START)}
    left = [raw for raw in told.revisions if raw["spec"]["revision"] not in gone]
    assert told.breaks(left) == ()
    current = told.archive.in_force[0].revision
    assert current not in gone
    assert len(left) == max(keep, 0) or len(left) < keep or left[0]["spec"]["revision"] == current


def test_the_summary_is_what_the_diff_says_and_says_when_it_is_not_worked_out():
    allow = Entry(
        Origin("a", "u", "pre", "dg"), Verdict.ALLOW, from_zones=frozenset({"web"}), to_zones=frozenset({"db"})
    )
    old, new = (Policy(Zoning(), (), (*more, *LAST), frozenset(ZONES)) for more in ((), (allow,)))
    summary = changes_json(old, new, START, 60)
    assert (summary["pairsOpened"], summary["pairsClosed"], summary["rulesAdded"]) == (0, 0, 1)
    assert len(as_preview(old, new, START).flows.zones) == len(summary["lines"])
    assert "takes more than 0 s" in changes_json(old, new, START, 0)["notComputed"]
