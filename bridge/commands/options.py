"""Options that several commands have, and what they give together."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge.compilation import offline
from bridge.managers.panorama.objects.content import read_content


class OutputShape(StrEnum):
    """For people, or for programs."""

    TEXT = "text"
    JSON = "json"


SettingsFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The settings file.", metavar="FILE", envvar="ZONEBRIDGE_CONFIG"),
]
PanoramaConfig = Annotated[Path, typer.Option(help="An exported running-config.xml.", metavar="FILE")]
DeviceGroup = Annotated[str, typer.Option(help="The device group that the cluster is.", metavar="NAME")]
Prefixes = Annotated[
    Path | None, typer.Option(help="What FQDNs and EDLs hold: JSON or YAML, name to prefixes.", metavar="FILE")
]
Predefined = Annotated[
    Path | None,
    typer.Option(help="App-ID content: Panorama's /config/predefined, which no export has.", metavar="FILE"),
]
Parents = Annotated[
    list[str] | None,
    typer.Option("--parent", help="What an export without hierarchy doesn't say; repeatable.", metavar="DG=PARENT"),
]
Flat = Annotated[bool, typer.Option("--flat", help="Of such an export: no device group is under another.")]


def supplement_of(
    prefixes: Path | None, predefined: Path | None, parents: list[str] | None, *, flat: bool
) -> offline.Supplement:
    """What these options give beside an export. Raises InputError."""
    return offline.Supplement(
        feeds={} if prefixes is None else offline.read_prefixes(prefixes),
        predefined=None if predefined is None else read_content(predefined),
        ancestry=offline.ancestry_of(parents or (), flat=flat),
    )
