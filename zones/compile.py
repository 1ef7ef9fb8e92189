"""Rulebase to policy: every rule becomes one entry or a reason why not, and the fail-closed rule is kept.

Pure: the same rulebase, zoning, options and feeds always give the same policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

from zones.conditions import Conditions, LeaveOut, RuleNotes
from zones.net import AddressSet
from zones.options import AppIdSide, CompileOptions, DenyByPorts, OnInexpressibleDeny
from zones.policy import NO_BLOCKLISTS, Blocklists, Entry, InfrastructureRule, Policy, Verdict
from zones.problems import RuleReport, RuleStatus
from zones.rules import (
    Action,
    Addresses,
    AddressObject,
    Application,
    FeedKind,
    Origin,
    Rule,
    Rulebase,
    RuleType,
    ServiceChoice,
    TargetFirewalls,
)
from zones.zone import Zoning

__all__ = [
    "TAG_EXPECTED",
    "TAG_IGNORE",
    "TAG_WIDEN",
    "AppIdSide",
    "CompileOptions",
    "Compiled",
    "DenyByPorts",
    "OnInexpressibleDeny",
    "compile_policy",
]

TAG_IGNORE = "k8s-ignore"
TAG_WIDEN = "k8s-widen"
TAG_EXPECTED = "k8s-expected"

_VERDICTS = {
    Action.ALLOW: Verdict.ALLOW,
    Action.DENY: Verdict.DENY,
    Action.DROP: Verdict.DENY,
    Action.RESET_CLIENT: Verdict.RESET,
    Action.RESET_SERVER: Verdict.RESET,
    Action.RESET_BOTH: Verdict.RESET,
}


class FeedUse(NamedTuple):
    """A feed as a rule draws on it: its content, None where it isn't known, and which kind of feed it is."""

    content: AddressSet | None
    is_list: bool
    is_provided: bool


class RuleOutcome(NamedTuple):
    """What became of one rule, and what that depended on beside the site's options."""

    rule: Rule
    feeds: tuple[FeedUse, ...]
    entry: Entry | None
    report: RuleReport


@dataclass(frozen=True, slots=True)
class Compiled:
    """The policy, or None where a rule refused the revision; and what became of every rule, in order.

    `options` and `outcomes` are for the next compilation, which needn't look again at rules that are the same.
    """

    policy: Policy | None
    reports: tuple[RuleReport, ...]
    options: CompileOptions = field(default_factory=CompileOptions, repr=False, compare=False)
    outcomes: Mapping[Origin, RuleOutcome] = field(default_factory=dict, repr=False, compare=False)

    @property
    def refusals(self) -> tuple[RuleReport, ...]:
        return tuple(report for report in self.reports if report.refuses)


def compile_policy(
    rulebase: Rulebase,
    zoning: Zoning,
    options: CompileOptions | None = None,
    infrastructure: tuple[InfrastructureRule, ...] = (),
    feeds: Mapping[str, AddressSet] | None = None,
    *,
    before: Compiled | None = None,
) -> Compiled:
    """The policy of a rulebase. `feeds`: the content of each FQDN and EDL that is known, by name.

    `before`, any earlier compilation, saves work and changes nothing.
    """
    options = options or CompileOptions()
    lists = frozenset(feed.name for feed in rulebase.feeds if feed.kind is not FeedKind.FQDN)
    provided = frozenset(feed.name for feed in rulebase.feeds if feed.kind is FeedKind.PROVIDED)
    compiler = _Compiler(options, feeds or {}, lists, provided)
    known = before.outcomes if before is not None and before.options == options else {}
    outcomes = [compiler.outcome(rule, known.get(rule.origin)) for rule in rulebase.rules]
    defaults = [compiler.default_rule(rule) for rule in (rulebase.intrazone, rulebase.interzone)]
    reports = (*[outcome.report for outcome in outcomes], *[report for _, report in defaults])
    policy: Policy | None = None
    if not any(report.refuses for report in reports):
        entries = (*[outcome.entry for outcome in outcomes], *[entry for entry, _ in defaults])
        policy = Policy(
            zoning, infrastructure, tuple([entry for entry in entries if entry is not None]), rulebase.zones
        )
    return Compiled(policy, reports, options, {outcome.rule.origin: outcome for outcome in outcomes})


@dataclass(frozen=True, slots=True)
class _Compiler:
    options: CompileOptions
    feeds: Mapping[str, AddressSet]
    lists: frozenset[str]
    provided: frozenset[str]

    def outcome(self, rule: Rule, known: RuleOutcome | None) -> RuleOutcome:
        """What becomes of a rule: as is known of one of its name, where that is the same and so are its feeds."""
        feeds = tuple(
            [FeedUse(self.feeds.get(feed), feed in self.lists, feed in self.provided) for feed in _feeds(rule)]
        )
        if known is not None and known.feeds == feeds:
            if known.rule is rule or known.rule == rule:
                return known
            if replace(known.rule, number=rule.number) == rule:
                return RuleOutcome(rule, feeds, known.entry, replace(known.report, number=rule.number))
        entry, report = self.rule(rule)
        return RuleOutcome(rule, feeds, entry, report)

    def rule(self, rule: Rule) -> tuple[Entry | None, RuleReport]:
        reason = self._not_applicable(rule)
        if reason is not None:
            return None, self._report(rule, RuleStatus.NOT_APPLICABLE, reason)
        if rule.action is None or rule.malformed:
            return None, self._skipped(rule, rule.malformed or ("it has no action",))
        refuse_ports = rule.action is not Action.ALLOW and self.options.deny_by_ports is DenyByPorts.REFUSE
        findings = RuleNotes(widen=self._widens(rule), refuse_ports=refuse_ports)
        try:
            entry = self._entry(rule, rule.action, findings)
        except LeaveOut as because:
            return None, self._skipped(rule, tuple(because.args))
        return entry, self._outcome(rule, findings)

    def default_rule(self, rule: Rule) -> tuple[Entry | None, RuleReport]:
        """A policy is total, so a default rule can't be left out: what can't be read of it refuses the revision."""
        if rule.action is None or rule.malformed:
            reasons = rule.malformed or ("it has no action",)
            return None, replace(self._report(rule, RuleStatus.NOT_ENFORCED, *reasons), refuses=True)
        return self.rule(rule)

    def _not_applicable(self, rule: Rule) -> str | None:
        if TAG_IGNORE in rule.tags:
            return f"it carries the tag {TAG_IGNORE}"
        if rule.disabled:
            return "it is disabled"
        if rule.target is not None and not _targets(rule.target, self.options.serial):
            return "it is for other firewalls (target)"
        if self.options.cluster_zones is not None and not _concerns(rule, self.options.cluster_zones):
            return "none of its zones is in this cluster"
        return None

    def _widens(self, rule: Rule) -> bool:
        if rule.action in {None, Action.ALLOW}:
            return False
        return TAG_WIDEN in rule.tags or self.options.inexpressible_deny is OnInexpressibleDeny.WIDEN

    def _entry(self, rule: Rule, action: Action, findings: RuleNotes) -> Entry | None:
        conditions = Conditions(self.options.app_id_side, self.feeds, self.provided)
        conditions.narrowing(rule, findings)
        schedule = conditions.schedule(rule, findings)
        sources = conditions.addresses(rule.sources, "source", findings)
        destinations = conditions.addresses(rule.destinations, "destination", findings)
        traffic = tuple(dict.fromkeys(conditions.traffic(rule, findings)))
        if findings.missing and action is not Action.ALLOW:
            raise LeaveOut(*findings.missing)
        if not (sources and destinations and traffic):
            if findings.missing:
                raise LeaveOut(*findings.missing)
            return None
        return Entry(
            origin=rule.origin,
            verdict=_VERDICTS[action],
            pairing=rule.rule_type,
            from_zones=rule.from_zones,
            to_zones=rule.to_zones,
            sources=sources,
            destinations=destinations,
            traffic=traffic,
            schedule=schedule,
            log=rule.log,
            feeds=_feeds(rule),
            blocklists=NO_BLOCKLISTS if action is Action.ALLOW else self._blocklists(rule, findings),
            expected=TAG_EXPECTED in rule.tags,
        )

    def _blocklists(self, rule: Rule, findings: RuleNotes) -> Blocklists:
        """A negated list is none that the rule denies to; what is widened may match without being in any."""
        sources, destinations = self._lists(rule.sources), self._lists(rule.destinations)
        sides = ((rule.sources, sources), (rule.destinations, destinations))
        mixed = any(names and not all(map(self._is_list, side.members)) for side, names in sides)
        return Blocklists(sources, destinations, mixed=mixed or bool(findings.widened and (sources or destinations)))

    def _lists(self, side: Addresses) -> tuple[str, ...]:
        if side.any or side.negate:
            return ()
        return tuple(dict.fromkeys(name for member in side.members for name in member.feeds if name in self.lists))

    def _is_list(self, member: AddressObject) -> bool:
        """Whether it is nothing but external lists."""
        return not member.space and self.lists.issuperset(member.feeds)

    def _skipped(self, rule: Rule, reasons: tuple[str, ...]) -> RuleReport:
        if rule.action is Action.ALLOW:
            return self._report(rule, RuleStatus.NOT_ENFORCED, *reasons, notes=_tag_notes(rule))
        if rule.action is not None and self.options.inexpressible_deny is OnInexpressibleDeny.IGNORE:
            return self._report(rule, RuleStatus.NOT_ENFORCED, *reasons, "this site ignores a deny it can't express")
        return replace(self._report(rule, RuleStatus.NOT_ENFORCED, *reasons), refuses=True)

    def _outcome(self, rule: Rule, findings: RuleNotes) -> RuleReport:
        widened = [f"blocks more than written: {problem}" for problem in findings.widened]
        reasons = (*findings.missing, *widened, *findings.empty)
        reduced = tuple(dict.fromkeys(findings.at_l4))
        less = rule.services is ServiceChoice.ANY and not rule.applications.any
        notes = (
            *(note for member in rule.applications.members if (note := _namespace_note(member))),
            *_tag_notes(rule),
        )
        if rule.action is Action.ALLOW:
            notes = (*(f"{what} is enforced as {became}" for what, became in reduced), *notes)
        else:
            reasons += tuple(
                f"{what} blocks {became} whatever the application: more than written"
                + (", and on other ports nothing" if less else "")
                for what, became in reduced
            )
        status = RuleStatus.ENFORCED_AT_L4 if findings.at_l4 else RuleStatus.ENFORCED
        return self._report(rule, RuleStatus.ENFORCED_IN_PART if findings.missing else status, *reasons, notes=notes)

    def _report(self, rule: Rule, status: RuleStatus, *reasons: str, notes: tuple[str, ...] = ()) -> RuleReport:
        action = rule.action.value if rule.action else "?"
        malformed = rule.action is None or bool(rule.malformed)
        return RuleReport(
            rule.origin,
            action,
            status,
            reasons,
            malformed=malformed,
            notes=notes,
            without_effect=rule.notes,
            number=rule.number,
        )


def _tag_notes(rule: Rule) -> tuple[str, ...]:
    tagged = TAG_WIDEN in rule.tags and rule.action is Action.ALLOW
    return (f"{TAG_WIDEN} has no effect on an allow",) if tagged else ()


def _namespace_note(application: Application) -> str:
    if not application.namespaces:
        return ""
    names = " and ".join(f"'{namespace}'" for namespace in application.namespaces)
    return f"application '{application.name}' is workload '{application.workload}' of namespace {names} alone"


def _targets(target: TargetFirewalls, serial: str | None) -> bool:
    return (serial in target.serials) != target.negate


def _concerns(rule: Rule, cluster_zones: frozenset[str]) -> bool:
    """Every flow in a cluster has a pod at one end, so a rule concerns it where one of its sides can be here."""
    sides = [rule.from_zones] if rule.rule_type is RuleType.INTRAZONE else [rule.from_zones, rule.to_zones]
    # A side without zones is malformed: it could be any.
    return any(not zones or zones & cluster_zones for zones in sides)


def _feeds(rule: Rule) -> tuple[str, ...]:
    members = chain(rule.sources.members, rule.destinations.members)
    return tuple(dict.fromkeys([name for member in members for name in member.feeds]))
