"""Trees of clauses as chains and verdict maps: a selection is one lookup in a named map. Pure.

Named by content, so equal parts stand once. `enforcer.rules.ruleset` asks for the rules of one pair of zones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from enforcer.rules.family import Family, span_texts
from enforcer.rules.match import Sets, address_selector, condition, port_selector, protocol_test, short_digest
from enforcer.rules.table import Chain
from enforcer.rules.tree.clause import PORTS, Clause, Dimension, Key
from enforcer.rules.tree.tree import Jump, Select, Test, TreeNode
from zones.net import Ranges, Span, protocol_name

_EXPANDED = 2  # so many times as many elements, at most, make ranges into single values, which are found quicker
_FEW = 2  # so many ways are rules of their own: the kernel searches its list of maps whenever one is named
_COMMENTS = {
    Dimension.PORT: "by port of the server",
    Dimension.SOURCE_PORT: "by port of the client",
    Dimension.SERVER: "by app of the server",
    Dimension.CLIENT: "by app of the client",
    Dimension.SOURCE: "by address of the client",
    Dimension.DESTINATION: "by address of the server",
}


@dataclass(slots=True)
class TreeChains:
    """The chains of one family's trees. Those that others lead to are made where the sets are."""

    family: Family
    sets: Sets
    _names: dict[TreeNode, str] = field(default_factory=dict)
    _conditions: dict[Clause, str] = field(default_factory=dict)
    _selections: dict[Select, tuple[str, ...]] = field(default_factory=dict)

    def rules(self, node: TreeNode) -> tuple[str, ...]:
        """The node's steps, one rule each, or a few."""
        return tuple(rule for step in node.steps for rule in self._step(step))

    def chain(self, node: TreeNode, kind: str = "part") -> str:
        """The name of a chain of the node's rules."""
        if node not in self._names:
            rules = self.rules(node)
            self._names[node] = name = f"{kind}{self.family.value.number}-{short_digest(rules)}"
            self.sets.in_use.add_chain(name, Chain(rules))
        return self._names[node]

    def forget(self) -> None:
        """The trees that were asked for."""
        self._names, self._conditions, self._selections = {}, {}, {}

    def _step(self, step: Test | Jump | Select) -> Iterator[str]:
        match step:
            case Test(clause):
                yield self._told(self._condition(clause), f"goto {clause.target}")
            case Jump(node):
                yield self._way(node)
            case Select():
                yield from self._selected(step)

    def _selected(self, select: Select) -> tuple[str, ...]:
        if select not in self._selections:
            ways = {key: self._way(node) for key, node in select.branches.items()}
            self._selections[select] = tuple(self._selection(select.dimension, ways))
        return self._selections[select]

    def _told(self, condition_: str, way: str) -> str:
        return f"{condition_} {way}" if condition_ else way

    def _condition(self, clause: Clause) -> str:
        text = self._conditions.get(clause)
        if text is None:
            text = self._conditions[clause] = condition(clause, self.family, self.sets)
        return text

    def _way(self, node: TreeNode) -> str:
        """A chain that comes to an end without a verdict leads back."""
        return f"jump {self.chain(node)}" if node.target is None else f"goto {node.target}"

    def _selection(self, dimension: Dimension, ways: Mapping[Key, str]) -> Iterator[str]:
        if dimension in PORTS:
            yield from self._by_port(dimension, ways)
        elif dimension is Dimension.PROTOCOL:
            yield from (f"{protocol_test(key, self.family, before_ports=False)} {way}" for key, way in _numbers(ways))
        elif dimension in {Dimension.SERVER, Dimension.CLIENT}:
            yield self._by_workload(dimension, {str(key): way for key, way in ways.items()})
        else:
            yield from self._by_address(dimension, dict(_spans(ways)))

    def _by_port(self, dimension: Dimension, ways: Mapping[Key, str]) -> Iterator[str]:
        by_protocol: dict[int, dict[Span, str]] = {}
        for key, way in ways.items():
            match key:
                case (int() as number, (int() as first, int() as last)):
                    by_protocol.setdefault(number, {})[first, last] = way
        for number, stretches in by_protocol.items():
            selector = f"{protocol_test(number, self.family)} {port_selector(dimension, number)}"
            if len(stretches) <= _FEW:
                yield from (f"{selector} {Ranges((span,))} {way}" for span, way in stretches.items())
                continue
            elements, interval = _port_elements(stretches)
            comment = f"{protocol_name(number)} {_COMMENTS[dimension]}"
            name = self.sets.ways("ports", "inet_service", elements, comment, interval=interval)
            yield f"{selector} vmap @{name}"

    def _by_workload(self, dimension: Dimension, ways: Mapping[str, str]) -> str:
        selector = address_selector(dimension, self.family)
        if len(ways) == 1:
            ((workload, way),) = ways.items()
            return f"{selector} @{self.sets.workload(self.family, workload)} {way}"
        tails = {workload: f" : {way}" for workload, way in ways.items()}
        comment = f"{_COMMENTS[dimension]}: {', '.join(sorted(ways))}"
        return f"{selector} vmap @{self.sets.ways_of_workloads(self.family, tails, comment)}"

    def _by_address(self, dimension: Dimension, ways: Mapping[Span, str]) -> Iterator[str]:
        selector = address_selector(dimension, self.family)
        texts = {next(span_texts(self.family, Ranges((span,)))): way for span, way in ways.items()}
        if len(texts) <= _FEW:
            yield from (f"{selector} {text} {way}" for text, way in texts.items())
            return
        elements = {text: f" : {way}" for text, way in texts.items()}
        interval = any(first != last for first, last in ways)
        kind, type_ = self.family.named("nets"), self.family.value.address_type
        name = self.sets.ways(kind, type_, elements, _COMMENTS[dimension], interval=interval)
        yield f"{selector} vmap @{name}"


def _numbers(ways: Mapping[Key, str]) -> Iterator[tuple[int, str]]:
    yield from ((key, way) for key, way in ways.items() if isinstance(key, int))


def _spans(ways: Mapping[Key, str]) -> Iterator[tuple[Span, str]]:
    for key, way in ways.items():
        match key:
            case (int() as first, int() as last):
                yield (first, last), way


def _port_elements(ways: Mapping[Span, str]) -> tuple[dict[str, str], bool]:
    """The elements of a map of ports, and whether they are ranges."""
    if sum(last - first + 1 for first, last in ways) <= _EXPANDED * len(ways):
        single = {str(port): f" : {way}" for (first, last), way in ways.items() for port in range(first, last + 1)}
        return single, False
    return {str(Ranges((span,))): f" : {way}" for span, way in ways.items()}, True
