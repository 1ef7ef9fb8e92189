"""Packets that disappear, in a machine's own namespace: of connections that are open, or of everything to a port.

Neither side is told: nothing is closed, nothing is refused. The rules are nftables' in a table of their own.
"""

from __future__ import annotations

import re

from mocks.lab.machines import Machine

TABLE = "inet soak_silence"
# Before anything else that has a hook.
_CHAIN = f"add table {TABLE}\nadd chain {TABLE} out {{ type filter hook output priority -450; policy accept; }}\n"
_LOCAL_PORT = re.compile(r"\S+:(\d+)\s+\S+:\d+\s*$")


def open_connections(machine: Machine, port: int) -> list[int]:
    """The local ports of the connections to a port of the machine's loopback address."""
    command = ["ss", "-Htn", "state", "established", f"( dport = :{port} )"]
    lines = machine.netns.require(command).splitlines()
    return sorted({int(match[1]) for line in lines if (match := _LOCAL_PORT.search(line.strip()))})


def silence_open(machine: Machine, port: int) -> int:
    """Let both ways of every connection that is open now fall silent; new ones work. Returns how many."""
    ports = open_connections(machine, port)
    if ports:
        these = f"{{ {', '.join(map(str, ports))} }}"
        rules = (f"tcp dport {port} tcp sport {these} drop", f"tcp sport {port} tcp dport {these} drop")
        machine.nft(_CHAIN + "\n".join(f"add rule {TABLE} out {rule}" for rule in rules))
    return len(ports)


def silence_all(machine: Machine, port: int) -> None:
    """Let everything to and from a port fall silent, new connections too."""
    rules = (f"tcp dport {port} drop", f"tcp sport {port} drop")
    machine.nft(_CHAIN + "\n".join(f"add rule {TABLE} out {rule}" for rule in rules))


def clear(machine: Machine) -> None:
    """Let everything pass again; what fell silent and was not given up meanwhile goes on."""
    machine.nft(f"add table {TABLE}\ndelete table {TABLE}")
