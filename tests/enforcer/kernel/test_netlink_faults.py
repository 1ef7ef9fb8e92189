"""A failure at every netlink call of a pass: it is named as a problem, and the next pass puts everything right."""

import errno
import os
import socket
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from enforcer.errors import KernelError
from enforcer.kernel.reconcile import AppliedAction
from enforcer.netlink import sockets
from enforcer.netlink.messages import DONE, ERROR, attribute, message
from tests.enforcer import nftprogram
from tests.enforcer.test_enforcement import BOTH_WAYS, entry, policy
from tests.enforcer.world import NOW
from zones.policy import Verdict

pytestmark = pytest.mark.kernel
MANY = 400  # calls; no pass of these needs more
ANOTHER = "192.0.2.77"


def refused(code):
    return OSError(code, os.strerror(code))


REFUSALS = {
    "open": refused(errno.EMFILE),
    "send": refused(errno.ENOBUFS),
    "recv": refused(errno.ENOBUFS),
    "option": refused(errno.ENOMEM),
}
SILENCE = dict.fromkeys(REFUSALS, TimeoutError())


@dataclass
class Faults:
    """This thread's calls are counted while it is armed; the one with the number `at` fails."""

    calls: int = 0
    at: int | None = None
    errors: dict = field(default_factory=dict)
    thread: int = field(default_factory=threading.get_ident)

    def arm(self, at, errors):
        self.calls, self.at, self.errors = 0, at, errors

    def disarm(self):
        """Whether it has failed."""
        failed = self.at is not None and self.calls > self.at
        self.at = None
        return failed

    def call(self, kind):
        if self.at is None or threading.get_ident() != self.thread:
            return
        self.calls += 1
        if self.calls == self.at + 1:
            raise self.errors[kind]


class NetlinkModule:
    """The socket module with another class of sockets, for `enforcer.netlink.sockets` alone."""

    def __init__(self, kind):
        self.socket = kind

    def __getattr__(self, name):
        return getattr(socket, name)


@pytest.fixture
def faults(monkeypatch):
    made = Faults()

    class Socket(socket.socket):
        def __init__(self, *arguments, **more):
            made.call("open")
            super().__init__(*arguments, **more)

        def send(self, *arguments):
            made.call("send")
            return super().send(*arguments)

        def recv(self, *arguments):
            made.call("recv")
            return super().recv(*arguments)

        def setsockopt(self, *arguments):
            made.call("option")
            return super().setsockopt(*arguments)

    monkeypatch.setattr(sockets, "socket", NetlinkModule(Socket))
    return made


RULES = policy(*BOTH_WAYS)
OTHERS = policy(BOTH_WAYS[0], entry("new", Verdict.ALLOW, "data", "web"))


def someone(world, **zones):
    return world.inventory(*(world.pod(name, zone) for name, zone in zones.items()))


FEW = {"p0": "web", "p1": "web", "p2": "data", "q0": "web", "q1": "data"}
MORE = {"p0": "web", "p1": "data", "p3": "fresh", "q0": "web", "q1": "data"}
PASSES = {
    "nothing": (FEW, RULES, ""),
    "pods": (MORE, RULES, ""),
    "pods and rules": (MORE, OTHERS, ""),
    "an edit by others": (MORE, RULES, "flush chain inet zonebridge police4\nflush map inet zonebridge pairs4"),
    "an address of the node": (MORE, RULES, "address"),
}


def listed(world):
    with world.inside():
        return nftprogram.listing()


def expected_after(world, zones, rules, deed):
    """What an agent makes of it that begins anew."""
    with world.reconciler() as right, changed(world, deed if deed == "address" else ""):
        assert not right.apply(rules, someone(world, **zones), NOW).problems
        return listed(world)


@contextmanager
def changed(world, deed):
    """What somebody else does to the node."""
    if deed == "address":
        world.n1.netns.require(["ip", "address", "add", f"{ANOTHER}/32", "dev", "lo"])
    elif deed:
        world.n1.nft(deed)
    yield
    if deed == "address":
        world.n1.netns.require(["ip", "address", "del", f"{ANOTHER}/32", "dev", "lo"])


@pytest.mark.parametrize("errors", [REFUSALS, SILENCE], ids=["refused", "silent"])
@pytest.mark.parametrize("what", PASSES)
def test_a_failure_at_any_call_loses_nothing_and_is_named(world, faults, what, errors):
    zones, rules, deed = PASSES[what]
    right = expected_after(world, zones, rules, deed)
    at, failed = 0, True
    while failed:
        assert at < MANY
        with world.enforcing() as node:
            node.enforce(RULES, someone(world, **FEW))
            with changed(world, deed), world.inside():

                def apply(node=node):
                    return node.reconciler.apply(rules, node._feed(someone(world, **zones)), NOW)

                faults.arm(at, errors)
                applied = apply()
                failed = faults.disarm()
                assert applied.problems or nftprogram.listing() == right, at
                again = apply()
                assert (again.problems, nftprogram.listing() == right) == ((), True), (at, applied.problems)
                last = apply()
                assert (last.problems, last.drift, last.action) == ((), None, AppliedAction.NONE), (
                    at,
                    applied.problems,
                )
        at += 1
    assert at > 1


class Channel:
    """Answers each request with the next of these datagrams."""

    def __init__(self, *datagrams):
        self.datagrams = list(datagrams)

    def send(self, data):
        pass

    def recv(self, size):
        return self.datagrams.pop(0)

    def close(self):
        pass


def address(last, flags=0):
    body = bytes([2, 32, 0, 0]) + bytes(4) + attribute(2, bytes([192, 0, 2, last]))
    return message(20, flags, 1, body)


END = message(DONE, 0, 1, bytes(4))
CUT_SHORT = message(DONE, sockets.INTERRUPTED, 1, bytes(4))


def asked(monkeypatch, *datagrams):
    monkeypatch.setattr(sockets, "open_socket", lambda *_: Channel(*datagrams))
    return list(map(str, sockets.local_addresses()))


def test_a_list_of_addresses_that_a_change_cut_short_is_asked_for_again(monkeypatch):
    cut, whole = address(1) + CUT_SHORT, address(1) + address(2) + END
    assert asked(monkeypatch, cut, whole) == ["192.0.2.1", "192.0.2.2"]
    assert asked(monkeypatch, address(1, sockets.INTERRUPTED) + END, whole) == ["192.0.2.1", "192.0.2.2"]
    with pytest.raises(KernelError, match="change all the time"):
        asked(monkeypatch, *[cut] * 100)


@pytest.mark.parametrize("kind", [ERROR, DONE])
def test_a_list_of_addresses_that_ends_with_an_error_is_no_list(monkeypatch, kind):
    code = (-errno.ENOMEM).to_bytes(4, sys.byteorder, signed=True)
    with pytest.raises(KernelError, match="listing this machine's addresses: Cannot allocate memory"):
        asked(monkeypatch, address(1) + message(kind, 0, 1, code))


def test_addresses_that_could_not_be_read_are_asked_for_again(world, faults):
    with world.inside():
        known = sockets.LocalAddresses()
        before = known()
        with changed(world, "address"):
            faults.arm(2, REFUSALS)  # after what was announced was read
            with pytest.raises(KernelError, match="Too many open files"):
                known()
            faults.disarm()
            assert set(known()) - set(before) == {ip_address(ANOTHER)}
        known.close()
