"""Quarantine objects: which pod or workload is cut off, why, who asked, and for how long. Pure.

Enforcers read them themselves, and need no bridge for it. Nothing that an object holds makes the reader fail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zones.canonical import Json
from zones.subjects import Subjects, mark_of
from zones.tiers.native import API_VERSION

QUARANTINE_KIND, PLURAL = "Quarantine", "quarantines"
EXEMPT = frozenset({"kube-system"})
"""Namespaces whose pods are never in quarantine, whoever asks: a cluster without its DNS or its proxies is none."""
LONGEST = 7 * 24 * 3600
_DURATION = re.compile(r"([1-9][0-9]{0,5})(s|m|h)")
_UNITS = {"s": 1, "m": 60, "h": 3600}
_LONGEST_TEXT = 300


@dataclass(frozen=True, slots=True)
class Quarantine:
    """One that can be read. `pod` and `pod_uid`, or `workload`, are what it names in `namespace`.

    `seconds`: how long it lasts, from `created` on, an epoch time by the API server's clock; None where that says
    nothing. `held`: why it waits for a second person; `approved_by`: who that was.
    """

    name: str
    uid: str
    namespace: str
    pod: str = ""
    pod_uid: str = ""
    workload: str = ""
    reason: str = ""
    requested_by: str = ""
    source: str = "person"
    reference: str = ""
    duration: str = ""
    seconds: int = 0
    created: float | None = None
    dry_run: bool = False
    held: str = ""
    approved_by: str = ""

    @property
    def cuts(self) -> bool:
        """Whether its pods are cut off, as long as it lasts."""
        return not self.dry_run and not self.waits and not self.exempt

    @property
    def waits(self) -> bool:
        return bool(self.held) and not self.approved_by

    @property
    def exempt(self) -> bool:
        return self.namespace in EXEMPT

    @property
    def subjects(self) -> Subjects:
        """Whom it names."""
        if self.workload:
            return Subjects(workloads=frozenset({(self.namespace, self.workload)}))
        return Subjects(frozenset({(self.namespace, self.pod, mark_of(self.pod_uid))}))

    def names(self, namespace: str, name: str, uid: str, workload: str) -> bool:
        """Whether it is about a pod."""
        if namespace != self.namespace:
            return False
        return workload == self.workload if self.workload else (name, uid) == (self.pod, self.pod_uid)

    @property
    def subject(self) -> str:
        """For people: `pod shop/web-1` or `workload shop/web`."""
        return f"workload {self.namespace}/{self.workload}" if self.workload else f"pod {self.namespace}/{self.pod}"


def seconds_of(duration: str) -> int | None:
    """Of `90s`, `30m`, `4h`, up to seven days; None where it is none."""
    match = _DURATION.fullmatch(duration)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    return seconds if 0 < seconds <= LONGEST else None


def parse(raw: Mapping[str, Any]) -> Quarantine | str:
    """The quarantine, or why it is none."""
    metadata = raw.get("metadata") or {}
    name, spec = str(metadata.get("name", "")), raw.get("spec")
    where = f"Quarantine '{name}'"
    if not isinstance(spec, Mapping):
        return f"{where} has no spec; it has no effect"
    pod, workload = spec.get("pod"), spec.get("workload")
    if isinstance(pod, Mapping) == isinstance(workload, Mapping):
        return f"{where} names neither a pod nor a workload, or both; it has no effect"
    named = pod if isinstance(pod, Mapping) else workload if isinstance(workload, Mapping) else {}
    keys = ("namespace", "name", "uid") if isinstance(pod, Mapping) else ("namespace", "name")
    if not all(isinstance(named.get(key), str) and named[key] for key in keys):
        return f"{where} names no {' and '.join(keys)}; it has no effect"
    duration = spec.get("duration")
    seconds = seconds_of(duration) if isinstance(duration, str) else None
    if seconds is None:
        return f"{where} has no duration such as 4h, of up to seven days; it has no effect"
    return Quarantine(
        name=name,
        uid=str(metadata.get("uid", "")),
        namespace=named["namespace"],
        pod="" if workload else named["name"],
        pod_uid="" if workload else named["uid"],
        workload=named["name"] if workload else "",
        reason=_text(spec.get("reason")),
        requested_by=_text(spec.get("requestedBy")),
        source=_text(spec.get("source")),
        reference=_text(spec.get("reference")),
        duration=str(duration),
        seconds=seconds,
        created=_epoch(metadata.get("creationTimestamp")),
        dry_run=spec.get("dryRun") is True,
        held=_text(spec.get("held")),
        approved_by=_text(spec.get("approvedBy")),
    )


def render(quarantine: Quarantine) -> Json:
    """The object to create."""
    named: Json = {"namespace": quarantine.namespace, "name": quarantine.workload or quarantine.pod}
    subject = {"workload": named} if quarantine.workload else {"pod": {**named, "uid": quarantine.pod_uid}}
    optional = {"reference": quarantine.reference, "held": quarantine.held, "dryRun": quarantine.dry_run}
    return {
        "apiVersion": API_VERSION,
        "kind": QUARANTINE_KIND,
        "metadata": {"name": quarantine.name},
        "spec": {
            **subject,
            "reason": quarantine.reason,
            "requestedBy": quarantine.requested_by,
            "source": quarantine.source,
            "duration": quarantine.duration,
            **{key: value for key, value in optional.items() if value},
        },
    }


def _text(value: object) -> str:
    """In one line, and bounded: others write it, and it ends up in records."""
    text = value if isinstance(value, str) else ""
    return "".join(letter if letter.isprintable() else "_" for letter in text)[:_LONGEST_TEXT]


def _epoch(timestamp: object) -> float | None:
    try:
        parsed = datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else None
    except ValueError:
        return None
    return None if parsed is None or parsed.tzinfo is None else parsed.timestamp()
