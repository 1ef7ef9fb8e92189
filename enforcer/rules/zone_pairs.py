"""Which entries concern which pair of zones, as bit masks over the entries: equal masks share one chain. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from enforcer.rules.entry_edits import EntryEdit
from zones.policy import Entry
from zones.rules import RuleType

Zones = tuple[str | None, str | None]
"""A pair, or every pair in which the one side is; None: every zone."""


@dataclass(frozen=True, slots=True)
class PairMasks:
    """Bit n is entry n. A zone that no entry names is in the masks of `any` alone."""

    from_zone: dict[str, int]
    to_zone: dict[str, int]
    from_any: int
    to_any: int
    intrazone: int
    interzone: int

    def of(self, from_zone: str, to_zone: str) -> int:
        """The entries for flows from one zone to another, or within one."""
        from_mask = self.from_zone.get(from_zone, self.from_any)
        if from_zone == to_zone:
            to_mask = self.to_zone.get(to_zone, self.to_any) & ~self.interzone
            return from_mask & (to_mask | self.intrazone)
        return from_mask & self.to_zone.get(to_zone, self.to_any) & ~self.intrazone

    @property
    def elsewhere(self) -> int:
        """The entries for flows between two different zones that no entry names."""
        return self.from_any & self.to_any & ~self.intrazone

    @property
    def everywhere(self) -> int:
        """The entries that concern every pair."""
        return self.from_any & self.to_any & ~self.intrazone & ~self.interzone

    def common_runs(self) -> dict[int, int]:
        """For each entry that concerns every pair, the first of its neighbours that do too."""
        runs: dict[int, int] = {}
        for n in bits(self.everywhere):
            runs[n] = runs.get(n - 1, n)
        return runs

    def edited(self, edits: Sequence[EntryEdit]) -> PairMasks:
        """The masks of the list after these edits, which are those of the list before in their order."""
        masks = self
        for edit in reversed(edits):  # so that those before it are where they were
            masks = masks._with(edit)
        return masks

    def _with(self, edit: EntryEdit) -> PairMasks:
        fresh = pair_masks(edit.put)
        from_any, to_any = edit_of(self.from_any, edit, fresh.from_any), edit_of(self.to_any, edit, fresh.to_any)
        return PairMasks(
            _named(self.from_zone, fresh.from_zone, edit, (self.from_any, fresh.from_any, from_any)),
            _named(self.to_zone, fresh.to_zone, edit, (self.to_any, fresh.to_any, to_any)),
            from_any,
            to_any,
            edit_of(self.intrazone, edit, fresh.intrazone),
            edit_of(self.interzone, edit, fresh.interzone),
        )


def _named(
    old: dict[str, int], fresh: dict[str, int], edit: EntryEdit, any_zone: tuple[int, int, int]
) -> dict[str, int]:
    """One side's masks by zone. `any_zone`: of the mask of any, what it was, what is put in, and what it becomes."""
    was, put, becomes = any_zone
    by_zone = {zone: edit_of(old.get(zone, was), edit, fresh.get(zone, put)) for zone in old.keys() | fresh.keys()}
    return {zone: mask for zone, mask in by_zone.items() if mask != becomes}


def edit_of(mask: int, edit: EntryEdit, bits_: int) -> int:
    """A mask with other bits where the edit puts other entries."""
    low = mask & ((1 << edit.start) - 1)
    return low | bits_ << edit.start | mask >> edit.end << edit.start + len(edit.put)


def pair_masks(entries: Sequence[Entry]) -> PairMasks:
    from_zones, from_any = _side([entry.from_zones for entry in entries])
    to_zones, to_any = _side([entry.to_zones for entry in entries])
    return PairMasks(
        from_zones,
        to_zones,
        from_any,
        to_any,
        _mask(n for n, entry in enumerate(entries) if entry.pairing is RuleType.INTRAZONE),
        _mask(n for n, entry in enumerate(entries) if entry.pairing is RuleType.INTERZONE),
    )


def _side(zones: Sequence[frozenset[str] | None]) -> tuple[dict[str, int], int]:
    anywhere = _mask(n for n, named in enumerate(zones) if named is None)
    masks: dict[str, int] = {}
    for n, named in enumerate(zones):
        for zone in named or ():
            masks[zone] = masks.get(zone, anywhere) | 1 << n
    return masks, anywhere


def _mask(numbers: Iterable[int]) -> int:
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask


def concerned(entries: Iterable[Entry]) -> set[Zones]:
    """The pairs that these entries have a part in."""
    pairs: set[Zones] = set()
    for entry in entries:
        clients = (None,) if entry.from_zones is None else entry.from_zones
        if entry.pairing is RuleType.INTRAZONE:
            pairs |= {(zone, zone) for zone in clients}
        else:
            servers = (None,) if entry.to_zones is None else entry.to_zones
            pairs |= {(client, server) for client in clients for server in servers}
    return pairs


def bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, from the lowest."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
