"""A Panorama without its wire: running and candidate configuration, journal, jobs, keys, HA state, what was called.

It answers no request itself; the handlers act on it from one side, tests and demos from the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element

from mocks.panorama import edits, groups
from mocks.panorama.access import Keys, Traffic
from mocks.panorama.apps import predefined
from mocks.panorama.devices import Inventory
from mocks.panorama.jobs import Job, Jobs, stamp
from mocks.panorama.locks import Locks
from mocks.panorama.mappings import Mappings
from mocks.panorama.replies import ApiError, Code
from mocks.panorama.tree import load_config, same_uuids, serialize, settle, shallow, share

HaState = Literal[
    "disabled",
    "primary-active",
    "secondary-active",
    "primary-passive",
    "secondary-passive",
    "initial",
    "primary-suspended",
    "secondary-suspended",
    "primary-non-functional",
    "secondary-non-functional",
]
Edit = Callable[[Element, edits.Stamp], Element]


@dataclass(frozen=True, slots=True)
class Identity:
    """What the appliance says it is."""

    serial: str
    hostname: str
    sw_version: str
    model: str
    app_version: str


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the journal and of the configuration log. `edit` does it again, for a commit of some changes only."""

    number: int
    command: str
    xpath: str
    admin: str
    at: float
    result: str = "Succeeded"
    edit: Edit | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Version:
    """One committed configuration."""

    number: int
    at: float
    admin: str
    description: str
    root: Element


class Panorama:
    """One Panorama. Configurations are a file, or XML text.

    `latency` makes every answer wait; `commit_seconds` is how long a commit runs; `fail_commits` makes commits fail
    with these words. All may be changed while it serves.
    """

    def __init__(
        self,
        config: Path | str,
        candidate: Path | str | None = None,
        *,
        serial: str = "007051000012345",
        hostname: str = "panorama",
        sw_version: str = "11.1.6",
        model: str = "Panorama",
        app_version: str = "8950-9300",
        users: Mapping[str, str] | None = None,
        read_only: tuple[str, ...] = (),
        rights: Mapping[str, Collection[str]] | None = None,
        predefined: Path | str | None = None,
        commit_seconds: float = 0.05,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.identity = Identity(serial, hostname, sw_version, model, app_version)
        self.keys = Keys(dict(users or {"admin": "admin"}))
        self.keys.rights = {user: set(types) for user, types in (rights or {}).items()}
        self.locks = Locks()
        self.read_only = set(read_only)
        self.clock = clock
        self.started = clock()
        self.commit_seconds = commit_seconds
        self.fail_commits: str | None = None
        self.automatic_commit_lock = False
        self.latency = 0.0
        self.ha: HaState = "disabled"
        self.lock = threading.RLock()
        self.traffic = Traffic()
        self.jobs = Jobs(clock)
        self.jobs.enqueue("AutoCom", "", lambda _job: None)  # what every start begins with
        self.mappings = Mappings(clock)
        self.devices = Inventory()
        self.sums = groups.Sums.empty()
        self.saved: dict[str, Element] = {}
        self.journal: list[Change] = []
        self.log: list[Change] = []
        self._numbers = 0
        self._running = load_config(config)
        self._candidate = self._running
        self._written: tuple[Element | None, bytes] = (None, b"")
        self._predefined = read_predefined(predefined, self._running)
        self.versions = [Version(1, self.started, "", "", self._running)]
        if candidate is not None:
            self.set_candidate(candidate)

    # the two configurations

    @property
    def running(self) -> Element:
        with self.lock:
            self.jobs.advance()
            return self._running

    @property
    def candidate(self) -> Element:
        with self.lock:
            self.jobs.advance()
            return self._candidate

    @property
    def readable(self) -> Element:
        """The candidate, with the predefined content beside it."""
        candidate = self.candidate
        if candidate.find("predefined") is not None:
            return candidate
        view = shallow(candidate)
        view.append(self._predefined)
        return view

    def running_bytes(self) -> bytes:
        """The whole running configuration; kept until the next commit, as big ones take seconds to write."""
        root = self.running
        if self._written[0] is not root:
            self._written = (root, serialize(root))
        return self._written[1]

    def running_xml(self) -> str:
        return self.running_bytes().decode()

    def set_candidate(self, config: Path | str, admin: str = "admin") -> None:
        """Load another candidate, as an import with a load does; what is equal to running is not a change."""
        self.replace_candidate(load_config(config), admin, "load")

    def replace_candidate(self, root: Element, admin: str, command: str) -> None:
        with self.lock:
            self.jobs.advance()
            change = self._change(command, "/config", admin)
            self._candidate = share(root, self._running, self._marks(change))
            self.journal = [change] if self._candidate is not self._running else []
            self.log.append(change)

    def revert(self, admins: Collection[str] | None = None) -> None:
        """Of everybody, or of these administrators: what the others edited is done once more without that."""
        with self.lock:
            self.jobs.advance()
            kept = [] if admins is None else [change for change in self.journal if change.admin not in admins]
            root = self._running
            for change in kept:
                if change.edit is None:
                    raise ApiError(Code.NOT_POSSIBLE, f"after a {change.command} only everything can be reverted")
                root = groups.number_groups(change.edit(root, self._marks(change)))
            same_uuids(root, self._running, self._candidate)
            self._candidate, self.journal = root, kept

    # edits of the candidate

    def set(self, xpath: str, element: str, admin: str = "admin") -> None:
        self.apply("set", xpath, admin, lambda root, marks: edits.set_(root, xpath, element, marks))

    def edit(self, xpath: str, element: str, admin: str = "admin") -> None:
        self.apply("edit", xpath, admin, lambda root, marks: edits.edit(root, xpath, element, marks))

    def delete(self, xpath: str, admin: str = "admin") -> None:
        self.apply("delete", xpath, admin, lambda root, marks: edits.delete(root, xpath, marks))

    def rename(self, xpath: str, newname: str, admin: str = "admin") -> None:
        self.apply("rename", xpath, admin, lambda root, marks: edits.rename(root, xpath, newname, marks))

    def move(self, xpath: str, where: str, dst: str = "", admin: str = "admin") -> None:
        self.apply("move", xpath, admin, lambda root, marks: edits.move(root, xpath, where, dst, marks))

    def clone(self, xpath: str, source: str, newname: str, admin: str = "admin") -> None:
        self.apply("clone", xpath, admin, lambda root, marks: edits.clone(root, xpath, source, newname, marks))

    def apply(self, command: str, xpath: str, admin: str, edit: Edit) -> None:
        """One edit of the candidate, in the journal when it changed something."""
        with self.lock:
            self.jobs.advance()
            change = self._change(command, xpath, admin)
            edited = edit(self._candidate, self._marks(change))
            if edited is not self._candidate:
                self._candidate = groups.number_groups(edited)
                self.journal.append(replace(change, edit=edit))
                self.log.append(change)
                if self.automatic_commit_lock and admin not in self.locks.commit:
                    self.locks.add("commit", admin, "Automatically acquired")

    def reparent(self, name: str, parent: str | None, admin: str) -> int:
        """Move a device group under another one; a job, as on a real Panorama."""
        xpath = f"/config/readonly/devices/entry/device-group/entry[@name='{name}']/parent-dg"

        def work(_job: Job) -> None:
            self.apply("set", xpath, admin, lambda root, _marks: groups.reparent(root, name, parent))

        return self.jobs.enqueue("MoveDG", admin, work, seconds=self.commit_seconds).id

    def _change(self, command: str, xpath: str, admin: str) -> Change:
        self._numbers += 1
        return Change(self._numbers, command, xpath, admin, self.clock())

    def _marks(self, change: Change) -> dict[str, str]:
        return {"admin": change.admin, "dirtyId": str(change.number), "time": stamp(change.at)}

    # jobs

    def commit(self, admin: str = "admin", description: str = "", admins: Collection[str] | None = None) -> int:
        """Enqueue a commit of the candidate as it is now, or of these administrators' changes alone.

        Running changes when the job ends.
        """
        with self.lock:
            self.jobs.advance()
            self.log.append(self._change("commit", "", admin))
            snapshot, upto = self._candidate, self._numbers
            theirs = self.changed_by(admins)
            job = self.jobs.enqueue(
                "Commit",
                admin,
                lambda job: self._finish(
                    job, (lambda: self._settled(snapshot, upto)) if admins is None else (lambda: self._replayed(theirs))
                ),
                seconds=self.commit_seconds,
                description=description,
            )
            return job.id

    def changed_by(self, admins: Collection[str] | None) -> list[Change]:
        """The uncommitted changes of these administrators, or of all."""
        with self.lock:
            self.jobs.advance()
            return [change for change in self.journal if admins is None or change.admin in admins]

    def _settled(self, snapshot: Element, upto: int) -> None:
        """Everything that the candidate held then."""
        before = self._running
        self._running = settle(snapshot, before, lambda number: number <= upto)
        edited = self._candidate is not snapshot
        self._candidate = settle(self._candidate, before, lambda number: number <= upto) if edited else self._running
        self.journal = [change for change in self.journal if change.number > upto]

    def _replayed(self, changes: list[Change]) -> None:
        """These changes alone, done once more on the running configuration."""
        before = root = self._running
        for change in changes:
            if change.edit is None:
                raise ApiError(Code.NOT_POSSIBLE, f"after a {change.command} only a full commit is possible")
            root = groups.number_groups(change.edit(root, {}))
        same_uuids(root, before, self._candidate)
        numbers = {change.number for change in changes} | {0}
        self._running = root
        self.journal = [change for change in self.journal if change.number not in numbers]
        self._candidate = settle(self._candidate, before, numbers.__contains__) if self.journal else root

    def _finish(self, job: Job, work: Callable[[], None]) -> None:
        if self.fail_commits is not None:
            job.result, job.lines = "FAIL", [self.fail_commits, "Commit failed"]
            return
        try:
            work()
        except ApiError as error:
            job.result, job.lines = "FAIL", [f"Partial commit failed: {error.message}", "Commit failed"]
            return
        if self.automatic_commit_lock:
            for admin in set(self.locks.commit) - {change.admin for change in self.journal}:
                self.locks.remove("commit", admin)
        self.versions.append(Version(len(self.versions) + 1, job.end, job.user, job.description, self._running))
        job.lines = ["Configuration committed successfully"]

    def push(self, names: list[str], admin: str = "admin", description: str = "") -> int:
        """Push device groups to their firewalls: a CommitAll job."""
        with self.lock:
            job = self.jobs.enqueue(
                "CommitAll",
                admin,
                lambda job: self._pushed(job, names),
                seconds=self.commit_seconds,
                description=description,
            )
            return job.id

    def _pushed(self, job: Job, names: list[str]) -> None:
        found = groups.read_groups(self._running)
        for name in names:
            if name in found:
                self.devices.pushed(found[name].serials, self.sums.merged(self._running, found, name), job.end)
        serials = [serial for name in names if name in found for serial in found[name].serials]
        job.extra = self.devices.push_report(serials, ", ".join(names), job)

    def finish_jobs(self) -> None:
        """End every job now, for tests that don't wait."""
        with self.lock:
            self.jobs.finish_all()

    def job(self, number: int | str) -> Job | None:
        with self.lock:
            self.jobs.advance()
            return self.jobs.find(str(number))

    @property
    def pending(self) -> bool:
        """Whether there is anything to commit."""
        with self.lock:
            self.jobs.advance()
            return bool(self.journal)

    # the rest

    def refuse_write(self, user: str, *, passive: bool = False) -> None:
        """Raise unless the user may write here; a passive peer takes no changes, except of memory (`passive`)."""
        if user in self.read_only:
            raise ApiError(Code.UNAUTHORIZED, "Unauthorized request")
        if not passive and self.ha != "disabled" and not self.ha.endswith("active"):
            raise ApiError(Code.DENIED, f"Operation denied: this peer is {self.ha}")

    def set_ha(self, state: HaState) -> None:
        self.ha = state

    def expire_keys(self) -> None:
        """Every key that was given out stops working: HTTP 400, `Key Expired`."""
        self.keys.expire()

    def revoke_keys(self) -> None:
        """Every key that was given out is unknown: HTTP 403, `Invalid Credential`."""
        self.keys.valid.clear()


def read_predefined(source: Path | str | None, running: Element) -> Element:
    """The predefined content: of the file or text given, else of the configuration, else the little set built in."""
    if source is None:
        found = running.find("predefined")
        return found if found is not None else predefined()
    root = load_config(source)
    found = root.find("predefined")
    return found if found is not None else root
