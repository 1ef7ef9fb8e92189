"""The last good ruleset on the disk: what a node enforces after a restart, before anybody can be asked.

Written whole or not at all, and read only where its digest holds. `enforcer.reconcile` calls it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from enforcer.lastgood import write_atomically
from enforcer.ruleset import Terminal
from zones.canonical import log_of, origin_of
from zones.policy import Verdict

FILE = "ruleset.json"


@dataclass(frozen=True, slots=True)
class Saved:
    """`text` and `hooks` are for nft; the dispatch, which it can't say, is the same in every table."""

    revision: int | None
    text: str
    hooks: str
    terminals: Mapping[str, Terminal] = field(hash=False)


def save(state_dir: Path, saved: Saved) -> None:
    """Raises OSError."""
    body = json.dumps(asdict(saved), sort_keys=True).encode()
    write_atomically(state_dir / FILE, _digest(body) + b"\n" + body)


def load(state_dir: Path) -> Saved | None:
    """None where there is none, or where it is damaged."""
    try:
        digest, _, body = (state_dir / FILE).read_bytes().partition(b"\n")
        return _saved(json.loads(body)) if digest == _digest(body) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def discard(state_dir: Path) -> None:
    """Raises OSError where there is one that can't be removed."""
    with suppress(FileNotFoundError, NotADirectoryError):
        (state_dir / FILE).unlink()


def _digest(body: bytes) -> bytes:
    return sha256(body).hexdigest().encode()


def _saved(value: dict[str, Any]) -> Saved:
    terminals = {key: _terminal(each) for key, each in value["terminals"].items()}
    return Saved(value["revision"], value["text"], value["hooks"], terminals)


def _terminal(value: dict[str, Any]) -> Terminal:
    origin = value["origin"] | {"deviceGroup": value["origin"]["device_group"]}
    return Terminal(origin_of(origin), Verdict(value["verdict"]), log_of(value["log"]), value["enforced"])
