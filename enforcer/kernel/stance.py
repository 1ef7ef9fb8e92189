"""What a node holds to that has no policy to enforce: close, open, or leave what stands. Pure.

The table of `choose` is in docs/enforcer.md, case by case.
"""

from __future__ import annotations

from enum import StrEnum

from enforcer.rules.options import Failure, Mode


class Stance(StrEnum):
    """What our table in the kernel does to this node's pods. The kernel keeps it beside the rules, by `marker`.

    CLOSED: it was not known whether there is a tier. LOST: there was one, and neither it nor what was saved is there.
    """

    NOTHING = "nothing"
    ENFORCED = "enforced"
    OBSERVED = "observed"
    CLOSED = "closed"
    LOST = "lost"

    @property
    def marker(self) -> str:
        """The name of an empty chain of the table: it comes and goes in the transaction that changes the rules."""
        return f"stance-{self.value}"

    @classmethod
    def of_tier(cls, mode: Mode) -> Stance:
        return cls.ENFORCED if mode is Mode.ENFORCE else cls.OBSERVED


MARKED = (Stance.ENFORCED, Stance.OBSERVED, Stance.CLOSED, Stance.LOST)


class TierAnswer(StrEnum):
    """What the API server has told, where it isn't a tier that can be enforced.

    WAITING: not everything yet, for less than a patience. SILENT, UNREADABLE: the same for longer, without lists or
    with a tier that can't be used.
    """

    WAITING = "waiting"
    SILENT = "silent"
    UNREADABLE = "unreadable"
    NO_TIER = "no tier"


class Choice(StrEnum):
    LEAVE = "leave what stands"
    CLOSE = "close"
    OPEN = "open"


def choose(mode: Mode, failure: Failure, answer: TierAnswer, standing: Stance, *, had_tier: bool) -> Choice:
    """`had_tier`: an enforced one was saved on this node, or stood in its kernel."""
    if mode is Mode.OBSERVE or failure is Failure.OPEN:
        return _open(mode, answer, standing)
    match answer:
        case TierAnswer.WAITING:
            return Choice.CLOSE if standing is Stance.NOTHING and had_tier else Choice.LEAVE
        case TierAnswer.SILENT | TierAnswer.UNREADABLE:
            return Choice.LEAVE if standing in {Stance.ENFORCED, Stance.OBSERVED} else Choice.CLOSE
        case TierAnswer.NO_TIER:
            return Choice.CLOSE if had_tier else Choice.OPEN


def _open(mode: Mode, answer: TierAnswer, standing: Stance) -> Choice:
    """Only rules of a tier stay, until the API server has told that there is none; those that drop, where they may."""
    fits = standing is Stance.OBSERVED or (standing is Stance.ENFORCED and mode is Mode.ENFORCE)
    return Choice.LEAVE if fits and answer is not TierAnswer.NO_TIER else Choice.OPEN
