"""A network that loses all packets of the connections that are open, and says nothing: as a balancer that forgot them.

In a namespace of its own, in which server and client are started. New connections work.
"""

import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

from mocks.lab.netns import Netns

SECONDS_OF_THE_KERNEL = {"_IDLE": 1, "_INTERVAL": 1, "_TIMES": 2, "_UNACKNOWLEDGED": 3_000}


@contextmanager
def apart(name="half open"):
    """This thread, and all that it starts, is in a new namespace with a loopback."""
    with Netns.create(name).inside():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield


def cut(port):
    """Lose the open connections to this port. How many they are."""
    local = _open_to(port)
    rules = "\n".join(
        f"add rule inet lost lost tcp dport {ours} tcp sport {port} drop\n"
        f"add rule inet lost lost tcp sport {ours} tcp dport {port} drop"
        for ours in local
    )
    table = "add table inet lost\nadd chain inet lost lost { type filter hook input priority 0; }\n"
    subprocess.run(["nft", "-f", "-"], input=table + rules, text=True, check=True)
    return len(local)


def _open_to(port):
    """The clients' own ports."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/thread-self/net/{name}").read_text().splitlines()[1:]:
            _, ours, theirs, state, *_ = line.split()
            if state == "01" and int(theirs.rpartition(":")[2], 16) == port:
                found.add(int(ours.rpartition(":")[2], 16))
    return found


def quick(monkeypatch, module):
    """Have the kernel ask after a second, and not after a quarter of a minute."""
    for name, value in SECONDS_OF_THE_KERNEL.items():
        monkeypatch.setattr(f"{module}.{name}", value)


def looked_after(made):
    """Whether the kernel finds out by itself that the other end of a socket is gone."""
    return bool(made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))


def pooled(client):
    """The sockets that an httpx client keeps."""
    held = client._transport._pool.connections
    return [each._connection._network_stream.get_extra_info("socket") for each in held]
