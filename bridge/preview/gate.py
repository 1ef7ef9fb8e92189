"""When a preview should stop a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from bridge.preview.model import Preview
from zones.policy import Verdict
from zones.runtime.errors import InputError


class FailOn(StrEnum):
    """What a preview may not have. Any one that it has ends the command with 1.

    SEEN_DENIED: a connection that was seen would be denied. GUARDRAIL: a guard rail is broken that isn't broken yet.
    """

    REFUSED = "refused"
    SEEN_DENIED = "seen-denied"
    ANY_DENIED = "any-denied"
    NEW_ALLOW = "new-allow"
    GUARDRAIL = "guardrail"


@dataclass(frozen=True, slots=True)
class FailCondition:
    """What to fail on. `zone`: of `new-allow-from=ZONE`, where a flow begins."""

    kind: FailOn
    zone: str | None = None


ALWAYS = (FailCondition(FailOn.REFUSED), FailCondition(FailOn.SEEN_DENIED))
_FROM = "new-allow-from"


def condition(text: str) -> FailCondition:
    """`any-denied`, `new-allow-from=untrust`. Raises InputError."""
    name, equals, zone = text.partition("=")
    if equals and name == _FROM and zone.strip():
        return FailCondition(FailOn.NEW_ALLOW, zone.strip())
    try:
        return FailCondition(FailOn(text))
    except ValueError:
        words = ", ".join(kind.value for kind in FailOn)
        raise InputError(f"--fail-on '{text}' is not known; take one of {words}, {_FROM}=ZONE") from None


def failures(preview: Preview, conditions: Iterable[FailCondition]) -> tuple[str, ...]:
    """Why the preview fails, a sentence for each condition that it meets."""
    return tuple(dict.fromkeys(why for condition_ in conditions for why in _failures(preview, condition_)))


def _failures(preview: Preview, condition: FailCondition) -> Iterator[str]:
    if preview.running_refused and not preview.refused and _compares(preview, condition.kind):
        yield "the running configuration would be refused itself, so what changes is not known"
        return
    closed, opened = counted(preview, condition.zone)
    match condition.kind:
        case FailOn.REFUSED if preview.refused:
            yield "the candidate would be refused"
        case FailOn.SEEN_DENIED if preview.seen is not None and preview.seen.denied:
            connections = sum(flow.connections for flow in preview.seen.denied)
            yield f"{connections} connections that were seen would be denied, of {len(preview.seen.denied)} kinds"
        case FailOn.ANY_DENIED if closed:
            yield f"{closed} zone pairs lose something that is allowed today"
        case FailOn.NEW_ALLOW if opened:
            where = "" if condition.zone is None else f" from zone '{condition.zone}'"
            yield f"{opened} zone pairs{where} get something that is denied today"
        case FailOn.GUARDRAIL:
            broken = {violation.rail for violation in preview.violations if not violation.existing}
            if broken:
                names = ", ".join(sorted(f"{rail.from_zone} to {rail.to_zone}" for rail in broken))
                yield f"guard rails are broken: {names}"


def _compares(preview: Preview, kind: FailOn) -> bool:
    """Whether it asks what was before: where that isn't known, no pipeline may go on."""
    return kind in {FailOn.ANY_DENIED, FailOn.NEW_ALLOW} or (kind is FailOn.SEEN_DENIED and preview.seen is not None)


def counted(preview: Preview, from_zone: str | None = None) -> tuple[int, int]:
    """Zone pairs in which something allowed is closed, and in which something is opened; of all, or from one zone on.

    A zone that no rule names is among those that the pairs of "any other zone" stand for.
    """
    zones = () if preview.flows is None else preview.flows.zones
    if from_zone is not None and preview.flows is not None:
        begins = from_zone if from_zone in preview.flows.known_zones else None
        zones = tuple(change for change in zones if change.from_zone == begins)
    closed = sum(any(piece.old.verdict is Verdict.ALLOW for piece in change.pieces) for change in zones)
    opened = sum(any(piece.new.verdict is Verdict.ALLOW for piece in change.pieces) for change in zones)
    return closed, opened
