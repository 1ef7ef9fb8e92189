"""The witness beside the product: what they see differently in one configuration, and the smallest case of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address

from bridge.errors import ConfigurationFileError
from bridge.managers.panorama.rulebase.rulebase import ReadOptions, read_scope
from bridge.managers.panorama.rulebase.tree import Ancestry, scope_of
from tests.oracle.naive import Naive
from tests.oracle.names import UnknownHierarchyError
from tests.oracle.shrink import pretty, shrink
from zones.compile import AppIdSide, CompileOptions, DenyByPorts, OnInexpressibleDeny, compile_policy
from zones.net import AddressSet
from zones.tiers import native
from zones.verdict import Endpoint, Flow, decide
from zones.workload import normalise
from zones.zone import Zoning


def same(value):
    return value


@dataclass(frozen=True)
class Fault:
    """What a broken product would do to its own input or output; nothing, unless a test wants to be caught."""

    config: Callable = same
    site: Callable = same
    rulebase: Callable = same
    policy: Callable = same


def compiled(config, some, fault):
    site = fault.site(some.site)
    registered = {address: frozenset(tags) for address, tags in site.registered.items()}
    ancestry = Ancestry(site.parents, flat=site.flat)
    scope = scope_of(fault.config(config), some.group, ancestors_win=site.ancestors_win, ancestry=ancestry)
    reading = ReadOptions(
        site.ancestors_win, site.time_zone, wildcard_top_down=site.wildcard_top_down, registered=registered
    )
    rulebase = read_scope(scope, reading)
    options = CompileOptions(
        serial=site.serial,
        cluster_zones=None if site.cluster_zones is None else frozenset(site.cluster_zones),
        app_id_side=AppIdSide(site.side),
        inexpressible_deny=OnInexpressibleDeny(site.inexpressible_deny),
        deny_by_ports=DenyByPorts(site.deny_by_ports),
    )
    feeds = {name: AddressSet.parse(prefixes) for name, prefixes in site.feeds.items()}
    result = compile_policy(fault.rulebase(rulebase), Zoning(), options, infrastructure=(), feeds=feeds)
    return result if result.policy is None else replace(result, policy=fault.policy(result.policy))


def reread(policy):
    rendered = native.render(policy, "t", 1)
    return native.parse(rendered.tier, {part["metadata"]["name"]: part for part in rendered.parts})


def end(zone, address, workload, namespace):
    """A pod, or what is none: that is in no namespace."""
    return Endpoint(zone, ip_address(address), normalise(workload), namespace if workload else "")


def asked(flow):
    return Flow(
        source=end(flow.from_zone, flow.source, flow.source_workload, flow.source_namespace),
        destination=end(flow.to_zone, flow.destination, flow.destination_workload, flow.destination_namespace),
        protocol=flow.protocol,
        port=flow.port,
        source_port=flow.source_port,
        icmp_type=flow.icmp_type,
        at=flow.at,
    )


def told(origin):
    """Where a default rule stands is nobody's business here: it may be overridden at several levels."""
    return origin.name, origin.rulebase, None if origin.rulebase == "default" else origin.device_group


def answer(policy, flow):
    decision = decide(policy, asked(flow))
    return decision.verdict.value, told(decision.origin), (decision.log.start, decision.log.end, decision.log.profile)


def disagreements(config, some, fault=Fault()):
    """What the witness and the product see differently: (what, what the witness says, what the product says)."""
    naive, result = read_by_the_witness(config, some), read_by_the_product(config, some, fault)
    if naive is None or result is None:
        if naive is not result:
            yield "hierarchy", "unknown" if naive is None else "known", "unknown" if result is None else "known"
        return
    reports = [(told(report.origin), report.status.value, report.refuses) for report in result.reports]
    for witness, product in zip(naive.statuses(), reports, strict=True):
        if witness != product:
            yield f"rule {witness[0]}", witness, product
    if any(refuses for _, _, refuses in naive.statuses()):
        if result.policy is not None:
            yield "policy", None, result.policy
        return
    yield from differing_verdicts(naive, some.flows, result.policy)


def read_by_the_witness(config, some):
    """None where nobody knows what the device group is under."""
    try:
        return Naive(config, some.group, some.site)
    except UnknownHierarchyError:
        return None


def read_by_the_product(config, some, fault):
    try:
        return compiled(config, some, fault)
    except ConfigurationFileError:
        return None


def differing_verdicts(naive, flows, policy):
    if policy.known_zones != naive.zones():
        yield "known zones", naive.zones(), policy.known_zones
    again = reread(policy)
    if again != policy:
        yield "policy read back", policy, again
    for flow in flows:
        witness = naive.decide(flow)
        if answer(policy, flow) != witness:
            yield f"{flow}", witness, answer(policy, flow)
        if answer(again, flow) != witness:
            yield f"read back: {flow}", witness, answer(again, flow)


def first_disagreement(config, some, fault=Fault()):
    return next(disagreements(config, some, fault), None)


def story(some):
    """The smallest configuration with the same disagreement, for whoever has to settle it."""
    found = first_disagreement(some.config, some)
    small = shrink(some.config, lambda config: first_disagreement(config, some) == found)
    return f"{found[0]}\n  naive:   {found[1]}\n  product: {found[2]}\n{some.group}, {some.site}\n{pretty(small)}"
