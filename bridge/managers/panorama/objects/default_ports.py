"""An application's `<default>`: its ports, IP protocols or ICMP types, and what of them has no L4 form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.etree.ElementTree import Element

from bridge.managers.panorama.rulebase.document import members, text_of
from zones.net import ICMP, ICMP6, SCTP, TCP, UDP, Ranges, parse_ports
from zones.rules import L4, Unresolved

PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP, "icmp": ICMP, "icmp6": ICMP6}
BYTE_LAST = 255  # of an IP protocol, of an ICMP type
# Ports of the same application inside decrypted TLS: nothing that is on the wire of a cluster.
WITHOUT_EFFECT = frozenset({"extended-port"})


def default_ports(entry: Element) -> tuple[tuple[L4, ...], tuple[Unresolved, ...]]:
    """An application's own traffic: what can be expressed, and the rest with what `k8s-widen` takes for it."""
    ports: list[L4] = []
    unresolved: list[Unresolved] = []
    for child in (child for default in entry.findall("default") for child in default):
        for text, read in _alternatives(child):
            try:
                ports.extend(read(text))
            except _Inexpressible as error:
                ports.extend(error.expressible)
                unresolved.append(Unresolved(text, str(error), error.widened))
            except (ValueError, KeyError):
                unresolved.append(Unresolved(text, f"has '{child.tag}' '{text}', which can't be read"))
    return tuple(dict.fromkeys(ports)), tuple(unresolved)


def _alternatives(child: Element) -> Iterator[tuple[str, Callable[[str], list[L4]]]]:
    if child.tag == "port":
        yield from ((text, port_member) for text in members(child))
    elif child.tag == "ident-by-ip-protocol":
        yield (child.text or "").strip(), _ip_protocols
    elif child.tag == "ident-by-icmp-type":
        yield _icmp_text(child), lambda text: _icmp(ICMP, text)
    elif child.tag == "ident-by-icmp6-type":
        yield _icmp_text(child), lambda text: _icmp(ICMP6, text)
    elif child.tag not in WITHOUT_EFFECT:
        yield child.tag, _unknown


class _Inexpressible(Exception):  # noqa: N818 - a finding, not an error
    """A part of a default has no L4 form; `expressible` is the rest of it."""

    def __init__(self, why: str, widened: tuple[L4, ...] = (), expressible: tuple[L4, ...] = ()) -> None:
        super().__init__(why)
        self.widened = widened
        self.expressible = expressible


def port_member(text: str) -> list[L4]:
    """`tcp/80,443`, `udp/dynamic`, `tcp/5000-5010,dynamic`, `icmp/8`, or a protocol that has no ports (`icmp`)."""
    name, slash, rest = text.partition("/")
    protocol = PROTOCOLS[name.strip().lower()]
    if not slash:
        return [L4(protocol)]
    if protocol in {ICMP, ICMP6}:
        return [L4(protocol)] if rest.strip() in {"any", "dynamic"} else _icmp(protocol, rest)
    parts = [part.strip() for part in rest.split(",")]
    fixed = [part for part in parts if part != "dynamic"]
    ports = (L4(protocol, parse_ports(",".join(fixed))),) if fixed else ()
    if len(fixed) < len(parts):
        raise _Inexpressible(f"uses {text}, which is no port", (L4(protocol),), ports)
    return list(ports)


def _ip_protocols(text: str) -> list[L4]:
    return [L4(number) for number in _bytes(text)]


def _bytes(text: str) -> Iterator[int]:
    """The numbers of `0,8` or `3-5`. Raises ValueError."""
    ranges: Ranges = parse_ports(text)
    for first, last in ranges.spans:
        if last > BYTE_LAST:
            raise ValueError(f"{last} is not within 0-{BYTE_LAST}")
        yield from range(first, last + 1)


def _icmp_text(child: Element) -> str:
    code = text_of(child, "code")
    return (text_of(child, "type") or (child.text or "").strip()) + (f"/{code}" if code else "")


def _icmp(protocol: int, text: str) -> list[L4]:
    types, slash, _ = text.partition("/")
    traffic = [L4(protocol, icmp_type=number) for number in _bytes(types)]
    if slash:
        raise _Inexpressible(f"has ICMP type and code {text}; this tier knows types only", tuple(traffic))
    return traffic


def _unknown(text: str) -> list[L4]:
    raise _Inexpressible(f"is known by '{text}', which this tier can't see")
