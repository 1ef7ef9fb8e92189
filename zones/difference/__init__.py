"""The exact difference of two policies. `difference` says which flows are judged otherwise, and by which rules."""

from zones.difference.alignment import ChangedRule, RuleChangeKind
from zones.difference.allowed import Allowed, AllowedFlows
from zones.difference.boxes import (
    EVERY_ICMP_TYPE,
    EVERY_NAME,
    EVERY_PROTOCOL,
    NO_NODE,
    NODE,
    Box,
    NameSet,
    of_traffic,
    without,
)
from zones.difference.moments import ScheduleMoment, moments_of
from zones.difference.pieces import Difference, Piece, ZoneChange, difference
from zones.difference.sides import FlowJudgement

__all__ = [
    "EVERY_ICMP_TYPE",
    "EVERY_NAME",
    "EVERY_PROTOCOL",
    "NODE",
    "NO_NODE",
    "Allowed",
    "AllowedFlows",
    "Box",
    "ChangedRule",
    "Difference",
    "FlowJudgement",
    "NameSet",
    "Piece",
    "RuleChangeKind",
    "ScheduleMoment",
    "ZoneChange",
    "difference",
    "moments_of",
    "of_traffic",
    "without",
]
