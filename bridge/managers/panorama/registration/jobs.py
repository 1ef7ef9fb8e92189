"""Panorama's jobs as a registrar waits for them, and where a device group stands in its configurations."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.errors import ManagerAnswerError, RegistrationBlockedError
from bridge.managers.panorama.registration.steps import job_failure
from bridge.managers.panorama.rulebase.tree import DEVICE
from bridge.managers.panorama.session.api import PanoramaApi

JOB = "<show><jobs><id>{}</id></jobs></show>"
JOB_POLL, JOB_POLLS = 1.0, 600


def finished(api: PanoramaApi, job: str | None, doing: str) -> Iterator[float]:
    """Until a job has ended well, by the seconds to wait before each look. Without a number there was nothing to do."""
    if job is None:
        return
    for _ in range(JOB_POLLS):
        job_element = api.op(JOB.format(job)).find("job")
        if job_element is None:
            raise ManagerAnswerError(f"{doing}: Panorama doesn't know its own job {job}; it is tried again")
        if job_element.findtext("status") == "FIN":
            failure = job_failure(job_element)
            if failure is not None:
                raise RegistrationBlockedError(f"{doing}: Panorama's job {job} failed: {failure}")
            return
        yield JOB_POLL
    raise RegistrationBlockedError(f"{doing}: Panorama's job {job} doesn't end; look at it there")


def group_path(name: str) -> str:
    return f"/config/{DEVICE}/device-group/entry[@name={quoted(name)}]"


def quoted(name: str) -> str:
    return f'"{name}"' if "'" in name else f"'{name}'"
