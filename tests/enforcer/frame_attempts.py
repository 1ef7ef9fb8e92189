"""What pods on one bridge try by frames of their own making, as data: docs/security.md lists it, word for word.

`test_denied_frames_reach_the_siem.py` sends them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from tests.enforcer import frames
from tests.enforcer.frames import ETH_ARP, ETH_IP, ETH_IP6, ETH_VLAN, frame, mac
from tests.enforcer.wire_attempts import RAW, ROUTER, SPOOFED, Sent, WireAttempt, udp

FOREIGN, MISDIRECTED = "infrastructure/foreign-frame", "infrastructure/misdirected-frame"
ANSWER, SOLICITATION, ADVERTISEMENT, REDIRECT, FOR_EXPERIMENTS = 2, 133, 136, 137, 0x88B5
_OVERRIDE = 0x60000000
WHO = f"{RAW} on a bridge"


def _lie(
    make: Callable[[Any], tuple[int, bytes, str, str]], tags: Sequence[tuple[int, int]] = ()
) -> Callable[[Any], Sent]:
    """By web to db's hardware address: the frame's kind, what is in it, and the two ends that its record has."""

    def sent(pods: Any) -> Sent:
        kind, content, source, destination = make(pods)
        made = frame(mac(pods.db), mac(pods.web), kind, content, tags)
        return Sent(pods.web, (made,), source, destination)

    return sent


def _udp_from(source: Callable[[Any], Any]) -> Callable[[Any], tuple[int, bytes, str, str]]:
    def made(pods: Any) -> tuple[int, bytes, str, str]:
        ends = source(pods).ip, pods.db.ip
        return ETH_IP, udp(*ends), *ends

    return made


def _udp_to(whom: Callable[[Any], Any], *, v6: bool = False) -> Callable[[Any], tuple[int, bytes, str, str]]:
    """For somebody else than it is sent to."""

    def made(pods: Any) -> tuple[int, bytes, str, str]:
        ends = (pods.web.ip6, whom(pods).ip6) if v6 else (pods.web.ip, whom(pods).ip)
        return ETH_IP6 if v6 else ETH_IP, udp(*ends), *ends

    return made


def _long_arp(pods: Any) -> tuple[int, bytes, str, str]:
    """The truth, and more behind it than the shortest frame has for padding."""
    said = frames.arp(ANSWER, mac(pods.web), pods.web.ip, mac(pods.db), pods.db.ip)
    return ETH_ARP, said + b"not for you" * 5, pods.web.ip, pods.db.ip


def _arp(pods: Any) -> tuple[int, bytes, str, str]:
    """The address of `other` is mine."""
    said = frames.arp(ANSWER, mac(pods.web), pods.other.ip, mac(pods.db), pods.db.ip)
    return ETH_ARP, said, pods.other.ip, pods.db.ip


def _icmp6(kind: int, body: Callable[[Any], bytes], flags: int = 0) -> Callable[[Any], tuple[int, bytes, str, str]]:
    def made(pods: Any) -> tuple[int, bytes, str, str]:
        ends = pods.web.ip6, pods.db.ip6
        whole = frames.icmp6(*ends, kind, 0, data=body(pods))
        whole = whole[:4] + struct.pack(">I", flags) + whole[8:]  # nobody looks at the checksum before us
        return ETH_IP6, frames.ip(*ends, 58, whole, hops=255), *ends

    return made


def _others_address(pods: Any) -> bytes:
    return frames.packed(pods.other.ip6) + b"\2\1" + frames.octets(mac(pods.web))


ATTEMPTS = (
    WireAttempt("pod-poses-as-another-on-its-bridge", WHO, "the address of another pod of the bridge as its own", SPOOFED, _lie(_udp_from(lambda pods: pods.other))),
    WireAttempt("pod-poses-as-its-bridge", WHO, "the bridge's own address as its own, as its node has it", SPOOFED, _lie(_udp_from(lambda pods: pods.node.gateway))),
    WireAttempt("pod-lies-by-arp", WHO, "ARP: another pod's address is at its own port", SPOOFED, _lie(_arp)),
    WireAttempt("pod-lies-by-discovery", WHO, "neighbour discovery: the same over IPv6", SPOOFED, _lie(_icmp6(ADVERTISEMENT, _others_address, _OVERRIDE))),
    WireAttempt("pod-redirects-on-its-bridge", WHO, "neighbour discovery: there is a better router", ROUTER, _lie(_icmp6(REDIRECT, lambda _: bytes(32)))),
    WireAttempt("pod-tags-its-frames", WHO, "a VLAN tag before a datagram, past tables that see IP alone", FOREIGN, _lie(_udp_from(lambda pods: pods.web), [(ETH_VLAN, 0)])),
    WireAttempt("pod-sends-a-foreign-kind", WHO, "a frame of a kind that is no IP", FOREIGN, _lie(lambda pods: (FOR_EXPERIMENTS, bytes(50), pods.web.ip, pods.db.ip))),
    WireAttempt("pod-sends-past-whom-it-names", WHO, "a datagram for a pod of its own zone, in a frame to the hardware address of one of another zone, which reads along", MISDIRECTED, _lie(_udp_to(lambda pods: pods.other))),
    WireAttempt("pod-sends-past-whom-it-names-over-ipv6", WHO, "the same over IPv6", MISDIRECTED, _lie(_udp_to(lambda pods: pods.other, v6=True))),
    WireAttempt("pod-talks-to-itself-by-way-of-another", WHO, "a datagram for itself, in a frame to the hardware address of a pod of another zone", MISDIRECTED, _lie(_udp_to(lambda pods: pods.web))),
    WireAttempt("pod-writes-behind-arp", WHO, "ARP that is true, with data behind it", FOREIGN, _lie(_long_arp)),
    WireAttempt("pod-writes-into-a-solicitation", WHO, "a router solicitation to a pod, with data in it", FOREIGN, _lie(_icmp6(SOLICITATION, lambda _: b"not for you" * 5))),
)  # fmt: skip
