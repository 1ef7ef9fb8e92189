"""The file of the table that was last in force: one netlink transaction that is ready to be sent, and what it means.

Written whole or not at all, and read only where its digest holds. Imports little, so that a start needn't wait for it.
`enforcer.restart.saved` has it written; `enforcer.restart.restore` and `enforcer.kernel.reconcile` read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from enforcer import state_file
from enforcer.errors import StateError
from enforcer.rules.options import RulesetOptions
from enforcer.state_file import Bytes

FILE = "ruleset"
FORMAT = 4


@dataclass(frozen=True, slots=True)
class SavedTable:
    """`hooked`: the table's chains that packets come to first. `options`: what the rules were made with.

    `transaction` puts the table in place of whatever has its name; `terminals` are for `enforcer.restart.saved`.
    `frames`: the same for the table of bridges; empty where none stood.
    """

    revision: int | None
    table: str
    hooked: tuple[str, ...]
    options: RulesetOptions
    transaction: Bytes
    terminals: Bytes
    frames: Bytes = b""

    def data(self) -> Bytes:
        return self.transaction

    def named(self, sequence: int) -> str:
        return f"loading what was saved (command {sequence})"

    def of_bridges(self) -> SavedTable | None:
        """The transaction of the other table, which needs more of the kernel: it is sent apart."""
        return replace(self, transaction=self.frames) if len(self.frames) else None


def write(state_dir: Path, snapshot: SavedTable) -> None:
    """Raises OSError."""
    head = {
        "format": FORMAT,
        "revision": snapshot.revision,
        "table": snapshot.table,
        "hooked": snapshot.hooked,
        "options": snapshot.options.values(),
        "sizes": [len(snapshot.transaction), len(snapshot.terminals), len(snapshot.frames)],
    }
    pieces = json.dumps(head).encode() + b"\n", snapshot.transaction, snapshot.terminals, snapshot.frames
    state_file.write_atomically(state_dir / FILE, _digest(*pieces) + b"\n", *pieces)


def read(state_dir: Path) -> SavedTable | None:
    """None where there is none. Raises StateError where there is one that can't be trusted."""
    path = state_dir / FILE
    content = state_file.read(path)
    if content is None:
        return None
    digest, _, _ = content[:100].partition(b"\n")
    body = memoryview(content)[len(digest) + 1 :]
    if digest != _digest(body):
        raise StateError(f"{path} is not used: it is damaged; the agent writes a new one")
    try:
        return _parsed(body)
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"{path} is not used: another version wrote it; the agent writes a new one") from error


def _parsed(body: memoryview) -> SavedTable:
    line, _, _ = bytes(body[:65_536]).partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    options = RulesetOptions.plainly(head["options"])
    if head["format"] != FORMAT or options is None:
        raise ValueError(f"format {head['format']} is not ours")
    begin = len(line) + 1
    ends = tuple(accumulate(head["sizes"], initial=begin))  # an agent before this one wrote two parts
    if ends[-1] != len(body):
        raise ValueError("sizes don't fit")
    parts = [body[start:end] for start, end in pairwise(ends)]
    return SavedTable(head["revision"], head["table"], tuple(head["hooked"]), options, *parts)


def _digest(*pieces: Bytes) -> bytes:
    digest = sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest().encode()
