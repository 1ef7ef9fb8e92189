"""Guard rails: two zones between which rules may allow nothing, or little. `bridge.preview` judges by them."""

from __future__ import annotations

from dataclasses import dataclass

from zones.net import ALL_PORTS, PROTOCOLS_WITH_PORTS, parse_ports, protocol_number
from zones.rules import L4


@dataclass(frozen=True, slots=True)
class GuardRail:
    """Nothing may be allowed from one zone to the other, whatever rules say, but for `allowed`."""

    from_zone: str
    to_zone: str
    allowed: tuple[L4, ...] = ()


def parse_traffic(text: str) -> L4:
    """`tcp/443`, `udp/53,8000-8999`, `tcp`, `icmp`. Raises ValueError."""
    name, slash, ports = text.strip().lower().partition("/")
    try:
        protocol = protocol_number(name)
    except ValueError:
        raise ValueError(f"'{text}' is no traffic; write it as tcp/443") from None
    if slash and protocol not in PROTOCOLS_WITH_PORTS:
        raise ValueError(f"'{text}': {name} has no ports")
    return L4(protocol, parse_ports(ports) if slash else ALL_PORTS)
