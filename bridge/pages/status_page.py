"""What `zonebridge status` says, as a page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridge.pages.parts import Cell, Column, Headline, Json, PageFigure, PageTable, Row, StatusPage, Tone

COLUMNS = (
    *(Column("Cluster", 14), Column("Device group", 14), Column("Tier", 10), Column("Revision", 8, number=True)),
    *(Column("Nodes in sync", 9, number=True), Column("State", 9), Column("Last sync", 13), Column("Problem", 23)),
)


def status_page(clusters: Sequence[Json], links: Mapping[str, str] | None = None) -> StatusPage:
    """Of the values of `bridge.commands.overview.overview`. `links`: where each cluster's own page is."""
    ready = sum(value["ready"] for value in clusters)
    rows = [_row(value, (links or {}).get(value["cluster"], "")) for value in clusters]
    if ready == len(clusters):
        headline = Headline("Every cluster has what Panorama says", Tone.GOOD)
    else:
        headline = Headline(f"{len(clusters) - ready} of {len(clusters)} clusters are not ready", Tone.BAD)
    nodes = [value["nodes"] for value in clusters]
    figures = (
        PageFigure("clusters", len(clusters)),
        PageFigure("nodes", sum(node["total"] for node in nodes)),
        PageFigure("nodes in sync", sum(node["inSync"] for node in nodes)),
    )
    table = PageTable("clusters", "Clusters", COLUMNS, rows, ("ready", "not ready"), "The settings name no cluster.")
    return StatusPage("Status of the clusters", "As each cluster's Tier has it", headline, figures, tables=(table,))


def _row(value: Json, link: str) -> Row:
    nodes, state = value["nodes"], "ready" if value["ready"] else "not ready"
    cells = (
        *(Cell(value["cluster"], link=link), Cell(value["device_group"]), Cell(value["tier"])),
        *(Cell(str(value["revision"] or "-")), Cell(f"{nodes['inSync']} of {nodes['total']}")),
        Cell(state, tone=Tone.GOOD if value["ready"] else Tone.BAD),
        *(Cell(value["last_sync"] or "-"), Cell(value["problem"])),
    )
    return Row(cells, choices=(state,))
