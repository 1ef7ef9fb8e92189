"""Options that several commands have, and what they give together."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge.compilation import offline
from bridge.managers.panorama.objects.content import read_content
from zones.runtime.errors import InputError


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
ScopeOption = Annotated[
    list[str] | None, typer.Option(help="Only these zones: zone=cde, several with commas; repeatable.", metavar="ZONES")
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


def zones_of(texts: list[str]) -> frozenset[str]:
    """`zone=cde`, or several with commas. Raises InputError."""
    zones = set()
    for text in texts:
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            kind, equals, zone = part.partition("=")
            if kind != "zone" or not equals or not zone:
                raise InputError(f"--scope '{part}': write zone=NAME, several with commas")
            zones.add(zone)
    return frozenset(zones)
