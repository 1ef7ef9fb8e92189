"""What became of each rule, and the one fail-closed rule: an allow may be left out, a deny never narrowed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from zones.rules import Origin


class RuleStatus(StrEnum):
    """How a manager's rule ended."""

    ENFORCED = "enforced"
    ENFORCED_AT_L4 = "enforced at L4"
    ENFORCED_IN_PART = "enforced in part"
    NOT_APPLICABLE = "not applicable"
    NOT_ENFORCED = "not enforced"


@dataclass(frozen=True, slots=True)
class RuleReport:
    """One rule's status with its reasons, in the administrator's words.

    `refuses` is set where the rule is a deny that can't be expressed as wide as written: the revision is refused.
    `malformed`: the rule itself can't be read, so that no tag but k8s-ignore helps. `notes`: what is good to know and
    no trouble; `without_effect`: parts of the rule that have none here; `number`: its place in its rulebase, from 1.
    """

    origin: Origin
    action: str
    status: RuleStatus
    reasons: tuple[str, ...] = ()
    refuses: bool = False
    malformed: bool = False
    notes: tuple[str, ...] = ()
    without_effect: tuple[str, ...] = ()
    number: int = 0

    @property
    def needs_attention(self) -> bool:
        """Whether it does something else than an administrator would read out of it."""
        return self.refuses or (bool(self.reasons) and self.status is not RuleStatus.NOT_APPLICABLE)
