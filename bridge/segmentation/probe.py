"""The program of a probe pod: it listens, or tries TCP connections and says what became of each. Python alone.

    python3 -m bridge.segmentation.probe listen 22,80,443
    python3 -m bridge.segmentation.probe try 5 3 10.0.0.7=22,80;fd00::7=22,80

`try`: after some seconds, with so many to wait for an answer. It knows no policy, so that it can't favour one. What it
found is written to where Kubernetes takes a container's last message from, and to standard output: `answers_text`.
"""

from __future__ import annotations

import errno
import hashlib
import resource
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

MESSAGE = Path("/dev/termination-log")
# Kubernetes keeps no more of a message, and the digest stands before the answers.
MOST_TARGETS = 4_000
AT_ONCE = 400  # well below the usual limit of 1,024 descriptors
READY = 61_998
"""Listened on after all others: who reaches it knows that they are listened on."""
_DIGITS, _BACKLOG = 16, 128
_USAGE = "usage: probe listen PORTS | probe try AFTER TIMEOUT TARGETS"

Target = tuple[str, int]


class Outcome(StrEnum):
    """What became of a connection. TIMEOUT: nothing answered; UNREACHABLE: anything else than a reset."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"


_LETTERS = {"a": Outcome.ALLOWED, "r": Outcome.REFUSED, "t": Outcome.TIMEOUT, "u": Outcome.UNREACHABLE}
_LETTER_OF = {outcome: letter for letter, outcome in _LETTERS.items()}
_CODES = {
    0: Outcome.ALLOWED,
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ECONNRESET: Outcome.REFUSED,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
}
OpenSocket = Callable[[int, socket.AddressFamily], socket.socket]


def try_all(targets: Sequence[Target], open_socket: OpenSocket, timeout: float) -> list[Outcome]:
    """Each target's outcome, in their order. `open_socket`: of a target's place and family, non-blocking."""
    outcomes: list[Outcome] = []
    for start in range(0, len(targets), AT_ONCE):
        outcomes += _try_some(targets[start : start + AT_ONCE], start, open_socket, timeout)
    return outcomes


def _try_some(targets: Sequence[Target], start: int, open_socket: OpenSocket, timeout: float) -> list[Outcome]:
    outcomes = [Outcome.TIMEOUT] * len(targets)
    with selectors.DefaultSelector() as selector:
        try:
            for place, (ip, port) in enumerate(targets):
                family = socket.AF_INET6 if ":" in ip else socket.AF_INET
                connection = open_socket(start + place, family)
                # registered before it can fail, so that it is closed in any case
                selector.register(connection, selectors.EVENT_WRITE, place)
                code = connection.connect_ex((ip, port))
                if code != errno.EINPROGRESS:
                    outcomes[place] = _CODES.get(code, Outcome.UNREACHABLE)
                    selector.unregister(connection)
                    connection.close()
            deadline, left = time.monotonic() + timeout, timeout
            # One look more after the deadline: what had answered by then counts, however late a busy machine looks.
            while selector.get_map() and left > 0:
                left = max(0.0, deadline - time.monotonic())
                for key, _ in selector.select(left):
                    connection = key.fileobj  # type: ignore[assignment]
                    code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    outcomes[key.data] = _CODES.get(code, Outcome.UNREACHABLE)
                    selector.unregister(connection)
                    connection.close()
        finally:
            for key in selector.get_map().values():
                key.fileobj.close()  # type: ignore[union-attr]
    return outcomes


def targets_text(targets: Sequence[Target]) -> str:
    """Targets as one argument: those of one address that follow each other share it."""
    groups: list[tuple[str, list[str]]] = []
    for ip, port in targets:
        if not groups or groups[-1][0] != ip:
            groups.append((ip, []))
        groups[-1][1].append(str(port))
    return ";".join(f"{ip}={','.join(ports)}" for ip, ports in groups)


def targets_of(text: str) -> list[Target]:
    """Raises ValueError."""
    targets = []
    for group in filter(None, text.split(";")):
        ip, _, ports = group.partition("=")
        targets += [(str(ip_address(ip)), int(port)) for port in ports.split(",")]
    if len(targets) > MOST_TARGETS:
        raise ValueError(f"{len(targets)} targets are more than {MOST_TARGETS}")
    return targets


def answers_text(text: str, outcomes: Sequence[Outcome]) -> str:
    """The digest of the targets' text, and a letter for each: allowed, refused, timeout, unreachable."""
    return f"{_digest(text)} {''.join(_LETTER_OF[outcome] for outcome in outcomes)}"


def outcomes_of(answers: str, text: str) -> list[Outcome]:
    """Raises ValueError where they aren't answers for these targets."""
    digest, _, letters = answers.strip().partition(" ")
    if digest != _digest(text) or len(letters) != len(targets_of(text)):
        raise ValueError("they are answers for other targets")
    try:
        return [_LETTERS[letter] for letter in letters]
    except KeyError as error:
        raise ValueError(f"{error} is no outcome") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def listen(ports: Sequence[int]) -> list[socket.socket]:
    """On each port and READY, by IPv4 and, where there is any, IPv6. Raises OSError."""
    listeners = []
    for port in (*ports, READY):
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        dual = family is socket.AF_INET6
        listeners.append(socket.create_server(("", port), family=family, backlog=_BACKLOG, dualstack_ipv6=dual))
    return listeners


def _serve(ports: Sequence[int], stop: threading.Event) -> None:
    """Take connections and close them until told to stop."""
    with selectors.DefaultSelector() as selector:
        for listener in listen(ports):
            listener.setblocking(False)
            selector.register(listener, selectors.EVENT_READ)
        while not stop.is_set():
            for key, _ in selector.select(0.5):
                try:
                    key.fileobj.accept()[0].close()  # type: ignore[union-attr]
                except OSError:
                    continue  # it is gone already
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]


def _own_socket(_: int, family: socket.AddressFamily) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    return connection


def main(words: Sequence[str], message: Path = MESSAGE) -> int:
    """The exit code: 0, 1 where it could not do it, 2 where it was asked for what it can't."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        match list(words):
            case ["listen", ports]:
                _serve([int(port) for port in ports.split(",") if port], stop)
            case ["try", after, timeout, text]:
                targets = targets_of(text)
                if stop.wait(float(after)):
                    return 1
                answers = answers_text(text, try_all(targets, _own_socket, float(timeout)))
                sys.stdout.write(f"{answers}\n")
                message.write_text(answers, encoding="ascii")
            case _:
                sys.stderr.write(f"{_USAGE}\n")
                return 2
    except ValueError as error:
        sys.stderr.write(f"probe: {error}\n{_USAGE}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"probe: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
