"""Which connections were accepted under the rules in force: a number in some bits of their marks. Pure.

Every change that may revoke something begins a new number; a connection with an older one is judged again. 0 is a
connection that was never judged, 1 one whose number was taken away, 2 one that was accepted and then denied; the two
upper bits of any other are its phase.
"""

from __future__ import annotations

from dataclasses import dataclass

UNJUDGED, STALE, REVOKED = 0, 1, 2
PHASES = (1, 2, 3)
LEAST_BITS = 4
ALL_BITS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class ConnmarkLayout:
    """`mask`: the bits of the connection mark that are ours; none of them: no connection is ever known as accepted."""

    mask: int = 0xFF000000

    @property
    def width(self) -> int:
        return self.mask.bit_count()

    @property
    def _rest(self) -> int:
        """The bits below the phase."""
        return max(self.width - 2, 0)

    @property
    def others(self) -> int:
        return self.mask ^ ALL_BITS

    def bits(self, number: int) -> int:
        """A number, spread over the bits of the mask."""
        mark_bits, left = 0, self.mask
        while left:
            lowest = left & -left
            mark_bits |= lowest if number & 1 else 0
            number >>= 1
            left ^= lowest
        return mark_bits

    def number(self, mark: int) -> int:
        """The number that a mark holds."""
        number, left, at = 0, self.mask, 0
        while left:
            lowest = left & -left
            number |= 1 << at if mark & lowest else 0
            at += 1
            left ^= lowest
        return number

    def phase(self, number: int) -> int:
        return number >> self._rest

    @property
    def phase_bits(self) -> int:
        """The bits of the mark that tell the phase."""
        return self.bits(3 << self._rest)

    def first(self, phase: int) -> int:
        """The first number of a phase."""
        return phase << self._rest

    def after(self, number: int) -> int:
        """The next number; behind the last of a phase, the first of the next one, which must be swept by then."""
        phase = self.phase(number)
        return number + 1 if self.phase(number + 1) == phase else self.first(following(phase))


def following(phase: int) -> int:
    return phase % len(PHASES) + 1
