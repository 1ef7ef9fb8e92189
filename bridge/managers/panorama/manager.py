"""Panorama as a manager: what to ask it for, so that only the device group's own part is fetched, and when."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from xml.etree.ElementTree import Element

from bridge.errors import ManagerAnswerError, ManagerError, ManagerRefusedError
from bridge.managers.panorama.objects.applications import ApplicationObjects
from bridge.managers.panorama.objects.content_reader import ContentReader
from bridge.managers.panorama.objects.tag_filter import TagFilterError, words
from bridge.managers.panorama.registration.messages import registered_pages
from bridge.managers.panorama.rulebase.document import members, text_of
from bridge.managers.panorama.rulebase.indexed_text import NOTHING
from bridge.managers.panorama.rulebase.rereading import Rereader
from bridge.managers.panorama.rulebase.rulebase import ReadOptions, read_scope, scope_entries
from bridge.managers.panorama.rulebase.tree import (
    DEVICE,
    SHARED,
    ElementLevel,
    Level,
    ObjectScope,
    TextLevel,
    unknown_device_group,
)
from bridge.managers.panorama.session.api import PanoramaApi
from bridge.managers.panorama.session.pending import Pending
from bridge.managers.provenance import Commit, Provenance
from zones.canonical import digest
from zones.rules import Rulebase

HIERARCHY = "<show><dg-hierarchy/></show>"
DEVICE_GROUPS = "<show><devicegroups/></show>"
JOBS = "<show><jobs><all/></jobs></show>"
TEMPLATE_ZONES = f"/config/{DEVICE}/{{}}/entry/config/devices/entry/vsys/entry/zone/entry"
REGISTERED = (
    "<show><object><registered-ip><limit>{}</limit><start-point>{}</start-point></registered-ip></object></show>"
)
REGISTERED_PAGE, MOST_REGISTERED = 500, 500_000
# Beyond so many pages they are not read at every poll, but after so many seconds for each page more.
PAGES_A_POLL, SECONDS_A_PAGE = 4, 0.5
SYSTEM_INFO = "<show><system><info/></system></show>"
# What changes the running configuration or the predefined content when it ends.
CHANGING_JOBS = frozenset({"Commit", "Content", "Install", "Revert", "Load"})
SAME_VERSION_TRIES = 3
MOST_LEVELS = 32
PENDING = "<check><pending-changes/></check>"
CHANGES = "<show><config><list><changes/></list></config></show>"
CONFIG_LOCKS = "<show><config-locks/></show>"
COMMIT_LOCKS = "<show><commit-locks/></show>"
# A level by its name and XPath; None where there is none.
_ReadLevel = Callable[[str, str], Level | None]
_ApplicationLists = Callable[[ObjectScope], Iterable[tuple[str, ...]]]
_JOB_NUMBER = re.compile(r"[0-9]{1,18}")
_LONGEST_WORD, _LONGEST_DESCRIPTION = 253, 1024


@dataclass(slots=True)
class PanoramaManager:
    """One device group of one Panorama. Not for use by two threads."""

    api: PanoramaApi
    device_group: str
    options: ReadOptions = field(default_factory=ReadOptions)
    clock: Callable[[], float] = time.monotonic
    _asked_tags: frozenset[str] = frozenset()
    _registered_digest: str = ""
    _registered_until: float = 0.0
    _content: ContentReader = field(default_factory=ContentReader)
    _jobs: tuple[tuple[Commit, ...], int] = ((), 0)
    """The commits of the last list of jobs, newest first, and the lowest number of all jobs in it."""
    _rereader: Rereader = field(default_factory=Rereader)

    def version(self) -> str:
        """The newest finished commit and the device group's checksum; with dynamic groups, their tags' IPs too.

        Two calls, one more with HA peers, and one for each 500 tagged IPs; where those are thousands, not each time.
        """
        self.api.check_active()
        return f"{self._configuration_version()}{self._registered_version()}"

    def _configuration_version(self) -> str:
        jobs = self.api.op(JOBS)
        groups = self.api.op(DEVICE_GROUPS)
        commits = sorted(_commits(jobs), key=lambda commit: commit.job, reverse=True)
        self._jobs = tuple(commits), min(_numbers(jobs), default=0)
        return f"{commits[0].job if commits else 0}/{_checksum(groups, self.device_group)}"

    def _registered_version(self) -> str:
        if not self._asked_tags:
            return ""
        if self.clock() >= self._registered_until:
            registered = self._registered()
            asked = sorted((ip, sorted(tags & self._asked_tags)) for ip, tags in registered.items())
            self._registered_digest = digest([item for item in asked if item[1]])[:16]
            pages = len(registered) // REGISTERED_PAGE
            self._registered_until = self.clock() + max(0, pages - PAGES_A_POLL) * SECONDS_A_PAGE
        return f"/{self._registered_digest}"

    def rulebase(self) -> Rulebase:
        """The running configuration's rulebase; read again where a commit came in between its parts.

        What is as it was when it was last read is the same object.
        """
        self.api.check_active()
        version = self._configuration_version()
        for _ in range(SAME_VERSION_TRIES):
            scope = self._scope(self._running_level, self._rereader.application_lists)
            asked = _asked_tags(scope)
            rulebase = self._rereader.read(scope, self._read_options(asked))
            before, version = version, self._configuration_version()
            if before == version:
                self._asked_tags, self._registered_until = asked, 0.0
                return rulebase
        raise ManagerAnswerError(
            f"reading device group '{self.device_group}': Panorama committed again during each of "
            f"{SAME_VERSION_TRIES} reads; it is read again at the next poll"
        )

    def provenance(self) -> Provenance:
        """The commits of the list of jobs that was read with the last version, and which Panorama this is."""
        commits, oldest = self._jobs
        try:
            system = self.api.op(SYSTEM_INFO)
        except ManagerError:  # who it is isn't worth a reading
            return Provenance(commits=commits, oldest_job=oldest)
        said = (system.findtext(f"system/{name}") or "" for name in ("hostname", "serial", "sw-version"))
        host, serial, software = (text[:_LONGEST_WORD] for text in said)
        return Provenance(host, serial, software, commits, oldest)

    def pending(self) -> Pending | None:
        """Whether the candidate differs from what is committed, and who edits it; None where it doesn't. Four calls.

        Where an administrator of ours may not ask for the others, nobody is named.
        """
        self.api.check_active()
        if (self.api.op(PENDING).text or "").strip() != "yes":
            return None
        return Pending(*map(self._asked, (CHANGES, CONFIG_LOCKS, COMMIT_LOCKS)))

    def candidate(self) -> Rulebase:
        """What the device group's rulebase would be if everything that is edited were committed.

        Panorama gives it in parts, so that an edit in between may be in some of them; the next read has all of it.
        """
        self.api.check_active()
        scope = self._scope(self._candidate_level, _application_lists)
        return read_scope(scope, self._read_options(_asked_tags(scope)))

    def close(self) -> None:
        self.api.close()

    def _asked(self, command: str) -> Element | None:
        try:
            return self.api.op(command)
        except (ManagerAnswerError, ManagerRefusedError):
            return None

    def _running_level(self, name: str, xpath: str) -> Level | None:
        """As text, where only some of it isn't as it was last read."""
        answer = self.api.show_again(xpath, self._rereader.text(name))
        if answer is None:
            return None
        if answer.element is None and answer.text is not None:
            return TextLevel(name, answer.text)
        return ElementLevel(name, () if answer.element is None else (answer.element,), answer.text)

    def _candidate_level(self, name: str, xpath: str) -> Level | None:
        nodes = self.api.get(xpath)
        return ElementLevel(name, tuple(nodes[:1])) if nodes else None

    def _read_options(self, asked: frozenset[str]) -> ReadOptions:
        """With the IPs that are tagged, where a group asks for tags."""
        return replace(self.options, registered=self._registered() if asked else {})

    def _scope(self, level: _ReadLevel, applications: _ApplicationLists) -> ObjectScope:
        """`level` reads one level, of the running or of the candidate configuration."""
        levels = []
        for name in self._chain():
            read = level(name, f"/config/{DEVICE}/device-group/entry[@name='{name}']")
            if read is None:
                raise unknown_device_group(name, ())
            levels.append(read)
        shared = level(SHARED, "/config/shared") or ElementLevel(SHARED, (), NOTHING)
        scope = ObjectScope((*levels, shared), ancestors_win=self.options.ancestors_win, zones=self._template_zones())
        return replace(scope, predefined=self._predefined_content(scope, applications))

    def _chain(self) -> list[str]:
        """The device group and its ancestors, nearest first."""
        ancestry = dict(chains(self.api.op(HIERARCHY)))
        if self.device_group not in ancestry:
            raise unknown_device_group(self.device_group, ancestry)
        return ancestry[self.device_group]

    def _template_zones(self) -> frozenset[str]:
        """The zones of all templates and stacks, from the candidate: `show` can't match many nodes.

        They only say which labels Panorama knows, so a zone that is not committed yet does no harm.
        """
        zones = (zone for kind in ("template", "template-stack") for zone in self.api.get(TEMPLATE_ZONES.format(kind)))
        return frozenset(name for zone in zones if (name := zone.get("name")))

    def _registered(self) -> dict[str, frozenset[str]]:
        """The IPs that were tagged at run time (User-ID, the API, plug-ins), with their tags."""
        tags_of: dict[str, frozenset[str]] = {}
        for page in registered_pages(self.api.op, partial(REGISTERED.format, REGISTERED_PAGE), REGISTERED_PAGE):
            tags_of |= page
            if len(tags_of) > MOST_REGISTERED:
                raise ManagerAnswerError(
                    f"reading tagged IPs: there are more than {MOST_REGISTERED}, Panorama's own limit"
                )
        return tags_of

    def _predefined_content(self, scope: ObjectScope, applications: _ApplicationLists) -> Element:
        """Those predefined applications that the rules need. All of them only where a filter selects among them."""
        release = self.api.op(SYSTEM_INFO).findtext("system/app-version") or ""
        named = tuple(dict.fromkeys(name for names in applications(scope) for name in names))
        names, filtered = ApplicationObjects(scope).predefined_names(named)
        return self._content.read(self.api.get, release, names, every=filtered)


def _asked_tags(scope: ObjectScope) -> frozenset[str]:
    """What the filters of the dynamic groups name: other tags, of somebody's ten thousand pods say, change nothing."""
    groups = (group for level in scope.levels for group in level.objects_with("address-group", "dynamic"))
    filters = (text for _, entry in groups if (text := text_of(entry, "dynamic/filter")) is not None)
    return frozenset(word for text in filters for word in _words(text))


def _words(text: str) -> frozenset[str]:
    """None of a filter that can't be read: its group is a problem as it is."""
    try:
        return words(text)
    except TagFilterError:
        return frozenset()


def _commits(jobs: Element) -> Iterator[Commit]:
    """The jobs that changed the running configuration or the predefined content, as Panorama words them."""
    for job in jobs.findall("job"):
        number, kind = job.findtext("id") or "", job.findtext("type") or ""
        if kind in CHANGING_JOBS and job.findtext("result") == "OK" and _JOB_NUMBER.fullmatch(number):
            yield Commit(
                job=int(number),
                kind=kind,
                administrator=(job.findtext("user") or "")[:_LONGEST_WORD],
                description=(job.findtext("description") or "")[:_LONGEST_DESCRIPTION],
                enqueued=(job.findtext("tenq") or "")[:_LONGEST_WORD],
            )


def _numbers(jobs: Element) -> Iterator[int]:
    numbers = (job.findtext("id") or "" for job in jobs.findall("job"))
    return (int(number) for number in numbers if _JOB_NUMBER.fullmatch(number))


def _checksum(groups: Element, device_group: str) -> str:
    for entry in groups.findall("devicegroups/entry"):
        if entry.get("name") == device_group:
            return entry.findtext("shared-policy-md5sum") or "-"
    return "gone"


def chains(answer: Element) -> Iterator[tuple[str, list[str]]]:
    """Each device group with itself and its ancestors. The nesting is the XML's own; PAN-OS allows four levels."""
    level: list[tuple[Element, list[str]]] = [(parent, []) for parent in answer.findall("dg-hierarchy")]
    for _ in range(MOST_LEVELS):
        level = [
            (group, [group.get("name") or "", *above]) for parent, above in level for group in parent.findall("dg")
        ]
        yield from ((chain[0], chain) for _, chain in level)
    if level:
        raise ManagerAnswerError(f"reading the device groups: they are nested deeper than {MOST_LEVELS}")


def _application_lists(scope: ObjectScope) -> Iterator[tuple[str, ...]]:
    return (members(entry.element.find("application")) for entry in scope_entries(scope))
