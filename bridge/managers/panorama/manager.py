"""Panorama as a manager: what to ask it for, so that only the device group's own part is fetched, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from xml.etree.ElementTree import Element

from bridge.errors import ManagerAnswerError
from bridge.managers.panorama.api import PanoramaApi
from bridge.managers.panorama.applications import ApplicationObjects
from bridge.managers.panorama.document import members
from bridge.managers.panorama.rulebase import ReadOptions, read_scope
from bridge.managers.panorama.tree import DEVICE, SHARED, Level, Scope, unknown_device_group
from zones.rules import Rulebase

HIERARCHY = "<show><dg-hierarchy/></show>"
DEVICE_GROUPS = "<show><devicegroups/></show>"
JOBS = "<show><jobs><all/></jobs></show>"
# What changes the running configuration or the predefined content when it ends.
CHANGING_JOBS = frozenset({"Commit", "Content", "Install", "Revert", "Load"})
SAME_VERSION_TRIES = 3
NAMES_A_CALL = 50


@dataclass(slots=True)
class PanoramaManager:
    """One device group of one Panorama. Not for use by two threads."""

    api: PanoramaApi
    device_group: str
    options: ReadOptions = field(default_factory=ReadOptions)
    _predefined: dict[str, Element | None] = field(default_factory=dict)

    def version(self) -> str:
        """The newest finished commit and the device group's checksum. Two calls, one more with HA peers."""
        self.api.check_active()
        jobs = self.api.op(JOBS)
        groups = self.api.op(DEVICE_GROUPS)
        return f"{max(_changing_jobs(jobs), default=0)}/{_checksum(groups, self.device_group)}"

    def rulebase(self) -> Rulebase:
        """The running configuration's rulebase; read again where a commit came in between its parts."""
        version = self.version()
        for _ in range(SAME_VERSION_TRIES):
            rulebase = read_scope(self._scope(), self.options)
            before, version = version, self.version()
            if before == version:
                return rulebase
        raise ManagerAnswerError(
            f"reading device group '{self.device_group}': Panorama committed again during each of "
            f"{SAME_VERSION_TRIES} reads; it is read again at the next poll"
        )

    def close(self) -> None:
        self.api.close()

    def _scope(self) -> Scope:
        chain = self._chain()
        levels = (*(self._level(name) for name in chain), Level(SHARED, self._shared()))
        scope = Scope(levels, ancestors_win=self.options.ancestors_win)
        return replace(scope, predefined=self._predefined_content(scope))

    def _chain(self) -> list[str]:
        """The device group and its ancestors, nearest first."""
        chains = dict(_chains(self.api.op(HIERARCHY).find("dg-hierarchy"), []))
        if self.device_group not in chains:
            raise unknown_device_group(self.device_group, chains)
        return chains[self.device_group]

    def _level(self, name: str) -> Level:
        element = self.api.show(f"/config/{DEVICE}/device-group/entry[@name='{name}']")
        if element is None:
            raise unknown_device_group(name, ())
        return Level(name, (element,))

    def _shared(self) -> tuple[Element, ...]:
        element = self.api.show("/config/shared")
        return () if element is None else (element,)

    def _predefined_content(self, scope: Scope) -> Element:
        """Those predefined applications that the rules need. All of them only where a filter selects among them."""
        names, filtered = ApplicationObjects(scope).predefined_names(_applications(scope))
        if filtered:
            self._keep(self.api.get("/config/predefined/application/entry"))
        wanted = sorted(names - self._predefined.keys())
        for at in range(0, len(wanted), NAMES_A_CALL):
            some = wanted[at : at + NAMES_A_CALL]
            self._keep(self.api.get(f"/config/predefined/application/entry[{_named(some)}]"))
            self._predefined.update({name: None for name in some if name not in self._predefined})
        content = Element("predefined")
        applications = Element("application")
        applications.extend(entry for entry in self._predefined.values() if entry is not None)
        content.append(applications)
        return content

    def _keep(self, entries: list[Element]) -> None:
        self._predefined.update({entry.get("name", ""): entry for entry in entries})


def _changing_jobs(jobs: Element) -> Iterator[int]:
    for job in jobs.findall("job"):
        number = job.findtext("id") or ""
        if job.findtext("type") in CHANGING_JOBS and job.findtext("result") == "OK" and number.isdigit():
            yield int(number)


def _checksum(groups: Element, device_group: str) -> str:
    for entry in groups.findall("devicegroups/entry"):
        if entry.get("name") == device_group:
            return entry.findtext("shared-policy-md5sum") or "-"
    return "gone"


def _chains(parent: Element | None, above: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each device group with itself and its ancestors. Panorama allows four levels; the nesting is the XML's own."""
    for group in () if parent is None else parent.findall("dg"):
        name = group.get("name") or ""
        yield name, [name, *above]
        yield from _chains(group, [name, *above])


def _applications(scope: Scope) -> tuple[str, ...]:
    rules = (rule for level in scope.levels for rulebase in ("pre", "post") for rule in level.rules(rulebase))
    return tuple(dict.fromkeys(name for rule in rules for name in members(rule.find("application"))))


def _named(names: list[str]) -> str:
    quoted = (f'"{name}"' if "'" in name else f"'{name}'" for name in names if not ("'" in name and '"' in name))
    return " or ".join(f"@name={name}" for name in quoted)
