"""Judges a snapshot by all checks. Pure. What hasn't changed since the last snapshot is not judged again."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.posture.catalogue import CHECKS
from bridge.posture.check import CheckOutcome, CheckResult, Judgement, PostureCheck, unknown
from bridge.posture.rbac.rights import RightsReader
from bridge.posture.snapshot import HiddenInputError, Input, PostureSnapshot
from bridge.posture.view import PostureView


class Evaluation:
    """Of one cluster. It keeps the last snapshot's outcomes, which hold where a check's lists are the same objects."""

    def __init__(self, checks: Sequence[PostureCheck] = CHECKS) -> None:
        self._checks = checks
        self._reader = RightsReader()
        self._snapshot: PostureSnapshot | None = None
        self._outcomes: dict[str, CheckOutcome] = {}

    def outcomes(self, snapshot: PostureSnapshot) -> list[CheckOutcome]:
        """One for each check, in order; exceptions are not looked at."""
        changed = {kind for kind in Input if self._differs(kind, snapshot)}
        for check in self._checks:
            if check.id not in self._outcomes or not changed.isdisjoint(check.needs):
                self._outcomes[check.id] = _judge(check, snapshot, self._reader)
        self._snapshot = snapshot
        return [self._outcomes[check.id] for check in self._checks]

    def _differs(self, kind: Input, snapshot: PostureSnapshot) -> bool:
        last = self._snapshot
        if last is None or last.terms != snapshot.terms:
            return True
        name = kind.name.lower()
        return getattr(last, name) is not getattr(snapshot, name)


def _judge(check: PostureCheck, snapshot: PostureSnapshot, reader: RightsReader) -> CheckOutcome:
    judgement = _judgement(check, PostureView(snapshot, check.needs, reader))
    return CheckOutcome(check, judgement.result, judgement.why, judgement.violations)


def _judgement(check: PostureCheck, view: PostureView) -> Judgement:
    """A failure is one whatever else is hidden; nothing else is known before all that is needed has been read.

    A defect of one check, on objects that nobody thought of, leaves that one unknown and no other.
    """
    hidden = [f"{kind.value}: {problem}" for kind in sorted(check.needs) if (problem := view.snapshot.problem(kind))]
    try:
        judgement = check.judge(view)
    except HiddenInputError:
        return unknown("; ".join(hidden))
    except Exception as error:  # noqa: BLE001 - a defect is no pass, and no reason to say nothing of the rest
        return unknown(f"the check itself failed: {error!r}")
    if hidden and judgement.result is not CheckResult.FAIL:
        return unknown("; ".join(hidden))
    return judgement
