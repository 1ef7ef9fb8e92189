"""What a check of a cluster or of a node found, the same from both programs. Pure.

Whatever could not be looked at is unknown, and unknown is never ok.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from zones.runtime.output import printable

Json = dict[str, Any]


class FindingStatus(StrEnum):
    """A warning is for people to judge; what failed or is unknown makes the command end with 1."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` was found, and what to `do` about it; the latter is empty where all is well."""

    group: str
    status: FindingStatus
    what: str
    do: str = ""

    def json(self) -> Json:
        return {"group": self.group, "status": self.status.value, "what": self.what, "do": self.do}


@dataclass(frozen=True, slots=True)
class Group:
    """Makes the findings of one group."""

    name: str

    def ok(self, what: str) -> Finding:
        return Finding(self.name, FindingStatus.OK, what)

    def warning(self, what: str, do: str) -> Finding:
        return Finding(self.name, FindingStatus.WARNING, what, do)

    def failed(self, what: str, do: str) -> Finding:
        return Finding(self.name, FindingStatus.FAILED, what, do)

    def unknown(self, what: str, do: str) -> Finding:
        return Finding(self.name, FindingStatus.UNKNOWN, what, do)


def good(findings: Iterable[Finding]) -> bool:
    return not any(finding.status in {FindingStatus.FAILED, FindingStatus.UNKNOWN} for finding in findings)


def some(names: Iterable[str], most: int = 5) -> str:
    """`a, b and 3 more`."""
    listed = sorted(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def text(findings: Iterable[Finding]) -> str:
    """For people: groups with a line for each finding, and what to do below it."""
    lines: list[str] = []
    group = ""
    for finding in findings:
        if finding.group != group:
            lines += (
                ["", finding.group, "-" * len(finding.group)] if lines else [finding.group, "-" * len(finding.group)]
            )
            group = finding.group
        lines.append(f"{finding.status:<8} {printable(finding.what)}")
        if finding.do:
            lines.append(f"{'':<8} → {printable(finding.do)}")
    return "\n".join(lines)
