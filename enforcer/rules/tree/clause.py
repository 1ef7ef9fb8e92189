"""What one alternative of a rule asks of a connection, and by what a list of such clauses can be told apart. Pure.

Vendor words and nft's words are elsewhere: `enforcer.rules.match` makes clauses of entries and texts of clauses.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from zones.net import Ranges, Span


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Numbers that a condition allows. Compared by identity, so long lists cost nothing: `Spaces` has one of each."""

    ranges: Ranges


class Spaces:
    """One `Space` for all equal ranges."""

    def __init__(self) -> None:
        self._made: dict[Ranges, Space] = {}

    def of(self, ranges: Ranges) -> Space:
        space = self._made.get(ranges)
        if space is None:
            space = self._made[ranges] = Space(ranges)
        return space


class Clause(NamedTuple):
    """Every given condition must hold. Ports come with a protocol; `client` and `server` are workloads' names in rules.

    `ports` of ICMP are types in their upper, codes in their lower byte. `target`: where it leads. `gate`: what must be
    asked before, in the words of `enforcer.rules.tree.tree`.
    """

    target: str
    protocol: int | None = None
    ports: Space | None = None
    source_ports: Space | None = None
    sources: Space | None = None
    destinations: Space | None = None
    client: str | None = None
    server: str | None = None
    gate: tuple[Hashable, int] | None = None

    @property
    def always(self) -> bool:
        return self[1:8] == _NOTHING


_FIELDS = 7
_NOTHING = (None,) * _FIELDS
PortKey = tuple[int, Span]
Key = PortKey | Span | str | int


class Dimension(Enum):
    """What tells packets apart; the value is the clause's field. Of two that serve as well, the earlier is taken."""

    __hash__ = object.__hash__  # an enumeration's own is slow

    PORT = "ports"
    SERVER = "server"
    CLIENT = "client"
    SOURCE = "sources"
    DESTINATION = "destinations"
    SOURCE_PORT = "source_ports"
    PROTOCOL = "protocol"


PORTS = frozenset({Dimension.PORT, Dimension.SOURCE_PORT})
FIELD = {dimension: Clause._fields.index(dimension.value) for dimension in Dimension}


def asks_only(clause: Clause, dimension: Dimension) -> bool:
    """Whether the clause always holds where its condition of this dimension does."""
    return clause[1:8].count(None) == (_FIELDS - 2 if dimension in PORTS else _FIELDS - 1)


def resolved(clause: Clause, dimension: Dimension) -> Clause:
    """The clause where its condition of this dimension is known to hold; of a protocol, ports still tell more."""
    ports = (clause.ports is not None) + (clause.source_ports is not None)
    if dimension is Dimension.PROTOCOL and ports:
        return clause
    left: list[object] = list(clause)
    left[FIELD[dimension]] = None
    if dimension in PORTS and ports == 1:
        left[FIELD[Dimension.PROTOCOL]] = None
    return Clause._make(left)


def still_possible(clauses: Iterable[Clause], dimension: Dimension, key: Key) -> Iterator[Clause]:
    """Of clauses that don't depend on the dimension, those that can hold under a key, without what it tells."""
    number: object = key[0] if dimension in PORTS and isinstance(key, tuple) else key
    if dimension is not Dimension.PROTOCOL and dimension not in PORTS:
        yield from clauses
        return
    for clause in clauses:
        if clause.protocol is None:
            yield clause
        elif clause.protocol == number:
            yield resolved(clause, Dimension.PROTOCOL)
