"""All detectors of a node: denied flows and accepted connections in, hits out. It neither reads nor sends anything.

What is expected (an exception of the settings, the tag `k8s-expected` on the rule, a rule that was just changed) is no
hit, and is counted. Its clock is the time that this node has watched, over all restarts.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from enforcer.detection.beacons import BeaconRhythm, Beacons
from enforcer.detection.contacts import Contacts, contact_of, service_of
from enforcer.detection.exceptions import address_of
from enforcer.detection.hit import Detector, Hit
from enforcer.detection.scans import Scans, end_json, label
from enforcer.detection.terms import DetectionTerms
from enforcer.detection.volumes import LargeHour, Volumes
from enforcer.flows.flows import FlowEnd, NamedPacket, origin_json
from zones.indicators import Indicator, IndicatorIndex
from zones.net import IPAddress
from zones.policy import Entry, Policy, Verdict
from zones.rules import Origin
from zones.seen import SeenEnd, SeenKey
from zones.siem.alerts import Severity
from zones.siem.records import present

_INFRASTRUCTURE = "infrastructure"
_MB = 2**20
_OF_DENIALS = (
    Detector.PORT_SCAN,
    Detector.ADDRESS_SWEEP,
    Detector.ZONE_PROBE,
    Detector.METADATA_ACCESS,
    Detector.INDICATOR_HIT,
)


@dataclass(slots=True)
class Detection:
    """`tell` takes what is found. `watched`: the seconds that earlier runs have watched. `steady` is never set."""

    terms: DetectionTerms
    tell: Callable[[Hit], None] = lambda _: None
    steady: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    watched: float = 0.0
    hits: Counter[str] = field(default_factory=Counter)
    suppressed: Counter[str] = field(default_factory=Counter)
    indicators: IndicatorIndex = field(default_factory=IndicatorIndex)
    scans: Scans = field(init=False)
    contacts: Contacts = field(init=False)
    volumes: Volumes = field(init=False)
    beacons: Beacons = field(init=False)
    _began: float = field(init=False)
    _denials: frozenset[Detector] = field(init=False)
    _policy: Policy | None = None
    _entries: dict[Origin, int] = field(default_factory=dict)
    _changed: dict[Origin, float] = field(default_factory=dict)
    _expected: frozenset[Origin] = frozenset()
    _fed: frozenset[Origin] = frozenset()
    _open: dict[tuple[str, str], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.contacts, self.volumes = Contacts(self.terms), Volumes(self.terms)
        self.beacons = Beacons(self.terms)
        self.scans = Scans(self.terms, self._opens)
        self._began = self.steady()
        self._denials = frozenset(_OF_DENIALS) - self.terms.off

    @property
    def now(self) -> float:
        """Seconds that this node has watched."""
        return self.watched + self.steady() - self._began

    @property
    def evicted(self) -> int:
        """Sources and workloads that were forgotten for others before their time."""
        return self.scans.evicted + self.contacts.evicted + self.volumes.evicted + self.beacons.evicted

    def learn(self, policy: Policy | None) -> None:
        """The policy in force. What a rule allows that has just come or changed is no news."""
        if policy is None or policy is self._policy:
            return
        entries: dict[Origin, int] = {}
        for entry in policy.entries:
            entries[entry.origin] = hash((entries.get(entry.origin, 0), _meaning(entry)))
        if self._policy is not None:
            new = [origin for origin, meaning in entries.items() if self._entries.get(origin) != meaning]
            self._changed |= dict.fromkeys(new, self.now)
        self._changed = {
            origin: at
            for origin, at in self._changed.items()
            if origin in entries and self.now - at < self.terms.new_policy
        }
        self._policy, self._entries = policy, entries
        self._open = {}
        self._expected = frozenset(entry.origin for entry in policy.entries if entry.expected)
        self._fed = frozenset(entry.origin for entry in policy.entries if entry.feeds)

    def denied(self, named: NamedPacket) -> None:
        """The first packet of a flow that a rule denies, or would; nodes' own and infrastructure's are no news."""
        source, destination, origin = named.source, named.destination, named.seen.origin
        if (source.node and not source.workload) or origin.rulebase == _INFRASTRUCTURE:
            return
        if origin in self._expected:
            self.suppressed["rule"] += 1
            return
        watched = self._denials
        if self.terms.exceptions:
            ends = source, destination, named.port, origin
            watched = frozenset(detector for detector in watched if not self._reason(detector, *ends))
            self.suppressed.update(["exception"] if watched != self._denials else [])
        for hit in self.scans.denied(named, self.now, watched):
            self._tell(hit)
        if Detector.METADATA_ACCESS in watched and source.workload and destination.address in self.terms.metadata:
            self._tell(_metadata(source, destination.address, destination.zone, origin, Verdict.DENY))
        if Detector.INDICATOR_HIT in watched:
            passed = not named.seen.enforced
            for hit in self._indicated(source, destination, origin, passed=passed):
                self._tell(hit)

    def accepted(self, key: SeenKey) -> None:
        """A connection that a rule accepted, when it was first seen."""
        if not key.source.workload or key.rule.rulebase == _INFRASTRUCTURE:
            return
        hits = []
        if self.contacts.is_new(key, self.now):
            hits.append(self._first_contact(key))
        address = address_of(key.destination)
        if address is not None and address in self.terms.metadata:
            hits.append(_metadata(key.source, address, key.destination.zone, key.rule, Verdict.ALLOW))
        hits += self._indicated(key.source, key.destination, key.rule, passed=True)
        for hit in hits:
            self._tell_unless_expected(hit, key)

    def ended(self, key: SeenKey, lasted: float, octets: int) -> None:
        """A connection that a rule accepted is over, `lasted` seconds after it began."""
        if contact_of(key) is None or key.rule.rulebase == _INFRASTRUCTURE:
            return
        workload = key.source.namespace, key.source.workload
        if Detector.OUTBOUND_VOLUME not in self.terms.off:
            reason = self._reason(Detector.OUTBOUND_VOLUME, key.source, key.destination, key.port, key.rule)
            if reason:
                self.suppressed[reason] += 1
            else:
                self.volumes.add(workload, octets)
        if key.rule in self._fed or Detector.BEACON in self.terms.off:
            return
        now = self.now
        rhythm = self.beacons.add((workload, key.destination.network, service_of(key)), now - lasted, octets, now)
        if rhythm is not None:
            self._tell_unless_expected(_beacon(key, rhythm, self.terms), key)

    def tick(self) -> None:
        """Now and then: hours that are over."""
        for large in self.volumes.close_hours(self.now):
            self._tell(_volume(large, self.terms))

    def _opens(self, from_zone: str, to_zone: str) -> bool:
        zones = from_zone, to_zone
        if zones not in self._open:
            entries = () if self._policy is None else self._policy.entries
            self._open[zones] = any(entry.verdict is Verdict.ALLOW and entry.pairs(*zones) for entry in entries)
        return self._open[zones]

    # What is expected

    def _reason(
        self,
        detector: Detector,
        source: FlowEnd | SeenEnd,
        destination: FlowEnd | SeenEnd,
        port: int | None,
        origin: Origin,
    ) -> str:
        """Why a flow is expected; empty where it isn't."""
        if origin in self._expected:
            return "rule"
        if self.terms.exceptions:
            day = datetime.fromtimestamp(self.wall(), UTC).date()
            for exception in self.terms.exceptions:
                if exception.covers(detector, source, destination, port, day):
                    return "exception"
        return ""

    def _tell_unless_expected(self, hit: Hit, key: SeenKey) -> None:
        if hit.detector in self.terms.off:
            return
        reason = self._reason(hit.detector, key.source, key.destination, key.port, key.rule)
        if not reason and hit.detector is Detector.FIRST_CONTACT and key.rule in self._changed:
            reason = "policy" if self.now - self._changed[key.rule] < self.terms.new_policy else ""
        if reason:
            self.suppressed[reason] += 1
        else:
            self._tell(hit)

    def _tell(self, hit: Hit) -> None:
        self.hits[hit.detector.value] += 1
        self.tell(hit)

    # The hits

    def _first_contact(self, key: SeenKey) -> Hit:
        sensitive = key.source.zone in self.terms.sensitive_zones
        name, where = _name(key.source), f"{_name(key.destination)} (zone {key.destination.zone})"
        return Hit(
            Detector.FIRST_CONTACT,
            f"{name} to {_name(key.destination)} {service_of(key)}",
            f"{name} (zone {key.source.zone}) speaks to {where} {service_of(key)} as never before",
            _json(key.source),
            _json(key.destination) | present(port=key.port),
            evidence={"rule": origin_json(key.rule), "learntSeconds": self.terms.learning},
            severity=Severity.MEDIUM if sensitive else None,
        )

    def _indicated(
        self, source: FlowEnd | SeenEnd, destination: FlowEnd | SeenEnd, origin: Origin, *, passed: bool
    ) -> Iterator[Hit]:
        """By the end that is no pod's; where neither is, there is nobody to look up."""
        if not len(self.indicators):
            return
        when = datetime.fromtimestamp(self.wall(), UTC)
        for end, other in ((destination, source), (source, destination)):
            address = None if end.workload else address_of(end)
            indicator = None if address is None else self.indicators.at(address, when)
            if indicator is not None and address is not None:
                yield _indicated(indicator, address, (source, destination), other, origin, passed=passed)
                return

    # The file

    def content(self) -> bytes:
        """What was learnt, for the next start."""
        saved = {"watched": self.now, "contacts": self.contacts.json(), "volumes": self.volumes.json()}
        return json.dumps(saved, separators=(",", ":")).encode()

    def restore(self, content: bytes | None) -> bool:
        """Whether there was something to go on with; a damaged file is none, and everything is learnt anew."""
        try:
            saved = json.loads(content or b"")
            watched = float(saved["watched"])
            self.contacts.restore(saved["contacts"])
            self.volumes.restore(saved["volumes"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.contacts, self.volumes = Contacts(self.terms), Volumes(self.terms)
            return False
        self.watched, self._began = watched, self.steady()
        return True


def _meaning(entry: Entry) -> tuple[object, ...]:
    """What of a rule decides; that feeds or logs change is no other policy."""
    sides = entry.from_zones, entry.to_zones, entry.pairing
    return (entry.verdict, *sides, entry.sources, entry.destinations, entry.traffic)


def _json(end: SeenEnd | FlowEnd) -> dict[str, object]:
    if isinstance(end, FlowEnd):
        return end_json(end)
    address = address_of(end)
    named = present(zone=end.zone, namespace=end.namespace, workload=end.workload)
    return named if address is None else named | {"address": str(address)}


def _name(end: SeenEnd | FlowEnd) -> str:
    if isinstance(end, FlowEnd):
        return label(end)
    return f"{end.namespace}/{end.workload}" if end.workload else str(address_of(end) or end.zone)


def _metadata(source: SeenEnd | FlowEnd, address: IPAddress, zone: str, origin: Origin, verdict: Verdict) -> Hit:
    passed = verdict is Verdict.ALLOW
    return Hit(
        Detector.METADATA_ACCESS,
        f"{_name(source)} {'allowed' if passed else 'denied'}",
        f"{_name(source)} {'reached' if passed else 'was denied'} the cloud's metadata service at {address}",
        _json(source),
        {"zone": zone, "address": str(address)},
        evidence={"rule": origin_json(origin), "verdict": verdict.value},
    )


def _indicated(
    indicator: Indicator,
    address: IPAddress,
    ends: tuple[SeenEnd | FlowEnd, SeenEnd | FlowEnd],
    other: SeenEnd | FlowEnd,
    origin: Origin,
    *,
    passed: bool,
) -> Hit:
    until = None if indicator.until is None else indicator.until.isoformat()
    listed = present(
        feed=indicator.feed,
        network=str(indicator.network),
        name=indicator.name,
        confidence=indicator.confidence,
        until=until,
        labels=list(indicator.labels),
    )
    how = "and it was let through" if passed else "and it was denied"
    return Hit(
        Detector.INDICATOR_HIT,
        f"{_name(other)} and {indicator.network} {'passed' if passed else 'denied'}",
        f"a connection of {_name(other)} with {address}, which the feed '{indicator.feed}' lists, {how}",
        _json(ends[0]),
        _json(ends[1]),
        evidence={"rule": origin_json(origin), "indicator": listed, "passed": passed},
        severity=None if passed else Severity.MEDIUM,
    )


def _beacon(key: SeenKey, rhythm: BeaconRhythm, terms: DetectionTerms) -> Hit:
    what = f"{_name(key.source)} to {_name(key.destination)} {service_of(key)}"
    return Hit(
        Detector.BEACON,
        what,
        f"{what}: {rhythm.connections} connections, one each {rhythm.interval:.0f} s, all of one size",
        _json(key.source),
        _json(key.destination) | present(port=key.port),
        rhythm.connections,
        terms.beacon_connections,
        terms.beacon_window,
        evidence={
            "rule": origin_json(key.rule),
            "intervalSeconds": round(rhythm.interval, 1),
            "intervalJitter": round(rhythm.interval_jitter, 3),
            "bytes": round(rhythm.octets),
            "bytesJitter": round(rhythm.octets_jitter, 3),
        },
    )


def _volume(large: LargeHour, terms: DetectionTerms) -> Hit:
    namespace, workload = large.workload
    octets, usual = large.octets / _MB, large.usual / _MB
    return Hit(
        Detector.OUTBOUND_VOLUME,
        f"{namespace}/{workload}",
        f"{namespace}/{workload} exchanged {octets:.0f} MiB with the outside in an hour; {usual:.0f} MiB are usual",
        {"namespace": namespace, "workload": workload},
        {},
        round(large.score, 1),
        terms.volume_score,
        3600.0,
        evidence={"bytes": large.octets, "usualBytes": round(large.usual), "hours": large.hours},
    )
