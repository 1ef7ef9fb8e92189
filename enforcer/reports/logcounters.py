"""The door to the counters of our log rules. It only asks; `enforcer.reports.logaudit` calls it.

In the network namespace of its thread.
"""

from __future__ import annotations

from contextlib import closing

from enforcer.errors import KernelError
from enforcer.kernel.nft import Nftables
from enforcer.reports.ledger import Reading
from enforcer.rules.terminals import LOGGED, UNLOGGED
from zones.policy import Verdict

_HELD_BACK = 1  # of a rule's counters, the place of the one behind its log
_VERDICTS = frozenset(Verdict)


class LogCounters:
    def __init__(self, table: str) -> None:
        self._table = table
        self._nft: Nftables | None = None

    def reading(self) -> Reading | None:
        """None where there is no table of ours now, or it can't be asked. Costs microseconds."""
        try:
            self._nft = self._nft or Nftables()
            table, counters = self._nft.handle(self._table), self._nft.named_counters(self._table)
        except KernelError:
            return None
        if table is None or LOGGED not in counters or UNLOGGED not in counters:
            return None
        return Reading(table, counters[LOGGED][0], counters[UNLOGGED][0])

    def held_back(self) -> dict[str, int]:
        """How many packets the limit kept from the log, by the id of the rule. All rules are looked at.

        Raises KernelError.
        """
        with closing(Nftables()) as channel:
            found = channel.counters(self._table)
        rules = ((chain.partition("-"), counted) for chain, counted in found.items())
        return {
            rule: counted[_HELD_BACK][0]
            for (verdict, _, rule), counted in rules
            if verdict in _VERDICTS and len(counted) > _HELD_BACK
        }

    def close(self) -> None:
        if self._nft is not None:
            self._nft.close()
            self._nft = None
