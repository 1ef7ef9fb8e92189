"""The command line's words for a flow, as a flow. Pure; every wrong word is an InputError of one line."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime

from zones.net import (
    ICMP,
    ICMP6,
    PORT_LAST,
    PROTOCOL_NUMBERS,
    PROTOCOLS_WITH_PORTS,
    IPAddress,
    parse_address,
    protocol_number,
)
from zones.policy import InfrastructureRule
from zones.runtime.errors import InputError
from zones.verdict import Endpoint, Flow
from zones.workload import normalise, split_namespace
from zones.zone import Zoning

IPV6 = 6
PROTOCOL_LAST = 255
ICMP_TYPE_LAST = 255
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:)(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FlowQuestion:
    """What the user asks about, as typed. None is 'not given'."""

    protocol: str
    from_zone: str | None = None
    to_zone: str | None = None
    source: str | None = None
    destination: str | None = None
    port: int | None = None
    source_port: int | None = None
    icmp_type: int | None = None
    app: str | None = None
    source_app: str | None = None
    at: str | None = None


def flow_of(question: FlowQuestion, zoning: Zoning) -> Flow:
    """The flow between two zones that is asked about. Raises InputError."""
    if question.from_zone is None or question.to_zone is None:
        raise InputError("explain: --from-zone and --to-zone are needed with --panorama-config")
    source = _endpoint(question.from_zone, question.source, question.source_app, zoning, "--source")
    destination = _endpoint(question.to_zone, question.destination, question.app, zoning, "--destination")
    return between(question, source, destination)


def between(question: FlowQuestion, source: Endpoint, destination: Endpoint) -> Flow:
    """The flow between two known ends. Raises InputError."""
    addresses = [end.address for end in (source, destination) if end.address is not None]
    if len({address.version for address in addresses}) > 1:
        raise InputError("explain: --source and --destination are of different IP versions; give two of one")
    protocol = _protocol(question.protocol, addresses)
    if protocol not in PROTOCOLS_WITH_PORTS and (question.port, question.source_port) != (None, None):
        raise InputError(f"explain: protocol {question.protocol} has no ports; leave --port out")
    return Flow(
        source=source,
        destination=destination,
        protocol=protocol,
        port=_within("--port", question.port, PORT_LAST),
        source_port=_within("--source-port", question.source_port, PORT_LAST),
        icmp_type=_within("--icmp-type", question.icmp_type, ICMP_TYPE_LAST),
        at=None if question.at is None else instant(question.at),
    )


def as_infrastructure_sees_it(flow: Flow, rules: tuple[InfrastructureRule, ...]) -> Flow:
    """With the namespace of a destination whose name an infrastructure rule names: who asks for `coredns` means it.

    Unless he says another.
    """
    workload = flow.destination.workload if flow.destination.namespace is None else None
    for rule in rules:
        peer = rule.destination
        if workload and peer.workloads and workload in peer.workloads and peer.namespaces:
            return replace(flow, destination=replace(flow.destination, namespace=min(peer.namespaces)))
    return flow


def instant(text: str) -> datetime:
    """An RFC 3339 time; a leap second is the second before it. Raises InputError."""
    match = _RFC3339.fullmatch(text.strip())
    if match is not None:
        date, minute, second, fraction, offset = match.groups()
        offset = "+00:00" if offset in "Zz" else offset
        try:
            return datetime.fromisoformat(f"{date}T{minute}{min(second, '59')}{(fraction or '')[:7]}{offset}")
        except ValueError:
            pass
    raise InputError(f"--at '{text}' is no RFC 3339 time; write one like 2030-01-31T08:00:00Z")


def _endpoint(zone: str, address: str | None, app: str | None, zoning: Zoning, option: str) -> Endpoint:
    """`app`: a workload's name, or `namespace/name`. An end that is given as no workload is in no namespace."""
    namespace, workload = split_namespace("" if app is None else normalise(app))
    return Endpoint(
        zone=zone,
        address=None if address is None else _address(option, address),
        workload=None if app is None else workload,
        namespace=namespace or (None if workload else ""),
        is_node=zone == zoning.nodes,
    )


def _address(option: str, text: str) -> IPAddress:
    try:
        return parse_address(text)
    except ValueError:
        raise InputError(f"explain: {option} '{text}' is no IP address") from None


def _protocol(text: str, addresses: list[IPAddress]) -> int:
    """`icmp` between IPv6 addresses is ICMPv6."""
    try:
        number = protocol_number(text.lower())
    except ValueError:
        number = -1
    if not 0 <= number <= PROTOCOL_LAST:
        raise InputError(f"explain: --protocol '{text}' is not known; take one of {', '.join(PROTOCOL_NUMBERS)}")
    return ICMP6 if number == ICMP and any(address.version == IPV6 for address in addresses) else number


def _within(option: str, number: int | None, last: int) -> int | None:
    if number is not None and not 0 <= number <= last:
        raise InputError(f"explain: {option} {number} is not within 0-{last}")
    return number
