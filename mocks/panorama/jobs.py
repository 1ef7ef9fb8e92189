"""The job queue: one job at a time, in order, each PEND, then ACT, then FIN as the clock goes.

No thread runs it: whoever looks lets it advance first. A job's work is done when it finishes; the appliance fills it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement

PENDING_SHARE = 0.2  # of a job's time it waits to be dequeued
Work = Callable[["Job"], None]


@dataclass(slots=True)
class Job:
    """One job; `work` runs once, when it ends, and may set result and lines."""

    id: int
    kind: str
    user: str
    enqueued: float
    start: float
    seconds: float
    work: Work
    description: str = ""
    result: str = "OK"
    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    extra: list[Element] = field(default_factory=list)
    done: bool = False

    @property
    def end(self) -> float:
        return self.start + self.seconds

    def status(self, now: float) -> str:
        if self.done:
            return "FIN"
        return "ACT" if now >= self.start + self.seconds * PENDING_SHARE else "PEND"

    def progress(self, now: float) -> int:
        if self.done:
            return 100
        return int(min(99, max(0.0, 100 * (now - self.start) / (self.seconds or 1))))


@dataclass(slots=True)
class Jobs:
    """Every job since the start."""

    clock: Callable[[], float]
    all: list[Job] = field(default_factory=list)

    def enqueue(self, kind: str, user: str, work: Work, *, seconds: float = 0.0, description: str = "") -> Job:
        now = self.clock()
        start = max([now, *(job.end for job in self.all if not job.done)])
        job = Job(len(self.all) + 1, kind, user, now, start, seconds, work, description)
        self.all.append(job)
        return job

    def advance(self) -> None:
        now = self.clock()
        for job in self.all:
            if not job.done and job.end <= now:
                finish(job)

    def finish_all(self) -> None:
        """Let every job end now, for tests that don't wait."""
        now = self.clock()
        for job in self.all:
            if not job.done:
                job.start, job.seconds = min(job.start, now), 0.0
                finish(job)

    def find(self, number: str) -> Job | None:
        return next((job for job in self.all if str(job.id) == number), None)


def finish(job: Job) -> None:
    job.done = True
    job.work(job)


def render(job: Job, queue: Jobs) -> Element:
    """A job as `show jobs` shows it."""
    now = queue.clock()
    status = job.status(now)
    waiting = [other for other in queue.all if not other.done and other.start < job.start]
    node = Element("job")
    fields = {
        "tenq": stamp(job.enqueued),
        "tdeq": clock_time(job.start),
        "id": str(job.id),
        "user": job.user,
        "type": job.kind,
        "status": status,
        "queued": "YES" if status == "PEND" else "NO",
        "stoppable": "no" if job.done else "yes",
        "result": job.result if job.done else "PEND",
        "tfin": clock_time(job.end) if job.done else "Still Active",
        "description": job.description,
        "positionInQ": str(len(waiting)) if status == "PEND" else "0",
        "progress": str(job.progress(now)),
    }
    for tag, text in fields.items():
        SubElement(node, tag).text = text
    for tag, texts in (("warnings", job.warnings), ("details", job.lines if job.done else [])):
        holder = SubElement(node, tag)
        for text in texts:
            SubElement(holder, "line").text = text
    node.extend(job.extra)
    return node


def stamp(moment: float) -> str:
    return time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(moment))


def clock_time(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))
