"""Which rule decides a flow, and why each rule before it didn't. Pure over a compiled rulebase; `bridge.cli` asks.

It judges nothing itself: the verdict is `zones.verdict`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bridge.compilation.report import origin_json
from zones.compile import Compiled
from zones.net import AddressSet
from zones.policy import UNTRANSLATED_SERVICE, InfrastructureRule, Policy, Verdict
from zones.problems import RuleReport
from zones.rules import NO_LOG, Log, Origin
from zones.runtime.output import printable
from zones.verdict import Decision, Flow, Passed, UndeterminedError, decide, serves
from zones.zone import ISOLATED, QUARANTINE, Zoning

# How the command line names what `UndeterminedError` misses.
OPTIONS = {
    "source": "--source",
    "destination": "--destination",
    "port": "--port",
    "source port": "--source-port",
    "icmp type": "--icmp-type",
    "app": "--app",
    "source app": "--source-app",
    "app's namespace": "--app NAMESPACE/NAME",
    "source app's namespace": "--source-app NAMESPACE/NAME",
    "time": "--at",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict, the rule that gives it, its logging, and every rule passed over, in the rulebase's order."""

    verdict: str
    origin: Origin
    log: Log
    trace: tuple[Passed, ...]


def explain(compiled: Compiled, flow: Flow) -> Explanation:
    """The decision on a flow among all rules of the rulebase, those without an entry included.

    The configuration must not be refused. Raises UndeterminedError.
    """
    if compiled.policy is None:
        raise ValueError("a refused configuration decides nothing")
    decision = decide(compiled.policy, flow)
    trace = (*_infrastructure(compiled.policy, flow, decision), *_merged(compiled.reports, decision))
    return _explanation(decision, trace)


def untranslated(explanation: Explanation, flow: Flow, services: AddressSet, zoning: Zoning) -> Explanation:
    """The same where nothing translated the destination: what a pod sends to an address of Services is refused.

    Only infrastructure rules come before that. `services`: what the enforcers' setting serviceNetworks says.
    """
    if not is_untranslated(explanation.origin, flow, services, zoning):
        return explanation
    before = tuple(step for step in explanation.trace if step.origin.rulebase == "infrastructure")
    return Explanation(Verdict.RESET.value, UNTRANSLATED_SERVICE, NO_LOG, before)


def is_untranslated(origin: Origin, flow: Flow, services: AddressSet, zoning: Zoning) -> bool:
    """Whether the kernel refuses the flow as one to a Service, before the rule of the policy that would decide it."""
    destination, of_pod = flow.destination.address, flow.source.zone not in {zoning.nodes, *_of_networks(zoning)}
    to_service = destination is not None and destination in services
    return of_pod and to_service and origin.rulebase != "infrastructure"


def _of_networks(zoning: Zoning) -> Iterator[str]:
    yield zoning.outside
    yield from (zone for _, zone in zoning.networks)


def explain_policy(policy: Policy, flow: Flow) -> Explanation:
    """The same from the tier alone, where rules without an entry are not known. Raises UndeterminedError."""
    decision = decide(policy, flow)
    return _explanation(decision, (*_infrastructure(policy, flow, decision), *decision.trace))


def _explanation(decision: Decision, trace: tuple[Passed, ...]) -> Explanation:
    return Explanation(decision.verdict.value, decision.origin, decision.log, trace)


def _infrastructure(policy: Policy, flow: Flow, decision: Decision) -> Iterator[Passed]:
    for rule in policy.infrastructure:
        if rule.origin == decision.origin:
            return
        yield Passed(rule.origin, _why_not(rule, flow))


def _why_not(rule: InfrastructureRule, flow: Flow) -> str:
    if not rule.serves_isolated and ISOLATED in {flow.source.zone, flow.destination.zone}:
        return "not for a pod that claims a zone without right"
    if not rule.serves_isolated and QUARANTINE in {flow.source.zone, flow.destination.zone}:
        return "not for a pod in quarantine"
    if serves(rule, flow):
        raise ValueError(f"{rule.origin.name} serves the flow, so it was not passed over")
    return "it is not this traffic, or what was given doesn't tell"


def _merged(reports: tuple[RuleReport, ...], decision: Decision) -> Iterator[Passed]:
    """The reports up to the deciding rule: entries with why they don't match, the others with what became of them."""
    passed = iter(decision.trace)
    awaited = next(passed, None)
    for report in reports if decision.origin.rulebase != "infrastructure" else ():
        if awaited is not None and report.origin == awaited.origin:
            yield awaited
            awaited = next(passed, None)
        elif awaited is None and report.origin == decision.origin:
            return
        else:
            yield Passed(report.origin, "; ".join((report.status.value, *report.reasons)))


def missing_options(error: UndeterminedError) -> tuple[str, ...]:
    """The command line options that would settle it."""
    names = dict.fromkeys(name for joined in error.missing for name in joined.split(" and "))
    return tuple(OPTIONS.get(name, name) for name in names)


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """The stable form. Keys are only ever added."""
    log = explanation.log
    return {
        "verdict": explanation.verdict,
        "rule": origin_json(explanation.origin),
        "log": {"start": log.start, "end": log.end, "profile": log.profile},
        "trace": [{**origin_json(passed.origin), "why": passed.why} for passed in explanation.trace],
    }


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    """For people: what was passed over, then what decides."""
    for passed in explanation.trace:
        yield printable(f"  passed  {_place(passed.origin)}: {passed.why}")
    yield printable(f"{explanation.verdict}  by {_place(explanation.origin)}")


def _place(origin: Origin) -> str:
    where = f"{origin.rulebase} of {origin.device_group}" if origin.device_group else origin.rulebase
    return f"'{origin.name}' ({where})"
