"""How a pass ended, and what its end says about the tier. Values and pure functions.

`bridge.sync` makes outcomes; `bridge.service`, `bridge.metrics` and the commands read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bridge.errors import BridgeError, RevisionRefusedError
from bridge.status import Condition


class Result(StrEnum):
    """How a pass ended."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"

    @classmethod
    def of(cls, problem: BridgeError | None, *, published: bool) -> Result:
        if isinstance(problem, RevisionRefusedError):
            return cls.REFUSED
        if problem is not None:
            return cls.UNREACHABLE
        return cls.PUBLISHED if published else cls.UNCHANGED


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass did. `problem` is what kept it from bringing the tier up to date, if anything.

    `drifts`: how many objects of each kind others had changed; `fought`: how many are left so for now.
    """

    result: Result
    revision: int
    rules: Mapping[str, int]
    nodes: Mapping[str, int]
    stale: bool = False
    problem: BridgeError | None = None
    drifts: Mapping[str, int] = field(default_factory=dict)
    fought: int = 0


def conditions(outcome: Outcome) -> tuple[Condition, ...]:
    """The Tier's conditions. Not compiled, or stale, is not ready: the tier is enforced, but may not be Panorama's."""
    refused = outcome.problem if isinstance(outcome.problem, RevisionRefusedError) else None
    return _compiled(refused), _stale(outcome), _ready(refused, outcome)


def _compiled(refused: RevisionRefusedError | None) -> Condition:
    if refused is not None:
        return Condition("Compiled", holds=False, reason=refused.reason, message=str(refused))
    return Condition("Compiled", holds=True, reason="Accepted", message="the configuration can be expressed")


def _stale(outcome: Outcome) -> Condition:
    if outcome.stale:
        return Condition("Stale", holds=True, reason="NoAnswer", message=str(outcome.problem))
    return Condition("Stale", holds=False, reason="Answering", message="the manager answers")


def _ready(refused: RevisionRefusedError | None, outcome: Outcome) -> Condition:
    published = f"revision {outcome.revision} is published"
    if refused is not None:
        return Condition("Ready", holds=False, reason="RevisionRefused", message=f"{published}; a newer one is refused")
    if outcome.stale:
        return Condition("Ready", holds=False, reason="SyncStale", message=f"{published}; it may be out of date")
    return Condition("Ready", holds=True, reason="Published", message=published)
