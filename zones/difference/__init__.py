"""The exact difference of two policies. `difference` says which flows are judged otherwise, and by which rules."""

from zones.difference.alignment import Change, ChangedRule
from zones.difference.boxes import EVERY_ICMP_TYPE, EVERY_NAME, EVERY_PROTOCOL, Box, Names
from zones.difference.moments import Moment
from zones.difference.pieces import Difference, Piece, ZoneChange, difference
from zones.difference.sides import Judgement

__all__ = [
    "EVERY_ICMP_TYPE",
    "EVERY_NAME",
    "EVERY_PROTOCOL",
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
