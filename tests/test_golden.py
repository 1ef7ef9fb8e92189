"""Panorama's XML through every stage, in `golden/<case>/`, for people to read.

`panorama.xml` and `options.yaml` go in; `report.txt` and `policy.yaml` (or `refused.txt`) come out; what `explain.yaml`
expects was written by hand, from the specification. UPDATE_GOLDEN=1 writes what comes out anew: read the difference.
"""

import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from bridge.compilation.report import refusal_lines
from bridge.compilation.report_table import report_lines
from bridge.explain.flow_options import FlowQuestion, as_infrastructure_sees_it, between, flow_of
from bridge.explain.trace import missing_options
from bridge.managers.panorama import read_file
from bridge.settings.models import BridgeSettings
from bridge.wiring.clusters import options, read_options
from zones import canonical
from zones.compile import compile_policy
from zones.net import ANY_ADDRESS, AddressSet, parse_address
from zones.verdict import Endpoint, UndeterminedError, decide
from zones.zone import Zoning

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
MADE = ("report.txt", "policy.yaml", "refused.txt")
GIVEN = ("panorama.xml", "explain.yaml", "options.yaml")


def load(path):
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def compiled(folder):
    """The rulebase and what it compiles to; `options.yaml` gives settings as the settings file does."""
    given = load(folder / "options.yaml")
    group = given.pop("deviceGroup", "k8s")
    settings = BridgeSettings.model_validate(given.pop("settings", {}))
    feeds = {name: AddressSet.parse(prefixes) for name, prefixes in given.pop("feeds", {}).items()}
    registered = {ip: frozenset(tags) for ip, tags in given.pop("registered", {}).items()}
    infrastructure = settings.infrastructure.rules() if given.pop("infrastructure", False) else ()
    assert not given, f"options.yaml has more than is read: {sorted(given)}"
    rulebase = read_file(folder / "panorama.xml", group, replace(read_options(settings), registered=registered))
    settled = options(settings, settings.cluster_of(group))
    return rulebase, compile_policy(rulebase, settings.zones.zoning(), settled, infrastructure, feeds)


def stages(rulebase, outcome):
    """The text of every file that is made, by its name."""
    lines = report_lines(outcome, rulebase.device_group)
    made = {"report.txt": "".join(f"{line}\n" for line in lines)}
    if outcome.policy is None:
        return made | {"refused.txt": "".join(f"{line}\n" for line in refusal_lines(outcome))}
    return made | {"policy.yaml": policy_text(rulebase, outcome.policy)}


def policy_text(rulebase, policy):
    value = {
        "zoning": None if policy.zoning == Zoning() else canonical.zoning_json(policy.zoning),
        "knownZones": sorted(policy.known_zones),
        "infrastructure": [canonical.infrastructure_json(rule) for rule in policy.infrastructure],
        "feeds": [feed_json(feed) for feed in rulebase.feeds],
        "entries": [entry_json(entry) for entry in policy.entries],
    }
    some = {name: each for name, each in value.items() if each}
    return yaml.safe_dump(some, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def entry_json(entry):
    """Zones first, as a rule is read."""
    value = canonical.entry_json(entry, space_json(entry.sources), space_json(entry.destinations))
    first = ("rule", "verdict", "pairing", "from", "to")
    return {key: value[key] for key in first if key in value} | value


def space_json(space):
    return None if space == ANY_ADDRESS else {"prefixes": list(space.prefixes)}


def feed_json(feed):
    value = asdict(feed) | {"kind": feed.kind.value, "exceptions": list(feed.exceptions)}
    return value | {"recurring": value["recurring"] | {"period": feed.recurring.period.value}}


def flow_asked(asked, zoning):
    """An end without a zone is outside the pods: its address tells the zone."""
    if asked.from_zone is not None and asked.to_zone is not None:
        return flow_of(asked, zoning)
    ends = ((asked.from_zone, asked.source, asked.source_app), (asked.to_zone, asked.destination, asked.app))
    return between(asked, *(end_of(zoning, *end) for end in ends))


def end_of(zoning, zone, text, app):
    address = None if text is None else parse_address(text)
    return Endpoint(zone=zone or zoning.of_address(address), address=address, workload=app)


def answered(policy, question):
    """The verdict and the rule of a question, or which options it still needs."""
    given = {key.replace("-", "_"): value for key, value in question.items()}
    given |= {f"{side}_zone": given.pop(side) for side in ("from", "to") if side in given}
    try:
        flow = flow_asked(FlowQuestion(**given), policy.zoning)
        decision = decide(policy, as_infrastructure_sees_it(flow, policy.infrastructure))
    except UndeterminedError as error:
        return {"needs": list(missing_options(error)), "rule": error.origin.name}
    return {"verdict": decision.verdict.value, "rule": decision.origin.name, "log": canonical.log_json(decision.log)}


@pytest.mark.parametrize("name", CASES)
def test_every_stage_is_as_it_was_read(name):
    folder = GOLDEN / name
    made = stages(*compiled(folder))
    if os.environ.get("UPDATE_GOLDEN") == "1":
        for stale in MADE:
            (folder / stale).unlink(missing_ok=True)
        for file, text in made.items():
            (folder / file).write_text(text, encoding="utf-8")
    there = {path.name for path in folder.iterdir()}
    assert there - set(GIVEN) == set(made), "UPDATE_GOLDEN=1 writes what is made; then read it"
    assert there - set(MADE) >= {"panorama.xml", "explain.yaml"}
    for file, text in made.items():
        assert (folder / file).read_text(encoding="utf-8") == text, f"{name}/{file}: if that is meant, UPDATE_GOLDEN=1"


@pytest.mark.parametrize("name", CASES)
def test_rules_end_and_questions_are_answered_as_the_specification_says(name):
    """`rules` maps a rule to its status, `refused_by` names those that refuse, `questions` are flows."""
    expected = load(GOLDEN / name / "explain.yaml")
    _, outcome = compiled(GOLDEN / name)
    assert set(expected) <= {"rules", "refused_by", "questions"}
    assert [report.origin.name for report in outcome.refusals] == expected.get("refused_by", [])
    ended = {report.origin.name: report.status.value for report in outcome.reports}
    assert {rule: ended[rule] for rule in expected.get("rules", {})} == expected.get("rules", {})
    for question in expected.get("questions", ()):
        check(outcome.policy, dict(question))


def check(policy, question):
    because = question.pop("because")
    wanted = {key: question.pop(key) for key in ("verdict", "needs", "rule", "log") if key in question}
    found = answered(policy, question)
    assert {key: found.get(key) for key in wanted} == wanted, f"{because}: {question}"
    assert "rule" in wanted


def test_every_case_asks_something():
    for name in CASES:
        expected = load(GOLDEN / name / "explain.yaml")
        assert expected.get("questions") or expected.get("refused_by"), name
