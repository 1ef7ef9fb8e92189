"""What changes between zones: the marked cells of a matrix, and rows of zones that change alike. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bridge.pages.parts import Json, Mark
from bridge.pages.policy_matrix import PolicyMatrix
from bridge.pages.zone_pairs import natural
from bridge.preview.wording import ANY_OTHER_ZONE, destination_text, source_text, traffic_text, when_text
from zones.difference import Difference, Piece, ScheduleMoment
from zones.policy import Verdict

ITSELF = "itself"
_Pieces = tuple[int, ...]


def mark_of(pieces: Iterable[Piece]) -> Mark:
    """Whether pieces open something, close something, both, or neither (a deny becomes a reset)."""
    some = tuple(pieces)
    opens = any(piece.new.verdict is Verdict.ALLOW for piece in some)
    closes = any(piece.old.verdict is Verdict.ALLOW for piece in some)
    if opens and closes:
        return Mark.BOTH
    return Mark.OPENS if opens else Mark.CLOSES if closes else Mark.OTHER


@dataclass(frozen=True, slots=True)
class ChangedCells:
    """The marks of a matrix, and what its script needs to say what changes.

    `details`: `words` has each text once; `pieces` are lists of [source, destination, traffic, old verdict, old rule,
    new verdict, new rule, and infrastructure rules that allow some of it], places in `words`; `changed` maps `from,to`
    (and `from,to,same` of zones that no rule names) to a place in `pieces`.
    """

    marks: dict[tuple[int, int], Mark]
    details: Json


def changed_cells(matrix: PolicyMatrix, flows: Difference) -> ChangedCells:
    words: dict[str, int] = {}
    lists: dict[_Pieces, tuple[int, list[list[int]]]] = {}
    marks: dict[tuple[int, int], Mark] = {}
    changed: dict[str, int] = {}
    for row, column, same, pieces in _cells(matrix, flows):
        key = tuple(map(id, pieces))
        if key not in lists:
            lists[key] = len(lists), [_piece(piece, flows.moments, words) for piece in pieces]
        changed[f"{row},{column}{',same' if same else ''}"] = lists[key][0]
        mark = mark_of(pieces)
        marks[row, column] = mark if marks.get((row, column), mark) is mark else Mark.BOTH
    return ChangedCells(
        marks, {"words": list(words), "pieces": [listed for _, listed in lists.values()], "changed": changed}
    )


def _cells(matrix: PolicyMatrix, flows: Difference) -> Iterator[tuple[int, int, bool, tuple[Piece, ...]]]:
    """Each cell with what changes in it; of zones that no rule names also what changes within one of them."""
    one, another = "\0one", "\0another"
    names = [*matrix.zones[: matrix.other], one]
    for row, from_zone in enumerate(names):
        for column, to_zone in enumerate(names):
            within = row == column == matrix.other
            pieces = flows.between(from_zone, another if within else to_zone)
            if pieces:
                yield row, column, False, pieces
            if within and (pieces := flows.between(one, one)):
                yield row, column, True, pieces


def _piece(piece: Piece, moments: Sequence[ScheduleMoment], words: dict[str, int]) -> list[int]:
    def place(text: str) -> int:
        return words.setdefault(text, len(words))

    texts = (
        *(source_text(piece.box), destination_text(piece.box), piece_traffic_text(piece, moments)),
        *(piece.old.verdict.value, piece.old.origin.name, piece.new.verdict.value, piece.new.origin.name),
    )
    return [*map(place, texts), *(place(rule.origin.name) for rule in piece.unless)]


def piece_traffic_text(piece: Piece, moments: Sequence[ScheduleMoment]) -> str:
    return traffic_text(piece.box) + when_text(piece.box, moments)


@dataclass(frozen=True, slots=True)
class ZoneGroup:
    """Zones between which the same changes: from each of the first to each of the second. `to_zones`: or ITSELF."""

    from_zones: tuple[str, ...]
    to_zones: tuple[str, ...]
    pieces: tuple[Piece, ...]


def zone_groups(flows: Difference) -> tuple[ZoneGroup, ...]:
    """All pairs that change, each once, in few groups: an any-to-any rule makes one of 40,000 pairs."""
    pieces_of: dict[_Pieces, tuple[Piece, ...]] = {}
    by_from: dict[tuple[str, _Pieces], list[str]] = {}
    for change in flows.zones:
        key = tuple(map(id, change.pieces))
        pieces_of[key] = change.pieces
        to_zone = ITSELF if change.intrazone else change.to_zone or ANY_OTHER_ZONE
        by_from.setdefault((change.from_zone or ANY_OTHER_ZONE, key), []).append(to_zone)
    by_to: dict[tuple[tuple[str, ...], _Pieces], list[str]] = {}
    for (from_zone, key), to_zones in by_from.items():
        by_to.setdefault((tuple(to_zones), key), []).append(from_zone)
    return tuple(
        ZoneGroup(tuple(sorted(from_zones, key=natural)), tuple(sorted(to_zones, key=natural)), pieces_of[key])
        for (to_zones, key), from_zones in by_to.items()
    )
