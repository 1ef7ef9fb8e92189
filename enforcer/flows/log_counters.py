"""The door to the counters of our log rules. It only asks; `enforcer.flows.log_audit` calls it.

In the network namespace of its thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from types import MappingProxyType

from enforcer.errors import KernelError
from enforcer.flows.loss_ledger import Reading
from enforcer.kernel.nft import Nftables
from enforcer.netlink.messages import INET
from enforcer.rules.chains.verdict_chains import LOGGED, UNLOGGED
from zones.policy import Verdict

_ASKED, _LOGGED = -2, -1  # of a rule's counters: what would be logged, and what of that came past the limit
_VERDICTS = frozenset(Verdict)
_NAMED = LOGGED, UNLOGGED
_NONE: Mapping[int, str] = MappingProxyType({})


class LogCounters:
    """`table`: the one whose handle tells a new beginning; what `others` count, where they stand, comes on top.

    Both are names by family.
    """

    def __init__(self, table: str, others: Mapping[int, str] = _NONE) -> None:
        self._table = table
        self._others = others
        self._doors: dict[int, Nftables] = {}
        self._held: dict[str, tuple[int, int]] = {}

    def reading(self) -> Reading | None:
        """None where there is no table of ours now, or it can't be asked. Costs microseconds."""
        try:
            door = self._door(INET)
            table, counters = door.handle(self._table), door.named_counters(self._table)
            others = [self._door(family).named_counters(name) for family, name in self._others.items()]
        except KernelError:
            return None
        if table is None or LOGGED not in counters or UNLOGGED not in counters:
            return None
        logged, unlogged = (
            sum(counted[name][0] for counted in (counters, *others) if name in counted) for name in _NAMED
        )
        return Reading(table, logged, unlogged)

    def _door(self, family: int) -> Nftables:
        if family not in self._doors:
            self._doors[family] = Nftables(family)
        return self._doors[family]

    def held_back(self) -> dict[str, int]:
        """How many packets the limits kept from the log, by the id of the rule. All rules are looked at.

        Raises KernelError.
        """
        sums: dict[str, tuple[int, int]] = {}
        for family, table in ((INET, self._table), *self._others.items()):
            with closing(Nftables(family)) as channel:
                by_chain = channel.counters(table)
            for chain, counted in by_chain.items():
                verdict, _, rule = chain.partition("-")
                if verdict in _VERDICTS and len(counted) > 1:
                    asked, logged = sums.get(rule, (0, 0))
                    sums[rule] = asked + counted[_ASKED][0], logged + counted[_LOGGED][0]
        self._held = {rule: self._grown(rule, asked, asked - logged) for rule, (asked, logged) in sums.items()}
        return {rule: count for rule, (_, count) in self._held.items()}

    def _grown(self, rule: str, asked: int, held_back: int) -> tuple[int, int]:
        """The two counters are read one after the other, while packets pass: what was held back never gets less."""
        before_asked, before = self._held.get(rule, (0, 0))
        return asked, max(held_back, before if asked >= before_asked else 0)

    def close(self) -> None:
        for door in self._doors.values():
            door.close()
        self._doors = {}
