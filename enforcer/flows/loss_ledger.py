"""What the kernel handed to the log against what was read of it: how many records are lost, exactly. Pure.

`enforcer.flows.log_audit` feeds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Reading(NamedTuple):
    """The kernel's counters of log records since its `table` was made: handed to the log, held back by its limits."""

    table: int
    logged: int
    unlogged: int


@dataclass(slots=True)
class LossLedger:
    """While records come, the gaps in their numbers tell what is lost; when it is quiet, the counter tells the rest.

    A counter that began anew, with another table, is taken as it is at the next quiet moment.
    """

    lost: int = 0
    _table: int | None = None
    _offset: int = 0
    _before: tuple[Reading, int] | None = None

    def begin(self, reading: Reading | None) -> None:
        """Nothing was read yet, and what was counted so far was for nobody."""
        self.lost, self._before, self._table = 0, None, None
        if reading is not None:
            self._table, self._offset = reading.table, reading.logged

    def look(self, reading: Reading | None, read: int, missed: int, *, idle: bool) -> int:
        """Records lost so far. `read`: so far; `missed`: by their numbers; `idle`: nothing waits to be read.

        It is quiet when nothing has happened since the last look, at least as long ago as the kernel keeps records.
        """
        self.lost = max(self.lost, missed)
        before, self._before = self._before, None if reading is None else (reading, read)
        if reading is None or not idle or self._before != before:
            return self.lost
        handed = reading.logged - self._offset
        if reading.table != self._table or handed < read + self.lost:
            self._table, self._offset = reading.table, reading.logged - read - self.lost
        else:
            self.lost = handed - read
        return self.lost
