"""A policy that is in force, as a page: what a cluster's tier itself says. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.pages.compile_page import asked, infrastructure_table
from bridge.pages.parts import Cell, Column, Headline, PageFigure, PageLink, PageTable, Row, StatusPage, Tone
from bridge.pages.policy_matrix import PolicyMatrix
from zones.policy import Entry, Policy, Verdict

COLUMNS = (
    *(Column("Rule", 22), Column("Zones", 20), Column("Source → destination", 26), Column("Traffic", 20)),
    Column("Verdict", 12),
)
_WORDS = {Verdict.ALLOW: "allow", Verdict.DENY: "deny", Verdict.RESET: "reset"}


def policy_page(
    policy: Policy,
    title: str,
    subtitle: str,
    headline: Headline,
    *,
    back: str = "",
    links: Sequence[PageLink] = (),
    beside: Sequence[PageTable] = (),
) -> StatusPage:
    """The matrix and all rules of a policy. `beside`: tables that stand before the rules."""
    anchors = {entry.origin: f"rule-{place}" for place, entry in enumerate(policy.entries)}
    matrix = PolicyMatrix(policy)
    rows = [_row(entry, anchors[entry.origin]) for entry in policy.entries]
    rules = PageTable("rules", "Rules in force", COLUMNS, rows, tuple(_WORDS.values()))
    figures = PageFigure("rules", len(rows)), PageFigure("zones", len(matrix.zones) - 1 + len(matrix.folded))
    return StatusPage(
        title,
        subtitle,
        headline,
        figures,
        matrix.matrix("Zones", {}, anchors),
        matrix.neighbourhoods(),
        (*beside, matrix.in_words(), rules, infrastructure_table(policy)),
        back,
        links,
    )


def _row(entry: Entry, anchor: str) -> Row:
    origin, word = entry.origin, _WORDS[entry.verdict]
    tone = Tone.GOOD if entry.verdict is Verdict.ALLOW else Tone.BAD
    named = Cell(origin.name, f"{origin.rulebase} of {origin.device_group}")
    return Row((named, *asked(entry), Cell(word, tone=tone)), anchor, (word,))
