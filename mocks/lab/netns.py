"""Network namespaces of this process: made, entered by one thread, held open by descriptors, run in.

It mounts nothing and forks nothing to hold a namespace, so nothing outlives the process that made it, not even after
SIGKILL, and it works as root and inside `unshare -Urnm` alike. The lab calls it, and whoever needs a socket in a pod.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

CLONE_NEWNET = 0x40000000
ROOT = 0
OWN = "/proc/thread-self/ns/net"
TOOLS = {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux"}

Output = int | IO[str]

libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The lab could not do what was asked; says what, to what, and what to do next."""


@dataclass(frozen=True, slots=True, eq=False)
class Netns:
    """A network namespace. It lives as long as its descriptor, a process or a socket in it."""

    name: str
    fd: int
    children: list[subprocess.Popen[str]] = field(default_factory=list, repr=False)

    @classmethod
    def create(cls, name: str) -> Netns:
        """Make a namespace by leaving the own one and coming back: only this thread notices."""
        home = os.open(OWN, os.O_RDONLY)
        try:
            _enforce(libc.unshare(CLONE_NEWNET), f"make the network namespace {name}")
            try:
                return cls(name, os.open(OWN, os.O_RDONLY))
            finally:
                enter(home, "this thread's own namespace")
        finally:
            os.close(home)

    @property
    def path(self) -> str:
        """A path that other processes can open while this one lives, as `nsenter --net=PATH` wants it."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @property
    def inode(self) -> int:
        return os.fstat(self.fd).st_ino

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Move this thread into the namespace for the block. Never await in it.

        Sockets, processes and threads made in the block stay in the namespace for good.
        """
        home = os.open(OWN, os.O_RDONLY)
        try:
            enter(self.fd, self.name)
            try:
                yield
            finally:
                enter(home, "this thread's own namespace")
        finally:
            os.close(home)

    def socket(self, family: socket.AddressFamily, kind: socket.SocketKind, uid: int = ROOT) -> socket.socket:
        """Make a non-blocking socket of this namespace, to be used from anywhere; `uid`: whose it is."""
        with self.inside(), owning_as(uid):
            made = socket.socket(family, kind)
        made.setblocking(False)
        return made

    def command(self, argv: Sequence[str]) -> list[str]:
        """What to start from outside to run `argv` in here."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def run(
        self, argv: Sequence[str], timeout: float = 30.0, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end. The exit code is the caller's to judge."""
        with self.inside():
            return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)

    def require(self, argv: Sequence[str], stdin: str | None = None) -> str:
        """Run what must succeed, and return what it printed."""
        done = self.run(argv, stdin=stdin)
        if done.returncode != 0:
            raise LabError(f"{' '.join(argv)} failed in {self.name}: {done.stderr.strip()}; its input was: {stdin}")
        return done.stdout

    def popen(self, argv: Sequence[str], output: Output = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start and go on; killed with the namespace at the latest. Whoever leaves `output` as it is must read it."""
        with self.inside():
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, text=True)
        self.children.append(child)
        return child

    def write_sysctl(self, key: str, value: int) -> None:
        """`key` as a path, since interface names may hold dots: net/ipv4/ip_forward."""
        with self.inside():
            Path("/proc/sys", key).write_text(str(value))

    def close(self) -> None:
        for child in self.children:
            end(child)
        self.children.clear()
        os.close(self.fd)


def enter(fd: int, name: str) -> None:
    _enforce(libc.setns(fd, CLONE_NEWNET), f"enter {name}")


@contextmanager
def owning_as(uid: int) -> Iterator[None]:
    """Have this thread make files and sockets in another user's name for the block. Nobody else notices."""
    if uid == ROOT:
        yield
        return
    libc.setfsuid(uid)
    try:
        if libc.setfsuid(uid) != uid:
            raise LabError(f"user {uid} can't be had here; run as root, outside of a user namespace")
        yield
    finally:
        libc.setfsuid(ROOT)


def end(child: subprocess.Popen[str]) -> None:
    with child:
        if child.poll() is None:
            child.kill()


def _enforce(result: int, doing: str) -> None:
    if result == 0:
        return
    code = ctypes.get_errno()
    advice = (
        "run as root, or under `unshare -Urnm` and start with `ip link set lo up`"
        if code == errno.EPERM
        else "see the kernel's log"
    )
    raise LabError(f"cannot {doing}: {os.strerror(code)}; {advice}")


def unavailable() -> str | None:
    """Say why no lab can be made here and what to do about it, or None."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        return f"programs of the lab are missing; install {', '.join(missing)}"
    reasons: list[str] = []
    # a thread of its own: were the way back barred, the caller would be stranded in the new namespace
    trial = threading.Thread(target=_try, args=(reasons,), name="lab-trial")
    trial.start()
    trial.join()
    return reasons[0] if reasons else None


def _try(reasons: list[str]) -> None:
    try:
        trial = Netns.create("trial")
        try:
            trial.require(["ip", "link", "add", "trial", "type", "bridge"])
            trial.require(["nft", "add table inet trial"])
        finally:
            trial.close()
    except LabError as error:
        reasons.append(str(error))
