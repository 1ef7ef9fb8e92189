"""What people write to ask for a quarantine, and what they read of one. Pure.

For `zonebridge quarantine` and the kubectl plugin.
"""

from __future__ import annotations

from bridge.quarantine.client import state_of
from zones.runtime.errors import InputError
from zones.tiers.quarantines import Quarantine, seconds_of

COLUMNS = ("NAME", "STATE", "SUBJECT", "LEFT", "REQUESTED BY", "REASON")


def wanted(
    namespace: str, reason: str, lasting: str, reference: str, *, dry_run: bool, option: str = "--for"
) -> Quarantine:
    """What somebody asks for, of nobody yet. Raises InputError."""
    seconds = seconds_of(lasting)
    if seconds is None:
        raise InputError(f"{option}: '{lasting}' is no duration such as 30m or 4h, of up to seven days (168h)")
    if not reason.strip():
        raise InputError("--reason: say why, for those who read the records")
    return Quarantine(
        "", "", namespace, reason=reason, reference=reference, duration=lasting, seconds=seconds, dry_run=dry_run
    )


def outcome_text(quarantine: Quarantine, command: str) -> str:
    """What became of asking. `command`: what approves."""
    if quarantine.held:
        return f"{quarantine.name} waits for an approval: {quarantine.held}\n{command} approve {quarantine.name}"
    what = "watched" if quarantine.dry_run else "cut off"
    return f"{quarantine.name}: {quarantine.subject} is {what} for {quarantine.duration}"


def row(quarantine: Quarantine, now: float) -> tuple[str, ...]:
    left = 0 if quarantine.created is None else max(0, int(quarantine.created + quarantine.seconds - now))
    return (
        quarantine.name,
        state_of(quarantine, now),
        quarantine.subject,
        f"{left // 3600}h{left % 3600 // 60:02}m",
        quarantine.requested_by,
        f"{quarantine.reason} (held: {quarantine.held})" if quarantine.waits else quarantine.reason,
    )


def to_json(quarantine: Quarantine, now: float) -> dict[str, object]:
    return {
        "name": quarantine.name,
        "state": state_of(quarantine, now),
        "namespace": quarantine.namespace,
        "pod": quarantine.pod,
        "uid": quarantine.pod_uid,
        "workload": quarantine.workload,
        "reason": quarantine.reason,
        "reference": quarantine.reference,
        "requestedBy": quarantine.requested_by,
        "source": quarantine.source,
        "duration": quarantine.duration,
        "created": quarantine.created,
        "held": quarantine.held,
        "approvedBy": quarantine.approved_by,
    }
