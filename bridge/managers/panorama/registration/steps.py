"""How a cluster becomes a device group: what is wanted, what Panorama has, and the one next step. Pure.

What an administrator wrote, moved or is about to delete stays as it is. `registration` carries the steps out.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from bridge.managers.panorama.rulebase.document import text_of

OURS = "zonebridge: "
"""How the descriptions begin that are ours to change."""
LONGEST_DESCRIPTION = 255


@dataclass(frozen=True, slots=True)
class WantedGroup:
    """The device group of a cluster. `admin`: who we are in Panorama; `tags`: defined in a group that we create."""

    name: str
    cluster: str
    admin: str
    parent: str | None = None
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def description(self) -> str:
        return f"{OURS}Kubernetes cluster {self.cluster}; its rules are enforced in the cluster"[:LONGEST_DESCRIPTION]


@dataclass(frozen=True, slots=True)
class GroupState:
    """A device group in one of Panorama's configurations. `changed_by`: whose uncommitted change it is, if any."""

    exists: bool = False
    description: str = ""
    parent: str | None = None
    changed_by: str | None = None

    @classmethod
    def of(cls, entry: Element | None, facts: Element | None = None, parent: str | None = None) -> GroupState:
        """`facts`: its line under `readonly`. `parent`: where it was just moved to, whatever that line says."""
        if entry is None:
            return cls()
        if facts is not None:
            parent = parent or text_of(facts, "parent-dg")
        description = text_of(entry, "description") or ""
        return cls(exists=True, description=description, parent=parent, changed_by=entry.get("admin"))


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Somebody else has to do something first."""

    why: str


@dataclass(frozen=True, slots=True)
class Write:
    """Merge this into the candidate's device group."""

    element: str


@dataclass(frozen=True, slots=True)
class MoveStep:
    """Move the device group under its parent; a job."""

    parent: str


@dataclass(frozen=True, slots=True)
class CommitStep:
    """Commit our own changes; a job."""


Step = Done | Blocked | Write | MoveStep | CommitStep


def next_step(wanted: WantedGroup, running: GroupState, candidate: GroupState, groups: Collection[str]) -> Step:
    """`groups`: the device groups of the running configuration."""
    if not candidate.exists:
        return _missing(wanted, running, groups)
    if not running.exists and candidate.changed_by not in {None, wanted.admin}:
        return Blocked(
            f"device group '{wanted.name}' was created by '{candidate.changed_by}' and is not committed; commit it"
        )
    if describable(wanted, candidate.description):
        return Write(_xml("description", wanted.description))
    if not running.exists and wanted.parent is not None and candidate.parent != wanted.parent:
        return MoveStep(wanted.parent) if wanted.parent in groups else _no_parent(wanted)
    if not running.exists or describable(wanted, running.description):
        return CommitStep()
    return Done()


def creation(wanted: WantedGroup) -> str:
    """What a new device group holds."""
    holder = Element("tag")
    for name, comments in wanted.tags:
        SubElement(SubElement(holder, "entry", {"name": name}), "comments").text = comments
    return _xml("description", wanted.description) + (tostring(holder, encoding="unicode") if wanted.tags else "")


def commit_command(wanted: WantedGroup) -> str:
    """Our own changes alone: other administrators' stay where they are."""
    root = Element("commit")
    SubElement(root, "description").text = f"{OURS}registers cluster {wanted.cluster}"
    SubElement(SubElement(SubElement(root, "partial"), "admin"), "member").text = wanted.admin
    return tostring(root, encoding="unicode")


def move_command(name: str, parent: str) -> str:
    root = Element("request")
    entry = SubElement(SubElement(root, "move-dg"), "entry", {"name": name})
    SubElement(entry, "new-parent-dg").text = parent
    return tostring(root, encoding="unicode")


def foreign_locks(answer: Element, admin: str) -> list[str]:
    """Whose locks there are, but for our own."""
    return sorted({name for lock in answer.iter("entry") if (name := lock.get("name") or "somebody") != admin})


def job_failure(job: Element) -> str | None:
    """What a finished job says went wrong."""
    if job.findtext("result") == "OK":
        return None
    lines = [text for line in job.iterfind("details//line") if (text := (line.text or "").strip())]
    return "; ".join(lines) or "it says no reason"


def describable(wanted: WantedGroup, description: str) -> bool:
    """Whether a description is missing, or is one of ours that is out of date."""
    return description != wanted.description and (not description or description.startswith(OURS))


def elsewhere(wanted: WantedGroup, parent: str | None) -> str | None:
    """What to tell where the group stands in another place: to move it back changes what its rules mean."""
    if wanted.parent is None or parent == wanted.parent:
        return None
    return (
        f"device group '{wanted.name}' stands under {parent or 'Shared'}, registration.parent says '{wanted.parent}'; "
        "move it in Panorama or change the setting"
    )


def _missing(wanted: WantedGroup, running: GroupState, groups: Collection[str]) -> Step:
    if running.exists:
        return Blocked(
            f"device group '{wanted.name}' is deleted in the candidate configuration; commit that or revert it"
        )
    if wanted.parent is not None and wanted.parent not in groups:
        return _no_parent(wanted)
    return Write(creation(wanted))


def _no_parent(wanted: WantedGroup) -> Blocked:
    return Blocked(
        f"the parent device group '{wanted.parent}' is not in Panorama; create and commit it, or change "
        "registration.parent"
    )


def _xml(tag: str, text: str) -> str:
    element = Element(tag)
    element.text = text
    return tostring(element, encoding="unicode")
