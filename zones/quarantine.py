"""What a policy means for the zone of pods in quarantine, as entries that any evaluation can go through. Pure.

The zone is open to what an allow that names it opens, and to nothing else: a zone `any` doesn't reach it, nor what is
allowed within a zone. Denials hold for it as for every zone. `zones.verdict.decide` says the same flow by flow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from zones.policy import QUARANTINED, Entry, Policy, Verdict
from zones.rules import RuleType
from zones.zone import QUARANTINE

_ONLY = frozenset({QUARANTINE})


def closed(policy: Policy) -> Policy:
    """The same policy, headed by entries for the zone alone: its rules up to the last that names it, then denials."""
    own = [copy for entry in consulted(policy.entries) for copy in _for_quarantine(entry)]
    rest = Entry(QUARANTINED, Verdict.DENY, from_zones=_ONLY), Entry(QUARANTINED, Verdict.DENY, to_zones=_ONLY)
    return replace(policy, entries=(*own, *rest, *policy.entries))


def consulted(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Those up to the last that names the zone: what comes after could only deny, as the end does."""
    for at in range(len(entries), 0, -1):
        from_zones, to_zones = entries[at - 1].from_zones, entries[at - 1].to_zones
        if (from_zones and QUARANTINE in from_zones) or (to_zones and QUARANTINE in to_zones):
            return entries[:at]
    return entries[:0]


def is_open(entry: Entry, from_zone: str, to_zone: str) -> bool:
    """Whether an entry may decide a flow between two zones, one of which is QUARANTINE; that it pairs them is given."""
    if entry.verdict is not Verdict.ALLOW:
        return True
    named_from = from_zone != QUARANTINE or QUARANTINE in (entry.from_zones or ())
    to_zones = entry.from_zones if entry.pairing is RuleType.INTRAZONE else entry.to_zones
    return named_from and (to_zone != QUARANTINE or QUARANTINE in (to_zones or ()))


def _for_quarantine(entry: Entry) -> Iterator[Entry]:
    """What is left of an entry where one end is the zone, which an allow has to name."""
    allows = entry.verdict is Verdict.ALLOW
    from_it = QUARANTINE in entry.from_zones if entry.from_zones is not None else not allows
    if entry.pairing is RuleType.INTRAZONE:
        if from_it:
            yield replace(entry, from_zones=_ONLY, to_zones=None)
        return
    if from_it:
        to_any = allows and entry.to_zones is None  # to any other, then: within the zone it isn't named
        yield replace(entry, from_zones=_ONLY, pairing=RuleType.INTERZONE if to_any else entry.pairing)
    if QUARANTINE in entry.to_zones if entry.to_zones is not None else not allows:
        from_any = allows and entry.from_zones is None
        yield replace(entry, to_zones=_ONLY, pairing=RuleType.INTERZONE if from_any else entry.pairing)
