"""Rulebase to policy: every rule becomes one entry or a reason why not, and the fail-closed rule is kept.

Pure: the same rulebase, zoning, options and feeds always give the same policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain

from zones.net import ANY_ADDRESS, NO_ADDRESS, TCP, UDP, AddressSet, union
from zones.policy import ANY_TRAFFIC, NO_BLOCKLISTS, Blocklists, Entry, InfrastructureRule, Policy, Traffic, Verdict
from zones.problems import RuleReport, Status
from zones.rules import (
    L4,
    Action,
    Addresses,
    AddressObject,
    Application,
    FeedKind,
    Rule,
    Rulebase,
    RuleType,
    Service,
    ServiceChoice,
    Target,
    Unresolved,
)
from zones.schedule import Schedule
from zones.wording import PROVIDED, hollow_text, traffic_text
from zones.workload import in_namespace
from zones.zone import Zoning

TAG_IGNORE = "k8s-ignore"
TAG_WIDEN = "k8s-widen"

_VERDICTS = {
    Action.ALLOW: Verdict.ALLOW,
    Action.DENY: Verdict.DENY,
    Action.DROP: Verdict.DENY,
    Action.RESET_CLIENT: Verdict.RESET,
    Action.RESET_SERVER: Verdict.RESET,
    Action.RESET_BOTH: Verdict.RESET,
}


class AppIdSide(StrEnum):
    """Which end of a flow a workload application names."""

    DESTINATION = "destination"
    SOURCE = "source"
    EITHER = "either"


class DenyByPorts(StrEnum):
    """What a site does with a deny of a predefined App-ID, which can only block ports, whatever the application."""

    APPLY = "apply"
    REFUSE = "refuse"


class OnInexpressibleDeny(StrEnum):
    """What a site does with a deny that can't be expressed and carries no tag that decides."""

    REFUSE = "refuse"
    WIDEN = "widen"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Options:
    """What a site settles for all rules.

    `serial`: the cluster's declared identity, which answers `target`. `cluster_zones`: the zones this cluster has;
    None counts every zone.
    """

    serial: str | None = None
    cluster_zones: frozenset[str] | None = None
    app_id_side: AppIdSide = AppIdSide.DESTINATION
    inexpressible_deny: OnInexpressibleDeny = OnInexpressibleDeny.REFUSE
    deny_by_ports: DenyByPorts = DenyByPorts.APPLY


@dataclass(frozen=True, slots=True)
class Compiled:
    """The policy, or None where a rule refused the revision; and what became of every rule, in order."""

    policy: Policy | None
    reports: tuple[RuleReport, ...]

    @property
    def refusals(self) -> tuple[RuleReport, ...]:
        return tuple(report for report in self.reports if report.refuses)


class _LeaveOut(Exception):  # noqa: N818 - a decision, not an error
    """The rule is left out (an allow) or refuses the revision (a deny)."""


@dataclass(slots=True)
class _Findings:
    """What is learnt about one rule on the way: parts left out, and what App-IDs became.

    `refuse_ports`: a deny by an App-ID's ports counts as one that can't be expressed.
    """

    widen: bool
    refuse_ports: bool = False
    missing: list[str] = field(default_factory=list)
    widened: list[str] = field(default_factory=list)
    at_l4: list[tuple[str, str]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def compile_policy(
    rulebase: Rulebase,
    zoning: Zoning,
    options: Options | None = None,
    infrastructure: tuple[InfrastructureRule, ...] = (),
    feeds: Mapping[str, AddressSet] | None = None,
) -> Compiled:
    """The policy of a rulebase. `feeds`: the content of each FQDN and EDL that is known, by name."""
    lists = frozenset(feed.name for feed in rulebase.feeds if feed.kind is not FeedKind.FQDN)
    provided = frozenset(feed.name for feed in rulebase.feeds if feed.kind is FeedKind.PROVIDED)
    compiler = _Compiler(options or Options(), feeds or {}, lists, provided)
    outcomes = [compiler.rule(rule) for rule in rulebase.rules]
    outcomes += [compiler.default_rule(rule) for rule in (rulebase.intrazone, rulebase.interzone)]
    reports = tuple(report for _, report in outcomes)
    if any(report.refuses for report in reports):
        return Compiled(None, reports)
    entries = tuple(entry for entry, _ in outcomes if entry is not None)
    return Compiled(Policy(zoning, infrastructure, entries, rulebase.zones), reports)


@dataclass(frozen=True, slots=True)
class _Compiler:
    options: Options
    feeds: Mapping[str, AddressSet]
    lists: frozenset[str]
    provided: frozenset[str]

    def rule(self, rule: Rule) -> tuple[Entry | None, RuleReport]:
        reason = self._not_applicable(rule)
        if reason is not None:
            return None, self._report(rule, Status.NOT_APPLICABLE, reason)
        if rule.action is None or rule.malformed:
            return None, self._left_out(rule, rule.malformed or ("it has no action",))
        refuse_ports = rule.action is not Action.ALLOW and self.options.deny_by_ports is DenyByPorts.REFUSE
        findings = _Findings(widen=self._widens(rule), refuse_ports=refuse_ports)
        try:
            entry = self._entry(rule, rule.action, findings)
        except _LeaveOut as because:
            return None, self._left_out(rule, tuple(because.args))
        return entry, self._outcome(rule, findings)

    def default_rule(self, rule: Rule) -> tuple[Entry | None, RuleReport]:
        """A policy is total, so a default rule can't be left out: what can't be read of it refuses the revision."""
        if rule.action is None or rule.malformed:
            reasons = rule.malformed or ("it has no action",)
            return None, replace(self._report(rule, Status.NOT_ENFORCED, *reasons), refuses=True)
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

    def _entry(self, rule: Rule, action: Action, findings: _Findings) -> Entry | None:
        self._narrowing(rule, findings)
        schedule = self._schedule(rule, findings)
        sources = self._addresses(rule.sources, "source", findings)
        destinations = self._addresses(rule.destinations, "destination", findings)
        traffic = tuple(dict.fromkeys(self._traffic(rule, findings)))
        if findings.missing and action is not Action.ALLOW:
            raise _LeaveOut(*findings.missing)
        if not (sources and destinations and traffic):
            if findings.missing:
                raise _LeaveOut(*findings.missing)
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
        )

    def _blocklists(self, rule: Rule, findings: _Findings) -> Blocklists:
        """A negated list is none that the rule denies to; what is widened may match without being in any."""
        sources, destinations = self._lists(rule.sources), self._lists(rule.destinations)
        sides = ((rule.sources, sources), (rule.destinations, destinations))
        mixed = any(names and not all(map(self._is_list, side.members)) for side, names in sides)
        return Blocklists(sources, destinations, mixed=mixed or bool(findings.widened and (sources or destinations)))

    def _lists(self, side: Addresses) -> tuple[str, ...]:
        if side.any or side.negate:
            return ()
        return tuple(dict.fromkeys(name for each in side.members for name in each.feeds if name in self.lists))

    def _is_list(self, member: AddressObject) -> bool:
        """Whether it is nothing but external lists."""
        return not member.space and self.lists.issuperset(member.feeds)

    def _narrowing(self, rule: Rule, findings: _Findings) -> None:
        if not rule.conditions:
            return
        if not findings.widen:
            raise _LeaveOut(*rule.conditions)
        findings.widened.extend(rule.conditions)

    def _schedule(self, rule: Rule, findings: _Findings) -> Schedule | None:
        if not isinstance(rule.schedule, Unresolved):
            return rule.schedule
        why = f"schedule '{rule.schedule.name}' {rule.schedule.why}"
        if not findings.widen:
            raise _LeaveOut(why)
        findings.widened.append(why)
        return None

    def _addresses(self, addresses: Addresses, side: str, findings: _Findings) -> AddressSet:
        if addresses.any:
            if addresses.negate:
                findings.empty.append(f"its {side} is not any, which is nothing")
            return NO_ADDRESS if addresses.negate else ANY_ADDRESS
        members = [self._filled(member) for member in addresses.members]
        problems = [f"{side} '{u.name}' {u.why}" for member in members for u in member.unresolved]
        if problems and findings.widen:
            findings.widened.extend(problems)
            return ANY_ADDRESS
        hollow = [hollow_text(side, m) for m in members if m.hollow or not (m.space or m.unresolved)]
        if addresses.negate and (problems or hollow):
            return self._negated_hollow([*problems, *hollow], findings)
        findings.missing.extend(problems)
        space = union(member.space for member in members)
        if addresses.negate:
            space = space.complement()
            if not space:
                findings.empty.append(f"its {side} is outside of every address, which is nothing")
        elif not space and not problems:
            findings.empty.extend(hollow or [f"its {side} holds no address"])
        return space

    def _negated_hollow(self, problems: list[str], findings: _Findings) -> AddressSet:
        if not findings.widen:
            raise _LeaveOut(*(f"{problem}, and the list is negated" for problem in problems))
        findings.widened.extend(problems)
        return ANY_ADDRESS

    def _filled(self, member: AddressObject) -> AddressObject:
        """The member with its feeds' content put in; an unknown feed is an unresolved part of it."""
        if not member.feeds:
            return member
        known = [self.feeds[name] for name in member.feeds if name in self.feeds]
        unknown = tuple(Unresolved(name, self._unknown_feed(name)) for name in member.feeds if name not in self.feeds)
        return replace(
            member,
            space=union([member.space, *known]),
            unresolved=member.unresolved + unknown,
            hollow=member.hollow or not all(known),
        )

    def _unknown_feed(self, name: str) -> str:
        return PROVIDED if name in self.provided else "has not been resolved"

    def _traffic(self, rule: Rule, findings: _Findings) -> Iterator[Traffic]:
        services = rule.services
        explicit = None if isinstance(services, ServiceChoice) else self._services(services, findings)
        if rule.applications.any:
            yield from self._any_application(services, explicit, findings)
            return
        if not (rule.applications.members or rule.applications.unresolved):
            findings.empty.append("its application holds nothing")
        for member in rule.applications.unresolved:
            if self._unresolved_application(member, findings):
                yield from ANY_TRAFFIC if explicit is None else map(_traffic_of, explicit)
        for application in rule.applications.members:
            if application.disabled and rule.action is Action.ALLOW:
                findings.missing.append(f"application '{application.name}' is a disabled App-ID")
            else:
                yield from self._application(application, services, explicit, findings)

    def _any_application(
        self, services: ServiceChoice | tuple[Service, ...], explicit: list[L4] | None, findings: _Findings
    ) -> Iterator[Traffic]:
        if explicit is not None:
            yield from map(_traffic_of, explicit)
            return
        if services is ServiceChoice.APPLICATION_DEFAULT:
            self._reduced("any application on its default ports", "any port", findings)
        yield Traffic()

    def _unresolved_application(self, member: Unresolved, findings: _Findings) -> bool:
        """Whether the member widens to any application; otherwise it is a missing part."""
        problem = f"application '{member.name}' {member.why}"
        (findings.widened if findings.widen else findings.missing).append(problem)
        return findings.widen

    def _application(
        self,
        application: Application,
        services: ServiceChoice | tuple[Service, ...],
        explicit: list[L4] | None,
        findings: _Findings,
    ) -> Iterator[Traffic]:
        if application.workload is None:
            if explicit is not None or application.ports or findings.widen:
                became = traffic_text(application.ports if explicit is None else explicit)
                self._reduced(f"application '{application.name}'", became, findings)
            if explicit is not None:
                yield from map(_traffic_of, explicit)
            elif isinstance(services, ServiceChoice):
                yield from self._default_ports(application, findings)
            else:  # widened: the service that can't be expressed could be any port
                yield from ANY_TRAFFIC
            return
        if explicit is not None:
            traffic = [_traffic_of(l4) for l4 in explicit]
        elif services is ServiceChoice.APPLICATION_DEFAULT:
            has_ports = application.ports or application.unresolved
            traffic = list(self._default_ports(application, findings)) if has_ports else [Traffic(TCP), Traffic(UDP)]
        else:
            traffic = [Traffic()]
        for each in traffic:
            for workload in _workloads(application, application.workload):
                yield from self._sided(each, workload)

    def _reduced(self, what: str, became: str, findings: _Findings) -> None:
        """An App-ID became ports: more than written, which in a deny may be too much."""
        if findings.refuse_ports and not findings.widen:
            findings.missing.append(
                f"{what} can only be blocked as {became}, whatever the application (appId.denyByPorts)"
            )
        findings.at_l4.append((what, became))

    def _default_ports(self, application: Application, findings: _Findings) -> Iterator[Traffic]:
        yield from map(_traffic_of, application.ports)
        for member in application.unresolved:
            problem = f"application '{application.name}' {member.why}"
            if findings.widen:
                findings.widened.append(problem)
                yield from map(_traffic_of, member.widened) if member.widened else ANY_TRAFFIC
            else:
                findings.missing.append(problem)

    def _sided(self, traffic: Traffic, workload: str) -> Iterator[Traffic]:
        if self.options.app_id_side is not AppIdSide.SOURCE:
            yield replace(traffic, destination_workload=workload)
        if self.options.app_id_side is not AppIdSide.DESTINATION:
            yield replace(traffic, source_workload=workload)

    def _services(self, services: tuple[Service, ...], findings: _Findings) -> list[L4] | None:
        """The services' alternatives; None is any, where a deny was widened."""
        problems = [f"service '{member.name}' {member.why}" for service in services for member in service.unresolved]
        if problems and findings.widen:
            findings.widened.extend(problems)
            return None
        findings.missing.extend(problems)
        traffic = [l4 for service in services for l4 in service.traffic]
        if not traffic and not problems:
            findings.empty.append("its service holds no port")
        return traffic

    def _left_out(self, rule: Rule, reasons: tuple[str, ...]) -> RuleReport:
        if rule.action is Action.ALLOW:
            return self._report(rule, Status.NOT_ENFORCED, *reasons, notes=_tag_notes(rule))
        if rule.action is not None and self.options.inexpressible_deny is OnInexpressibleDeny.IGNORE:
            return self._report(rule, Status.NOT_ENFORCED, *reasons, "this site ignores a deny it can't express")
        return replace(self._report(rule, Status.NOT_ENFORCED, *reasons), refuses=True)

    def _outcome(self, rule: Rule, findings: _Findings) -> RuleReport:
        widened = [f"blocks more than written: {problem}" for problem in findings.widened]
        reasons = (*findings.missing, *widened, *findings.empty)
        reduced = tuple(dict.fromkeys(findings.at_l4))
        less = rule.services is ServiceChoice.ANY and not rule.applications.any
        notes = (*(note for each in rule.applications.members if (note := _namespace_note(each))), *_tag_notes(rule))
        if rule.action is Action.ALLOW:
            notes = (*(f"{what} is enforced as {became}" for what, became in reduced), *notes)
        else:
            reasons += tuple(
                f"{what} blocks {became} whatever the application: more than written"
                + (", and on other ports nothing" if less else "")
                for what, became in reduced
            )
        status = Status.ENFORCED_AT_L4 if findings.at_l4 else Status.ENFORCED
        return self._report(rule, Status.ENFORCED_IN_PART if findings.missing else status, *reasons, notes=notes)

    def _report(self, rule: Rule, status: Status, *reasons: str, notes: tuple[str, ...] = ()) -> RuleReport:
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


def _workloads(application: Application, workload: str) -> tuple[str, ...]:
    """As rules name it: in each of its namespaces, or anywhere."""
    return tuple(in_namespace(each, workload) for each in application.namespaces) or (workload,)


def _namespace_note(application: Application) -> str:
    if not application.namespaces:
        return ""
    names = " and ".join(f"'{each}'" for each in application.namespaces)
    return f"application '{application.name}' is workload '{application.workload}' of namespace {names} alone"


def _targets(target: Target, serial: str | None) -> bool:
    return (serial in target.serials) != target.negate


def _concerns(rule: Rule, cluster_zones: frozenset[str]) -> bool:
    """Every flow in a cluster has a pod at one end, so a rule concerns it where one of its sides can be here."""
    sides = [rule.from_zones] if rule.rule_type is RuleType.INTRAZONE else [rule.from_zones, rule.to_zones]
    # A side without zones is malformed: it could be any.
    return any(not zones or zones & cluster_zones for zones in sides)


def _traffic_of(l4: L4) -> Traffic:
    return Traffic(l4.protocol, l4.ports, l4.source_ports, l4.icmp_type)


def _feeds(rule: Rule) -> tuple[str, ...]:
    members = chain(rule.sources.members, rule.destinations.members)
    return tuple(dict.fromkeys(name for member in members for name in member.feeds))
