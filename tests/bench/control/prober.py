"""A process that sends datagrams all the time and notes which arrive: of ever new connections, and of one that lives.

`python -m tests.bench.control.prober EAR ADDRESS PORT`, in the namespace of the client; EAR is the descriptor of a socket of the server that
listens at that port. Ends with its input, and prints a JSON line [kind, seconds of sending, whether it arrived] for each datagram.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time

EVERY = 0.002
_FORM = struct.Struct("!?Q")
_LATE = 0.3


def main(ear: int, address: str, port: int) -> None:
    heard = socket.socket(fileno=ear)
    lasting = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    lasting.setblocking(False)
    sent: list[tuple[bool, float]] = []
    arrived: set[int] = set()
    due, over = time.monotonic(), False
    last = time.monotonic()
    while not over or time.monotonic() < last + _LATE:
        if not over:
            for lives in (False, True):
                made = lasting if lives else socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sent.append((lives, time.monotonic()))
                made.sendto(_FORM.pack(lives, len(sent) - 1), (address, port))
                if not lives:
                    made.close()
            last = time.monotonic()
        due = max(due + EVERY, time.monotonic())
        over = _listen(heard, arrived, due) or over
    for number, (lives, at) in enumerate(sent):
        print(json.dumps([lives, at, number in arrived]))


def _listen(heard: socket.socket, arrived: set[int], until: float) -> bool:
    """What comes, until the next are due; whether the input has ended."""
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([heard, sys.stdin], [], [], left)
        if heard in ready:
            data, sender = heard.recvfrom(64)
            lives, number = _FORM.unpack(data)
            arrived.add(number)
            if lives:
                heard.sendto(data, sender)
        elif ready:
            return not sys.stdin.readline() or True
    return False


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
