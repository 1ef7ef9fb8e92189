"""Denied packets and accepted connections made up for detectors."""

from ipaddress import ip_address, ip_network

from enforcer.flows.flows import FlowEnd, LoggedPacket, NamedPacket
from enforcer.rules.chains.verdict_chains import VerdictChain
from zones.net import TCP
from zones.policy import Entry, Policy, Verdict
from zones.rules import NO_LOG, Origin
from zones.seen import SeenEnd, SeenKey
from zones.zone import Zoning

DENY, ALLOW = Origin("no", "u-no", "pre", "dg"), Origin("yes", "u-yes", "pre", "dg")
PROMETHEUS = Origin("metrics", "u-metrics", "pre", "dg")


def pod(address="10.1.0.1", workload="web", zone="web", namespace="shop"):
    return FlowEnd(ip_address(address), zone, namespace, f"{workload}-{address}", workload, "n1")


def outside(address="203.0.113.9", zone="untrust"):
    return FlowEnd(ip_address(address), zone)


def denied(source=None, destination=None, port=80, protocol=TCP, origin=DENY, *, enforced=True):
    source, destination = source or pod(), destination or pod("10.1.0.2", "db", "data")
    chain = VerdictChain(origin, Verdict.DENY, NO_LOG, enforced=enforced)
    seen = LoggedPacket(0.0, 60, chain, None, "r", source.address, destination.address, protocol, 40000, port)
    return NamedPacket(seen, source, 40000, destination, port, "panorama", 1)


def accepted(address="203.0.113.9", workload="web", port=443, origin=ALLOW):
    source = SeenEnd("web", "shop", workload)
    return SeenKey(source, SeenEnd("untrust", network=ip_network(address)), TCP, port, origin, Verdict.ALLOW)


def policy(*entries):
    return Policy(Zoning(), (), tuple(entries))


def entry(origin=ALLOW, verdict=Verdict.ALLOW, **fields):
    return Entry(origin, verdict, **fields)
