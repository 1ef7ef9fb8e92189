"""The exact difference of two policies. `difference` says which flows are judged otherwise, and by which rules."""

from zones.difference.alignment import Change, ChangedRule
from zones.difference.boxes import Box, Names
from zones.difference.moments import Moment
from zones.difference.pieces import Difference, Piece, ZoneChange, difference
from zones.difference.sides import Judgement

__all__ = [
    "Box",
    "Change",
    "ChangedRule",
    "Difference",
    "Judgement",
    "Moment",
    "Names",
    "Piece",
    "ZoneChange",
    "difference",
]
