"""What `zonebridge preview -o html` shows: what a candidate changes, before it is committed. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.compilation.report import refusal_lines
from bridge.pages.changed_pairs import changed_cells
from bridge.pages.compile_page import infrastructure_table
from bridge.pages.parts import Headline, PageFigure, StatusPage, Tone
from bridge.pages.policy_matrix import PolicyMatrix, remarks_of
from bridge.pages.preview_tables import preview_tables
from bridge.preview.gate import counted
from bridge.preview.model import Preview
from bridge.preview.table import editor_lines, headline_text

SUBTITLE = "What a candidate configuration changes in the cluster, before it is committed"


def preview_page(preview: Preview, back: str = "") -> StatusPage:
    """The page of a preview; without a matrix where one of both configurations is refused. `back`: a path of ours."""
    title = f"Preview for {preview.candidate.rulebase.device_group}"
    tables = tuple(preview_tables(preview))
    before, after = preview.running.compiled.policy, preview.candidate.compiled.policy
    if before is None or after is None or preview.flows is None:
        return StatusPage(title, SUBTITLE, _headline(preview), tuple(_figures(preview)), tables=tables, back=back)
    matrix = PolicyMatrix(after, (before,))
    cells = changed_cells(matrix, preview.flows)
    remarks = remarks_of(preview.candidate.compiled.reports)
    anchors = {change.origin: f"change-{place}" for place, change in enumerate(preview.rules) if change.new is not None}
    around = matrix.neighbourhoods(cells.marks)
    return StatusPage(
        title,
        SUBTITLE,
        _headline(preview),
        tuple(_figures(preview)),
        matrix.matrix("Zones as the candidate has them", remarks, anchors, cells.marks, cells.details),
        tuple(
            neighbourhood
            for neighbourhood in around
            if any(one.mark for one in (*neighbourhood.reached_from, *neighbourhood.reaches))
        ),
        (*tables, matrix.in_words(), infrastructure_table(after)),
        back,
    )


def _headline(preview: Preview) -> Headline:
    lines = (*refusal_lines(preview.candidate.compiled), *editor_lines(preview))
    closed, opened = counted(preview)
    if preview.refused or preview.running_refused or (preview.seen is not None and preview.seen.denied):
        tone = Tone.BAD
    elif closed or opened or preview.violations:
        tone = Tone.CAUTION
    else:
        tone = Tone.GOOD
    return Headline(headline_text(preview), tone, lines)


def _figures(preview: Preview) -> Iterator[PageFigure]:
    """What was not asked for has no figure."""
    closed, opened = counted(preview)
    yield PageFigure("rules change", len(preview.rules))
    if preview.flows is not None:
        yield PageFigure("zone pairs lose something", closed, Tone.BAD if closed else Tone.PLAIN)
        yield PageFigure("zone pairs get something", opened, Tone.CAUTION if opened else Tone.PLAIN)
    if preview.projection is not None:
        yield PageFigure("pairs of workloads", sum(change.pairs for change in preview.projection.changes))
    if preview.seen is not None:
        denied = sum(flow.connections for flow in preview.seen.denied)
        yield PageFigure("seen connections denied", denied, Tone.BAD if denied else Tone.GOOD)
    if preview.violations:
        yield PageFigure("guard rails broken", len({violation.rail for violation in preview.violations}), Tone.BAD)
