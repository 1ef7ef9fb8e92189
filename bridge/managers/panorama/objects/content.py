"""Predefined content: the App-IDs and containers that a content release brings, from Panorama or from a file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree.ElementTree import Element

from bridge.errors import ConfigurationFileError
from bridge.managers.panorama.rulebase import document
from bridge.managers.panorama.rulebase.document import entries, members

# Where an export, an API's answer or the command line's output has it.
PLACES = (".", "predefined", "result/predefined", "result", "result/config/predefined")


@dataclass(frozen=True)
class PredefinedContent:
    """The applications and containers by name. An absent one is not known at all: an export holds none."""

    element: Element | None = None

    def __bool__(self) -> bool:
        return self.element is not None

    @cached_property
    def applications(self) -> dict[str, Element]:
        return {} if self.element is None else dict(entries(self.element, "application"))

    @cached_property
    def containers(self) -> dict[str, tuple[str, ...]]:
        """Container -> the applications in it."""
        if self.element is None:
            return {}
        named = entries(self.element, "application-container")
        return {name: members(entry.find("functions")) for name, entry in named}

    @cached_property
    def has_tags(self) -> bool:
        """Whether its release tags applications (from 9.1 on)."""
        return any(entry.find("tag") is not None for entry in self.applications.values())


def read_content(path: Path) -> Element:
    """The `<predefined>` part of a file. Raises ConfigurationFileError."""
    what = f"reading predefined content '{path}'"
    try:
        root = document.parse_file(path)
    except document.DocumentError as error:
        raise ConfigurationFileError(f"{what}: {error}") from error
    for place in PLACES:
        element = root.find(place)
        if element is not None and element.find("application/entry") is not None:
            return element
    raise ConfigurationFileError(
        f"{what}: it has no <application> with entries; give what Panorama answers to "
        "type=config&action=get&xpath=/config/predefined"
    )
