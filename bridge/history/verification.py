"""Whether a history is what was recorded: each Revision, each link between two, each part, and the Tier. Pure.

It shows every change that doesn't recompute the whole chain after it. Against that there are the checkpoints in the
SIEM: a chain digest that was sent there must still be in the chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bridge.history.revision import RevisionError, chain_digest, object_name, policy_of, sealed, tier_of
from zones.canonical import digest_of_text
from zones.tiers.native import TIER_LABEL, TierError, is_whole, verified

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Break:
    """Where the history isn't what was recorded. `revision` 0: it is about none in particular."""

    revision: int
    what: str

    def __str__(self) -> str:
        return f"revision {self.revision}: {self.what}" if self.revision else self.what


@dataclass(frozen=True, slots=True)
class SentCheckpoint:
    """What the SIEM was sent of a revision."""

    revision: int
    chain: str


def breaks(
    revisions: Sequence[Json],
    parts: Mapping[str, Json],
    tier: Json | None,
    checkpoints: Iterable[SentCheckpoint] = (),
    older: Sequence[Json] = (),
) -> tuple[Break, ...]:
    """Every break, that of the lowest revision first. `revisions`: all objects of one tier; `parts`: theirs by name.

    `older`: copies of those before, of which only the links are looked at: the database looks at the rest.
    """
    ordered = sorted(revisions, key=_number)
    chained = [*older, *ordered]
    broken = [*_of_links(chained), *_of_checkpoints(chained, checkpoints)]
    checked: dict[str, str] = {}
    for raw in ordered:
        try:
            broken += [Break(_number(raw), what) for what in _of_one(raw, parts, checked)]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            broken.append(Break(_number(raw), f"Revision '{raw['metadata']['name']}' can't be read: {error!r}"))
    return tuple(sorted(broken, key=lambda break_: break_.revision)) + tuple(_of_tier(ordered, tier))


def differences(revisions: Iterable[Json], copies: Iterable[Json]) -> Iterator[Break]:
    """Revisions of which the copies have another record of the same number, and not this one."""
    known: dict[int, set[object]] = {}
    for copy in copies:
        known.setdefault(_number(copy), set()).add(copy["spec"].get("chain"))
    for raw in revisions:
        number = _number(raw)
        if number in known and (raw.get("spec") or {}).get("chain") not in known[number]:
            yield Break(number, "the evidence database has another record of it: one of them was changed")


def record_breaks(raw: Json) -> Iterator[str]:
    """What is wrong with one Revision itself, without its parts."""
    spec, metadata = raw.get("spec") or {}, raw["metadata"]
    name = object_name(str(spec.get("tier")), spec.get("revision", 0))
    if metadata["name"] != name:
        yield f"its object is '{metadata['name']}' and not '{name}': it was copied or renamed"
    if (metadata.get("labels") or {}).get(TIER_LABEL) != spec.get("tier"):
        yield f"its label {TIER_LABEL} isn't its tier's name"
    if chain_digest(spec) != spec.get("chain"):
        yield "what it says isn't what its chain digest stands for: it was changed"
    if not _has_its_content(spec):
        yield "its content isn't what its digest stands for: it was changed"
    if (status := raw.get("status")) and sealed(spec, status) != status:
        yield "its status isn't what its seal stands for: it was changed"


def _has_its_content(spec: Json) -> bool:
    content = spec.get("content")
    return isinstance(content, str) and digest_of_text(content) == spec.get("digest")


def _of_one(raw: Json, parts: Mapping[str, Json], checked: dict[str, str]) -> Iterator[str]:
    """What is wrong with one Revision and the parts it names. `checked`: what is wrong with each part, if anything."""
    spec = raw.get("spec") or {}
    yield from record_breaks(raw)
    if not _has_its_content(spec):
        return
    wrong = list(_of_parts(spec, parts, checked))
    yield from wrong
    if not wrong:
        try:
            policy_of(spec, parts)
        except RevisionError as error:
            yield str(error)


def _of_parts(spec: Json, parts: Mapping[str, Json], checked: dict[str, str]) -> Iterator[str]:
    try:
        content = tier_of(spec)["spec"]
        names = (*content["policyChunks"], *content["addressSets"])
    except (RevisionError, KeyError, TypeError) as error:
        yield f"its content can't be read: {error}"
        return
    for name in names:
        if name not in checked:
            checked[name] = part_break(name, parts.get(name))
        if checked[name]:
            yield checked[name]


def part_break(name: str, part: Json | None) -> str:
    """What is wrong with a part, or nothing."""
    if part is None:
        return f"part '{name}' is missing"
    try:
        verified(name, part["kind"], {name: part})
    except (TierError, KeyError, TypeError, AttributeError):
        return f"part '{name}' holds other content than its name says: it was changed"
    return ""


def _of_links(ordered: Sequence[Json]) -> Iterator[Break]:
    for before, after in pairwise(ordered):
        old, new = before.get("spec") or {}, after.get("spec") or {}
        previous = new.get("previous") or {}
        if previous.get("revision") != old.get("revision"):
            missing = previous.get("revision", "of none before it")
            yield Break(
                _number(after), f"a gap: it follows revision {missing}, and revision {_number(before)} is there"
            )
        elif previous.get("chain") != old.get("chain"):
            yield Break(_number(after), f"it follows another revision {_number(before)} than the one that is there")
        elif not isinstance(old.get("position"), int) or new.get("position") != old["position"] + 1:
            yield Break(_number(after), "its position isn't the one after that of the revision before it")
    if ordered:
        first = ordered[0].get("spec") or {}
        if (first.get("position") == 1) != ("previous" not in first):
            yield Break(_number(ordered[0]), "it says that it is the first of all, and that there is one before it")


def _of_checkpoints(ordered: Sequence[Json], checkpoints: Iterable[SentCheckpoint]) -> Iterator[Break]:
    chains = {_number(raw): (raw.get("spec") or {}).get("chain") for raw in ordered}
    for checkpoint in checkpoints:
        if checkpoint.revision not in chains:
            yield Break(checkpoint.revision, "a checkpoint names it, and it isn't there: it was let go, or removed")
        elif chains[checkpoint.revision] != checkpoint.chain:
            yield Break(
                checkpoint.revision, "a checkpoint has another chain digest of it: the history was written anew"
            )


def _of_tier(ordered: Sequence[Json], tier: Json | None) -> Iterator[Break]:
    if tier is None:
        if ordered:
            yield Break(0, "there is no Tier, although revisions of it are recorded")
        return
    said = tier["spec"].get("revision"), tier["spec"].get("digest")
    if not is_whole(tier):
        yield Break(0, f"Tier '{tier['metadata']['name']}' isn't what its digest stands for: it was changed")
    recorded = {((raw.get("spec") or {}).get("revision"), (raw.get("spec") or {}).get("digest")) for raw in ordered}
    if said not in recorded:
        yield Break(0, f"revision {said[0]} is in force, and there is no record of it")


def _number(raw: Json) -> int:
    number = (raw.get("spec") or {}).get("revision", 0)
    return number if isinstance(number, int) else 0
