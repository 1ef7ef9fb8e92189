"""Our table in the kernel: loaded whole, changed in one transaction, watched for what others do to it.

Knows nothing of policies. Every change begins a new number of accepted connections. `enforcer.kernel.reconcile` calls
it.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace

import structlog

from enforcer.errors import KernelError, LoadError
from enforcer.kernel import drift, elements, nft, table_change, table_digest, transaction
from enforcer.kernel.drift import FEW, UNKNOWN, Damage, Known, Places, TableDrift
from enforcer.kernel.mark_epochs import MarkEpochs
from enforcer.kernel.nft_monitor import ForeignChange, NftMonitor
from enforcer.kernel.set_names import NamedTable
from enforcer.kernel.stance import MARKED, Stance
from enforcer.kernel.table_digest import ELEMENTS, RULES, Key, Tally
from enforcer.kernel.transaction import Transaction
from enforcer.netlink.datatypes import TYPES
from enforcer.netlink.messages import INET
from enforcer.restart.snapshot import SavedTable
from enforcer.rules.chains import base_chains
from enforcer.rules.chains.base_chains import HOOKED
from enforcer.rules.chains.verdict_chains import LIVE, STAMP
from enforcer.rules.connmark import ConnmarkLayout
from enforcer.rules.members.address_index import ElementDelta
from enforcer.rules.table import Chain, Table, TableChange

_PATIENCE = 0.1  # seconds for an announcement that is under way
_LARGE = 20_000  # elements that are more than the socket of announcements holds
_log = structlog.get_logger()


class KernelTable:
    """The table of this name. Nothing of it is known before `load` or after `invalidate`."""

    def __init__(self, name: str, marks: ConnmarkLayout, family: int = INET) -> None:
        self._name = name
        self._family = family
        self._marks = marks
        self._nft = nft.Nftables(family)
        self._changes = NftMonitor(name, self._nft.port, family)
        self._overheard: list[ForeignChange] = []
        self._numbering = MarkEpochs(marks)
        self._known: Known | None = None

    @property
    def known(self) -> bool:
        return self._known is not None

    @property
    def problem(self) -> str:
        return self._numbering.problem

    def fileno(self) -> int:
        """Readable when anybody changed any table."""
        return self._changes.fileno()

    def counters(self) -> dict[str, list[nft.Counted]]:
        """Of the rules of each chain, in order."""
        return self._nft.counters(self._name)

    def exists(self) -> bool:
        return self._nft.flags(self._name) is not None

    def is_active(self, hooked: Iterable[str] = ()) -> bool:
        """Whether it is there and awake, and packets come to these chains."""
        return self._nft.is_active(self._name, hooked)

    def stance(self, hooked: Iterable[str] = HOOKED) -> Stance:
        """What stands there, by its marker. A table of ours without one is another version's, and of a tier."""
        if not self.is_active(hooked):
            return Stance.NOTHING
        marks = self._nft.named_objects(self._name, [stance.marker for stance in MARKED], ())
        return next((stance for stance in MARKED if ("chain", stance.marker) in marks), Stance.ENFORCED)

    def delete(self) -> None:
        self._known = None
        with closing(nft.Nftables(self._family)) as fresh:
            fresh.delete(self._name)

    def forget_connections(self) -> None:
        """No connection has a mark of ours afterwards; for once the table is deleted. Raises KernelError."""
        self._numbering.forget()

    def invalidate(self) -> None:
        """Load it whole in the next pass."""
        self._known = None

    def close(self) -> None:
        self._nft.close()
        self._changes.close()
        self._numbering.close()

    # What others do

    def audit(self, places: Places) -> TableDrift | None:
        """Whether the table is as we left it. Only what somebody touched is looked at; all, where that isn't known."""
        known = self._known
        if known is None:
            self._changes.read()  # unread, they would call for another pass at once, again and again
            return None
        try:
            return self._audited(known, places)
        except BaseException:
            self._changes.overrun = True  # what was heard by then is forgotten: look at everything
            raise

    def _audited(self, known: Known, places: Places) -> TableDrift | None:
        now = self._nft.generation()
        edits = self._only_ours() if now == known.generation else self._heard(now)
        overheard, self._overheard = self._overheard, []
        if edits is None:
            everything = drift.of_everything(self._nft, known)
            self._changes.overrun = everything is None
            damage = everything or Damage()
        else:
            known.generation = max(now, self._changes.seen)
            damage = drift.of_edits(self._nft, known, [*overheard, *edits], places)
        known.damage |= damage  # what a pass that failed left
        if not known.damage:
            return None
        if not all(map(known.mends, known.damage.keys)):
            self.invalidate()
        return TableDrift(
            known.damage.describe(), tuple(dict.fromkeys(change.who for change in (*overheard, *(edits or ()))))
        )

    def _only_ours(self) -> list[ForeignChange] | None:
        """Where nobody else did anything, announcements that were lost just now were our own."""
        if self._changes.overrun:
            return None
        edits = self._changes.read()
        self._changes.overrun = False
        return edits

    def _heard(self, now: int) -> list[ForeignChange] | None:
        """What others did to the table up to a generation; None where that can't be told: all is looked at then."""
        edits: list[ForeignChange] = []
        deadline = time.monotonic() + _PATIENCE
        while True:
            edits += self._changes.read()
            if self._changes.overrun:
                return None
            if self._changes.seen >= now:
                return edits
            if time.monotonic() > deadline:
                self._changes.overrun = True
                return None
            time.sleep(0.001)

    # What we do

    def load(self, table: Table, moves: ElementDelta) -> None:
        """The whole table, in place of whatever there is."""
        existing = self._nft.objects(self._name)
        self._numbering.avoid(() if existing is None else self._numbers())
        number = self._numbering.following()
        numbered = _numbered(table, self._marks, number)
        self._known, self._overheard, self._changes.overrun = None, [], False  # all of that goes
        if existing is None:
            generation, tally = self._loaded(numbered, moves)
        else:
            generation, tally = self._adopted(numbered, moves, existing) or self._replaced(numbered, moves)
        self._numbering.taken(number)
        known = Known(NamedTable.of(table), generation, tally)
        self._remember(known)
        self._known = known

    def _loaded(self, table: Table, moves: ElementDelta) -> tuple[int, Tally]:
        """From nothing: no packet comes to rules before their sets are filled, so that none is lost that may pass.

        In the kernel, ranges hold only some time after the rules of the same transaction do.
        """
        first = {name: chain for name, chain in table.chains.items() if chain.hook}
        asleep = {name: Chain(hook=chain.hook) for name, chain in first.items()}
        generation, tally = self._whole(
            Transaction(self._name, self._family), replace(table, chains={**table.chains, **asleep}), moves
        )
        awake = Transaction(self._name, self._family)
        for name, chain in first.items():
            awake.add_rules(name, chain)
        return self._commit(awake, generation, large=False), tally

    def _replaced(self, table: Table, moves: ElementDelta) -> tuple[int, Tally]:
        """In one transaction; for a moment more is denied than the rules say."""
        commands = Transaction(self._name, self._family)
        commands.delete_table()
        return self._whole(commands, table, moves)

    def _whole(self, commands: Transaction, table: Table, moves: ElementDelta) -> tuple[int, Tally]:
        tally = Tally()
        own, members = transaction.own(table), _members(table, moves)
        transaction.write_all(commands, table, tally.counted(own), tally.counted(members))
        return self._commit(commands, self._nft.generation(), large=True), tally

    def _adopted(self, table: Table, moves: ElementDelta, existing: Mapping[Key, int]) -> tuple[int, Tally] | None:
        """Over what a former agent left, so that no packet comes to rules before their sets are filled.

        None where the kernel doesn't take it.
        """
        change = table_change.adoption(table, existing)
        if change is None:
            return None
        commands = Transaction(self._name, self._family)
        table_change.declare(commands, table, change)
        table_change.write(commands, table, change, moves)
        try:
            generation = self._commit(commands, self._make_ready(change, self._nft.generation()), large=True)
        except LoadError as error:
            _log.warning("a former agent's table is replaced as a whole", error=str(error))
            return None
        tally = Tally()
        for name, records in itertools.chain(transaction.own(table), _members(table, moves)):
            tally.add(name, records)
        return generation, tally

    def restore(self, saved: SavedTable) -> None:
        """What was saved, in place of whatever there is. It stays unknown: the next pass loads what is then right."""
        self._commit(saved, self._nft.generation(), large=True)

    def begin_numbers(self) -> None:
        """A table that was restored knows no accepted connections: they get a number from now on."""
        if not self._marks.mask or any(True for _ in self._numbers()):
            return
        self._numbering.avoid(())
        number = self._numbering.following()
        commands = Transaction(self._name, self._family)
        try:
            self._renumber(commands, number, HOOKED)
        except KernelError:
            return  # another version's: its connections are judged packet by packet until all is loaded anew
        self._commit(commands, self._nft.generation(), large=False)
        self._numbering.taken(number)

    def change(self, table: Table, moves: ElementDelta, everybody: Callable[[], ElementDelta]) -> TableChange | None:
        """To another table, whose sets hold others; what is damage is mended. None where nothing had to be done."""
        known = self._known
        if known is None:
            raise KernelError("the table is not known; it must be loaded whole")
        named, change = known.named.following(table)
        if not change and not moves and not known.damage:
            known.named = named
            return None
        try:
            self._change(known, named, change, moves, everybody)
        except LoadError:
            ranges = table_change.within(named.table, change)
            if change.new_chains or change.new_sets or known.damage or ranges.elements:
                self.invalidate()  # what was made ready stands about
            raise
        except BaseException:
            self.invalidate()  # nobody knows how far it came
            raise
        return change

    def _change(
        self,
        known: Known,
        named: NamedTable,
        change: TableChange,
        moves: ElementDelta,
        everybody: Callable[[], ElementDelta],
    ) -> None:
        table, damage = named.table, known.damage
        change, moves = table_change.without(change, moves, [name for kind, name in damage.keys if kind == ELEMENTS])
        number = self._numbering.following()
        written = _numbered(table, self._marks, number)
        change = replace(change, refilled_chains={name: written.chains[name] for name in change.refilled_chains})
        commands = Transaction(self._name, self._family)
        early = table_change.must_be_ready(change)
        if early:
            known.generation = self._make_ready(change, known.generation)
        rest = self._change_ranges(known, table, change)
        fresh = 0 if early else table_change.write_new(commands, rest)
        table_change.put_back(commands, damage.wrong_elements)
        rest = self._take_rules_out(commands, known.table, rest)
        many = fresh + table_change.write(commands, table, rest, moves)
        if damage.keys:
            many = _LARGE + 1
            table_change.mend(commands, known.tally, written, damage.keys, everybody)
        mended = [name for kind, name in damage.keys if kind == RULES]
        hooked = [name for name in base_chains.numbered(table.chains, self._marks, number) if name != STAMP]
        self._renumber(commands, number, set(hooked).difference(change.refilled_chains, mended))
        known.generation = self._commit(commands, known.generation, large=many > _LARGE)
        self._numbering.taken(number)
        table_change.count(known.tally, known.table, table, change, moves)
        known.tally.sums.pop(LIVE, None)
        if LIVE in table.sets:
            known.tally.add(LIVE, self._live_records(number))
        known.named = named
        known.damage = Damage()
        self._learn(known, change, [*mended, *hooked])

    def _change_ranges(self, known: Known, table: Table, change: TableChange) -> TableChange:
        """Ranges that come and go in a list that stands, in a transaction of their own; what is left to be done.

        In the kernel they hold only some time after all else of a transaction does: a connection that is accepted by
        the old ones must not get the new number.
        """
        ranges = table_change.within(table, change)
        if not ranges.elements:
            return change
        commands = Transaction(self._name, self._family)
        many = table_change.write(commands, table, ranges, ElementDelta())
        known.generation = self._commit(commands, known.generation, large=many > _LARGE)
        others = {name: element for name, element in change.elements.items() if name not in ranges.elements}
        return replace(change, elements=others)

    def _take_rules_out(self, commands: Transaction, old: Table, change: TableChange) -> TableChange:
        """Where rules go and none comes, these alone; what is left to be done.

        For a rule with a verdict that comes, even an old one, the kernel walks through the whole table.
        """
        others = dict(change.refilled_chains)
        for name, chain in change.refilled_chains.items():
            gone = table_change.rules_gone(old.chains[name], chain)
            rules = self._nft.handles(self._name, name) if gone else []
            if len(rules) == len(old.chains[name].rules) + len(old.chains[name].raw) > 0:
                del others[name]
                for at in gone:
                    commands.delete_rule(name, rules[at][0])
        return replace(change, refilled_chains=others)

    def _make_ready(self, change: TableChange, before: int) -> int:
        """What is new, before anything leads there, in a transaction of its own.

        A packet that is under way at the moment of a change follows the old rules, but looks up the new elements: it
        would come to chains that are still empty for it.
        """
        if not change.new_chains and not change.new_sets:
            return before
        commands = Transaction(self._name, self._family)
        many = table_change.write_new(commands, change)
        return self._commit(commands, before, large=many > _LARGE)

    def _renumber(self, commands: Transaction, number: int | None, hooked: Iterable[str]) -> None:
        """`hooked`: the chains that packets come to first, where they keep their other rules."""
        if not self._marks.mask:
            return
        stamp = base_chains.numbered({}, self._marks, number)[STAMP]
        commands.flush_chain(STAMP)
        commands.add_rules(STAMP, stamp)
        for name in hooked:
            rules = self._nft.handles(self._name, name)
            handle = next((handle for handle, comment in rules if comment == base_chains.OLD_NUMBERS), None)
            if handle is None:
                raise KernelError(f"chain {name} lacks the rule that takes old numbers away; everything is loaded anew")
            commands.replace_rule(name, handle, base_chains.old_numbers(self._marks, number))
        commands.flush_set(LIVE)
        commands.add_elements(LIVE, self._live_records(number))

    def _live_records(self, number: int | None) -> list[bytes]:
        return list(elements.records("mark", base_chains.live(self._marks, number), interval=False))

    def _commit(self, commands: nft.Commands, before: int, *, large: bool) -> int:
        """The generation up to which all is known afterwards."""
        missed = self._changes.overrun
        if large:
            self._changes.unsubscribe()
        try:
            self._nft.commit(commands)
        finally:
            after = self._nft.generation()
            ours = after == before + 1
            if large:
                self._changes.resubscribe(after)
                self._changes.overrun = missed or not ours
        return after if ours else before

    def _learn(self, known: Known, change: TableChange, mended: Iterable[str]) -> None:
        """What the kernel's own dump of what we made looks like, to compare with later."""
        filled = {*change.new_chains, *change.refilled_chains, *mended, STAMP}
        if len(filled) + len(change.new_sets) > FEW:
            self._remember(known)
            return
        for chain in change.gone_chains:
            known.objects.pop(("chain", chain), None)
            known.rules.pop(chain, None)
        for name, keyword in change.gone_sets.items():
            known.objects.pop((keyword, name), None)
        known.objects |= self._nft.named_objects(self._name, change.new_chains, change.new_sets)
        for chain in filled:
            known.rules.pop(chain, None)
        known.rules |= self._nft.rules_digests(self._name, filled)
        self._unlearn(known, change, filled)

    def _unlearn(self, known: Known, change: TableChange, filled: set[str]) -> None:
        """What others touched since our change is not taken for ours: the next audit hears of it."""
        now = self._nft.generation()
        if now == known.generation:
            return
        edits = self._heard(now)
        touched = {key for edit in edits or () for key in edit.keys}
        for name in filled:
            if edits is None or (RULES, name) in touched:
                known.rules[name] = UNKNOWN
        for name in change.new_chains:
            if edits is None or ("chain", name) in touched:
                known.objects["chain", name] = UNKNOWN
        for name, new_set in change.new_sets.items():
            if edits is None or ("set", name) in touched:
                known.objects[new_set.keyword, name] = UNKNOWN
        if edits:
            self._overheard += edits
        elif edits is not None:
            known.generation = max(now, self._changes.seen)

    def _remember(self, known: Known) -> None:
        """All of it."""
        current = self._nft.look(self._name)
        self._verify(known)
        if current is not None:
            known.objects, known.rules = dict(current.objects), dict(current.rules)

    def _verify(self, known: Known) -> None:
        """That what was looked at is our own work. Raises KernelError, and knows nothing then, where it may not be."""
        now = self._nft.generation()
        if known.generation == now:
            return
        edits = self._heard(now)
        if edits is None or edits:
            self.invalidate()
            raise KernelError("the rules were changed by somebody else while they were loaded; trying again")
        known.generation = max(now, self._changes.seen)

    def _numbers(self) -> Iterator[int]:
        """The numbers that a table of a former agent gives."""
        for record in table_digest.records(self._nft.elements(self._name, LIVE)):
            key = elements.key_of(record)
            if len(key) == TYPES["mark"].length:
                yield self._marks.number(int.from_bytes(key, sys.byteorder))


def _members(table: Table, moves: ElementDelta) -> Iterator[tuple[str, list[bytes]]]:
    return ((place.set, records) for place, records in table_change.members(table, moves))


def _numbered(table: Table, marks: ConnmarkLayout, number: int | None) -> Table:
    if LIVE not in table.sets:
        return table  # one that knows nothing of connections
    live = replace(table.sets[LIVE], elements=base_chains.live(marks, number))
    chains = {**table.chains, **base_chains.numbered(table.chains, marks, number)}
    return replace(table, sets={**table.sets, LIVE: live}, chains=chains)
