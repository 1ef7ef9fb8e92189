"""What nodes saw between zones, beside what the policy allows there: the matrix of a page about usage. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bridge.evidence.usage_text import size_text, time_text
from bridge.pages.parts import CellClass, Glyph, Json
from bridge.pages.policy_matrix import LEAST_ALLOWING, PolicyMatrix
from zones.net import protocol_name
from zones.policy import Policy, Verdict
from zones.seen import SeenEnd, SeenFlow

_NOTHING, _DENIED, _UNUSED, _USED = 0, 1, 2, 3
_MORE_USED = (10, 1_000, 100_000)
MOST_OF_A_PAIR, MOST_LISTED = 20, 20_000
_ACCEPTED = ("1 connection was accepted", "{} connections were accepted")


class SeenMatrix(PolicyMatrix):
    """Cells count the connections that were accepted; what is open and was never used stands out.

    A zone that the policy doesn't know, as that of a rule that is gone, is any other zone.
    """

    classes: ClassVar[Sequence[CellClass]] = (
        CellClass("closed", "closed, nothing seen"),
        CellClass("denied", "only denials seen", Glyph.CROSS),
        CellClass("exceptions", "open in some way, never used", Glyph.FRAME),
        CellClass("part1", "1 to 9 connections", Glyph.DOT1),
        CellClass("part2", "10 to 999", Glyph.DOT2),
        CellClass("part3", "1,000 to 99,999", Glyph.DOT3),
        CellClass("part4", "100,000 or more", Glyph.DOT4),
    )
    sentences: ClassVar[Sequence[tuple[str, str]]] = (
        ("nothing is allowed, and nothing was seen",) * 2,
        ("connections were denied, and none was accepted",) * 2,
        ("rules allow something, and no connection was seen that they accepted",) * 2,
        *(_ACCEPTED,) * 4,
    )
    how_to_read: ClassVar[str] = (
        "A cell counts the connections that were accepted between its zones, by rules that are gone, too."
    )
    columns: ClassVar[Sequence[tuple[str, frozenset[int]]]] = (
        ("Used to (connections)", frozenset(range(_USED, _USED + 4))),
        ("Open in some way, never used to", frozenset({_UNUSED})),
        ("Only denials seen to", frozenset({_DENIED})),
    )
    not_listed: ClassVar[str] = "To what isn't listed nothing is allowed, and nothing was seen."

    def __init__(self, policy: Policy, flows: Sequence[SeenFlow]) -> None:
        super().__init__(policy)
        self.flows_of: dict[tuple[int, int], list[SeenFlow]] = {}
        for flow in flows:
            pair = self._place(flow.key.source), self._place(flow.key.destination)
            self.flows_of.setdefault(pair, []).append(flow)
        everywhere = range(len(self.zones))
        counted = [[self._seen(row, column) for column in everywhere] for row in everywhere]
        self.cells = tuple(tuple(number for number, _ in row) for row in counted)
        self.counts = tuple(tuple(count for _, count in row) for row in counted)

    def _place(self, end: SeenEnd) -> int:
        return self.places.get(end.zone, self.other)

    def _seen(self, row: int, column: int) -> tuple[int, int]:
        """The class of a pair and its number."""
        flows = self.flows_of.get((row, column), ())
        used = sum(_often(flow) for flow in flows if flow.key.verdict is Verdict.ALLOW)
        if used:
            return _USED + sum(used >= least for least in _MORE_USED), used
        if self.cells[row][column] >= LEAST_ALLOWING:
            return _UNUSED, 0
        return (_DENIED if flows else _NOTHING), 0

    def seen(self) -> Json:
        """For the script: of each pair the kinds of connections that were seen most, as texts, and how many more."""
        listed = {pair: sorted(flows, key=_often, reverse=True) for pair, flows in self.flows_of.items()}
        most = min(MOST_OF_A_PAIR, max(1, MOST_LISTED // max(1, len(listed))))
        return {
            "seen": {
                f"{row},{column}": [[_row(flow) for flow in flows[:most]], max(0, len(flows) - most)]
                for (row, column), flows in listed.items()
            }
        }


def _often(flow: SeenFlow) -> int:
    """How many there were; at least as many as live that began before they were counted."""
    return max(flow.connections, flow.living)


def _row(flow: SeenFlow) -> list[str]:
    key = flow.key
    port = "" if key.port is None else f"/{key.port}"
    return [
        *(f"{end_text(key.source)} → {end_text(key.destination)}", protocol_name(key.protocol) + port),
        *(key.verdict.value, key.rule.name),
        *(f"{_often(flow):,}", f"{size_text(flow.octets)}, last {time_text(flow.last)}"),
    ]


def end_text(end: SeenEnd) -> str:
    """Without its zone: `shop/web`, `10.0.0.1`, `10.0.0.0/24`, `nodes`."""
    if end.workload:
        return f"{end.namespace}/{end.workload}"
    if end.network is None:
        return end.zone
    return str(end.network.network_address if end.network.num_addresses == 1 else end.network)
