"""What pods try by packets of their own making on a node at work, as data: docs/security.md lists it, word for word.

`test_denials_reach_the_siem.py` sends them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.enforcer import frames
from tests.enforcer.frames import ACK, FIN, SYN, ip

UNHEARD = "192.0.2.9"  # an address that nobody has
METADATA = "169.254.169.254"
PORT, VXLAN = 22, 8472
_MORE_FRAGMENTS = 0x2000


@dataclass(frozen=True, slots=True)
class Sent:
    """By whose stack, which packets, and the two ends that the record has to name."""

    pod: Any
    packets: Sequence[bytes]
    source: str
    destination: str


@dataclass(frozen=True, slots=True)
class WireAttempt:
    """`name` is the test's id. `make` is given the pods by name."""

    name: str
    who: str
    what: str
    rule: str
    make: Callable[[Any], Sent]

    @property
    def outcome(self) -> str:
        return f"denied and told as `{self.rule}`"


@dataclass(frozen=True, slots=True)
class StoppedAttempt:
    """What comes to no rule of ours, as the kernel itself drops it first: it reaches nobody, and has no record.

    It has a source port and content of its own.
    """

    name: str
    who: str
    what: str
    make: Callable[[Any], Sent]

    @property
    def outcome(self) -> str:
        return "stopped by the kernel itself, not told"


def udp(source: str, to: str, *, good: bool = True) -> bytes:
    return frames.datagram(source, to, b"not for you", port=PORT, good=good)


def tcp(source: str, to: str, flags: int) -> bytes:
    return ip(source, to, socket.IPPROTO_TCP, frames.tcp(source, to, 41_000, PORT, flags))


def icmp(source: str, to: str, kind: int, code: int, quoted: bytes = b"") -> bytes:
    return ip(source, to, socket.IPPROTO_ICMP, frames.icmp(kind, code, 0, quoted))


def icmp6(source: str, to: str, kind: int, *, hops: int) -> bytes:
    return ip(source, to, socket.IPPROTO_ICMPV6, frames.icmp6(source, to, kind, 0, data=bytes(32)), hops=hops)


def fragments(source: str, to: str) -> tuple[bytes, bytes]:
    """One datagram in two pieces; the port stands in the first alone."""
    body = frames.udp(source, to, 5000, PORT, b"x" * 40)
    first, last = body[:24], body[24:]
    return (
        ip(source, to, socket.IPPROTO_UDP, first, fragment=_MORE_FRAGMENTS),
        ip(source, to, socket.IPPROTO_UDP, last, fragment=len(first) // 8),
    )


def error_about_others(pods: Any) -> Sent:
    """`other` talks to `db`; `web`, which is no end of that, sends `db` an error that quotes it."""
    web, other, db = pods.web, pods.other, pods.db
    quoted = ip(db.ip, other.ip, socket.IPPROTO_TCP, frames.tcp(db.ip, other.ip, *pods.talk(), ACK))
    return Sent(web, (icmp(web.ip, db.ip, 3, 1, quoted),), web.ip, db.ip)


def _of_web(make: Callable[[str, str], bytes], *, v6: bool = False, to: str = "") -> Callable[[Any], Sent]:
    """From web's own address to db, or to an address."""

    def sent(pods: Any) -> Sent:
        source, other = (pods.web.ip6, pods.db.ip6) if v6 else (pods.web.ip, pods.db.ip)
        return Sent(pods.web, (make(source, to or other),), source, to or other)

    return sent


def _as(whose: Callable[[Any], str], *, v6: bool = False) -> Callable[[Any], Sent]:
    """By web, from an address that isn't its own."""

    def sent(pods: Any) -> Sent:
        source, db = whose(pods), pods.db.ip6 if v6 else pods.db.ip
        return Sent(pods.web, (udp(source, db),), source, db)

    return sent


def _between(source: str, target: str) -> Callable[[Any], Sent]:
    def sent(pods: Any) -> Sent:
        at, to = getattr(pods, source), getattr(pods, target)
        return Sent(at, (udp(at.ip, to.ip),), at.ip, to.ip)

    return sent


def from_the_tunnels_port(pods: Any) -> Sent:
    """To the port from which the other node's tunnel talks; what that says next would be the answer."""
    ends = pods.web.ip, pods.second.ip
    return Sent(pods.web, (frames.datagram(*ends, b"x", source_port=VXLAN, port=40_000),), *ends)


A_POD, RAW = "a pod", "a pod with `NET_RAW`"
NO_CONNECTION, LINK_LOCAL, BROADCAST = (
    f"infrastructure/{name}" for name in ("no-connection", "link-local", "broadcast")
)
SPOOFED, ROUTER, UNKNOWN = (f"infrastructure/{name}" for name in ("spoofed-address", "router-message", "unknown-pod"))

ATTEMPTS = (
    WireAttempt("pod-reaches-by-link-local", A_POD, "UDP to a link-local IPv6 address, as its node and its neighbours have one", LINK_LOCAL, _of_web(udp, v6=True, to="fe80::9")),
    WireAttempt("pod-asks-the-metadata-service", A_POD, "the cloud's metadata service at 169.254.169.254, which no `networks` names", LINK_LOCAL, _of_web(udp, to=METADATA)),
    WireAttempt("pod-calls-everybody", A_POD, "UDP to 255.255.255.255, which its node would take for its own (VXLAN)", BROADCAST, _of_web(udp, to="255.255.255.255")),
    WireAttempt("pod-calls-a-group", A_POD, "UDP to a group of its link, over IPv6", BROADCAST, _of_web(udp, v6=True, to="ff02::1")),
    WireAttempt("pod-calls-a-group-of-ipv4", A_POD, "the same over IPv4", BROADCAST, _of_web(udp, to="224.0.0.1")),
    WireAttempt("pod-calls-its-nodes-loopback", RAW, "UDP to 127.0.0.1 where the node routes that (`route_localnet`, as kube-proxy sets it)", LINK_LOCAL, _of_web(udp, to="127.0.0.1")),
    WireAttempt("pod-shadows-a-tunnel", A_POD, "UDP to another node from the port of the tunnel between them: where its own node hides it, the other's next packet would be the answer, and be read", "infrastructure/tunnel-port", from_the_tunnels_port),
    WireAttempt("pod-scans-by-fin", RAW, "a scan by FIN, without a connection", NO_CONNECTION, _of_web(lambda a, b: tcp(a, b, FIN))),
    WireAttempt("pod-scans-without-flags", RAW, "a scan by segments without any flag, over IPv6", NO_CONNECTION, _of_web(lambda a, b: tcp(a, b, 0), v6=True)),
    WireAttempt("pod-answers-what-nobody-asked", RAW, "SYN and ACK to what asked nothing", NO_CONNECTION, _of_web(lambda a, b: tcp(a, b, SYN | ACK))),
    WireAttempt("pod-sends-wrong-checksums", RAW, "a datagram with a wrong checksum, which belongs to no connection", NO_CONNECTION, _of_web(lambda a, b: udp(a, b, good=False))),
    WireAttempt("pod-sends-no-next-header", RAW, "an IPv6 packet without any next header", NO_CONNECTION, _of_web(lambda a, b: ip(a, b, 59, b"not for you"), v6=True)),
    WireAttempt("pod-poses-as-another", RAW, "the address of another pod of its node as its own", SPOOFED, _as(lambda pods: pods.other.ip)),
    WireAttempt("pod-poses-as-another-over-ipv6", RAW, "the same over IPv6", SPOOFED, _as(lambda pods: pods.other.ip6, v6=True)),
    WireAttempt("pod-poses-as-its-node", RAW, "its node's own IPv6 address as its own", SPOOFED, _as(lambda pods: pods.node.ip6, v6=True)),
    WireAttempt("pod-poses-as-an-outside-host", RAW, "an outside address as its own", SPOOFED, _as(lambda _: UNHEARD)),
    WireAttempt("pod-redirects", RAW, "an ICMP redirect: another way to somebody", ROUTER, _of_web(lambda a, b: icmp(a, b, 5, 1, bytes(28)))),
    WireAttempt("pod-advertises-itself-as-a-router", RAW, "a router advertisement", ROUTER, _of_web(lambda a, b: icmp6(a, b, 134, hops=255), v6=True)),
    WireAttempt("pod-solicits-from-afar", RAW, "a neighbour solicitation that has come over a router", "infrastructure/untracked", _of_web(lambda a, b: icmp6(a, b, 135, hops=254), v6=True)),
    WireAttempt("pod-tells-errors-of-others", RAW, "an ICMP error about two others' connection, with data in it", "infrastructure/icmp-error", error_about_others),
    WireAttempt("pod-sends-in-pieces", RAW, "a denied datagram in fragments, the port in the first alone", "interzone-default", lambda pods: Sent(pods.web, fragments(pods.web.ip, pods.db.ip), pods.web.ip, pods.db.ip)),
    WireAttempt("unknown-pod-talks", "a pod that nobody knows yet", "UDP to a pod of the node", UNKNOWN, _between("stranger", "db")),
    WireAttempt("pod-talks-to-an-unknown-one", A_POD, "UDP to a pod that nobody knows yet", UNKNOWN, _between("other", "stranger")),
    WireAttempt("isolated-pod-talks", "a pod in a zone without right", "UDP to a pod of that zone", "infrastructure/isolated", _between("thief", "db")),
)  # fmt: skip

MARK, MARKED_PORT = b"past everybody", 5001
LOOSE_SOURCE_ROUTE = 131


def _marked(source: Callable[[Any], str], to: Callable[[Any], str]) -> Callable[[Any], Sent]:
    def sent(pods: Any) -> Sent:
        ends = source(pods), to(pods)
        return Sent(pods.web, (frames.datagram(*ends, MARK, source_port=MARKED_PORT, port=PORT),), *ends)

    return sent


def by_way_of_the_node(pods: Any) -> Sent:
    """To the node, which the header asks to pass it on to `db`."""
    source, node, db = pods.web.ip, pods.node.ip, pods.db.ip
    way = bytes([LOOSE_SOURCE_ROUTE, 7, 4]) + frames.packed(db) + b"\0"
    payload = frames.udp(source, node, MARKED_PORT, PORT, MARK)
    return Sent(pods.web, (frames.ip4_with_options(source, node, socket.IPPROTO_UDP, way, payload),), source, db)


STOPPED = (
    StoppedAttempt("pod-poses-as-its-node-over-ipv4", RAW, "its node's own IPv4 address as its own, where pods are routed", _marked(lambda pods: pods.node.ip, lambda pods: pods.db.ip)),
    StoppedAttempt("pod-talks-from-a-link-local-address", RAW, "a link-local IPv6 address as its own, to a pod on another link", _marked(lambda _: "fe80::9", lambda pods: pods.db.ip6)),
    StoppedAttempt("pod-calls-the-loopback-of-ipv6", RAW, "UDP to ::1", _marked(lambda pods: pods.web.ip6, lambda _: "::1")),
    StoppedAttempt("pod-calls-a-group-that-is-routed", RAW, "UDP to 239.1.2.3, which no router here passes on", _marked(lambda pods: pods.web.ip, lambda _: "239.1.2.3")),
    StoppedAttempt("pod-goes-by-way-of-its-node", RAW, "a source route over its node to a pod of another zone", by_way_of_the_node),
)  # fmt: skip
