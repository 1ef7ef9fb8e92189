"""The last good table on the disk: what a node enforces after a restart, before anybody can be asked.

Written whole or not at all, and read only where its digest holds. `enforcer.reconcile` calls it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from enforcer import thrift, transaction
from enforcer.lastgood import write_atomically
from enforcer.members import Place
from enforcer.residents import Moves
from enforcer.table import Chain, Table
from enforcer.terminals import LIVE, STAMP, Terminal
from enforcer.transaction import Transaction
from zones.policy import Verdict
from zones.rules import Log, Origin

FILE = "ruleset"
FORMAT = 3


class Keeper:
    """Saves in a thread of its own, what came last; the kernel's thread never waits for the disk.

    `problem`: why the last one could not be saved.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saving")
        self._last: Future[None] | None = None
        self.problem = ""

    def keep(self, saved: Saved) -> None:
        self._last = self._thread.submit(self._save, saved)
        self._last.add_done_callback(lambda _: thrift.give_back())

    def settle(self) -> None:
        """Wait until everything is saved."""
        if self._last is not None:
            self._last.result()

    def close(self) -> None:
        self._thread.shutdown()

    def _save(self, saved: Saved) -> None:
        try:
            save(self._state_dir, saved)
            self.problem = ""
        except OSError as error:
            where = self._state_dir / FILE
            self.problem = (
                f"{where} can't be written: {error.strerror}; the rules are in force, but not after a restart"
            )


@dataclass(frozen=True, slots=True)
class Kept:
    """What was saved: `many` netlink commands that make the table, and who is in its sets. `types`: of those sets."""

    revision: int | None
    commands: bytes
    many: int
    members: Moves
    types: Mapping[str, str] = field(hash=False)
    terminals: Mapping[str, Terminal] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Saved:
    """What is to be saved. `members`: who is in the table's sets."""

    revision: int | None
    table: Table
    members: Moves
    terminals: Mapping[str, Terminal] = field(hash=False)


def save(state_dir: Path, saved: Saved) -> None:
    """Raises OSError."""
    body = _written(saved)
    write_atomically(state_dir / FILE, _digest(body) + b"\n" + body)


def load(state_dir: Path) -> Kept | None:
    """None where there is none, or where it is damaged."""
    try:
        digest, _, body = (state_dir / FILE).read_bytes().partition(b"\n")
        return _read(body) if digest == _digest(body) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def discard(state_dir: Path) -> None:
    """Raises OSError where there is one that can't be removed."""
    with suppress(FileNotFoundError, NotADirectoryError):
        (state_dir / FILE).unlink()


def _digest(body: bytes) -> bytes:
    return sha256(body).hexdigest().encode()


def _written(saved: Saved) -> bytes:
    """A line of JSON, then the table's commands, then the members' keys, one behind the other."""
    made = Transaction(saved.table.name)
    transaction.whole(made, _without_number(saved.table), ())
    come = saved.members.come
    head = {
        "format": FORMAT,
        "revision": saved.revision,
        "terminals": {key: _told(each) for key, each in saved.terminals.items()},
        "commands": [len(made), len(made.commands())],
        "types": {place.set: saved.table.sets[place.set].type for place in come},
        "members": [[*place, len(keys[0]), len(keys)] for place, keys in come.items()],
    }
    keys = b"".join(b"".join(keys) for keys in come.values())
    return json.dumps(head).encode() + b"\n" + made.commands() + keys


def _without_number(table: Table) -> Table:
    """The number of accepted connections is always a new one."""
    live = replace(table.sets[LIVE], elements={})
    return replace(table, sets={**table.sets, LIVE: live}, chains={**table.chains, STAMP: Chain()})


def _read(body: bytes) -> Kept:
    line, _, rest = body.partition(b"\n")
    head = json.loads(line)
    if head["format"] != FORMAT:
        raise ValueError(f"format {head['format']} is not ours")
    many, at = head["commands"]
    commands, members = rest[:at], Moves()
    for name, tail, length, count in head["members"]:
        end = at + length * count
        members.come[Place(name, tail)] = [rest[here : here + length] for here in range(at, end, length)]
        at = end
    terminals = {key: _terminal(each) for key, each in head["terminals"].items()}
    return Kept(head["revision"], commands, many, members, head["types"], terminals)


def _told(terminal: Terminal) -> list[Any]:
    origin, log = terminal.origin, terminal.log
    told = [origin.name, origin.uuid, origin.rulebase, origin.device_group, log.start, log.end, log.profile]
    return [*told, terminal.verdict.value, terminal.enforced]


def _terminal(told: list[Any]) -> Terminal:
    name, uuid, rulebase, device_group, start, end, profile, verdict, enforced = told
    return Terminal(Origin(name, uuid, rulebase, device_group), Verdict(verdict), Log(start, end, profile), enforced)
