"""Which revision of the tier holds on this node: complete, undamaged and never older than the last one. Pure.

The last good revision stays through everything else: a deletion, damage, a step back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from enforcer.cluster.tier_parts import TierParts
from zones.canonical import Json
from zones.policy import Policy
from zones.tiers import native
from zones.tiers.native import DigestError, IncompleteError, TierError
from zones.tiers.reading import TierReader


class TierStanding(StrEnum):
    """How the tier at the API server relates to what this node applies."""

    NONE = "none"
    CURRENT = "current"
    WAITING = "waiting"
    REFUSED = "refused"
    TAMPERED = "tampered"


@dataclass(frozen=True, slots=True)
class Revision:
    """A good revision: its policy, and what identifies it. `uid` tells a Tier from one made anew under its name."""

    tier: str
    uid: str
    number: int
    digest: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class TierJudgement:
    """The revision to apply (None: this node never had one), and why it isn't what the API server has."""

    revision: Revision | None
    standing: TierStanding
    why: str = ""


def judge(
    current: Revision | None, tier: Json | None, parts: Mapping[str, Json], reader: TierReader | None = None
) -> TierJudgement:
    """What to apply now. `current` is the last good revision; a `reader` knows its parts, as `TierParts`."""
    if tier is None:
        if current is None:
            return TierJudgement(None, TierStanding.NONE)
        return TierJudgement(
            current, TierStanding.TAMPERED, f"tier '{current.tier}' was deleted; revision {current.number} stays"
        )
    try:
        newest = _read(tier, _policy(current, tier, parts, reader))
    except IncompleteError as error:
        return _incomplete(current, tier, str(error))
    except DigestError as error:
        return TierJudgement(current, TierStanding.TAMPERED, f"{error}; {_stays(current)}")
    except TierError as error:
        return TierJudgement(current, TierStanding.REFUSED, f"{error}; {_stays(current)}")
    return _newer(current, newest)


def _policy(current: Revision | None, tier: Json, parts: Mapping[str, Json], reader: TierReader | None) -> Policy:
    if reader is None or not isinstance(parts, TierParts):
        return native.parse(tier, parts)
    return reader.policy(tier, parts, None if current is None else current.policy)


def _read(tier: Json, policy: Policy) -> Revision:
    name = tier["metadata"]["name"]
    number, digest = tier["spec"]["revision"], tier["spec"]["digest"]
    if not isinstance(number, int) or number < 1:
        raise TierError(f"tier '{name}' has the revision {number!r}; it was not made by us")
    return Revision(name, tier["metadata"].get("uid", ""), number, digest, policy)


def _newer(current: Revision | None, newest: Revision) -> TierJudgement:
    """A tier that was deleted and made anew counts from its own beginning; it is applied, and told."""
    if current is not None and current.uid == newest.uid and _same(current, newest):
        return TierJudgement(current, TierStanding.CURRENT)  # the same object: a large policy is in memory once
    if current is None or (current.uid == newest.uid and newest.number > current.number):
        return TierJudgement(newest, TierStanding.CURRENT)
    if current.uid != newest.uid:
        why = (
            f"tier '{newest.tier}' was made anew; revision {newest.number} replaces {current.number} of the former one"
        )
        return TierJudgement(newest, TierStanding.CURRENT, why)
    if newest.number == current.number:
        why = f"revision {newest.number} has other content than when it was applied; {_stays(current)}"
    else:
        why = f"revision {newest.number} is older than the applied one; {_stays(current)}"
    return TierJudgement(current, TierStanding.TAMPERED, why)


def _same(current: Revision, newest: Revision) -> bool:
    return (current.number, current.digest) == (newest.number, newest.digest)


def _incomplete(current: Revision | None, tier: Json, why: str) -> TierJudgement:
    """Parts of a new revision are still coming; parts of the applied one were there, so somebody removed them."""
    spec = tier["spec"]
    if current is not None and (current.number, current.digest) == (spec["revision"], spec["digest"]):
        return TierJudgement(
            current, TierStanding.TAMPERED, f"parts of the applied revision were deleted; {_stays(current)}"
        )
    return TierJudgement(current, TierStanding.WAITING, f"revision {spec['revision']}: {why}; {_stays(current)}")


def _stays(current: Revision | None) -> str:
    return "there is none to keep" if current is None else f"revision {current.number} stays"
