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

_ASKED, _LOGGED = -2, -1  # of a rule's counters: what would be logged, and what of that came past the limit
_VERDICTS = frozenset(Verdict)


class LogCounters:
    def __init__(self, table: str) -> None:
        self._table = table
        self._nft: Nftables | None = None
        self._held: dict[str, tuple[int, int]] = {}

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
        """How many packets the limits kept from the log, by the id of the rule. All rules are looked at.

        Raises KernelError.
        """
        with closing(Nftables()) as channel:
            found = channel.counters(self._table)
        rules = ((chain.partition("-"), counted) for chain, counted in found.items())
        self._held = {
            rule: self._grown(rule, counted[_ASKED][0], counted[_ASKED][0] - counted[_LOGGED][0])
            for (verdict, _, rule), counted in rules
            if verdict in _VERDICTS and len(counted) > 1
        }
        return {rule: held for rule, (_, held) in self._held.items()}

    def _grown(self, rule: str, asked: int, held: int) -> tuple[int, int]:
        """The two counters are read one after the other, while packets pass: what was held back never gets less."""
        before_asked, before = self._held.get(rule, (0, 0))
        return asked, max(held, before if asked >= before_asked else 0)

    def close(self) -> None:
        if self._nft is not None:
            self._nft.close()
            self._nft = None
