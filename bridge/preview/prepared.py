"""A whole preview out of two rulebases, as it is served and told: made in one go, in whatever process. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bridge import pages
from bridge.compilation.report import refusal_lines
from bridge.evidence.seen import Evidence
from bridge.guard_rail import GuardRail
from bridge.managers import Editor
from bridge.preview.comparison import compared
from bridge.preview.counted import counted_effect
from bridge.preview.gate import counted
from bridge.preview.guardrails import violations
from bridge.preview.json_form import preview_json
from bridge.preview.model import Configuration, Preview
from bridge.preview.population import Resident
from bridge.preview.workloads import projected
from zones.compile import Compiled, CompileOptions, compile_policy
from zones.net import AddressSet
from zones.policy import InfrastructureRule
from zones.rules import Rulebase
from zones.tiers import native
from zones.zone import Zoning

MOST_ROWS = 5_000
_DIGITS = 16
_MOST_REFUSALS = 5


@dataclass(frozen=True, slots=True)
class ComparisonInput:
    """What is to be compared, and how rules are compiled in that cluster. `versions`: of running and candidate.

    `back`: where its page leads to.
    """

    running: Rulebase
    candidate: Rulebase
    at: datetime
    zoning: Zoning
    options: CompileOptions = field(default_factory=CompileOptions)
    infrastructure: tuple[InfrastructureRule, ...] = ()
    feeds: Mapping[str, AddressSet] = field(default_factory=dict)
    residents: tuple[Resident, ...] = ()
    rails: tuple[GuardRail, ...] = ()
    editors: tuple[Editor, ...] = ()
    versions: tuple[str, str] = ("", "")
    evidence: Evidence | None = None
    back: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A preview to be served as JSON and as a page, with a sentence and facts for whoever watches.

    `bad`: refused, a guard rail broken, or a connection that was seen denied. The digests are of what both
    configurations mean for the cluster; `seen_digest` of what was counted, "" where nothing is known of that.
    """

    text: str
    page: str
    message: str
    about: Mapping[str, Any]
    bad: bool
    running_digest: str
    candidate_digest: str
    seen_digest: str = ""

    @property
    def changes_nothing(self) -> bool:
        return self.running_digest == self.candidate_digest


def prepare(question: ComparisonInput) -> Prepared:
    """At most 5,000 rows of each list; the JSON says how many more there are."""
    running, candidate = (
        _configuration(question, rulebase, version)
        for rulebase, version in zip((question.running, question.candidate), question.versions, strict=True)
    )
    preview = compared(running, replace(candidate, editors=question.editors), question.at, question.feeds)
    policies = running.compiled.policy, candidate.compiled.policy
    preview = replace(preview, violations=violations(question.rails, *policies, question.at))
    if preview.flows is not None:
        flows = preview.flows
        preview = replace(preview, projection=projected(flows, question.residents, question.zoning))
        if question.evidence is not None:
            seen = counted_effect(flows, question.evidence, question.residents, question.zoning.nodes)
            preview = replace(preview, seen=seen)
    digests = _digest(running.compiled), _digest(candidate.compiled)
    about = _about(preview, digests[1])
    bad = preview.refused or bool(about["new_violations"] or about.get("seen_denied"))
    content = preview_json(preview, MOST_ROWS)
    text = json.dumps(content, ensure_ascii=False)
    seen_digest = "" if preview.seen is None else _short(json.dumps([content["seen"], content["coverage"]]))
    del content
    return Prepared(text, _page(preview, question.back), _message(about), about, bad, *digests, seen_digest)


def _page(preview: Preview, back: str) -> str:
    """Empty where there is no memory for it: the JSON is worth more."""
    try:
        return pages.page_html(pages.preview_page(preview, back))
    except MemoryError:
        return ""


def _configuration(question: ComparisonInput, rulebase: Rulebase, version: str) -> Configuration:
    how = question.options, question.infrastructure, question.feeds
    return Configuration(rulebase, compile_policy(rulebase, question.zoning, *how), version)


def _digest(compiled: Compiled) -> str:
    """Of the tier that it would be, or of why it would be none."""
    if compiled.policy is None:
        return _short("\n".join(refusal_lines(compiled)))
    rendered = native.render(compiled.policy, "preview", 1)
    return str(rendered.tier["spec"]["digest"])[:_DIGITS]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _about(preview: Preview, digest: str) -> dict[str, Any]:
    closed, opened = counted(preview)
    about: dict[str, Any] = {
        "candidate": digest,
        "admins": [editor.admin for editor in preview.candidate.editors if editor.changes],
        "rules": len(preview.rules),
        "objects": len(preview.objects),
        "refused": preview.refused,
        "zone_pairs_closed": closed,
        "zone_pairs_opened": opened,
        "workload_pairs": 0
        if preview.projection is None
        else sum(change.pairs for change in preview.projection.changes),
        "new_violations": len({violation.rail for violation in preview.violations if not violation.existing}),
    }
    if preview.seen is not None:
        about["seen_denied"] = sum(flow.connections for flow in preview.seen.denied)
    refusals = refusal_lines(preview.candidate.compiled)[:_MOST_REFUSALS]
    return about | ({"refusals": list(refusals)} if refusals else {})


def _message(about: Mapping[str, Any]) -> str:
    who = " and ".join(about["admins"]) or "somebody"
    what = f"{who} is about to change {about['rules']} rules in Panorama, which is not committed yet"
    if about["refused"]:
        return f"{what}; it would be refused: {about['refusals'][0]}"
    effect = (
        f"{about['zone_pairs_closed']} zone pairs would lose something allowed today, "
        f"{about['zone_pairs_opened']} get something denied today"
    )
    if about.get("seen_denied"):
        effect += f"; {about['seen_denied']} connections that were seen would be denied"
    broken = f"; {about['new_violations']} guard rails would be broken" if about["new_violations"] else ""
    return f"{what}: {effect}{broken}"
