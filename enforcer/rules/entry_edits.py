"""Where two lists of entries differ, as few stretches as there are. Entries that stay are the same objects.

Pure. `enforcer.rules.zone_pairs` follows it with masks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise

from zones.policy import Entry


@dataclass(frozen=True, slots=True)
class EntryEdit:
    """Old entries from `start` to before `end` make room for `put`."""

    start: int
    end: int
    put: tuple[Entry, ...]


def edits(old: Sequence[Entry], new: Sequence[Entry]) -> list[EntryEdit]:
    """From the first to the last; each begins and ends at what changed."""
    same = zip(old, new, strict=False)
    first = next((at for at, (one, other) in enumerate(same) if one is not other), min(len(old), len(new)))
    most = min(len(old), len(new)) - first
    same = zip(reversed(old), reversed(new), strict=False)
    last = next((at for at, (one, other) in zip(range(most), same, strict=False) if one is not other), most)
    return list(_between(old, new, first, (len(old) - last, len(new) - last)))


def _between(old: Sequence[Entry], new: Sequence[Entry], first: int, ends: tuple[int, int]) -> Iterator[EntryEdit]:
    places = {id(new[at]): at for at in range(first, ends[1])}
    both = [(at, places[id(old[at])]) for at in range(first, ends[0]) if id(old[at]) in places]
    anchors = [(first - 1, first - 1), *_rising(both), ends]
    for (old_at, new_at), (old_end, new_end) in pairwise(anchors):
        if old_end - old_at > 1 or new_end - new_at > 1:
            yield EntryEdit(old_at + 1, old_end, tuple(new[new_at + 1 : new_end]))


def _rising(both: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """As many as can stay where they are while others move: the longest run in which both places rise."""
    ends: list[int] = []  # the least place in `new` at which a run of so many ends
    runs: list[int] = []  # where in `both` that is
    before: list[int] = []
    for number, (_, place) in zip(count(), both, strict=False):
        at = bisect_left(ends, place)
        before.append(runs[at - 1] if at else -1)
        if at == len(ends):
            ends.append(place)
            runs.append(number)
        else:
            ends[at], runs[at] = place, number
    pairs: list[tuple[int, int]] = []
    number = runs[-1] if runs else -1
    while number >= 0:
        pairs.append(both[number])
        number = before[number]
    return pairs[::-1]
