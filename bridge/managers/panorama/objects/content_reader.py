"""Predefined content of a live Panorama: what the rules need of it, asked for once for each content release."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

import structlog

from bridge.errors import ManagerError
from bridge.managers.panorama.rulebase.document import members

APPLICATIONS = "/config/predefined/application/entry"
CONTAINERS = "/config/predefined/application-container/entry"
NAMES_A_CALL = 50
# Takes an XPath, and gives the entries there.
Get = Callable[[str], list[Element]]
_log = structlog.get_logger()


@dataclass(slots=True)
class Release:
    """What is known of one content release: name -> entry, None where it has none of that name."""

    version: str = ""
    applications: dict[str, Element | None] = field(default_factory=dict)
    containers: dict[str, Element | None] = field(default_factory=dict)
    every: bool = False

    def covers(self, names: Iterable[str], *, every: bool) -> bool:
        return (self.every or not every) and all(name in self.applications for name in names)

    def element(self) -> Element:
        content = Element("predefined")
        for tag, known in (("application", self.applications), ("application-container", self.containers)):
            section = Element(tag)
            section.extend(entry for entry in known.values() if entry is not None)
            content.append(section)
        return content


@dataclass(slots=True)
class ContentReader:
    """Asks with a `Get`, and keeps what it was told. Not for use by two threads."""

    _last_good: Release = field(default_factory=Release)

    def read(self, get: Get, version: str, names: frozenset[str], *, every: bool) -> Element:
        """The content that these names need; all of it where a filter selects among it.

        A new release that can't be read leaves the last good one, where that has what is needed. Raises ManagerError.
        """
        known = self._last_good
        release = known if known.version == version else Release(version)
        try:
            self._fill(get, release, names, every=every)
        except ManagerError as error:
            if release is known or not known.covers(names, every=every):
                raise
            _log.warning("App-ID content not read", release=version, kept=known.version, error=str(error))
            return known.element()
        self._last_good = release
        return release.element()

    def _fill(self, get: Get, release: Release, names: frozenset[str], *, every: bool) -> None:
        if every and not release.every:
            release.applications = _by_name(get(APPLICATIONS))
            release.containers = _by_name(get(CONTAINERS))
            release.every = True
        if release.every:
            release.applications = dict.fromkeys(names) | release.applications
            release.containers = dict.fromkeys(names) | release.containers
        _ask(get, APPLICATIONS, release.applications, names)
        _ask(get, CONTAINERS, release.containers, (name for name in names if release.applications[name] is None))
        containers = (release.containers.get(name) for name in names)
        functions = [member for entry in containers if entry is not None for member in members(entry.find("functions"))]
        _ask(get, APPLICATIONS, release.applications, functions)


def _ask(get: Get, path: str, known: dict[str, Element | None], names: Iterable[str]) -> None:
    """Those of the names that are not known yet."""
    new = set(names) - known.keys()
    nameless = {name for name in new if "'" in name and '"' in name}  # no XPath can name these
    known.update(dict.fromkeys(nameless))
    wanted = sorted(new - nameless)
    for at in range(0, len(wanted), NAMES_A_CALL):
        some = wanted[at : at + NAMES_A_CALL]
        known.update(dict.fromkeys(some) | _by_name(get(f"{path}[{_named(some)}]")))


def _by_name(entries: Iterable[Element]) -> dict[str, Element | None]:
    return {entry.get("name", ""): entry for entry in entries}


def _named(names: list[str]) -> str:
    quoted = (f'"{name}"' if "'" in name else f"'{name}'" for name in names)
    return " or ".join(f"@name={name}" for name in quoted)
