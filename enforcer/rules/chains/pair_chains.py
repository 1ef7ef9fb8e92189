"""The chains of pairs of zones, and the maps that lead to them: only pairs whose entries changed are worked out. Pure.

A chain keeps its name as long as the same pairs lead to it, whatever its rules become: a packet that is under way sees
the old rules or the new ones, and nothing has to be ready before. All else is named by content.
`enforcer.rules.ruleset` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, groupby

from enforcer.rules import match
from enforcer.rules.chains.verdict_chains import ACCEPTED, VerdictChains
from enforcer.rules.entry_edits import edits
from enforcer.rules.family import Family
from enforcer.rules.match import Sets, short_digest
from enforcer.rules.members.zone_ids import ZoneKey
from enforcer.rules.references import named_by
from enforcer.rules.table import Chain, NamedSet, remark
from enforcer.rules.tree.chains import TreeChains
from enforcer.rules.tree.clause import Clause, Spaces
from enforcer.rules.tree.splits import LONG
from enforcer.rules.tree.tree import MOST_LONG_SPANS, TreeBuilder
from enforcer.rules.zone_pairs import Zones, bits, concerned, pair_masks
from zones.policy import Entry, Verdict

_COMMON_RULES = 4  # so many rules in a row that all pairs share are worth a chain of their own
_COMMON_RUNS = 3  # more of them cost a packet more than one tree for each pair costs the kernel
_MOST_CLAUSES = 3  # of one alternative of an entry: a port of any protocol that has ports
_MOST_EDITS = 50  # from so many on, masks are made anew
_MOST_COMMON = 64  # runs that pairs share: so many are kept for the next list of entries

Pair = tuple[ZoneKey, ZoneKey]
_Rules = tuple[str, ...]
_ANY: Zones = (None, None)


@dataclass(slots=True)
class _Led:
    """One family's pairs. `targets`: the chain of each; "" for those that aren't in the map, which have that of None.

    `elements`: what stands in the map for pairs. `digests`: of what each chain says; `chains`: the other way round.
    """

    targets: dict[Pair | None, str] = field(default_factory=dict)
    elements: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    chains: dict[str, str] = field(default_factory=dict)

    def say(self, name: str, digest: str) -> None:
        """The chain says this now."""
        self.forget(name)
        self.digests[name], self.chains[digest] = digest, name

    def forget(self, name: str) -> None:
        before = self.digests.pop(name, "")
        if self.chains.get(before) == name:
            del self.chains[before]


@dataclass(slots=True)
class _Run:
    """Neighbours in the whole list that concern every pair; or what a pair's list has between two such runs."""

    entries: list[Entry]
    numbers: list[int]
    is_common: bool


class PairChains:
    """Of one list of entries after the other. `observes`: whether denials between two zones drop nothing."""

    def __init__(
        self, entries: Sequence[Entry], sets: Sets, terminals: VerdictChains, observes: Callable[..., bool]
    ) -> None:
        self._in_use = sets.in_use
        self._sets = sets
        self._terminals = terminals
        self._observes = observes
        self._entries = tuple(entries)
        self.masks = pair_masks(self._entries)
        self._entries_with_long = {id(entry): entry for entry in self._entries if _long_lists(entry)}
        self._stale: set[Zones] = {_ANY}
        self._runs_of_all: dict[int, int] = {}
        self._shared = frozenset[tuple[int, ...]]()
        self._led = {family: _Led() for family in Family}
        self._ids: Mapping[ZoneKey, str] = {}
        self._pairs: list[Pair] = []
        self._avoided = frozenset[str]()
        self._copies_long = True
        self._common: dict[tuple[Family, bool, tuple[int, ...]], tuple[_Run, _Rules, bool]] = {}
        self._forget()

    def _forget(self) -> None:
        """What only the making of rules needs. What is made again gets the same name again."""
        self._spaces = Spaces()
        self._by_entry: dict[tuple[Family, int, bool], tuple[Clause, ...]] = {}
        self._trees = TreeBuilder(copies_long=self._copies_long)
        self._tree_chains = {family: TreeChains(family, self._sets) for family in Family}

    def avoid(self, others: PairChains) -> None:
        """The names of chains of these that say something else than what they were named after."""
        self._avoided = frozenset(
            name
            for family, led in others._led.items()
            for name, digest in led.digests.items()
            if name != _by_content(family, digest)
        )

    def follow(self, entries: Sequence[Entry]) -> None:
        """Other entries from now on; those that stay are the same objects."""
        edited = edits(self._entries, entries)
        gone = [entry for edit in edited for entry in self._entries[edit.start : edit.end]]
        before, self._entries = self.masks, tuple(entries)
        self.masks = before.edited(edited) if len(edited) <= _MOST_EDITS else pair_masks(self._entries)
        ids = set(map(id, gone))
        put = [entry for edit in edited for entry in edit.put]
        self._stale |= concerned([*gone, *put])
        long = {id(entry): entry for entry in put if _long_lists(entry)}
        kept = {key: entry for key, entry in self._entries_with_long.items() if key not in ids}
        self._entries_with_long = kept | long
        self._common = {key: shared for key, shared in self._common.items() if ids.isdisjoint(key[2])}

    def drop(self, zones: Iterable[ZoneKey]) -> None:
        """Zones that nobody is in any more."""
        away = set(zones)
        for led in self._led.values():
            for pair in [target for target in led.targets if target is not None and not away.isdisjoint(target)]:
                led.elements.pop(_element(pair, self._ids), None)
                self._in_use.release(filter(None, [led.targets.pop(pair)]))

    def maps(self, ids: Mapping[ZoneKey, str]) -> dict[str, NamedSet]:
        """The verdict maps of pairs, by name; a pair that they don't hold is of zones that no entry tells apart.

        `ids`: of all zones, those of the last time among them but for the dropped ones.
        """
        if ids.keys() != self._ids.keys():
            self._pairs = [(one, other) for one in ids for other in ids if one.of_pods or other.of_pods]
        self._ids = dict(ids)
        copies_long = self._long_spans() <= MOST_LONG_SPANS
        if copies_long is not self._copies_long:
            self._copies_long, self._stale = copies_long, {_ANY}
            self._common.clear()
            self._forget()
        self._share()
        by_zone = {family.named("pairs"): self._map(family) for family in Family}
        self._stale = set()
        self._forget()
        return by_zone

    def elsewhere(self, family: Family) -> Chain:
        """The chain for pairs that the map doesn't hold; for after `maps`."""
        return Chain((f"goto {self._led[family].targets[None]}",))

    def bystanders(self, verdict: str) -> dict[str, str]:
        """The pairs in which no pod takes part; for after `maps`."""
        apart = [name for key, name in self._ids.items() if not key.of_pods]
        return {f'"{client}" . "{server}"': f" : {verdict}" for client in apart for server in apart}

    def gone(self, names: Iterable[str]) -> None:
        """Chains that aren't in use any more."""
        for name in names:
            for led in self._led.values():
                led.forget(name)
        self._common = {
            key: shared for key, shared in self._common.items() if self._in_use.has(named_by(Chain(shared[1])))
        }

    def _long_spans(self) -> int:
        """In address lists that are long, and not too long to be copied: once for each pair that may copy them."""
        total, zones = 0, len(self._ids)
        for entry in self._entries_with_long.values():
            clients, servers = entry.from_zones, entry.to_zones
            pairs = (zones if clients is None else len(clients)) * (zones if servers is None else len(servers))
            total += sum(_long_lists(entry)) * (1 if clients is None and servers is None else pairs)
        return total

    def _share(self) -> None:
        """Which runs all pairs share. Where one that is long was cut in two, or grew together, it did so for all."""
        self._runs_of_all = self.masks.common_runs()
        grouped = groupby(self._runs_of_all, key=self._runs_of_all.__getitem__)
        runs = [[self._entries[n] for n in numbers] for _, numbers in grouped]
        long = (run for run in runs if _MOST_CLAUSES * sum(len(entry.traffic) for entry in run) >= _COMMON_RULES)
        before, self._shared = self._shared, frozenset(tuple(map(id, run)) for run in long)
        if before != self._shared:
            self._stale = {_ANY}

    def _map(self, family: Family) -> NamedSet:
        led = self._led[family]
        changed = self._changed(led)
        if changed:
            elements = dict(led.elements)
            for pair in self._lead(family, led, changed):
                if pair is not None and led.targets[pair]:
                    elements[_element(pair, self._ids)] = _tail(pair, led.targets[pair])
                elif pair is not None:
                    elements.pop(_element(pair, self._ids), None)
            led.elements = elements
        others = {"*": f" : goto {family.named('elsewhere')}"} | self.bystanders(f"goto {ACCEPTED}")
        return NamedSet("ifname . ifname : verdict", others | led.elements)

    def _changed(self, led: _Led) -> list[Pair | None]:
        """The pairs whose rules must be worked out."""
        if _ANY in self._stale or not led.targets:
            return [None, *self._pairs]
        changed: dict[Pair | None, None] = {}
        if len(led.targets) != len(self._pairs) + 1:
            changed = dict.fromkeys(pair for pair in self._pairs if pair not in led.targets)
        by_zone: dict[str, list[ZoneKey]] = {}
        for key in self._ids:
            by_zone.setdefault(key.zone, []).append(key)
        for client, server in self._stale:
            clients = self._ids if client is None else by_zone.get(client, ())
            servers = self._ids if server is None else by_zone.get(server, ())
            changed |= dict.fromkeys((one, two) for one in clients for two in servers if one.of_pods or two.of_pods)
        return list(changed)

    def _lead(self, family: Family, led: _Led, changed: Sequence[Pair | None]) -> Iterator[Pair | None]:
        """Each pair to a chain of its rules. Those that led elsewhere before."""
        said = self._said(family, changed)
        names = {digest: led.chains[digest] for digest in said if digest in led.chains}
        taken = frozenset(names.values())
        for digest, (rules, pairs) in said.items():
            if digest and digest not in names:
                name = self._own(led, pairs, taken)
                if name:
                    self._in_use.refill(name, Chain(rules))
                else:
                    name = self._new_name(family, digest)
                    self._in_use.add_chain(name, Chain(rules))
                led.say(name, digest)
                names[digest] = name
        for digest, (_, pairs) in said.items():
            name = names.get(digest, "")
            for pair in pairs:
                before = led.targets.get(pair, "")
                if before != name or pair not in led.targets:
                    self._in_use.hold(filter(None, [name]))
                    self._in_use.release(filter(None, [before]))
                    led.targets[pair] = name
                    yield pair

    def _own(self, led: _Led, pairs: Sequence[Pair | None], taken: Collection[str]) -> str:
        """The chain that all of these pairs led to before, and nobody else; "" where there is none."""
        before = {led.targets.get(pair, "") for pair in pairs}
        name = next(iter(before))
        return name if len(before) == 1 and name not in taken and self._in_use.times(name) == len(pairs) else ""

    def _new_name(self, family: Family, digest: str) -> str:
        """By content; by more where a chain has that name from what it said before."""
        names = (_by_content(family, digest if not n else short_digest([n, digest])) for n in count())
        return next(name for name in names if name not in self._in_use.chains and name not in self._avoided)

    def _said(self, family: Family, changed: Iterable[Pair | None]) -> dict[str, tuple[_Rules, list[Pair | None]]]:
        """By digest, rules and the pairs that have them; of nothing, those that are like all pairs not in the map."""
        elsewhere = self.masks.elsewhere, self._observes()
        alike: dict[tuple[int, bool], list[Pair | None]] = {}
        said: dict[str, tuple[_Rules, list[Pair | None]]] = {"": ((), [])}
        for pair in changed:
            zones = None if pair is None else (pair[0].zone, pair[1].zone)
            which = elsewhere if zones is None else (self.masks.of(*zones), self._observes(*zones))
            if pair is not None and which == elsewhere:
                said[""][1].append(pair)
            else:
                alike.setdefault(which, []).append(pair)
        for (mask, observed), pairs in alike.items():
            rules = self._rules(family, mask, observed=observed)
            said.setdefault(short_digest(rules), (rules, []))[1].extend(pairs)
        return said

    def _rules(self, family: Family, mask: int, *, observed: bool) -> _Rules:
        """First match, by tree. Long runs of what all pairs have in common are trees of their own, shared by them."""
        rules: list[str] = []
        for is_common, run in self._pieces(family, self._runs(mask), observed=observed):
            some, is_final = self._piece(family, run, observed=observed, is_common=is_common)
            rules += some
            if is_final:
                break
        return tuple(rules)

    def _runs(self, mask: int) -> list[_Run]:
        runs = []
        for common, run in groupby(bits(mask), key=self._runs_of_all.get):
            numbers = list(run)
            runs.append(_Run([self._entries[n] for n in numbers], numbers, common is not None))
        return runs

    def _pieces(self, family: Family, runs: list[_Run], *, observed: bool) -> Iterator[tuple[bool, _Run]]:
        """What is looked through one after the other, and whether all pairs share it; all in one where many are."""
        shared = [run.is_common and self._is_long(family, run, observed=observed) for run in runs]
        if sum(shared) > _COMMON_RUNS:
            yield False, _joined(runs)
            return
        for share, group in groupby(zip(shared, runs, strict=True), key=lambda pair: pair[0]):
            yield share, _joined([run for _, run in group])

    def _is_long(self, family: Family, run: _Run, *, observed: bool) -> bool:
        if (family, observed, _ids_of(run)) in self._common:
            return True
        return len(self._clauses(family, run, observed=observed)) >= _COMMON_RULES

    def _piece(self, family: Family, run: _Run, *, observed: bool, is_common: bool) -> tuple[_Rules, bool]:
        """Its rules, and whether they always end somewhere."""
        key = family, observed, _ids_of(run)
        if is_common and key in self._common:
            _, rules, is_final = self._common[key]
            return rules, is_final
        chains, node = self._tree_chains[family], self._trees.tree(self._clauses(family, run, observed=observed))
        apart = is_common and len(node.steps) > 1
        rules = (f"jump {chains.chain(node, 'common')}",) if apart else chains.rules(node)
        if is_common:
            while len(self._common) >= _MOST_COMMON:
                del self._common[next(iter(self._common))]
            self._common[key] = run, rules, node.final
        return rules, node.final

    def _clauses(self, family: Family, run: _Run, *, observed: bool) -> list[Clause]:
        return [clause for n in run.numbers for clause in self._entry_clauses(family, n, observed)]

    def _entry_clauses(self, family: Family, n: int, observed: bool) -> tuple[Clause, ...]:  # noqa: FBT001
        """The chain where it ends is made only if there is any."""
        clauses = self._by_entry.get((family, n, observed))
        if clauses is None:
            entry = self._entries[n]
            observed_ = observed and entry.verdict is not Verdict.ALLOW
            target = partial(self._terminals.chain, (entry.origin, entry.verdict, entry.log), observed=observed_)
            clauses = tuple(match.of_entry(entry, family, self._spaces, target))
            families = Family if match.same_in_all_families(entry) else (family,)
            self._by_entry.update({(family_, n, observed): clauses for family_ in families})
        return clauses


def _by_content(family: Family, digest: str) -> str:
    return f"pair{family.value.number}-{digest}"


def _long_lists(entry: Entry) -> list[int]:
    """The spans of its long address lists that aren't too long to be copied."""
    many = (len(space.v4.spans) + len(space.v6.spans) for space in (entry.sources, entry.destinations))
    return [length for length in many if LONG < length <= MOST_LONG_SPANS]


def _ids_of(run: _Run) -> tuple[int, ...]:
    return tuple(map(id, run.entries))


def _joined(runs: Sequence[_Run]) -> _Run:
    if len(runs) == 1:
        return runs[0]
    entries, numbers = (
        [entry for run in runs for entry in run.entries],
        [number for run in runs for number in run.numbers],
    )
    return _Run(entries, numbers, is_common=False)


def _element(pair: Pair, ids: Mapping[ZoneKey, str]) -> str:
    return f'"{ids[pair[0]]}" . "{ids[pair[1]]}"'


def _tail(pair: Pair, target: str) -> str:
    return f' comment "{remark(f"{pair[0].zone} > {pair[1].zone}")}" : goto {target}'
