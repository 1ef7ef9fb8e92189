"""Service objects and groups: a name to protocols and ports."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from bridge.managers.panorama.rulebase.document import members, text_of
from bridge.managers.panorama.rulebase.shapes import misshapen
from bridge.managers.panorama.rulebase.tree import KIND_WORDS, Definition, ObjectScope, ambiguous, flatten
from zones.net import ALL_PORTS, SCTP, TCP, UDP, parse_ports
from zones.rules import L4, Service, Unresolved

KINDS = ("service", "service-group")
PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
# The two services that every PAN-OS predefines.
PREDEFINED = {"service-http": L4(TCP, parse_ports("80,8080")), "service-https": L4(TCP, parse_ports("443"))}


@dataclass(frozen=True, slots=True)
class KnownServices:
    """What names were found to stand for, and the members of each group. It holds no element."""

    members: dict[str, Service] = field(default_factory=dict)
    below: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def without(self, changed: set[str], stale: set[str]) -> KnownServices:
        """What of it still holds where the definitions of some names have `changed`, and `stale` are all above them."""
        return KnownServices(
            {name: member for name, member in self.members.items() if name not in stale},
            {name: below for name, below in self.below.items() if name not in changed},
        )


@dataclass(frozen=True, slots=True)
class ServiceObjects:
    """Looks service names up in a scope, once each. `known`: what needn't be looked up."""

    scope: ObjectScope
    known: KnownServices = field(default_factory=KnownServices)

    def member(self, name: str) -> Service:
        """What a rule's service member stands for. A circular group is the union of what else it holds."""
        if name not in self.known.members:
            self.known.members[name] = self._member(name)
        return self.known.members[name]

    def _member(self, name: str) -> Service:
        parts = [self._leaf(leaf) for leaf in flatten(name, self._group_members)]
        return Service(
            name,
            tuple(dict.fromkeys(l4 for part in parts for l4 in part.traffic)),
            tuple(dict.fromkeys(problem for part in parts for problem in part.unresolved)),
        )

    def _group_members(self, name: str) -> tuple[str, ...]:
        definitions = self._definitions(name)
        is_group = [definition.kind for definition in definitions] == ["service-group"] and name not in PREDEFINED
        well_formed = is_group and misshapen("service-group", definitions[0].entry) is None
        if not well_formed:
            return ()
        self.known.below[name] = below = members(definitions[0].entry.find("members"))
        return below

    def _definitions(self, name: str) -> tuple[Definition, ...]:
        return self.scope.definitions(name, KINDS)

    def _leaf(self, name: str) -> Service:
        definitions = self._definitions(name)
        if len(definitions) > 1:
            return _unresolved(name, ambiguous(definitions))
        if name in PREDEFINED and (not definitions or definitions[0].kind == "service-group"):
            return (
                _unresolved(name, _like_predefined(definitions[0]))
                if definitions
                else Service(name, (PREDEFINED[name],))
            )
        if not definitions:
            return _unresolved(name, "is defined nowhere")
        flaw = misshapen(definitions[0].kind, definitions[0].entry)
        if flaw is not None:
            return _unresolved(name, flaw)
        return _service(name, definitions[0].entry) if definitions[0].kind == "service" else Service(name)


def _like_predefined(group: Definition) -> str:
    return f"is both {KIND_WORDS[group.kind]} ({group.level}) and a service that every firewall has; rename the group"


def _service(name: str, entry: Element) -> Service:
    for protocol in entry.findall("protocol/*"):
        if protocol.tag not in PROTOCOLS:
            return _unresolved(name, f"has the protocol '{protocol.tag}', which this tier doesn't know")
        try:
            return Service(name, (_l4(protocol),))
        except ValueError as error:
            return _unresolved(name, f"can't be read: {error}")
    return _unresolved(name, "has no protocol")


def _l4(protocol: Element) -> L4:
    ports, source_ports = text_of(protocol, "port"), text_of(protocol, "source-port")
    if ports is None:
        raise ValueError("it has no port")
    return L4(
        PROTOCOLS[protocol.tag], parse_ports(ports), ALL_PORTS if source_ports is None else parse_ports(source_ports)
    )


def _unresolved(name: str, why: str) -> Service:
    return Service(name, unresolved=(Unresolved(name, why),))
