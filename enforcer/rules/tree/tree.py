"""First match over many clauses as a tree: a packet is looked up, not compared with each. Pure; knows no nftables.

`TreeBuilder.tree` grows it, equal lists once; `enforcer.rules.tree.chains` writes it as chains. The meaning stays the
list's own:
the first clause that holds gives the target; where none does, the caller goes on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from enforcer.rules.tree.clause import Clause, Dimension, Key, asks_only, resolved, still_possible
from enforcer.rules.tree.splits import ClauseSplit, best_split, spans_of_long

LEAF = 5  # clauses that are as quickly compared as looked up
DEPTH = 5  # chains below a first one: the kernel allows 16 on the whole way, and others need theirs
_GATE_WEIGHT = 3  # what a gated clause costs a packet, in clauses
_PIECE, _RADIX = 8, 8  # ways through the first so many are made of pieces of 8, 64, 512 ...
_WAYS, _FEW_WAYS = 100, 200  # so many ways for each clause, and some, may lead through a selection
MOST_LONG_SPANS = 100_000  # in the long address lists of all trees together, where they may be copied
_COPIES = 2  # so many times the spans of its long lists a tree may copy
_GROWTH, _START = 40, 5_000  # a tree may hold so many times its clauses, and some; what is left then stays a list


@dataclass(frozen=True, slots=True)
class Test:
    """The clause's target, if it holds."""

    clause: Clause


@dataclass(frozen=True, slots=True)
class Jump:
    """What another node says, if it says anything."""

    to: TreeNode


@dataclass(frozen=True, slots=True, eq=False)
class Select:
    """What the node of the one key that holds says, if it says anything."""

    dimension: Dimension
    branches: Mapping[Key, TreeNode]


Step = Test | Jump | Select


@dataclass(frozen=True, slots=True, eq=False)
class TreeNode:
    """Steps, one after the other, until one gives a target."""

    steps: tuple[Step, ...]

    @property
    def target(self) -> str | None:
        """Where it always ends, without a look at the packet."""
        first = self.steps[0] if self.steps else None
        return first.clause.target if isinstance(first, Test) and first.clause.always else None

    @property
    def final(self) -> bool:
        """Whether it always ends somewhere."""
        last = self.steps[-1] if self.steps else None
        return isinstance(last, Test) and last.clause.always


class TreeBuilder:
    """Trees; equal lists are one tree, and each is the same whatever others there are.

    `leaf`: as many clauses may stay a list. `depth`: chains below the first. `copies_long`: whether long address lists
    may be copied into a tree that repeats them.
    """

    def __init__(self, leaf: int = LEAF, depth: int = DEPTH, *, copies_long: bool = True) -> None:
        self.leaf = leaf
        self._depth = depth
        self._copies_long = copies_long
        self._spans = self._room = 0
        self._trees: dict[tuple[Clause, ...], TreeNode] = {}
        self._grown: dict[tuple[tuple[Clause, ...], int], TreeNode] = {}
        self._ends: dict[str, TreeNode] = {}

    def tree(self, clauses: Sequence[Clause]) -> TreeNode:
        """The tree of an ordered list."""
        key = tuple(clauses)
        root = self._trees.get(key)
        if root is None:
            self._room, self._grown = _GROWTH * len(key) + _START, {}
            self._spans = _COPIES * spans_of_long(key) if self._copies_long else 0
            root = self._trees[key] = self.node(key, self._depth)
        return root

    def node(self, clauses: Sequence[Clause], depth: int) -> TreeNode:
        """A part of a tree, with at most `depth` chains below."""
        key = tuple(_reachable(clauses)), depth
        node = self._grown.get(key)
        if node is None:
            node = self._grown[key] = TreeNode(tuple(self._steps(*key)))
        return node

    def end(self, target: str) -> TreeNode:
        """Where it always ends."""
        node = self._ends.get(target)
        if node is None:
            node = self._ends[target] = TreeNode((Test(Clause(target)),))
        return node

    def _steps(self, clauses: tuple[Clause, ...], depth: int) -> Iterator[Step]:
        split = self._split(clauses) if depth else None
        if split is None:
            yield from _listed(clauses, depth)
            return
        fork = _SplitContext(self, clauses, split)
        if fork.ways > _WAYS * len(clauses) + _FEW_WAYS:
            half = len(clauses) // 2
            yield from self.node(clauses[:half], depth).steps
            yield from self.node(clauses[half:], depth).steps
            return
        yield from self.node(clauses[: fork.start], depth).steps
        yield Select(split.dimension, {key: fork.branch(key, depth - 1) for key in split.branches})
        yield from self.node(fork.wild, depth).steps

    def _split(self, clauses: tuple[Clause, ...]) -> ClauseSplit | None:
        self._room -= len(clauses)
        if len(clauses) <= self.leaf:
            gated = sum(1 for clause in clauses if clause.gate)
            if len(clauses) + _GATE_WEIGHT * gated <= self.leaf:
                return None
        if self._room < 0:
            return None
        long = spans_of_long(clauses)
        copy_long = 0 < long <= min(self._spans, MOST_LONG_SPANS)
        self._spans -= long if copy_long else 0
        return best_split(clauses, copy_long=copy_long)


class _SplitContext:
    """One selection among clauses. `wild`: those behind its first that don't depend on it, in every branch's way.

    They stand behind the selection too, so a branch needs only those before its own last clause. Where they are too
    many to be repeated in each branch, its clauses get a gate: ways through the first so many, that branches share.
    Whatever a packet passed once it passes again, so ways may overlap.
    """

    def __init__(self, forest: TreeBuilder, clauses: tuple[Clause, ...], split: ClauseSplit) -> None:
        self._forest = forest
        self._clauses = clauses
        self._split = split
        self.start = min(split.settled)
        self._others = [at for at in range(self.start, len(clauses)) if at not in split.settled]
        self.wild = tuple(clauses[at] for at in self._others)
        self._pieces: dict[tuple[int, int, int], TreeNode] = {}

    @property
    def ways(self) -> int:
        """About how many ways there will be through the branches: the kernel walks them all when rules are loaded."""
        before = {at: bisect_left(self._others, at) for at in self._split.settled}
        return sum(before[at] for positions in self._split.branches.values() for at in positions)

    def branch(self, key: Key, depth: int) -> TreeNode:
        positions = self._split.branches[key]
        if self._certain(positions[0]):
            return self._forest.end(self._clauses[positions[0]].target)
        own = list(self._until_certain(positions))
        if not own[-1][0]:
            return self._forest.node([clause for _, clause in own], depth)
        few = own[-1][0] <= max(self._forest.leaf, 2 * len(own))
        if few or any(clause.gate for _, clause in own):
            return self._forest.node(list(self._merged(key, own)), depth)
        return self._forest.node([clause._replace(gate=(self, before)) for before, clause in own], depth)

    def _certain(self, at: int) -> bool:
        """Whether nothing comes before it in a branch, and nothing after."""
        clause = self._clauses[at]
        nothing_before = clause.gate is None and (not self._others or at < self._others[0])
        return nothing_before and asks_only(clause, self._split.dimension)

    def _until_certain(self, positions: list[int]) -> Iterator[tuple[int, Clause]]:
        """The clauses of a branch, each with the number of wild ones before it."""
        for at in positions:
            clause = resolved(self._clauses[at], self._split.dimension)
            yield bisect_left(self._others, at), clause
            if clause.always:
                return

    def _merged(self, key: Key, own: list[tuple[int, Clause]]) -> Iterator[Clause]:
        """The branch's own clauses and, in their places, the wild ones that can hold there."""
        done = 0
        for before, clause in own:
            yield from still_possible(self.wild[done:before], self._split.dimension, key)
            yield clause
            done = before

    def way(self, passed: int, before: int, depth: int) -> Iterator[Step]:
        """Through the first `before` wild ones, of which the first `passed` may be left out: large pieces first."""
        start, size = 0, _PIECE
        while size * _RADIX <= before:
            size *= _RADIX
        while start < before:
            end = before - before % size if size >= _PIECE else before
            if end > max(start, passed):
                yield from self._piece(start, end, depth)
            start, size = end, size // _RADIX

    def _piece(self, start: int, end: int, depth: int) -> tuple[Step, ...]:
        below = max(depth - 1, 0)
        node = self._pieces.get((start, end, below))
        if node is None:
            node = self._pieces[start, end, below] = self._forest.node(self.wild[start:end], below)
        return node.steps if len(node.steps) == 1 or not depth else (Jump(node),)


def _listed(clauses: Sequence[Clause], depth: int) -> Iterator[Step]:
    """One after the other, each behind its gate."""
    passed: dict[_SplitContext, int] = {}
    for clause in clauses:
        match clause.gate:
            case (_SplitContext() as fork, before):
                yield from fork.way(passed.get(fork, 0), before, depth)
                passed[fork] = before
        yield Test(clause._replace(gate=None) if clause.gate else clause)


def _reachable(clauses: Sequence[Clause]) -> Iterator[Clause]:
    """Up to the first that always holds, and none twice."""
    for clause in dict.fromkeys(clauses):
        yield clause
        if clause.always:
            return
