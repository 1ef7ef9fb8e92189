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
    held: Revision | None, tier: Json | None, parts: Mapping[str, Json], reader: TierReader | None = None
) -> TierJudgement:
    """What to apply now. `held` is the last good revision; a `reader` knows its parts, as `TierParts`."""
    if tier is None:
        if held is None:
            return TierJudgement(None, TierStanding.NONE)
        return TierJudgement(
            held, TierStanding.TAMPERED, f"tier '{held.tier}' was deleted; revision {held.number} stays"
        )
    try:
        found = _read(tier, _policy(held, tier, parts, reader))
    except IncompleteError as error:
        return _incomplete(held, tier, str(error))
    except DigestError as error:
        return TierJudgement(held, TierStanding.TAMPERED, f"{error}; {_stays(held)}")
    except TierError as error:
        return TierJudgement(held, TierStanding.REFUSED, f"{error}; {_stays(held)}")
    return _newer(held, found)


def _policy(held: Revision | None, tier: Json, parts: Mapping[str, Json], reader: TierReader | None) -> Policy:
    if reader is None or not isinstance(parts, TierParts):
        return native.parse(tier, parts)
    return reader.policy(tier, parts, None if held is None else held.policy)


def _read(tier: Json, policy: Policy) -> Revision:
    name = tier["metadata"]["name"]
    number, digest = tier["spec"]["revision"], tier["spec"]["digest"]
    if not isinstance(number, int) or number < 1:
        raise TierError(f"tier '{name}' has the revision {number!r}; it was not made by us")
    return Revision(name, tier["metadata"].get("uid", ""), number, digest, policy)


def _newer(held: Revision | None, found: Revision) -> TierJudgement:
    """A tier that was deleted and made anew counts from its own beginning; it is applied, and told."""
    if held is not None and held.uid == found.uid and _same(held, found):
        return TierJudgement(held, TierStanding.CURRENT)  # the same object: a large policy is in memory once
    if held is None or (held.uid == found.uid and found.number > held.number):
        return TierJudgement(found, TierStanding.CURRENT)
    if held.uid != found.uid:
        why = f"tier '{found.tier}' was made anew; revision {found.number} replaces {held.number} of the former one"
        return TierJudgement(found, TierStanding.CURRENT, why)
    if found.number == held.number:
        why = f"revision {found.number} has other content than when it was applied; {_stays(held)}"
    else:
        why = f"revision {found.number} is older than the applied one; {_stays(held)}"
    return TierJudgement(held, TierStanding.TAMPERED, why)


def _same(held: Revision, found: Revision) -> bool:
    return (held.number, held.digest) == (found.number, found.digest)


def _incomplete(held: Revision | None, tier: Json, why: str) -> TierJudgement:
    """Parts of a new revision are still coming; parts of the applied one were there, so somebody removed them."""
    spec = tier["spec"]
    if held is not None and (held.number, held.digest) == (spec["revision"], spec["digest"]):
        return TierJudgement(held, TierStanding.TAMPERED, f"parts of the applied revision were deleted; {_stays(held)}")
    return TierJudgement(held, TierStanding.WAITING, f"revision {spec['revision']}: {why}; {_stays(held)}")


def _stays(held: Revision | None) -> str:
    return "there is none to keep" if held is None else f"revision {held.number} stays"
