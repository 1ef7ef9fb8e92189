"""Which number the accepted connections get next, and that nobody still has it from before.

Where old numbers can't be taken from connections there is no number: every packet is judged then, which costs but is
never wrong. `enforcer.kernel.table` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from enforcer.errors import KernelError
from enforcer.kernel.mark_sweeper import MarkSweeper
from enforcer.rules.connmark import PHASES, ConnmarkLayout, following


class MarkEpochs:
    """The phase that comes next is swept in a thread of its own, long before it is needed.

    `problem`: why there is no number, though there should be.
    """

    def __init__(self, marks: ConnmarkLayout, swept: Callable[[ConnmarkLayout, int], int] | None = None) -> None:
        self._marks = marks
        self._sweeper = MarkSweeper()
        self._sweep = swept or self._sweeper
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sweeping")
        self._clean: tuple[int, Future[int]] | None = None
        self._avoided = 0
        self.current: int | None = None
        self.problem = ""

    def avoid(self, numbers: Iterable[int]) -> None:
        """Another table than ours is known to give these: the next number is of another phase."""
        self.current, self._clean = None, None
        self._avoided = next((self._marks.phase(number) for number in numbers), 0)

    def following(self) -> int | None:
        """The number for after the next change."""
        if not self._marks.mask:
            return None
        if self.current is None:
            return self._entered(next(phase for phase in PHASES if phase != self._avoided))
        number = self._marks.after(self.current)
        phase = self._marks.phase(number)
        return number if phase == self._marks.phase(self.current) else self._entered(phase)

    def taken(self, number: int | None) -> None:
        """This one is in force: nobody gets one of the next phase for a long time, nor has one after a sweep."""
        self.current = number
        if number is None:
            return
        coming = following(self._marks.phase(number))
        if self._clean is None or self._clean[0] != coming:
            self._begin(coming)

    def forget(self) -> None:
        """No connection has a mark of ours afterwards. Raises KernelError."""
        if self._clean is not None:
            self._clean[1].exception()  # what is under way ends first
        self.current, self._clean = None, None
        self._thread.submit(self._sweeper.clear, self._marks).result()

    def close(self) -> None:
        self._thread.shutdown()
        self._sweeper.close()

    def _begin(self, phase: int) -> None:
        self._clean = phase, self._thread.submit(self._sweep, self._marks, phase)

    def _entered(self, phase: int) -> int | None:
        """The first number of a phase that nobody has a number of."""
        try:
            if self._clean is None or self._clean[0] != phase:
                self._begin(phase)
            if self._clean is not None:
                self._clean[1].result()
            self.problem = ""
        except KernelError as error:
            self._clean = None
            self.problem = f"{error}; every packet is judged anew until that works"
            return None
        return self._marks.first(phase)
