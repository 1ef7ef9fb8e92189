"""Guard rails: zones between which nothing may be allowed, whatever rules say. Exact, and pure.

from,data,nodes         a matrix as CSV: rows are where a flow begins, columns where it ends
untrust,never,never     `never`: nothing; `tcp/443 udp/53`: that alone; an empty cell: no guard rail
web,tcp/5432,
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from bridge.guard_rail import GuardRail, parse_traffic
from bridge.preview.model import Violation
from zones.difference import AllowedFlows, Box, moments_of, of_traffic, without
from zones.policy import Policy
from zones.runtime.errors import InputError

NEVER = "never"


def violations(
    rails: Sequence[GuardRail], running: Policy | None, candidate: Policy | None, at: datetime
) -> tuple[Violation, ...]:
    """What the candidate allows although a guard rail forbids it, what the running policy doesn't allow yet before."""
    if candidate is None or not rails:
        return ()
    told_apart = moments_of((candidate,) if running is None else (running, candidate), at)
    always = frozenset(range(len(told_apart)))
    new = AllowedFlows(candidate, told_apart)
    old = None if running is None else AllowedFlows(running, told_apart)
    broken = [violation for rail in rails for violation in _violations(rail, old, new, always)]
    return tuple(sorted(broken, key=lambda broken_rail: broken_rail.existing))


def _violations(
    rail: GuardRail, old: AllowedFlows | None, new: AllowedFlows, always: frozenset[int]
) -> Iterator[Violation]:
    excepted = [of_traffic(l4, always) for l4 in rail.allowed]
    already: list[Box] | None = None
    for allowed in new.between(rail.from_zone, rail.to_zone):
        forbidden = without(allowed.boxes, excepted)
        if not forbidden:
            continue
        if already is None:
            ways = () if old is None else old.between(rail.from_zone, rail.to_zone)
            already = [box for way in ways for box in way.boxes]
        added = without(forbidden, already)
        for box in added or forbidden:
            yield Violation(rail, allowed.origin, box, existing=not added)


def read_matrix(text: str, option: str) -> tuple[GuardRail, ...]:
    """The guard rails of a matrix. Raises InputError that names the row and the column, or where there is none.

    A file that was mistaken for a matrix would forbid nothing, and a gate that stands on it would be open.
    """
    rails = tuple(_rails(csv.reader(text.removeprefix("\ufeff").splitlines(), strict=True), option))
    if not rails:
        raise InputError(
            f"{option}: it has no guard rail; the first row has the zones where flows end, "
            f"each other row the zone where they begin and a cell for each, such as `{NEVER}`"
        )
    return rails


def _rails(rows: Iterable[list[str]], option: str) -> Iterator[GuardRail]:
    header: list[str] = []
    try:
        for number, row in enumerate(rows, 1):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not header:
                header = cells[1:]
                continue
            if len(cells) - 1 > len(header):
                raise InputError(f"{option}: row {number} has more cells than the first row has zones")
            for to_zone, cell in zip(header, cells[1:], strict=False):
                if cell:
                    yield _rail(cells[0], to_zone, cell, f"{option}: row {number}, column '{to_zone}'")
    except csv.Error as error:
        raise InputError(f"{option}: it is no CSV: {error}") from error


def _rail(from_zone: str, to_zone: str, cell: str, where: str) -> GuardRail:
    if not (from_zone and to_zone):
        raise InputError(f"{where}: the row or the column has no zone")
    try:
        allowed = () if cell.lower() == NEVER else tuple(map(parse_traffic, cell.split()))
    except ValueError as error:
        raise InputError(f"{where}: {error}; write `never`, or what may be allowed, or nothing") from error
    return GuardRail(from_zone, to_zone, allowed)
