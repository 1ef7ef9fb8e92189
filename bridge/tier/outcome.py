"""How a pass ended, and what its end says about the tier. Values and pure functions.

`bridge.tier.sync` makes outcomes; `bridge.service`, `bridge.metrics` and the commands read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bridge.errors import BridgeError, RevisionRefusedError
from bridge.nodes import enforcement
from bridge.nodes.enforcement import Late
from bridge.tier.status import TierCondition


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
class PassOutcome:
    """What a pass did. `problem` is what kept it from bringing the tier up to date, if anything.

    `drifts`: how many objects of each kind others had changed; `fought`: how many are left so for now; `late`: the
    nodes that don't enforce it; `read`: whether this process has read a configuration; `feeds`: why feeds aren't up to
    date, by name.
    """

    result: Result
    revision: int
    rules: Mapping[str, int]
    nodes: Mapping[str, int]
    stale: bool = False
    problem: BridgeError | None = None
    drifts: Mapping[str, int] = field(default_factory=dict)
    fought: int = 0
    late: Sequence[Late] = ()
    read: bool = True
    feeds: Mapping[str, str] = field(default_factory=dict)


def conditions(outcome: PassOutcome) -> tuple[TierCondition, ...]:
    """The Tier's conditions. One that nothing speaks for is Unknown, never True."""
    refused = outcome.problem if isinstance(outcome.problem, RevisionRefusedError) else None
    return (
        _compiled(refused, outcome),
        _stale(refused, outcome),
        _ready(refused, outcome),
        _in_force(outcome),
        _fed(outcome),
    )


def _compiled(refused: RevisionRefusedError | None, outcome: PassOutcome) -> TierCondition:
    if refused is not None:
        return TierCondition("Compiled", holds=False, reason=refused.reason, message=str(refused))
    if not outcome.read:
        return TierCondition("Compiled", holds=None, reason="NotRead", message=_not_read(outcome))
    return TierCondition("Compiled", holds=True, reason="Accepted", message="the configuration can be expressed")


def _stale(refused: RevisionRefusedError | None, outcome: PassOutcome) -> TierCondition:
    if outcome.stale:
        return TierCondition("Stale", holds=True, reason="NoAnswer", message=str(outcome.problem))
    if outcome.problem is not None and refused is None:
        message = f"no answer for now, but not for long: {outcome.problem}"
        return TierCondition("Stale", holds=False, reason="NotForLong", message=message)
    return TierCondition("Stale", holds=False, reason="Answering", message="the manager answers")


def _in_force(outcome: PassOutcome) -> TierCondition:
    """A node that is behind has had the time before it counts as late: revisions come faster than that."""
    if outcome.late:
        message = enforcement.text(outcome.late, outcome.revision)
        return TierCondition("NodesInSync", holds=False, reason="NodesOutOfSync", message=message)
    if not outcome.nodes["total"]:
        message = "no node has reported on this tier: is zone-enforcer running, and does its setting tier name it?"
        return TierCondition("NodesInSync", holds=None, reason="NoNodes", message=message)
    return TierCondition("NodesInSync", holds=True, reason="InSync", message="no node has been behind for long")


def _fed(outcome: PassOutcome) -> TierCondition:
    """What was known of a feed stays; one that nothing is known of leaves its rules as any unknown name does."""
    if outcome.feeds:
        message = "; ".join(f"{name}: {why}" for name, why in sorted(outcome.feeds.items()))
        return TierCondition("FeedsFresh", holds=False, reason="NoAnswer", message=message)
    if not outcome.read:
        return TierCondition("FeedsFresh", holds=None, reason="NotRead", message=_not_read(outcome))
    return TierCondition("FeedsFresh", holds=True, reason="Answering", message="every feed has its newest content")


def _not_read(outcome: PassOutcome) -> str:
    return f"this bridge has not read the manager's configuration yet: {outcome.problem}"


def _ready(refused: RevisionRefusedError | None, outcome: PassOutcome) -> TierCondition:
    published = f"revision {outcome.revision} is published"
    if refused is not None:
        return TierCondition(
            "Ready", holds=False, reason="RevisionRefused", message=f"{published}; a newer one is refused"
        )
    if outcome.stale:
        return TierCondition("Ready", holds=False, reason="SyncStale", message=f"{published}; it may be out of date")
    if outcome.late and not outcome.nodes["inSync"]:
        message = f"{published}, and no node enforces it"
        return TierCondition("Ready", holds=False, reason="NotEnforced", message=message)
    return TierCondition("Ready", holds=True, reason="Published", message=published)
