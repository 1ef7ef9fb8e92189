"""Which entries concern which pair of zones, as bit masks over the entries: equal masks share one chain. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zones.policy import Entry
from zones.rules import RuleType


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

    def common_runs(self, many: int) -> list[int | None]:
        """For each of the first entries: the first of its neighbours that concern every pair; None where it doesn't."""
        everywhere, runs = self.everywhere, list[int | None]()
        for n in range(many):
            before = runs[-1] if runs else None
            runs.append((n if before is None else before) if everywhere >> n & 1 else None)
        return runs


def pair_masks(entries: Sequence[Entry]) -> PairMasks:
    from_zones, from_any = _side([entry.from_zones for entry in entries])
    to_zones, to_any = _side([entry.to_zones for entry in entries])
    return PairMasks(
        from_zones,
        to_zones,
        from_any,
        to_any,
        sum(1 << n for n, entry in enumerate(entries) if entry.pairing is RuleType.INTRAZONE),
        sum(1 << n for n, entry in enumerate(entries) if entry.pairing is RuleType.INTERZONE),
    )


def _side(zones: Sequence[frozenset[str] | None]) -> tuple[dict[str, int], int]:
    anywhere = sum(1 << n for n, named in enumerate(zones) if named is None)
    masks: dict[str, int] = {}
    for n, named in enumerate(zones):
        for zone in named or ():
            masks[zone] = masks.get(zone, anywhere) | 1 << n
    return masks, anywhere


def bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, from the lowest."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
