"""What is saved of the table in force, for a node that restarts: everything but who is on this node.

`enforcer.restart.snapshot` is the file. `enforcer.kernel.reconcile` calls it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from sys import intern
from typing import Any

from enforcer import memory, state_file
from enforcer.errors import StateError
from enforcer.kernel import table_change, transaction
from enforcer.kernel.transaction import Transaction
from enforcer.netlink.messages import BRIDGE, INET
from enforcer.restart import snapshot
from enforcer.restart.snapshot import SavedTable
from enforcer.rules.chains import base_chains
from enforcer.rules.chains.verdict_chains import LIVE, VerdictChain
from enforcer.rules.connmark import ConnmarkLayout
from enforcer.rules.members.address_index import ElementDelta
from enforcer.rules.options import RulesetOptions
from enforcer.rules.table import Table
from zones import canonical
from zones.policy import Verdict
from zones.rules import Log, Origin


class Keeper:
    """Saves in a thread of its own, what came last; the kernel's thread never waits for the disk.

    `problem`: why the last one could not be saved.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saving")
        self._last: Future[None] | None = None
        self.problem = ""

    def keep(self, saved: Saved, *, thorough: bool = True) -> None:
        """`thorough`: after a change of the whole table. There is memory to give back then, which stops everything."""
        self._last = self._thread.submit(self._save, saved)
        self._last.add_done_callback(lambda _: memory.trim() if thorough else memory.forget())

    def settle(self) -> None:
        """Wait until everything is saved."""
        if self._last is not None:
            self._last.result()

    def close(self) -> None:
        self._thread.shutdown()

    def _save(self, saved: Saved) -> None:
        try:
            save(self._state_dir, saved)
            state_file.read(self._state_dir / snapshot.FILE, 0)
            self.problem = ""
        except StateError as error:
            self.problem = f"{error}; until then nothing is in force after a restart"
        except OSError as error:
            where = self._state_dir / snapshot.FILE
            self.problem = (
                f"{where} can't be written: {error.strerror}; the rules are in force, but not after a restart"
            )


@dataclass(frozen=True, slots=True)
class Saved:
    """What is to be saved. `members`: who is in the table's sets; `frames`: the table of bridges, where one stands."""

    revision: int | None
    table: Table
    members: ElementDelta
    terminals: Mapping[str, VerdictChain] = field(hash=False)
    options: RulesetOptions
    frames: Table | None = None


def save(state_dir: Path, saved: Saved) -> None:
    """Raises OSError."""
    table = _without_number(saved.table, saved.options.marks)
    commands = _in_place_of(table.name)
    members = ((place.set, records) for place, records in table_change.members(table, saved.members))
    transaction.write_all(commands, table, transaction.own(table), members)
    hooked = tuple(name for name, chain in table.chains.items() if chain.hook)
    meaning = json.dumps({key: _told(terminal) for key, terminal in saved.terminals.items()}).encode()
    frames = b"" if saved.frames is None else _of_bridges(saved.frames)
    content = SavedTable(saved.revision, table.name, hooked, saved.options, commands.data(), meaning, frames)
    snapshot.write(state_dir, content)


def _of_bridges(table: Table) -> bytes:
    commands = _in_place_of(table.name, BRIDGE)
    transaction.write_all(commands, table, transaction.own(table), ())
    return commands.data()


def _in_place_of(name: str, family: int = INET) -> Transaction:
    commands = Transaction(name, family)
    commands.add_table()
    commands.delete_table()
    return commands


def terminals(saved_table: SavedTable) -> dict[str, VerdictChain]:
    """What its log records mean. Raises StateError."""
    try:
        return {key: _terminal(fields) for key, fields in json.loads(bytes(saved_table.terminals)).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError("what was saved of the rules' names can't be read: another version wrote it") from error


def discard(state_dir: Path) -> None:
    """Raises OSError where there is one that can't be removed."""
    with suppress(FileNotFoundError, NotADirectoryError):
        (state_dir / snapshot.FILE).unlink()


def _without_number(table: Table, marks: ConnmarkLayout) -> Table:
    """The number of accepted connections is always a new one; until there is one, every packet is judged."""
    live = replace(table.sets[LIVE], elements={})
    chains = {**table.chains, **base_chains.numbered(table.chains, marks, None)}
    return replace(table, sets={**table.sets, LIVE: live}, chains=chains)


def _told(terminal: VerdictChain) -> list[Any]:
    origin, log = terminal.origin, terminal.log
    fields = [origin.name, origin.uuid, origin.rulebase, origin.device_group, log.start, log.end, log.profile]
    return [*fields, terminal.verdict.value, terminal.enforced, canonical.blocklists_json(terminal.blocklists)]


def _terminal(fields: list[Any]) -> VerdictChain:
    name, uuid, rulebase, device_group, start, end, profile, verdict, enforced, lists = fields
    origin, log = Origin(name, uuid, intern(rulebase), intern(device_group)), Log(start, end, profile)
    return VerdictChain(origin, Verdict(verdict), log, enforced, canonical.blocklists_of(lists))
