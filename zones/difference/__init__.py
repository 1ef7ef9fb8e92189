"""The exact difference of two policies. `difference` says which flows are judged otherwise, and by which rules."""

from zones.difference.alignment import Change, ChangedRule
from zones.difference.allowed import Allowed, AllowedFlows
from zones.difference.boxes import (
    EVERY_ICMP_TYPE,
    EVERY_NAME,
    EVERY_PROTOCOL,
    NO_NODE,
    NODE,
    Box,
    Names,
    of_traffic,
    without,
)
from zones.difference.moments import Moment, moments_of
from zones.difference.pieces import Difference, Piece, ZoneChange, difference
from zones.difference.sides import Judgement

__all__ = [
    "EVERY_ICMP_TYPE",
    "EVERY_NAME",
    "EVERY_PROTOCOL",
    "NODE",
    "NO_NODE",
    "Allowed",
    "AllowedFlows",
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
    "moments_of",
    "of_traffic",
    "without",
]
