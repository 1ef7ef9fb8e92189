"""Our table in the kernel: loaded whole, changed in one transaction, watched for what others do to it.

Knows nothing of policies. Every change begins a new number of accepted connections. `enforcer.reconcile` calls it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

from enforcer import elements, frame, nft, portrait, transaction, way
from enforcer.datatypes import TYPES
from enforcer.errors import KernelError
from enforcer.generations import Marks
from enforcer.messages import attributes
from enforcer.numbering import Numbering
from enforcer.portrait import ELEMENTS, RULES, Key, Portrait, Tally, differences
from enforcer.residents import Moves
from enforcer.saved import Kept
from enforcer.table import Chain, Change, Table, diff
from enforcer.terminals import LIVE, STAMP
from enforcer.transaction import Transaction

_PATIENCE = 0.1  # seconds for an announcement that is under way
_LARGE = 20_000  # elements that are more than the socket of announcements holds
_UNKNOWN = -1
_MENDABLE = frozenset({ELEMENTS, RULES})


@dataclass(frozen=True, slots=True)
class Drift:
    """What somebody else changed in our table, and who, where known. It is put back, or `problems` say why not."""

    what: tuple[str, ...]
    who: tuple[str, ...] = ()


@dataclass(slots=True)
class _Known:
    """The table as we last made or verified it, at a generation of all tables."""

    table: Table
    generation: int
    tally: Tally
    objects: dict[tuple[str, str], int] = field(default_factory=dict)
    rules: dict[str, int] = field(default_factory=dict)
    torn: tuple[Key, ...] = ()


class KernelTable:
    """The table of this name. Nothing of it is known before `load` or after `distrust`."""

    def __init__(self, name: str, marks: Marks) -> None:
        self._name = name
        self._marks = marks
        self._nft = nft.Nftables()
        self._changes = nft.TableChanges(name)
        self._numbering = Numbering(marks)
        self._known: _Known | None = None

    @property
    def known(self) -> bool:
        return self._known is not None

    @property
    def problem(self) -> str:
        return self._numbering.problem

    def fileno(self) -> int:
        """Readable when anybody changed any table."""
        return self._changes.fileno()

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes by chain."""
        return self._nft.counters(self._name)

    def exists(self) -> bool:
        return self._nft.flags(self._name) is not None

    def delete(self) -> None:
        self._known = None
        with closing(nft.Nftables()) as fresh:
            fresh.delete(self._name)

    def distrust(self) -> None:
        """Load it whole in the next pass."""
        self._known = None

    def close(self) -> None:
        self._nft.close()
        self._changes.close()
        self._numbering.close()

    # What others do

    def audit(self) -> Drift | None:
        """Whether the table is as we left it. Only where somebody touched it, it is looked at."""
        known = self._known
        if known is None:
            return None
        now = self._nft.generation()
        authors = self._others() if now == known.generation else self._heard(now)
        if authors is not None and not authors:
            known.generation = max(now, self._changes.seen)
            return None
        torn = self._differences(known)
        if not torn:
            return None
        known.torn = tuple(torn)
        if any(kind not in _MENDABLE for kind, _ in torn):
            self.distrust()
        return Drift(tuple(map(portrait.told, torn)), tuple(dict.fromkeys(each.name for each in authors or ())))

    def _heard(self, now: int) -> list[nft.Author] | None:
        """The others who changed the table up to a generation; None where that can't be told."""
        authors: list[nft.Author] = []
        deadline = time.monotonic() + _PATIENCE
        while True:
            authors += self._others()
            if self._changes.overrun:
                return None
            if self._changes.seen >= now:
                return authors
            if time.monotonic() > deadline:
                return None
            time.sleep(0.001)

    def _others(self) -> list[nft.Author]:
        return [each for each in self._changes.read() if each.port != self._nft.port]

    def _differences(self, known: _Known) -> list[Key]:
        before = self._nft.generation()
        found = self._nft.look(self._name, elements_of=tuple(known.table.sets))
        if self._nft.generation() != before and found is not None:
            known.generation = _UNKNOWN  # and again in the next pass
            return []
        known.generation = before
        self._changes.overrun = False
        return differences(Portrait(known.objects, known.rules, known.tally.sums), found)

    # What we do

    def load(self, table: Table, moves: Moves) -> None:
        """The whole table from nothing, in place of whatever there is, in one transaction."""
        there = self.exists()
        self._numbering.avoid(self._numbers() if there else ())
        number = self._numbering.following()
        numbered = _numbered(table, self._marks, number)
        made = Transaction(self._name)
        if there:
            made.delete_table()
        tally = Tally()
        for name, each in numbered.sets.items():
            tally.add(name, elements.records(each.type, each.elements, interval=each.interval))
        for place, records in way.members(table, moves):
            tally.add(place.set, records)
        transaction.whole(made, numbered, ((place.set, records) for place, records in way.members(table, moves)))
        self._known = None
        generation = self._commit(made, self._nft.generation(), large=True)
        self._numbering.taken(number)
        self._known = _Known(table, generation, tally)
        self._remember(self._known)

    def restore(self, kept: Kept) -> None:
        """What was saved, where there is no table. It stays unknown: the next pass loads what is then right."""
        self._numbering.avoid(())
        number = self._numbering.following()
        made = Transaction.resumed(self._name, kept.commands, kept.many)
        for place, keys in kept.members.come.items():
            made.add_elements(place.set, way.records(kept.types[place.set], place, keys))
        if number is not None:
            made.add_rules(STAMP, Chain(frame.stamp(self._marks, number)))
        made.add_elements(LIVE, self._live_records(number))
        self._commit(made, self._nft.generation(), large=True)
        self._numbering.taken(number)

    def change(self, table: Table, moves: Moves, everybody: Callable[[], Moves]) -> Change | None:
        """To another table, whose sets hold others; what is torn is mended. None where nothing had to be done."""
        known = self._known
        if known is None:
            raise KernelError("the table is not known; it must be loaded whole")
        change = Change(self._name) if table is known.table else diff(known.table, table)
        if not change and not moves and not known.torn:
            known.table = table
            return None
        change, moves = way.without(change, moves, [name for kind, name in known.torn if kind == ELEMENTS])
        self._make_ready(known, change)
        number = self._numbering.following()
        made = Transaction(self._name)
        many = way.write(made, table, change, moves)
        if known.torn:
            many = _LARGE + 1
            way.mend(made, known.tally, table, known.torn, everybody())
        self._renumber(made, number)
        try:
            known.generation = self._commit(made, known.generation, large=many > _LARGE)
        except KernelError:
            if change.new_chains or change.new_sets or known.torn:
                self.distrust()  # what was made ready stands about
            raise
        self._numbering.taken(number)
        way.count(known.tally, known.table, table, change, moves)
        known.tally.sums.pop(LIVE, None)
        known.tally.add(LIVE, self._live_records(number))
        known.table = table
        mended, known.torn = known.torn, ()
        if change.structural or change.raw or any(kind == RULES for kind, _ in mended):
            self._remember(known)
        else:
            known.rules[STAMP] = self._nft.rules_digest(self._name, STAMP)
        return change

    def _make_ready(self, known: _Known, change: Change) -> None:
        """What is new, before anything leads there, in a transaction of its own.

        A packet that is under way at the moment of a change follows the old rules, but looks up the new elements: it
        would come to chains that are still empty for it.
        """
        if not change.new_chains and not change.new_sets:
            return
        made = Transaction(self._name)
        many = way.write_new(made, change)
        known.generation = self._commit(made, known.generation, large=many > _LARGE)

    def _renumber(self, made: Transaction, number: int | None) -> None:
        if not self._marks.mask:
            return
        if number is not None:
            made.flush_chain(STAMP)
            made.add_rules(STAMP, Chain(frame.stamp(self._marks, number)))
        made.flush_set(LIVE)
        made.add_elements(LIVE, self._live_records(number))

    def _live_records(self, number: int | None) -> list[bytes]:
        return list(elements.records("mark", frame.live(self._marks, number), interval=False))

    def _commit(self, made: Transaction, before: int, *, large: bool) -> int:
        """The generation up to which all is known afterwards."""
        if large:
            self._changes.deaf()
        try:
            self._nft.commit(made)
        finally:
            after = self._nft.generation()
            ours = after == before + 1
            if large:
                self._changes.caught_up(after)
        if ours:
            return after
        return _UNKNOWN if large else before

    def _remember(self, known: _Known) -> None:
        """What the kernel's own dump of our objects looks like, to compare with later."""
        found = self._nft.look(self._name)
        now = self._nft.generation()
        if known.generation != now:
            authors = None if known.generation == _UNKNOWN else self._heard(now)
            if authors is None or authors:
                self._known = None
                raise KernelError("the rules were changed by somebody else while they were loaded; trying again")
            known.generation = max(now, self._changes.seen)
        if found is not None:
            known.objects, known.rules = dict(found.objects), dict(found.rules)

    def _numbers(self) -> Iterator[int]:
        """The numbers that a table of a former agent gives."""
        for record in portrait.records(self._nft.elements(self._name, LIVE)):
            key = attributes(attributes(record[4:], 0).get(1, b""), 0).get(1, b"")
            if len(key) == TYPES["mark"].length:
                yield self._marks.number(int.from_bytes(key, "little"))


def _numbered(table: Table, marks: Marks, number: int | None) -> Table:
    live = replace(table.sets[LIVE], elements=frame.live(marks, number))
    stamp = Chain(frame.stamp(marks, number) if number is not None else ())
    return replace(table, sets={**table.sets, LIVE: live}, chains={**table.chains, STAMP: stamp})
