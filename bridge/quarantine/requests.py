"""What a SOAR asks for, from JSON to a Quarantine and back to JSON. It neither listens nor knows who may ask."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Self

from pydantic import Field, IPvAnyAddress, StringConstraints, ValidationError, model_validator

from bridge.quarantine.client import QuarantineClient, Subject, is_over
from bridge.quarantine.text import to_json, wanted
from zones.runtime.errors import InputError
from zones.runtime.settings_file import faults
from zones.runtime.types import Section
from zones.tiers.quarantines import Quarantine

SOURCE = "soar"
_Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
_Word = Annotated[str, StringConstraints(min_length=1, max_length=253)]


class PodSubject(Section):
    """`uid`: of the pod that is meant; without it whichever has the name now."""

    namespace: _Word
    name: _Word
    uid: Annotated[str, StringConstraints(max_length=128)] = ""


class WorkloadSubject(Section):
    """All pods of a workload, those that are yet to come too."""

    namespace: _Word
    name: _Word


class QuarantineRequest(Section):
    """The body of `POST /quarantines`. `cluster`: which of the bridge's; the only one without it."""

    cluster: _Word | None = None
    pod: PodSubject | None = None
    workload: WorkloadSubject | None = None
    address: IPvAnyAddress | None = None
    reason: _Line
    duration: Annotated[str, StringConstraints(max_length=8)] | None = None
    reference: Annotated[str, StringConstraints(max_length=300)] = ""
    requested_by: Annotated[str, StringConstraints(max_length=200)] = ""
    dry_run: bool = Field(default=False, strict=True)

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if sum(subject is not None for subject in (self.pod, self.workload, self.address)) != 1:
            raise ValueError("name one of pod, workload and address")
        return self


def parse_request(body: bytes) -> QuarantineRequest:
    """Raises InputError with every fault."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise InputError("the body is no JSON") from None
    if not isinstance(content, dict):
        raise InputError("the body is no JSON object")
    try:
        return QuarantineRequest.model_validate(content)
    except ValidationError as error:
        raise InputError("; ".join(faults(error)).replace("is not a setting", "is no field")) from None


@dataclass(frozen=True, slots=True)
class SoarQuarantines:
    """One cluster's part. `duration`: how long where a request says nothing else."""

    client: QuarantineClient
    duration: str = "4h"
    clock: Callable[[], float] = time.time

    async def add(self, request: QuarantineRequest, caller: str) -> tuple[Quarantine, bool]:
        """The quarantine, and whether it is new: one in force for the same subject and reference is not made again.

        `caller`: who that is by certificate or token. Raises InputError and ClusterError.
        """
        subject = await self._subject(request)
        asked = wanted(
            subject.namespace,
            request.reason,
            request.duration or self.duration,
            request.reference,
            dry_run=request.dry_run,
            option="duration",
        )
        for existing in await self.client.all():
            if existing.source == SOURCE and _is_same(existing, subject, asked) and not is_over(existing, self.clock()):
                return existing, False
        asked = replace(asked, requested_by=request.requested_by or caller, source=SOURCE)
        return await self.client.add(subject, asked, self.clock()), True

    async def release(self, name: str) -> None:
        """Raises InputError where there is none, or none that a SOAR has asked for."""
        if (await self.client.get(name)).source != SOURCE:
            raise InputError(f"Quarantine '{name}' was not asked for by a SOAR: who has asked for it lets the pod out")
        await self.client.release(name)

    def json(self, quarantine: Quarantine) -> dict[str, object]:
        return to_json(quarantine, self.clock())

    async def _subject(self, request: QuarantineRequest) -> Subject:
        if request.pod is not None:
            return Subject("pod", request.pod.namespace, request.pod.name, request.pod.uid)
        if request.workload is not None:
            return Subject("workload", request.workload.namespace, request.workload.name)
        if request.address is None:
            raise InputError("name one of pod, workload and address")
        return await self.client.pod_at(request.address)


def _is_same(existing: Quarantine, subject: Subject, asked: Quarantine) -> bool:
    if (existing.reference, existing.dry_run) != (asked.reference, asked.dry_run):
        return False
    if existing.namespace != subject.namespace:
        return False
    if subject.kind == "workload":
        return existing.workload == subject.name
    return existing.pod == subject.name and subject.uid in {"", existing.pod_uid}
