"""Where a configuration comes from, as far as its manager says: which machine it is, and who committed what. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_COMMITS = 20


@dataclass(frozen=True, slots=True)
class Commit:
    """A job that changed the manager's running configuration, as the manager words it.

    `enqueued` is the manager's own clock, in its own time zone, which it doesn't name.
    """

    job: int
    kind: str
    administrator: str
    description: str
    enqueued: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """`host`, `serial`, `software`: empty where the manager didn't say. `commits`: all that it lists, newest first.

    `oldest_job`: the lowest number of any job in its list, which doesn't reach back for ever; 0 where there is none.
    """

    host: str = ""
    serial: str = ""
    software: str = ""
    commits: Sequence[Commit] = ()
    oldest_job: int = 0

    @property
    def newest_job(self) -> int:
        """The number of the newest commit; 0 where none is listed."""
        return max((commit.job for commit in self.commits), default=0)

    def since(self, job: int | None) -> tuple[tuple[Commit, ...], str]:
        """The commits after that job, newest first, and what is unknown about them (empty: nothing).

        `job` None: it isn't known up to which commit the configuration was seen before.
        """
        if job is None:
            return tuple(self.commits[:1]), "what was committed before the newest commit isn't known: no record says it"
        if self.newest_job < job:
            return (), f"the manager's list of jobs ends before job {job}, which was seen: it began anew"
        after = tuple(commit for commit in self.commits if commit.job > job)
        if len(after) > MOST_COMMITS:
            return after[:MOST_COMMITS], f"{len(after) - MOST_COMMITS} older commits since job {job} are left out"
        if self.oldest_job > job + 1:
            return after, f"the manager's list of jobs begins with {self.oldest_job}: some since {job} may be missing"
        return after, ""
