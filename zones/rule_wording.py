"""How findings about a rule are told, in the administrator's words. Pure text."""

from __future__ import annotations

from collections.abc import Iterable

from zones.net import ALL_PORTS, ICMP, ICMP6, PROTOCOLS_WITH_PORTS, Ranges, protocol_name
from zones.rules import L4, AddressObject

PROVIDED = (
    "is a list that Palo Alto Networks provides to firewalls only; give its content offline with --prefixes, to the "
    "service with feeds.provided"
)
MOST_ALTERNATIVES = 8


def traffic_text(traffic: Iterable[L4]) -> str:
    """`tcp/80,443`, `udp/53`, `icmp type 8`, `protocol 47`, joined; `any port` of nothing in particular."""
    texts = list(dict.fromkeys(l4_text(l4) for l4 in merged(traffic)))
    if len(texts) > MOST_ALTERNATIVES:
        texts = [*texts[:MOST_ALTERNATIVES], f"{len(texts) - MOST_ALTERNATIVES} more"]
    return " and ".join(texts) or "any port"


def merged(traffic: Iterable[L4]) -> Iterable[L4]:
    """Alternatives that differ in nothing but their ports as one: tcp/80 and tcp/443 are tcp/80,443."""
    ports: dict[tuple[int, Ranges, int | None], Ranges] = {}
    for l4 in traffic:
        key = (l4.protocol, l4.source_ports, l4.icmp_type)
        ports[key] = ports.get(key, Ranges()) | l4.ports
    return (L4(protocol, ports_of, source, kind) for (protocol, source, kind), ports_of in ports.items())


def l4_text(l4: L4) -> str:
    """One alternative: `tcp/80 from port 1024-65535`, `any udp port`, `icmp type 8`, `protocol 47`."""
    name = protocol_name(l4.protocol)
    if l4.protocol in {ICMP, ICMP6}:
        return name if l4.icmp_type is None else f"{name} type {l4.icmp_type}"
    if l4.protocol not in PROTOCOLS_WITH_PORTS:
        return f"protocol {name}"
    ports = f"any {name} port" if l4.ports == ALL_PORTS else f"{name}/{l4.ports}"
    return ports if l4.source_ports == ALL_PORTS else f"{ports} from port {l4.source_ports}"


def hollow_text(side: str, member: AddressObject) -> str:
    return f"{side} '{member.name}' holds no address" + (f": {member.hint}" if member.hint else "")
