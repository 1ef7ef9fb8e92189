"""A published revision as an object of its own, and the digest that chains it to the one before. Pure.

A Revision is written before the Tier that puts it in force, and never changed:

    Revision 4 ──previous──▶ Revision 5 ──previous──▶ Revision 6 ──previous──▶ Revision 7
         ▲                        ▲                (its Tier was                  │   ▲
         └────────replaces────────┘                 never written)                │  Tier
                                  └───────────────────replaces────────────────────┘

`previous` chains all of them: each holds the chain digest of the one before. `replaces`, from the Tier backwards, leads
through those that were in force: 7, 5, 4.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bridge.managers import Commit, Provenance
from zones import canonical
from zones.policy import Policy
from zones.tiers import native
from zones.tiers.native import API_VERSION, GROUP, TIER_LABEL

Json = dict[str, Any]
REVISION, PLURAL = "Revision", "revisions"
HISTORY_LABEL = f"{GROUP}/history"
# What a Tier's spec says beside its content.
_ABOUT = frozenset({"revision", "digest", "source"})


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why a revision is published, as far as it is known: `causes` are words for programs, none where nobody can tell.

    `commits`: what the manager's administrators committed since the content was seen unchanged. `unknown`: what of all
    this could not be learnt, and why. `rules` and `problems`: as the Tier's status counts and lists them.
    """

    causes: tuple[str, ...] = ()
    commits: Sequence[Commit] = ()
    provenance: Provenance = Provenance()  # noqa: RUF009 - frozen
    unknown: str = ""
    rules: Mapping[str, int] = field(default_factory=dict)
    problems: Sequence[Json] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the bridge remembers of a Revision: everything that the next one, and keeping the history, needs."""

    revision: int
    position: int
    chain: str
    digest: str
    replaces: int
    recorded: datetime
    source: Json
    parts: frozenset[str]
    job: int | None


@dataclass(frozen=True, slots=True)
class ChainPlace:
    """Where a new Revision stands: behind `previous` in the chain, and over revision `replaces` (0: none)."""

    previous: Recorded | None
    replaces: int


def revision_object(pointer: Json, place: ChainPlace, reasons: Reasons, at: datetime) -> Json:
    """The Revision of a Tier that is about to be written, or is in force already."""
    tier, spec = str(pointer["metadata"]["name"]), pointer["spec"]
    previous, provenance = place.previous, reasons.provenance
    about: Json = {
        "tier": tier,
        "revision": spec["revision"],
        "position": 1 if previous is None else previous.position + 1,
        "digest": spec["digest"],
        "replaces": place.replaces,
        "recorded": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "source": dict(spec["source"])
        | _said(host=provenance.host, serial=provenance.serial, software=provenance.software)
        | ({"job": provenance.newest_job} if provenance.newest_job else {}),
        "causes": list(reasons.causes),
        "commits": [_commit_json(commit) for commit in reasons.commits],
        "counts": dict(spec["counts"]),
        "rules": dict(reasons.rules),
        "problems": [dict(problem) for problem in reasons.problems],
    }
    about |= _said(unknown=reasons.unknown)
    if previous is not None:
        about["previous"] = {"revision": previous.revision, "chain": previous.chain}
    labels = {TIER_LABEL: tier}
    return {
        "apiVersion": API_VERSION,
        "kind": REVISION,
        "metadata": {"name": object_name(tier, spec["revision"]), "labels": labels},
        "spec": about | {"chain": chain_digest(about), "content": content_text(spec)},
    }


def object_name(tier: str, revision: int) -> str:
    return f"{tier}-{revision}"


def content_text(tier_spec: Json) -> str:
    """The canonical text of a Tier's content, whose SHA-256 is the Tier's digest."""
    return canonical.text({name: value for name, value in tier_spec.items() if name not in _ABOUT})


def chain_digest(spec: Mapping[str, Any]) -> str:
    """SHA-256 of a Revision's spec but for its content, which `digest` stands for, and the chain digest itself."""
    return canonical.digest({name: value for name, value in spec.items() if name not in {"chain", "content"}})


def sealed(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Json:
    """A Revision's status with its seal, which a damaged one no longer has."""
    bare = {name: value for name, value in status.items() if name != "seal"}
    return bare | {"seal": canonical.digest([spec.get("chain"), bare])}


def recorded_of(raw: Json) -> Recorded:
    """Raises RevisionError on one that the bridge can't have written."""
    spec = raw.get("spec") or {}
    try:
        source = spec["source"]
        return Recorded(
            revision=int(spec["revision"]),
            position=int(spec["position"]),
            chain=str(spec["chain"]),
            digest=str(spec["digest"]),
            replaces=int(spec["replaces"]),
            recorded=datetime.fromisoformat(spec["recorded"]),
            source={name: source[name] for name in ("manager", "deviceGroup", "version")},
            parts=part_names(spec),
            job=source.get("job"),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        name = raw["metadata"]["name"]
        raise RevisionError(f"Revision '{name}' can't be read: {error!r}; it was not made by a bridge") from error


def part_names(spec: Mapping[str, Any]) -> frozenset[str]:
    """The parts that a Revision's content names. Raises ValueError, KeyError."""
    content = json.loads(spec["content"])
    return frozenset((*content["policyChunks"], *content["addressSets"]))


def tier_of(spec: Mapping[str, Any]) -> Json:
    """The Tier object that a Revision recorded. Raises RevisionError where its content is no Tier's."""
    try:
        content = dict(json.loads(spec["content"]))
        source = {name: spec["source"][name] for name in ("manager", "deviceGroup", "version")}
        said = {"revision": spec["revision"], "digest": spec["digest"], "source": source}
        return {
            "apiVersion": API_VERSION,
            "kind": native.TIER,
            "metadata": {"name": spec["tier"]},
            "spec": content | said,
        }
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise RevisionError(f"the content of revision {spec.get('revision')} is no Tier's: {error!r}") from error


def policy_of(spec: Mapping[str, Any], parts: Mapping[str, Json]) -> Policy:
    """The policy of a Revision, given its parts. Raises RevisionError, with what is missing or changed."""
    try:
        return native.parse(tier_of(spec), parts)
    except native.TierError as error:
        raise RevisionError(f"revision {spec.get('revision')} can't be read: {error}") from error


class RevisionError(Exception):
    """A Revision that can't be read, or isn't whole."""


def _commit_json(commit: Commit) -> Json:
    return {"job": commit.job, "type": commit.kind} | _said(
        administrator=commit.administrator, description=commit.description, enqueued=commit.enqueued
    )


def _said(**texts: str) -> Json:
    return {name: text for name, text in texts.items() if text}
