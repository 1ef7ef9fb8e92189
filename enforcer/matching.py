"""What an entry or infrastructure rule matches, in nft's words, told of the connection and never of the packet. Pure.

So replies, and errors about a connection, are judged as it is. `Sets` gathers the named sets, shared by content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from enforcer.family import Family, address_text, family_of, span_texts
from enforcer.table import NamedSet, remark
from zones.canonical import digest
from zones.inventory import Node, Pod
from zones.net import ALL_PORTS, ANY_ADDRESS, PROTOCOLS_WITH_PORTS, AddressSet, IPAddress, Ranges
from zones.policy import ANYONE, Entry, InfrastructureRule, Peer, Traffic

_NAME_DIGITS = 12
_CLIENT = "original"
_SERVER = "reply"  # the server as it really answers, after Service translation

Holders = Iterable[tuple[IPAddress, Pod | Node]]


@dataclass(frozen=True, slots=True)
class Sets:
    """The named sets that conditions have asked for so far. `holders`: who has which address."""

    holders: Holders
    node_name: str
    made: dict[str, NamedSet] = field(default_factory=dict)
    _by_workload: dict[str, list[IPAddress]] = field(default_factory=dict)
    _by_peer: dict[tuple[Peer, bool], list[IPAddress]] = field(default_factory=dict)

    def addresses(self, family: Family, ranges: Ranges) -> str:
        name = f"net{family.value.number}-{short_digest(str(ranges))}"
        if name not in self.made:
            elements = dict.fromkeys(span_texts(family, ranges), "")
            self.made[name] = NamedSet(family.value.address_type, elements, interval=True)
        return name

    def ports(self, ports: Ranges) -> str:
        name = f"port-{short_digest(str(ports))}"
        elements = dict.fromkeys(str(ports).split(","), "")
        self.made.setdefault(name, NamedSet("inet_service", elements, interval=True))
        return name

    def workload(self, family: Family, workload: str) -> str:
        if not self._by_workload:
            self._index()
        held = self._by_workload.get(workload, [])
        return self._hosts(f"app{family.value.number}-{short_digest(workload)}", family, held, f"app {workload}")

    def peer(self, family: Family, peer: Peer, *, own_node: bool) -> str:
        content = [peer.nodes, _sorted(peer.namespaces), _sorted(peer.workloads), own_node]
        name = f"peer{family.value.number}-{short_digest(content)}"
        if name in self.made:
            return name
        held = self._members(peer, own_node=own_node)
        return self._hosts(name, family, held, _peer_text(peer, own_node=own_node))

    def _members(self, peer: Peer, *, own_node: bool) -> list[IPAddress]:
        if (peer, own_node) not in self._by_peer:
            here = (holder for holder in self.holders if not own_node or _node(holder[1]) == self.node_name)
            self._by_peer[peer, own_node] = [address for address, holder in here if _is(peer, holder)]
        return self._by_peer[peer, own_node]

    def _hosts(self, name: str, family: Family, held: Iterable[IPAddress], comment: str) -> str:
        if name not in self.made:
            elements = {address_text(address): "" for address in held if family_of(address) is family}
            self.made[name] = NamedSet(family.value.address_type, elements, comment=remark(comment))
        return name

    def _index(self) -> None:
        for address, holder in self.holders:
            if isinstance(holder, Pod):
                self._by_workload.setdefault(holder.workload, []).append(address)


def of_entry(entry: Entry, family: Family, sets: Sets) -> tuple[str, ...]:
    """The entry's alternatives; an empty one always holds, none at all means that the entry can't match this family."""
    source = _address(entry.sources, _CLIENT, family, sets)
    destination = _address(entry.destinations, _SERVER, family, sets)
    if source is None or destination is None:
        return ()
    return tuple(_joined(each, source, destination) for each in _alternatives(entry.traffic, family, sets))


def of_infrastructure(rule: InfrastructureRule, family: Family, sets: Sets) -> tuple[str, ...]:
    source = _peer(rule.source, _CLIENT, family, sets, own_node=rule.own_node)
    destination = _peer(rule.destination, _SERVER, family, sets, own_node=rule.own_node)
    return tuple(_joined(each, source, destination) for each in _alternatives(rule.traffic, family, sets))


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _address(space: AddressSet, side: str, family: Family, sets: Sets) -> str | None:
    ranges = family.spans(space)
    if space == ANY_ADDRESS or ranges == family.everything:
        return ""
    if not ranges:
        return None
    alone = len(ranges.spans) == 1
    where = next(span_texts(family, ranges)) if alone else f"@{sets.addresses(family, ranges)}"
    return f"ct {side} {family.value.header} saddr {where}"


def _peer(peer: Peer, side: str, family: Family, sets: Sets, *, own_node: bool) -> str:
    if peer == ANYONE and not own_node:
        return ""
    return f"ct {side} {family.value.header} saddr @{sets.peer(family, peer, own_node=own_node)}"


def _alternatives(traffic: Iterable[Traffic], family: Family, sets: Sets) -> Iterator[str]:
    for each in traffic:
        workloads = _joined(*_workloads(each, family, sets))
        for protocol in _protocols(each, family, sets.ports):
            yield _joined(protocol, workloads)


def _workloads(traffic: Traffic, family: Family, sets: Sets) -> Iterator[str]:
    for side, workload in ((_CLIENT, traffic.source_workload), (_SERVER, traffic.destination_workload)):
        if workload is not None:
            yield f"ct {side} {family.value.header} saddr @{sets.workload(family, workload)}"


def _protocols(traffic: Traffic, family: Family, named: Callable[[Ranges], str]) -> Iterator[str]:
    has_ports = traffic.ports != ALL_PORTS or traffic.source_ports != ALL_PORTS
    if traffic.icmp_type is not None:
        if traffic.protocol in {None, family.value.icmp} and not has_ports:
            yield _icmp(family, traffic.icmp_type)
    elif has_ports:
        if traffic.ports and traffic.source_ports:
            for number in _protocols_with_ports(traffic.protocol):
                server = _port(_SERVER, traffic.ports, named)
                yield _joined(_protocol(family, number), server, _port(_CLIENT, traffic.source_ports, named))
    elif traffic.protocol is None:
        yield ""
    else:
        yield f"ct original protocol {traffic.protocol}"


def _protocols_with_ports(number: int | None) -> Iterable[int]:
    return sorted(PROTOCOLS_WITH_PORTS if number is None else PROTOCOLS_WITH_PORTS & {number})


def _protocol(family: Family, number: int) -> str:
    """What nft must be told before it knows that a connection has ports."""
    return f"meta nfproto {family.value.protocol} ct original protocol {number}"


def _port(side: str, ports: Ranges, named: Callable[[Ranges], str]) -> str:
    if ports == ALL_PORTS:
        return ""
    return f"ct {side} proto-src {ports if len(ports.spans) == 1 else f'@{named(ports)}'}"


def _icmp(family: Family, icmp_type: int) -> str:
    """Connections of ICMP have type and code where others have the destination port."""
    first = icmp_type << 8
    return f"{_protocol(family, family.value.icmp)} ct original proto-dst {first}-{first | 0xFF}"


def _is(peer: Peer, holder: Pod | Node) -> bool:
    namespace, workload = (holder.namespace, holder.workload) if isinstance(holder, Pod) else ("", "")
    if peer.nodes and not isinstance(holder, Node):
        return False
    if peer.namespaces is not None and namespace not in peer.namespaces:
        return False
    return peer.workloads is None or workload in peer.workloads


def _node(holder: Pod | Node) -> str:
    return holder.node if isinstance(holder, Pod) else holder.name


def _peer_text(peer: Peer, *, own_node: bool) -> str:
    parts = ["nodes" if peer.nodes else "pods and nodes" if peer == ANYONE else "pods"]
    parts += [f"of namespaces {_listed(peer.namespaces)}"] if peer.namespaces is not None else []
    parts += [f"of workloads {_listed(peer.workloads)}"] if peer.workloads is not None else []
    return " ".join([*parts, "on this node"] if own_node else parts)


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _sorted(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def short_digest(content: object) -> str:
    """A name's part that tells content apart."""
    return digest(content)[:_NAME_DIGITS]
