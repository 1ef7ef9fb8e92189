"""What an entry or infrastructure rule matches: clauses, and their text in nft's words. Pure.

Told of the connection and never of the packet, so replies, and errors about a connection, are judged as it is.
`Sets` gathers the named sets, shared by content.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from enforcer.rules.family import Family, SpanTexts, span_texts
from enforcer.rules.members.set_membership import RequestedSets
from enforcer.rules.references import InUse
from enforcer.rules.table import NamedSet, remark
from enforcer.rules.tree.clause import Clause, Dimension, Space, Spaces
from enforcer.rules.tree.splits import LONG
from zones.canonical import digest
from zones.net import ALL_PORTS, ANY_ADDRESS, ICMP, ICMP6, PROTOCOLS_WITH_PORTS, Ranges
from zones.policy import Entry, InfrastructureRule, Peer, Traffic

_NAME_DIGITS = 12
_WITHOUT_REFERENCES = 2  # the version of `marshal` in which equal values are equal bytes
_OF_HOSTS = "app", "peer"
_CLIENT = "original"
_SERVER = "reply"  # the server as it really answers, after Service translation


class Sets:
    """The named sets that conditions have asked for. `members`: the ones that hold pods and nodes, and whom.

    What was lent doesn't change any more: what is asked for afterwards is in another `members`.
    """

    def __init__(self, in_use: InUse | None = None) -> None:
        self.in_use = in_use or InUse()
        self.members = RequestedSets()
        self._lent = False
        self._texts = SpanTexts()

    @property
    def declared(self) -> Mapping[str, NamedSet]:
        """By name."""
        return self.in_use.sets

    def lend(self) -> RequestedSets:
        """Whom the sets hold by now, for good."""
        self._lent = True
        return self.members

    def forget(self, names: Collection[str]) -> None:
        """Of sets that are gone nobody is a member."""
        ours = [name for name in names if name.startswith(_OF_HOSTS)]
        if ours and self.members.concern(ours):
            self.members, self._lent = self.members.without(names), False

    def _own_members(self) -> RequestedSets:
        if self._lent:
            self.members, self._lent = self.members.without(()), False
        return self.members

    def addresses(self, family: Family, ranges: Ranges) -> str:
        name = f"net{family.value.number}-{_digest_of_ranges(ranges)}"
        if name not in self.declared:
            elements = self._texts.elements(family, ranges)
            self.in_use.add_set(name, NamedSet(family.value.address_type, elements, interval=True))
        return name

    def ports(self, ports: Ranges) -> str:
        name = f"port-{short_digest(str(ports))}"
        elements = dict.fromkeys(str(ports).split(","), "")
        self.in_use.add_set(name, NamedSet("inet_service", elements, interval=True))
        return name

    def workload(self, family: Family, workload: str) -> str:
        name = f"app{family.value.number}-{short_digest(workload)}"
        if self._is_new_of_hosts(name, family, f"app {workload}"):
            self._own_members().workload(family, workload, name)
        return name

    def peer(self, family: Family, peer: Peer, *, own_node: bool) -> str:
        content = [peer.nodes, _sorted(peer.namespaces), _sorted(peer.workloads), own_node]
        content += [sorted(peer.node_names)] if peer.node_names is not None else []
        name = f"peer{family.value.number}-{short_digest(content)}"
        if self._is_new_of_hosts(name, family, _peer_text(peer, own_node=own_node)):
            self._own_members().peer(family, peer, name, own_node=own_node)
        return name

    def ways(self, kind: str, type_: str, elements: Mapping[str, str], comment: str, *, interval: bool) -> str:
        """A verdict map from ports or addresses."""
        name = f"{kind}-{short_digest([type_, interval, elements])}"
        if name not in self.declared:
            declared = NamedSet(f"{type_} : verdict", elements, interval=interval, comment=remark(comment))
            self.in_use.add_set(name, declared)
        return name

    def ways_of_workloads(self, family: Family, ways: Mapping[str, str], comment: str) -> str:
        """A verdict map from the addresses of workloads' pods; `ways`: the element's tail by workload."""
        name = f"apps{family.value.number}-{short_digest(ways)}"
        if name not in self.declared:
            declared = NamedSet(f"{family.value.address_type} : verdict", {}, comment=remark(comment))
            self.in_use.add_set(name, declared, ways.values())
            for workload, tail in ways.items():
                self._own_members().workload(family, workload, name, tail)
        return name

    def _is_new_of_hosts(self, name: str, family: Family, comment: str) -> bool:
        """Whose elements are the members' own matter."""
        is_new = name not in self.declared
        if is_new:
            self.in_use.add_set(name, NamedSet(family.value.address_type, {}, comment=remark(comment)))
        return is_new


def of_entry(entry: Entry, family: Family, spaces: Spaces, target: Callable[[], str]) -> Iterator[Clause]:
    """The entry's alternatives in this family; none at all means that the entry can't match, and needs no target."""
    sources, destinations = family.spans(entry.sources), family.spans(entry.destinations)
    if sources and destinations:
        ends = _unless_all(sources, family.everything, spaces), _unless_all(destinations, family.everything, spaces)
        for traffic in entry.traffic:
            yield from _alternatives(traffic, family, spaces, target, ends)


def same_in_all_families(entry: Entry) -> bool:
    """Whether an entry's clauses are the same whatever the family."""
    anywhere = entry.sources == ANY_ADDRESS and entry.destinations == ANY_ADDRESS
    return anywhere and all(traffic.icmp_type is None for traffic in entry.traffic)


def of_infrastructure(rule: InfrastructureRule, family: Family, sets: Sets) -> tuple[str, ...]:
    """The rule's alternatives as text; an empty one always holds."""
    if not (family.spans(rule.source.addresses) and family.spans(rule.destination.addresses)):
        return ()
    source = _peer(rule.source, _CLIENT, family, sets, own_node=rule.own_node)
    destination = _peer(rule.destination, _SERVER, family, sets, own_node=rule.own_node)
    clauses = (clause for traffic in rule.traffic for clause in _alternatives(traffic, family, Spaces(), str))
    return tuple(_joined(condition(clause, family, sets), source, destination) for clause in clauses)


def by_address_alone(rule: InfrastructureRule, family: Family, sets: Sets) -> tuple[str, ...]:
    """What a connection has that the rule may concern whoever its ends are; nothing where a rule asks who they are."""
    peers = (rule.source, _CLIENT), (rule.destination, _SERVER)
    if rule.own_node or any(peer.names_holders for peer, _ in peers):
        return ()
    if not (family.spans(rule.source.addresses) and family.spans(rule.destination.addresses)):
        return ()
    condition_ = _joined(*(_peer_address(peer, side, family, sets) for peer, side in peers))
    return (condition_,) if condition_ else ()


def _alternatives(
    traffic: Traffic,
    family: Family,
    spaces: Spaces,
    target: Callable[[], str],
    ends: tuple[Space | None, Space | None] = (None, None),
) -> Iterator[Clause]:
    """A clause for each protocol that may have the ports."""
    rest = *ends, traffic.source_workload, traffic.destination_workload
    has_ports = traffic.ports != ALL_PORTS or traffic.source_ports != ALL_PORTS
    if traffic.icmp_type is not None:
        if traffic.protocol in {None, family.value.icmp} and not has_ports:
            first = traffic.icmp_type << 8
            yield Clause(target(), family.value.icmp, spaces.of(Ranges(((first, first | 0xFF),))), None, *rest)
    elif not has_ports:
        yield Clause(target(), traffic.protocol, None, None, *rest)
    elif traffic.ports and traffic.source_ports:
        ports = _unless_all(traffic.ports, ALL_PORTS, spaces)
        source_ports = _unless_all(traffic.source_ports, ALL_PORTS, spaces)
        for number in _protocols_with_ports(traffic.protocol):
            yield Clause(target(), number, ports, source_ports, *rest)


def _protocols_with_ports(number: int | None) -> Iterable[int]:
    return sorted(PROTOCOLS_WITH_PORTS if number is None else PROTOCOLS_WITH_PORTS & {number})


def _unless_all(ranges: Ranges, every: Ranges, spaces: Spaces) -> Space | None:
    return None if ranges == every else spaces.of(ranges)


def condition(clause: Clause, family: Family, sets: Sets) -> str:
    """What holds where the clause does, as text; empty where it always does."""
    return _joined(
        _protocol_text(clause, family),
        _port(clause, Dimension.PORT, sets),
        _port(clause, Dimension.SOURCE_PORT, sets),
        _workload(Dimension.CLIENT, clause.client, family, sets),
        _workload(Dimension.SERVER, clause.server, family, sets),
        _address(Dimension.SOURCE, clause.sources, family, sets),
        _address(Dimension.DESTINATION, clause.destinations, family, sets),
    )


def port_selector(dimension: Dimension, protocol: int) -> str:
    """Where a connection's port is; those of ICMP have type and code where others have the destination port."""
    if dimension is Dimension.SOURCE_PORT:
        return "ct original proto-src"
    return "ct original proto-dst" if protocol in {ICMP, ICMP6} else "ct reply proto-src"


def address_selector(dimension: Dimension, family: Family) -> str:
    """Where a connection's client or server is."""
    side = _CLIENT if dimension in {Dimension.CLIENT, Dimension.SOURCE} else _SERVER
    return f"ct {side} {family.value.header} saddr"


def protocol_test(protocol: int, family: Family, *, before_ports: bool = True) -> str:
    """With what nft must be told before it knows that a connection has ports."""
    return f"{f'meta nfproto {family.value.protocol} ' if before_ports else ''}ct original protocol {protocol}"


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _protocol_text(clause: Clause, family: Family) -> str:
    if clause.protocol is None:
        return ""
    has_ports = clause.ports is not None or clause.source_ports is not None
    return protocol_test(clause.protocol, family, before_ports=has_ports)


def _port(clause: Clause, dimension: Dimension, sets: Sets) -> str:
    space = clause.ports if dimension is Dimension.PORT else clause.source_ports
    if space is None:
        return ""
    if clause.protocol is None:
        raise ValueError(f"ports {space.ranges} without a protocol")
    alone = len(space.ranges.spans) == 1
    selector = port_selector(dimension, clause.protocol)
    return f"{selector} {space.ranges if alone else f'@{sets.ports(space.ranges)}'}"


def _workload(dimension: Dimension, name: str | None, family: Family, sets: Sets) -> str:
    return "" if name is None else f"{address_selector(dimension, family)} @{sets.workload(family, name)}"


def _address(dimension: Dimension, space: Space | None, family: Family, sets: Sets) -> str:
    if space is None:
        return ""
    alone = len(space.ranges.spans) == 1
    where = next(span_texts(family, space.ranges)) if alone else f"@{sets.addresses(family, space.ranges)}"
    return f"{address_selector(dimension, family)} {where}"


def _peer(peer: Peer, side: str, family: Family, sets: Sets, *, own_node: bool) -> str:
    address = _peer_address(peer, side, family, sets)
    if not (peer.names_holders or own_node):
        return address
    return _joined(f"ct {side} {family.value.header} saddr @{sets.peer(family, peer, own_node=own_node)}", address)


def _peer_address(peer: Peer, side: str, family: Family, sets: Sets) -> str:
    spans = family.spans(peer.addresses)
    if spans == family.everything:
        return ""
    where = next(span_texts(family, spans)) if len(spans.spans) == 1 else f"@{sets.addresses(family, spans)}"
    return f"ct {side} {family.value.header} saddr {where}"


def _peer_text(peer: Peer, *, own_node: bool) -> str:
    parts = ["nodes" if peer.nodes else "pods" if peer.names_holders else "pods and nodes"]
    parts += [_listed(peer.node_names)] if peer.node_names is not None else []
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


def _digest_of_ranges(ranges: Ranges) -> str:
    """Of a long list, as numbers: its text takes ten times as long to make."""
    if len(ranges.spans) <= LONG:
        return short_digest(str(ranges))
    return hashlib.sha256(marshal.dumps(ranges.spans, _WITHOUT_REFERENCES)).hexdigest()[:_NAME_DIGITS]
