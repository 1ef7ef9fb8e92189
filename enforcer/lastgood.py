"""The last good revision in the state directory, so that a restart knows it before the API server answers.

It is checked by its digests like any other; a damaged file is no revision. `enforcer.service` calls it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from enforcer.tier import Judgement, Revision, Standing, judge
from zones.canonical import Json

_FILE = "last-good.json"


def save(directory: Path, tier: Json, parts: Mapping[str, Json]) -> None:
    """Atomically. Raises OSError."""
    spec = tier["spec"]
    needed = {name: parts[name] for name in [*spec["addressSets"], *spec["policyChunks"]]}
    write_atomically(directory / _FILE, json.dumps({"tier": tier, "parts": needed}).encode())


def load(directory: Path, tier: str) -> Revision | None:
    """None where there is none, where it is another tier's, or where it can't be trusted."""
    try:
        held = json.loads((directory / _FILE).read_bytes())
        if held["tier"]["metadata"]["name"] != tier:
            return None
        judged: Judgement = judge(None, held["tier"], held["parts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return judged.revision if judged.standing is Standing.CURRENT else None


def write_atomically(path: Path, content: bytes) -> None:
    """The file is the old one or the new one after any crash. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
