"""What an alert about denied packets says, one by one or many in one, and which packets are the same alert. Pure.

`enforcer.reports.alert_table` asks. A rule that denies to or from an external dynamic list makes a `blocklist-hit` of
it.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from enforcer.flows.flows import FlowEnd, NamedPacket, described, origin_json
from enforcer.rules.chains.verdict_chains import SPOOFED
from zones.canonical import blocklists_json
from zones.net import protocol_name
from zones.policy import Blocklists
from zones.siem.alerts import SEVERITIES, Alert, AlertKind, Severity
from zones.siem.records import Json, present

_OBSERVED = {AlertKind.DENIED_FLOW: Severity.LOW, AlertKind.BLOCKLIST_HIT: Severity.MEDIUM}


def by_flow(named: NamedPacket) -> Hashable:
    """One rule (and what it does), source workload, destination workload, port and protocol."""
    seen = named.seen
    ends = _identity(named.source), _identity(named.destination)
    return (seen.rule, *ends, named.port, seen.protocol, seen.icmp_type)


def by_source(named: NamedPacket) -> Hashable:
    """Who forges addresses, even a new one for each packet, is one source by his link."""
    return (named.seen.rule, named.seen.link if _is_forged(named) else _identity(named.source))


def by_zones(named: NamedPacket) -> Hashable:
    return (named.seen.rule, named.source.zone, named.destination.zone)


def of_flow(named: NamedPacket) -> Alert:
    port = "" if named.port is None else f"/{named.port}"
    what = f"{protocol_name(named.seen.protocol)}{port}"
    return _alert(named, f"{_who(named.source)} to {_who(named.destination)} {what}", described(named))


def of_source(named: NamedPacket) -> Alert:
    """Somebody tries many things at once."""
    if _is_forged(named):
        about = _in_common(named, source={"zone": named.source.zone})
        return _alert(named, f"many forged addresses on one link, {named.source.address} among them,", about)
    return _alert(named, f"many connections of {_who(named.source)}", _in_common(named, source=_workload(named.source)))


def of_zones(named: NamedPacket) -> Alert:
    source, destination = named.source.zone, named.destination.zone
    about = _in_common(named, source={"zone": source}, destination={"zone": destination})
    return _alert(named, f"many flows from zone {source} to zone {destination}", about)


def _alert(named: NamedPacket, who: str, about: Json) -> Alert:
    seen = named.seen
    did = "denied" if seen.enforced else "would be denied"
    message = f"{who} {did} by rule '{seen.origin.name}'{_listed(seen.blocklists)}"
    kind = AlertKind.BLOCKLIST_HIT if seen.blocklists else AlertKind.DENIED_FLOW
    return Alert(kind, message, seen.at, about, SEVERITIES[kind] if seen.enforced else _OBSERVED[kind])


def _listed(blocklists: Blocklists) -> str:
    """No more than is known: of several lists it may be any; a rule with other addresses may have matched by these."""
    names = ", ".join(f"'{name}'" for name in (*blocklists.sources, *blocklists.destinations))
    if not names:
        return ""
    return f", which blocks {names} and other addresses" if blocklists.mixed else f", which blocks {names}"


def _in_common(named: NamedPacket, **ends: Json) -> Json:
    """What many flows share."""
    seen = named.seen
    same: dict[str, Any] = {
        "rule": origin_json(seen.origin),
        "verdict": seen.verdict.value,
        "enforced": seen.enforced,
    }
    return ends | same | present(blocklists=blocklists_json(seen.blocklists))


def _who(end: FlowEnd) -> str:
    name = f"{end.namespace}/{end.workload}" if end.workload else end.node or str(end.address)
    return f"{name} (zone {end.zone})"


def _workload(end: FlowEnd) -> Json:
    """An end without what tells its pods apart."""
    if end.workload:
        return {"zone": end.zone, "namespace": end.namespace, "workload": end.workload}
    return present(zone=end.zone, address=str(end.address), node=end.node)


def _is_forged(named: NamedPacket) -> bool:
    return named.seen.origin == SPOOFED[0]


def _identity(end: FlowEnd) -> Hashable:
    return (end.namespace, end.workload) if end.workload else end.address
