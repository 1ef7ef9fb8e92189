"""What people write to ask for a quarantine, and what they read of one. Pure.

For `zonebridge quarantine` and the kubectl plugin.
"""

from __future__ import annotations

from bridge.errors import InputError
from bridge.quarantine import state_of
from zones.tiers.quarantines import Quarantine, seconds_of

COLUMNS = ("NAME", "STATE", "SUBJECT", "LEFT", "REQUESTED BY", "REASON")


def wanted(namespace: str, reason: str, lasting: str, reference: str, *, dry_run: bool) -> Quarantine:
    """What somebody asks for, of nobody yet. Raises InputError."""
    seconds = seconds_of(lasting)
    if seconds is None:
        raise InputError(f"--for: '{lasting}' is no duration such as 30m or 4h, of up to seven days (168h)")
    if not reason.strip():
        raise InputError("--reason: say why, for those who read the records")
    return Quarantine(
        "", "", namespace, reason=reason, reference=reference, duration=lasting, seconds=seconds, dry_run=dry_run
    )


def outcome_text(made: Quarantine, command: str) -> str:
    """What became of asking. `command`: what approves."""
    if made.held:
        return f"{made.name} waits for an approval: {made.held}\n{command} approve {made.name}"
    return f"{made.name}: {made.subject} is {'watched' if made.dry_run else 'cut off'} for {made.duration}"


def row(each: Quarantine, now: float) -> tuple[str, ...]:
    left = 0 if each.created is None else max(0, int(each.created + each.seconds - now))
    return (
        each.name,
        state_of(each, now),
        each.subject,
        f"{left // 3600}h{left % 3600 // 60:02}m",
        each.requested_by,
        f"{each.reason} (held: {each.held})" if each.waits else each.reason,
    )


def to_json(each: Quarantine, now: float) -> dict[str, object]:
    return {
        "name": each.name,
        "state": state_of(each, now),
        "namespace": each.namespace,
        "pod": each.pod,
        "uid": each.pod_uid,
        "workload": each.workload,
        "reason": each.reason,
        "reference": each.reference,
        "requestedBy": each.requested_by,
        "source": each.source,
        "duration": each.duration,
        "created": each.created,
        "held": each.held,
        "approvedBy": each.approved_by,
    }
