"""Puts our tags on a device group's rules in Panorama: one look, all edits, and a partial commit of them, or nothing.

What is to be edited, `rule_tags` decides; `bridge.registration` calls it. It takes no lock, and waits for others'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

import structlog

from bridge.errors import ManagerError, ManagerUnreachableError, RegistrationBlockedError, RegistrationWaitsError
from bridge.managers.panorama.manager import CHANGES, CHANGING_JOBS, COMMIT_LOCKS, CONFIG_LOCKS, JOBS
from bridge.managers.panorama.registration.jobs import finished, group_path
from bridge.managers.panorama.registration.rule_tags import (
    RULEBASES,
    Edit,
    GroupRules,
    TagEdits,
    is_left_over,
    revert_command,
    tag_edits,
    unlike,
)
from bridge.managers.panorama.registration.steps import OURS, foreign_locks
from bridge.managers.panorama.session.api import PanoramaApi
from bridge.managers.wanted_tags import WantedTags

_RELEASE = "<request><commit-lock><remove/></commit-lock></request>"
_Node = Callable[[str], Iterable[Element]]
_BUSY_JOBS = CHANGING_JOBS | {"CommitAll", "MoveDG"}
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TaggedGroup:
    """The device group of a cluster, and who we are in Panorama."""

    name: str
    cluster: str
    admin: str

    @property
    def commit_command(self) -> str:
        """Our own changes alone: other administrators' stay where they are."""
        root = Element("commit")
        SubElement(root, "description").text = f"{OURS}what cluster {self.cluster} does with rules, as tags"
        SubElement(SubElement(SubElement(root, "partial"), "admin"), "member").text = self.admin
        return tostring(root, encoding="unicode")


class RuleTagging:
    """`settle` goes on by one step for each value, the seconds to wait before the next.

    Raises ManagerError; RegistrationWaitsError while others work in Panorama; RegistrationBlockedError for what only
    somebody else can change.
    """

    def __init__(self, api: PanoramaApi, group: TaggedGroup) -> None:
        self._api = api
        self._group = group

    def settle(self, wanted: WantedTags) -> Iterator[float]:
        """Make the rules carry our tags as wanted. What an earlier try left is taken back first."""
        self._api.live_session()
        self._wait_for_others()
        running, candidate = self._read(self._running), self._read(self._candidate)
        left_over = is_left_over(self._api.op(CHANGES), running, candidate, self._group.name, self._group.admin)
        if left_over is False:
            raise RegistrationBlockedError(
                f"tagging rules: '{self._group.admin}' has other uncommitted changes in Panorama; commit or revert "
                "them, and leave that administrator to zonebridge alone"
            )
        if left_over:
            self._revert()
            candidate = self._read(self._candidate)
        yield 0.0
        edits = tag_edits(running, candidate, wanted)
        if edits.edits:
            job = self._edited(candidate, edits)
            yield from self._committed(job)
            _log.info("rules tagged", device_group=self._group.name, rules=len(edits.expected))

    def _wait_for_others(self) -> None:
        for command, kind in ((CONFIG_LOCKS, "configuration"), (COMMIT_LOCKS, "commit")):
            holders = foreign_locks(self._api.op(command), self._group.admin)
            if holders:
                raise RegistrationWaitsError(f"tagging rules: Panorama has a {kind} lock of {', '.join(holders)}")
        for job in self._api.op(JOBS).findall("job"):
            if job.findtext("type") in _BUSY_JOBS and job.findtext("status") != "FIN":
                raise RegistrationWaitsError(f"tagging rules: Panorama's job {job.findtext('id')} is not done")

    def _edited(self, before: GroupRules, edits: TagEdits) -> str | None:
        """Edits and commit in one step, so that nothing of ours comes in between; the job's number."""
        try:
            for edit in edits.edits:
                self._carry_out(edit)
            self._refuse_others_edits(before, edits)
            self._wait_for_others()
        except (ManagerError, RegistrationWaitsError):
            self._try_to_revert()
            raise
        try:
            return self._api.commit(self._group.commit_command)
        except ManagerUnreachableError:
            raise  # it may have been taken: the next look sees what became of it
        except ManagerError:
            self._try_to_revert()
            self._wait_for_others()
            raise

    def _refuse_others_edits(self, before: GroupRules, edits: TagEdits) -> None:
        changed = unlike(before, self._read(self._candidate), edits)
        if changed is not None:
            raise RegistrationWaitsError(f"tagging rules: somebody is editing rule '{changed}'")

    def _committed(self, job: str | None) -> Iterator[float]:
        try:
            yield from finished(self._api, job, "committing tags of rules")
        except RegistrationBlockedError:
            self._try_to_revert()
            raise

    def _carry_out(self, edit: Edit) -> None:
        path = f"{group_path(self._group.name)}/{edit.path}"
        if edit.element:
            self._api.set(path, edit.element)
        else:
            self._api.delete(path)

    def _try_to_revert(self) -> None:
        """Where even that fails, the next look takes back what is left."""
        with suppress(ManagerError):
            self._revert()

    def _revert(self) -> None:
        """Our own edits, and the commit lock that Panorama may have taken in our name for them."""
        self._api.carry_out(revert_command(self._group.admin))
        locks = self._api.op(COMMIT_LOCKS)
        if any(lock.get("name") == self._group.admin for lock in locks.iter("entry")):
            self._api.carry_out(_RELEASE)

    def _read(self, node: _Node) -> GroupRules:
        path = group_path(self._group.name)
        rules = {base: tuple(node(f"{path}/{base}/security/rules")) for base in RULEBASES}
        return GroupRules(rules, tuple(node(f"{path}/tag")))

    def _running(self, xpath: str) -> Iterable[Element]:
        element = self._api.show(xpath)
        return () if element is None else element

    def _candidate(self, xpath: str) -> Iterable[Element]:
        return next(iter(self._api.get(xpath)), ())
