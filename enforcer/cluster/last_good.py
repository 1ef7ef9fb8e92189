"""The last good revision in the state directory, so that a restart knows it before the API server answers.

It is checked by its digests like any other; a damaged file is no revision. `enforcer.service` calls it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from enforcer import state_file
from enforcer.cluster.tier import Revision, TierJudgement, TierStanding, judge
from enforcer.cluster.tier_parts import TierParts
from zones.canonical import Json

FILE = "last-good.json"


def save(directory: Path, tier: Json, parts: Mapping[str, Json]) -> None:
    """Atomically. Raises OSError."""
    state_file.write_atomically(directory / FILE, *_written(tier, parts))


def load(directory: Path, tier: str) -> Revision | None:
    """None where there is none, where it is another tier's, or where it is damaged. Raises StateError."""
    content = state_file.read(directory / FILE)
    if content is None:
        return None
    try:
        tier_object, parts = _read(content)
        if tier_object["metadata"]["name"] != tier:
            return None
        judged: TierJudgement = judge(None, tier_object, parts)
    except (ValueError, KeyError, TypeError):
        return None
    return judged.revision if judged.standing is TierStanding.CURRENT else None


def _written(tier: Json, parts: Mapping[str, Json]) -> Iterator[bytes]:
    """One JSON object, with a line for the Tier and one for each part, so that they can be read one by one."""
    spec = tier["spec"]
    yield f'{{"tier": {json.dumps(tier)},\n"parts": {{'.encode()
    for at, name in enumerate([*spec["addressSets"], *spec["policyChunks"]]):
        yield f'{"," if at else ""}\n"{name}": '.encode()
        yield parts.line(name) if isinstance(parts, TierParts) else json.dumps(parts[name]).encode()
    yield b"\n}}"


def _read(content: bytes) -> tuple[Json, Mapping[str, Json]]:
    head, _, rest = content.partition(b',\n"parts": {\n')
    if not rest:  # an older version wrote no lines
        saved = json.loads(content)
        return saved["tier"], saved["parts"]
    named = (line.removesuffix(b",").partition(b": ") for line in rest.splitlines()[:-1])
    return json.loads(head + b"}")["tier"], TierParts({json.loads(name): text for name, _, text in named}, json.loads)
