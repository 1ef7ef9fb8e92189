"""What a rule's conditions become: address sets, traffic, a schedule; and what of them can't be expressed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from zones.net import ANY_ADDRESS, NO_ADDRESS, TCP, UDP, AddressSet, union
from zones.options import AppIdSide
from zones.policy import ANY_TRAFFIC, Traffic
from zones.rule_wording import PROVIDED, hollow_text, traffic_text
from zones.rules import (
    L4,
    Action,
    Addresses,
    AddressObject,
    Application,
    Rule,
    Service,
    ServiceChoice,
    Unresolved,
)
from zones.schedule import Schedule
from zones.workload import in_namespace


class LeaveOut(Exception):  # noqa: N818 - a decision, not an error
    """The rule is left out (an allow) or refuses the revision (a deny)."""


@dataclass(slots=True)
class RuleNotes:
    """What is learnt about one rule on the way: parts left out, and what App-IDs became.

    `refuse_ports`: a deny by an App-ID's ports counts as one that can't be expressed.
    """

    widen: bool
    refuse_ports: bool = False
    missing: list[str] = field(default_factory=list)
    widened: list[str] = field(default_factory=list)
    at_l4: list[tuple[str, str]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Reads them. `feeds`: the content of each that is known, by name.

    `provided`: the names of those that only firewalls are given.
    """

    app_id_side: AppIdSide
    feeds: Mapping[str, AddressSet]
    provided: frozenset[str]

    def narrowing(self, rule: Rule, findings: RuleNotes) -> None:
        if not rule.conditions:
            return
        if not findings.widen:
            raise LeaveOut(*rule.conditions)
        findings.widened.extend(rule.conditions)

    def schedule(self, rule: Rule, findings: RuleNotes) -> Schedule | None:
        if not isinstance(rule.schedule, Unresolved):
            return rule.schedule
        why = f"schedule '{rule.schedule.name}' {rule.schedule.why}"
        if not findings.widen:
            raise LeaveOut(why)
        findings.widened.append(why)
        return None

    def addresses(self, addresses: Addresses, side: str, findings: RuleNotes) -> AddressSet:
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

    def _negated_hollow(self, problems: list[str], findings: RuleNotes) -> AddressSet:
        if not findings.widen:
            raise LeaveOut(*(f"{problem}, and the list is negated" for problem in problems))
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

    def traffic(self, rule: Rule, findings: RuleNotes) -> Iterator[Traffic]:
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
        self, services: ServiceChoice | tuple[Service, ...], explicit: list[L4] | None, findings: RuleNotes
    ) -> Iterator[Traffic]:
        if explicit is not None:
            yield from map(_traffic_of, explicit)
            return
        if services is ServiceChoice.APPLICATION_DEFAULT:
            self._reduced("any application on its default ports", "any port", findings)
        yield Traffic()

    def _unresolved_application(self, member: Unresolved, findings: RuleNotes) -> bool:
        """Whether the member widens to any application; otherwise it is a missing part."""
        problem = f"application '{member.name}' {member.why}"
        (findings.widened if findings.widen else findings.missing).append(problem)
        return findings.widen

    def _application(
        self,
        application: Application,
        services: ServiceChoice | tuple[Service, ...],
        explicit: list[L4] | None,
        findings: RuleNotes,
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
        for piece in traffic:
            for workload in _workloads(application, application.workload):
                yield from self._expand_app_side(piece, workload)

    def _reduced(self, what: str, became: str, findings: RuleNotes) -> None:
        """An App-ID became ports: more than written, which in a deny may be too much."""
        if findings.refuse_ports and not findings.widen:
            findings.missing.append(
                f"{what} can only be blocked as {became}, whatever the application (appId.denyByPorts)"
            )
        findings.at_l4.append((what, became))

    def _default_ports(self, application: Application, findings: RuleNotes) -> Iterator[Traffic]:
        yield from map(_traffic_of, application.ports)
        for member in application.unresolved:
            problem = f"application '{application.name}' {member.why}"
            if findings.widen:
                findings.widened.append(problem)
                yield from map(_traffic_of, member.widened) if member.widened else ANY_TRAFFIC
            else:
                findings.missing.append(problem)

    def _expand_app_side(self, traffic: Traffic, workload: str) -> Iterator[Traffic]:
        if self.app_id_side is not AppIdSide.SOURCE:
            yield replace(traffic, destination_workload=workload)
        if self.app_id_side is not AppIdSide.DESTINATION:
            yield replace(traffic, source_workload=workload)

    def _services(self, services: tuple[Service, ...], findings: RuleNotes) -> list[L4] | None:
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


def _workloads(application: Application, workload: str) -> tuple[str, ...]:
    """As rules name it: in each of its namespaces, or anywhere."""
    return tuple(in_namespace(namespace, workload) for namespace in application.namespaces) or (workload,)


def _traffic_of(l4: L4) -> Traffic:
    return Traffic(l4.protocol, l4.ports, l4.source_ports, l4.icmp_type)
