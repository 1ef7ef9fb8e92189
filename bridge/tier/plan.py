"""What to write to reach a revision from what is live: pure, with the guards that stop a reckless one.

`bridge.tier.sync` makes it and carries it out in its order; nothing here talks to a cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.errors import RevisionRefusedError
from bridge.history.ledger import RevisionLedger
from bridge.history.revision import REVISION, content_text
from zones.policy import Policy
from zones.rules import Origin
from zones.tiers import native
from zones.tiers.native import Rendered

Json = dict[str, Any]
# An etcd object is at most 1.5 MiB; the API server adds metadata of its own.
MAX_OBJECT_BYTES = 1_400_000
LAST_REVISION = 2**63 - 1
# A node that tells a lie about what it has seen must not use up the numbers that are left.
BELIEVED_AHEAD = 2**40
NAMED = 5
DEFAULT_RULES = 2
_HOLDS = ("finalizers", "ownerReferences")
_ENFORCED = ("enforced", "enforcedAtL4", "enforcedInPart")


@dataclass(frozen=True, slots=True)
class SafetyLimits:
    """What is refused: an empty rulebase, or more than this share of the live rules gone at once."""

    max_deleted_share: float = 0.5
    allow_empty: bool = False


@dataclass(frozen=True, slots=True)
class Live:
    """What the cluster has: the pointer and its labelled parts by name.

    `highest_seen` is the highest revision that a node says it holds, `published` the highest that a bridge is known to
    have published; `ours` says whether a bridge was the last to write the pointer; `recorded` are the records,
    whose numbers are used up, also where their Tier was never written.
    """

    tier: Json | None = None
    parts: Mapping[str, Json] = field(default_factory=dict)
    highest_seen: int = 0
    published: int = 0
    ours: bool = True
    recorded: RevisionLedger = RevisionLedger()  # noqa: RUF009 - frozen

    @property
    def revision(self) -> int:
        return 0 if self.tier is None else int(self.tier.get("spec", {}).get("revision", 0))

    @property
    def least_revision(self) -> int:
        """Above everything a node has seen too: a tier that was deleted and made again must not start at 1."""
        known = max(self.revision, self.published)
        return max(known, min(self.highest_seen, known + BELIEVED_AHEAD)) + 1

    @property
    def next_revision(self) -> int:
        """Of a tier that is not recorded yet."""
        return self.recorded.least(self.least_revision)

    def revision_for(self, digest: str, source: Json) -> int:
        """The number that a tier of this content is to have: its record's, where its Tier was then not written."""
        prepared, live = self.recorded.prepared(self.tier), self.recorded.record_of(self.tier)
        if (
            prepared is not None
            and prepared.revision >= self.least_revision
            and (prepared.digest, prepared.source) == (digest, source)
            and (live is None or prepared.replaces == live.revision)
        ):
            return prepared.revision
        return self.next_revision


@dataclass(frozen=True, slots=True)
class Part:
    """A part by kind and name."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """In the order it must be carried out. `pointer` None: the live one already says the same.

    `release`: what others hold on to, so that it could not be deleted, or would be deleted with something else.
    """

    release: tuple[Part, ...]
    remove: tuple[Part, ...]
    create: tuple[Json, ...]
    pointer: Json | None
    prune: tuple[Part, ...]
    revision: int
    digest: str

    @property
    def nothing(self) -> bool:
        return not (self.release or self.remove or self.create or self.pointer or self.prune)


def plan(desired: Rendered, live: Live, guards: SafetyLimits, policy: Policy, before: Policy | None = None) -> Plan:
    """The way from live to desired, which is the rendering of `policy`. Raises RevisionRefusedError.

    `before` is what is known to have been published last; without it, the live tier itself must tell.
    """
    create = tuple(part for part in desired.parts if not _stands(part, live.parts.get(_name(part))))
    damaged = tuple(_part(part) for part in create if _name(part) in live.parts)
    pinned = tuple(
        _part(object_) for object_ in _objects(live) if any(object_["metadata"].get(name) for name in _HOLDS)
    )
    _check_sizes((*create, desired.tier))
    if _says_the_same(live, desired):
        stays = {_name(part) for part in desired.parts}
        return Plan(pinned, damaged, create, None, _others(live.parts, stays), live.revision, desired.digest)
    _check_order(desired, live)
    _check_sizes((_record_of(desired),))
    _check_guards(policy, live, guards, before)
    stays = {_name(part) for part in desired.parts} | _named_by(live.tier)
    return Plan(pinned, damaged, create, desired.tier, _others(live.parts, stays), desired.revision, desired.digest)


def _says_the_same(live: Live, desired: Rendered) -> bool:
    """A Tier that somebody else wrote is written again, even where only its source or its number was changed."""
    if live.tier is None or not live.ours or _dying(live.tier) or live.revision < live.published:
        return False
    return _content(live.tier) == _content(desired.tier)


def _stands(part: Json, live: Json | None) -> bool:
    """Whether a part is there, as it must be and to stay."""
    return live is not None and not _dying(live) and bool(live.get("spec") == part["spec"])


def _dying(live: Json) -> bool:
    return "deletionTimestamp" in live["metadata"]


def _objects(live: Live) -> Iterable[Json]:
    tier = () if live.tier is None else (live.tier | {"kind": native.TIER},)
    return (*live.parts.values(), *tier)


def _check_order(desired: Rendered, live: Live) -> None:
    if desired.revision < live.least_revision:
        raise RevisionRefusedError(
            "OlderRevision",
            f"revision {desired.revision} is not above {live.least_revision - 1}, which the cluster has seen; another "
            "bridge may be writing this tier: stop one of them",
        )
    if desired.revision > LAST_REVISION:
        raise RevisionRefusedError(
            "NoRevisionLeft",
            f"the Tier's revision is {live.revision}, and there is none above it: somebody set it; delete the Tier, "
            "and it is made anew",
        )


def _check_guards(policy: Policy, live: Live, guards: SafetyLimits, known: Policy | None) -> None:
    rules = _rules(policy)
    if not rules and not guards.allow_empty:
        raise RevisionRefusedError(
            "EmptyRulebase",
            "no rule but the defaults would be left, which would cut off every zone; if that is meant, set "
            "guards.allowEmpty: true",
        )
    before, gone, names = _deleted(rules, live, known)
    if gone > guards.max_deleted_share * before:
        raise RevisionRefusedError(
            "TooManyDeleted",
            f"{gone} of {before} rules would be gone at once{_some(names)}, more than the share of "
            f"{guards.max_deleted_share:g}; if that is meant, raise guards.maxDeletedShare for this change",
        )


def _deleted(rules: Mapping[tuple[str, ...], str], live: Live, known: Policy | None) -> tuple[int, int, list[str]]:
    """How many rules there were, how many of them would go, and their names where the last policy can be read."""
    if known is None and live.tier is None:
        return 0, 0, []
    try:
        before = _rules(known or _policy_of(live))
    except native.TierError:
        counted = _counted(live)
        return counted, max(counted - len(rules), 0), []
    gone = [name for key, name in before.items() if key not in rules]
    return len(before), len(gone), gone


def _policy_of(live: Live) -> Policy:
    if live.tier is None or not live.ours:
        raise native.TierError("the live tier is not what a bridge wrote")
    return native.parse(live.tier, live.parts)


def _counted(live: Live) -> int:
    """How many rules a tier that can't be read had: as it says itself, or its status, where somebody changed it."""
    tier = live.tier or {}
    if live.ours and native.is_whole(tier):
        entries = int(tier["spec"]["counts"]["entries"])
    else:
        rules = tier.get("status", {}).get("rules", {})
        entries = sum(int(rules.get(name, 0)) for name in _ENFORCED)
    return max(entries - DEFAULT_RULES, 0)


def _check_sizes(objects: Iterable[Json]) -> None:
    for part in objects:
        size = _size(part)
        if size > MAX_OBJECT_BYTES:
            raise RevisionRefusedError(
                "TooLarge",
                f"{part['kind']} '{_name(part)}' would have {size} bytes, more than the {MAX_OBJECT_BYTES} that an API "
                "server stores; use groups or EDLs instead of long lists in the rules",
            )


def _record_of(desired: Rendered) -> Json:
    """The longest part of the Revision that goes with a Tier: the same content once more, as text."""
    content = content_text(desired.tier["spec"])
    return {"kind": REVISION, "metadata": desired.tier["metadata"], "spec": {"content": content}}


def _rules(policy: Policy) -> dict[tuple[str, ...], str]:
    """Each rule but the defaults by what it is known by: its UUID, which survives a new name, or its place and name."""
    return {_key(entry.origin): entry.origin.name for entry in policy.entries if entry.origin.rulebase != "default"}


def _key(origin: Origin) -> tuple[str, ...]:
    return (origin.uuid,) if origin.uuid else (origin.device_group, origin.rulebase, origin.name)


def _others(parts: Mapping[str, Json], stays: set[str]) -> tuple[Part, ...]:
    return tuple(_part(part) for name, part in sorted(parts.items()) if name not in stays)


def _named_by(tier: Json | None) -> set[str]:
    spec = (tier or {}).get("spec", {})
    return {*spec.get("policyChunks", ()), *spec.get("addressSets", ())}


def _content(tier: Json) -> Json:
    """All of a Tier that makes a revision."""
    return {name: value for name, value in tier.get("spec", {}).items() if name not in {"revision", "source"}}


def _size(value: Json) -> int:
    """The bytes of an object as JSON."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def _name(part: Json) -> str:
    return str(part["metadata"]["name"])


def _part(part: Json) -> Part:
    return Part(part["kind"], _name(part))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f" ({', '.join(map(repr, names[:NAMED]))}{more})" if names else ""
