"""What the node's settings say of its rules. Values only; `enforcer.assembly` fills them in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from enforcer.generations import Marks


class Mode(StrEnum):
    """ENFORCE drops what the tier denies; OBSERVE counts and logs it, and drops nothing."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class Options:
    """`log_group`: the NFLOG group. `log_rate`, `log_burst`: records a second, at most, for each rule and direction."""

    mode: Mode = Mode.ENFORCE
    log_group: int = 9470
    log_rate: int = 50
    log_burst: int = 200
    marks: Marks = field(default_factory=Marks)
