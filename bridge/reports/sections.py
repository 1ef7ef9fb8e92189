"""Each section of a report, from what was read. Pure: the same evidence gives the same rows in the same order."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from bridge.evidence.store import micros
from bridge.evidence.usage import rule_key
from bridge.intervals.fold import Interval, IntervalKind, clipped, gaps
from bridge.intervals.store import Review
from bridge.pages.wording import ends_text, entry_traffic_text, pairing_text
from bridge.reports.model import (
    Field,
    Json,
    ReportEvidence,
    ReportPeriod,
    ReportScope,
    ReportSection,
    length_text,
    moment_text,
)
from zones.rules import Origin

TICKET, DEFAULT = "ticket:", "default"
NO_REASON = "no justification is recorded"
_UNKNOWN = "unknown"


def watched(evidence: ReportEvidence, period: ReportPeriod) -> ReportSection:
    """When nobody looked: of these times the report says nothing."""
    missing = gaps(evidence.looks, period.begin, period.end)
    fields = Field("from", "From", 34), Field("until", "Until", 34), Field("lasted", "Lasted", 32)
    rows = [(moment_text(begin), moment_text(end), length_text(end - begin)) for begin, end in missing]
    if period.instant and rows:
        rows = [(moment_text(period.begin), moment_text(period.begin), "-")]
    return ReportSection("gaps", "When nobody looked", fields, rows, "The bridge looked all the time.")


def inventory(evidence: ReportEvidence, period: ReportPeriod, scope: ReportScope) -> ReportSection:
    """Which workloads were in which zones of the scope, from when to when, with how many different pods."""
    pods: dict[tuple[str, str], set[str]] = defaultdict(set)
    for interval in _of(evidence, period, IntervalKind.POD):
        about = json.loads(interval.value)
        pods[f"{about['namespace']}/{about['workload']}", about["zone"]].add(interval.subject)
    rows = []
    for interval in _of(evidence, period, IntervalKind.WORKLOAD):
        for zone in json.loads(interval.value)["zones"]:
            if scope.has(frozenset((zone,))):
                counted = len(pods.get((interval.subject, zone), ()))
                rows.append((interval.subject, zone, *_ends(interval, period), str(counted) if counted else "not kept"))
    fields = (
        *(Field("workload", "Workload", 34), Field("zone", "Zone", 18), Field("from", "From", 18)),
        *(Field("until", "Until", 18), Field("pods", "Pods", 12, number=True)),
    )
    note = (
        "Pods are the different ones of the workload in that zone and period, while evidence.podRetention keeps them."
    )
    return ReportSection("inventory", "Scope inventory", fields, sorted(rows), "No workload was in scope.", (note,))


def rules(evidence: ReportEvidence, period: ReportPeriod, scope: ReportScope) -> ReportSection:
    """The rules at the end of the period that concern the scope: why they are there, how often they were hit."""
    said = {interval.subject: json.loads(interval.value) for interval in _of(evidence, period, IntervalKind.RULE)}
    hits: Counter[str] = Counter()
    for count in evidence.counts:
        hits[count.rule] += count.connections
    rows = []
    for place, entry in enumerate(evidence.policy.entries if evidence.policy else (), 1):
        if not (scope.has(entry.from_zones) or scope.has(entry.to_zones)):
            continue
        origin = entry.origin
        about = said.get(rule_key(origin), {})
        tickets = [tag for tag in about.get("tags", ()) if tag.lower().startswith(TICKET)]
        rows.append(
            (
                *(str(place), origin.name, origin.uuid or "", f"{origin.rulebase} of {origin.device_group}"),
                *(entry.verdict.value, pairing_text(entry), ends_text(entry), entry_traffic_text(entry)),
                *(about.get("description") or _usual_reason(origin), ", ".join(tickets), str(hits[origin.name])),
            )
        )
    fields = (
        *(Field("number", "No.", 4, number=True), Field("rule", "Rule", 13), Field("uuid", "UUID", 9)),
        *(Field("level", "Level", 9), Field("verdict", "Verdict", 6), Field("zones", "Zones", 11)),
        *(Field("addresses", "Source → destination", 12), Field("traffic", "Traffic", 9)),
        *(Field("justification", "Justification", 14), Field("tickets", "Tickets", 9)),
        Field("connections", "Hits", 4, number=True),
    )
    notes = (
        *_beside_the_rules(evidence),
        "Long lists of addresses and ports are shortened here; zonebridge show REVISION -o json has all of them.",
        "Justification is the rule's description in Panorama; tickets are its tags that begin with ticket:.",
        "Audit comments are not read.",
        "Connections are by the rule's name, of whole days (UTC) in the period, where nodes count (docs/usage.md).",
    )
    return ReportSection("rules", "Rules and their justification", fields, rows, evidence.missing or "None.", notes)


def _beside_the_rules(evidence: ReportEvidence) -> Iterator[str]:
    """What the list of rules doesn't have: what is allowed before them, and what of Panorama is not enforced."""
    if evidence.policy is None:
        return
    names = ", ".join(rule.origin.name for rule in evidence.policy.infrastructure)
    if names:
        yield f"Before all of them, what the cluster itself needs is allowed, by rules of their own names: {names}."
    spec = evidence.revisions[-1]["spec"] if evidence.revisions else {}
    missing = rules_not_enforced(evidence)
    if missing:
        problems = [
            f"{problem['name']} ({problem['status']}: {'; '.join(problem.get('reasons', ()))})"
            for problem in spec.get("problems", ())
        ]
        more = missing - len(problems)
        listed = "; ".join([*problems, *([f"and {more} more" if problems else f"{more} rules"] if more > 0 else [])])
        yield f"In Panorama, and not enforced here or only in part: {listed}."


def rules_not_enforced(evidence: ReportEvidence) -> int:
    """How many of Panorama's rules at the end of the period are not enforced, or only in part."""
    counts = evidence.revisions[-1]["spec"].get("rules") or {} if evidence.revisions else {}
    return int(counts.get("notEnforced", 0)) + int(counts.get("enforcedInPart", 0))


def _usual_reason(origin: Origin) -> str:
    """Of a rule without a description: nobody writes one for the two that Panorama itself has."""
    return "Panorama's default rule" if origin.rulebase == DEFAULT else NO_REASON


def changes(evidence: ReportEvidence, period: ReportPeriod) -> ReportSection:
    """Each revision that came into force in the period, and the one that was in force at its beginning."""
    before = [raw for raw in evidence.revisions if _recorded(raw) <= period.begin]
    within = [raw for raw in evidence.revisions if _recorded(raw) > period.begin]
    rows = []
    for raw in (*before[-1:], *within):
        spec, status = raw["spec"], (raw.get("status") or {}).get("changes") or {}
        commits = spec.get("commits", ())
        opened, closed = (str(status.get(name, _UNKNOWN)) for name in ("pairsOpened", "pairsClosed"))
        lines = status.get("lines") or ([status["notComputed"]] if "notComputed" in status else [])
        rows.append(
            (
                *(str(spec["revision"]), spec["recorded"], ", ".join(spec.get("causes", ())) or _UNKNOWN),
                ", ".join(dict.fromkeys(commit.get("administrator", _UNKNOWN) for commit in commits)) or _UNKNOWN,
                "; ".join(map(_commit_text, commits)) or spec.get("unknown", ""),
                *(opened, closed, "; ".join(lines), spec["chain"]),
            )
        )
    fields = (
        *(Field("revision", "Revision", 7, number=True), Field("recorded", "In force since", 16)),
        *(Field("causes", "Cause", 8), Field("administrator", "Administrator", 10), Field("commits", "Commits", 16)),
        *(Field("opened", "Opened", 7, number=True), Field("closed", "Closed", 7, number=True)),
        *(Field("changes", "What changed", 16), Field("chain", "Chain digest", 13)),
    )
    notes = ("Opened and closed count zone pairs, exactly compared. Enqueued is Panorama's clock.",)
    return ReportSection("changes", "Changes: who and when", fields, rows, "No revision is recorded.", notes)


def reviews(evidence: ReportEvidence, period: ReportPeriod, scope: ReportScope) -> ReportSection:
    """All reviews up to the period's end that were of this scope or of more."""
    rows = [
        (
            *(moment_text(review.at), review.reviewer, ", ".join(review.zones) or "all zones", review.note),
            *(str(review.revision), review.digest, moment_text(review.due)),
        )
        for review in of_scope(evidence.reviews, scope)
    ]
    fields = (
        *(Field("at", "When", 18), Field("reviewer", "Who", 14), Field("zones", "Of", 12), Field("note", "Note", 16)),
        *(Field("revision", "Revision", 8, number=True), Field("digest", "Digest of what was seen", 14)),
        Field("due", "Next due", 18),
    )
    overdue = is_overdue(evidence.reviews, scope, period.end)
    note = "A review was due before the end of the period." if overdue else "A review was in date at the end."
    return ReportSection(
        "reviews", "Reviews", fields, rows, "No review of this scope is recorded.", (note,) if rows else ()
    )


def of_scope(reviews_: Iterable[Review], scope: ReportScope) -> list[Review]:
    return [review for review in reviews_ if not review.zones or (scope.zones and scope.zones <= set(review.zones))]


def is_overdue(reviews_: Iterable[Review], scope: ReportScope, at: int) -> bool:
    """Also where there never was one."""
    return not any(review.due >= at for review in of_scope(reviews_, scope))


def enforcement(evidence: ReportEvidence, period: ReportPeriod) -> ReportSection:
    """How long each node enforced, observed, or did neither; at an instant, what it did."""
    spent: dict[str, Counter[str]] = defaultdict(Counter)
    last: dict[str, Json] = {}
    for interval in _of(evidence, period, IntervalKind.NODE):
        about = json.loads(interval.value)
        spent[interval.subject][about["mode"]] += (interval.end or 0) - interval.begin
        last[interval.subject] = about
    rows = []
    for name, modes in sorted(spent.items()):
        about = last[name]
        zones = ", ".join(about["zones"]) if "zones" in about else "all"
        why = about.get("why") or (f"{about['problems']} problems reported" if about.get("problems") else "")
        lengths = (length_text(modes[mode]) for mode in ("enforce", "observe", "none"))
        shown = ("-",) * 3 if period.instant else tuple(lengths)
        rows.append((name, *shown, about["mode"], zones, str(about.get("revision", 0)), why))
    fields = (
        *(Field("node", "Node", 20), Field("enforced", "Enforced", 11, number=True)),
        *(Field("observed", "Observed only", 11, number=True), Field("neither", "Neither", 11, number=True)),
        *(Field("mode", "Mode at the end", 11), Field("zones", "Enforced zones", 14)),
        *(Field("revision", "Revision", 8, number=True), Field("why", "Remark", 14)),
    )
    notes = (
        "Neither: the node's agent had not reported for 15 minutes, or never has, or had no revision.",
        "What a kernel has stays in force without an agent; it isn't counted as enforced, since nobody says so.",
    )
    return ReportSection("enforcement", "Enforcement of each node", fields, rows, "No node was known.", notes)


def measurements(evidence: ReportEvidence, period: ReportPeriod, scope: ReportScope) -> ReportSection:
    """What `zonebridge verify` found: of each run the pairs of zones, with how many connections were as decided."""
    rows = []
    for measurement in evidence.measurements:
        when = moment_text(measurement.at)
        for cell in measurement.content["cells"]:
            if scope.has(frozenset((cell["from"], cell["to"]))):
                differ = str(cell["tried"] - cell["agree"])
                opened, closed = (", ".join(map(str, cell[key])) or "none" for key in ("open", "closed"))
                revision, tried = str(measurement.content["revision"]), str(cell["tried"])
                rows.append((when, revision, cell["from"], cell["to"], cell["family"], tried, differ, opened, closed))
    fields = (
        *(Field("at", "When", 18), Field("revision", "Revision", 8, number=True), Field("from", "From zone", 12)),
        *(Field("to", "To zone", 12), Field("family", "Family", 6), Field("tried", "Tried", 5, number=True)),
        *(Field("differ", "Not as decided", 7, number=True), Field("open", "TCP ports that were open", 16)),
        Field("closed", "TCP ports that were closed", 16),
    )
    which = "the last one before the instant" if period.instant else "all of the period"
    limits = dict.fromkeys(limit for measurement in evidence.measurements for limit in measurement.content["limits"])
    doubts = dict.fromkeys(
        f"{moment_text(measurement.at)}: {doubt}"
        for measurement in evidence.measurements
        for doubt in measurement.content["doubts"]
    )
    notes = (f"Measurements by zonebridge verify: {which}.", *doubts, *limits) if rows else ()
    empty = "Nothing was measured (zonebridge verify)."
    return ReportSection("measurements", "Measured segmentation", fields, rows, empty, notes)


def drift(evidence: ReportEvidence, period: ReportPeriod) -> ReportSection:
    """What went wrong and was told, and until when: tampering, nodes out of sync, refused revisions."""
    rows = []
    for interval in _of(evidence, period, IntervalKind.ALERT):
        about = json.loads(interval.value)
        lasted = length_text((interval.end or 0) - interval.begin)
        rows.append((*_ends(interval, period), lasted, interval.subject, about["severity"], about["message"]))
    fields = (
        *(Field("from", "From", 14), Field("until", "Until", 14), Field("lasted", "Lasted", 8)),
        *(Field("kind", "Alert", 14), Field("severity", "Severity", 8), Field("message", "What", 42)),
    )
    return ReportSection("drift", "Drift, tampering and repair", fields, sorted(rows), "Nothing was told.")


def traffic(evidence: ReportEvidence, scope: ReportScope) -> ReportSection:
    """Connections between zones by verdict and rule."""
    rows = [
        (count.from_zone, count.to_zone, count.verdict, count.rule, str(count.connections))
        for count in evidence.counts
        if scope.has(frozenset((count.from_zone, count.to_zone)))
    ]
    fields = (
        *(Field("from", "From zone", 22), Field("to", "To zone", 22), Field("verdict", "Verdict", 12)),
        *(Field("rule", "Rule", 30), Field("connections", "Connections", 14, number=True)),
    )
    notes = ("Of whole days (UTC) that lie in the period: nothing of an instant, and none where no node counts.",)
    return ReportSection("traffic", "Connections between zones", fields, rows, "None are counted.", notes)


def settings(evidence: ReportEvidence, period: ReportPeriod) -> ReportSection:
    """Which settings of the bridge held: a digest of those that say what is enforced."""
    rows = [
        (*_ends(interval, period), json.loads(interval.value).get("digest", ""))
        for interval in _of(evidence, period, IntervalKind.SETTINGS)
    ]
    fields = Field("from", "From", 20), Field("until", "Until", 20), Field("digest", "SHA-256", 60)
    return ReportSection("settings", "Settings of the bridge", fields, rows, "None were recorded.")


def in_force(evidence: ReportEvidence, period: ReportPeriod) -> ReportSection:
    """Which revision the tier had, from when to when, as the bridge saw it."""
    rows = []
    for interval in _of(evidence, period, IntervalKind.TIER):
        about = json.loads(interval.value)
        rows.append((*_ends(interval, period), interval.subject, str(about["revision"]), about["digest"]))
    fields = (
        *(Field("from", "From", 20), Field("until", "Until", 20), Field("tier", "Tier", 15)),
        *(Field("revision", "Revision", 9, number=True), Field("digest", "SHA-256 of its content", 36)),
    )
    return ReportSection("revisions", "Revisions in force", fields, rows, "None was seen.")


def _of(evidence: ReportEvidence, period: ReportPeriod, kind: IntervalKind) -> Iterator[Interval]:
    """Intervals within the period, and no longer than somebody looked."""
    known = min(period.end, evidence.last_look + 1)
    wanted = [interval for interval in evidence.intervals if interval.kind is kind]
    return clipped(wanted, period.begin, known)


def _ends(interval: Interval, period: ReportPeriod) -> tuple[str, str]:
    """As texts; at an instant both are that instant."""
    if period.instant:
        return moment_text(period.begin), moment_text(period.begin)
    return moment_text(interval.begin), moment_text(interval.end or period.end)


def _recorded(raw: Json) -> int:
    return micros(datetime.fromisoformat(raw["spec"]["recorded"]))


def _commit_text(commit: Json) -> str:
    when = f", enqueued {commit['enqueued']}" if commit.get("enqueued") else ""
    return f"job {commit['job']}{when}: {commit.get('description') or 'without description'}"


LIMITS: Sequence[str] = (
    "What applications say within a connection: rules by App-ID hold for ports here (enforced at L4).",
    "Encryption of the traffic, and who a user is.",
    "Other clusters, and networks behind the prefixes that zones are made of.",
    "Host-network pods one by one: they count as their node.",
    "Traffic that passes by the agents' hooks: `zonebridge check` says on which network plug-ins that may be.",
    "Times in which no bridge looked, which stand in their own section: nothing is carried over them.",
    "A segmentation test by somebody independent (PCI DSS 11.4.5): what was measured was tried by this product.",
    "Who approved a change: Panorama's administrators and descriptions are given as Panorama has them.",
    "Changes of the evidence by who can write to its database; `zonebridge verify-evidence` compares it with seals.",
)
