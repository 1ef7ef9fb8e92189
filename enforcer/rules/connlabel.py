"""Which rule accepted a connection, as bits of its label: the rule's id, for who hears of the connection's end. Pure.

`enforcer.rules.chains.verdict_chains` has it set, `enforcer.flows.connections` reads it.
"""

from __future__ import annotations

from sys import byteorder


def words(rule: str) -> str:
    """The bits of a rule's id in nft's words."""
    number = int(rule, 16)
    return " | ".join(str(bit) for bit in range(number.bit_length()) if number >> bit & 1)


def rule(value: bytes, digits: int = 12) -> str:
    """The id that a label holds; of a label that others have set bits of, one that no rule has."""
    return f"{int.from_bytes(value, byteorder):0{digits}x}"
