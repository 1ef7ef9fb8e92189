"""A Splunk HTTP Event Collector that only counts: TLS, gzip, code 0, acknowledgement after a delay, every id once.

The strict one in `mocks.siem` parses and keeps each event, which takes longer than sending it. `python -m
tests.bench.siem.collector PORT CERTIFICATE DELAY`; GET /told says what came.
"""

from __future__ import annotations

import gzip
import json
import re
import ssl
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ID = re.compile(rb'"fields":\{"id":"([0-9a-f]{32})"')
_FLOW = re.compile(rb'"packets":(\d+),"bytes":\d+[,}]')
_LOSS = re.compile(rb'"alert":"log-loss"')


@dataclass(slots=True)
class Told:
    """What has come. `packets`: of flow records, each id counted once."""

    delay: float
    ids: set[bytes] = field(default_factory=set)
    events: int = 0
    flows: int = 0
    packets: int = 0
    losses: int = 0
    batches: int = 0
    issued: dict[str, int] = field(default_factory=dict)
    pending: dict[tuple[str, int], float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: bytes) -> None:
        found = _ID.findall(body)
        packets = _FLOW.findall(body)
        before = len(self.ids)
        self.ids.update(map(bytes.fromhex, map(bytes.decode, found)))
        self.events += len(found)
        self.losses += len(_LOSS.findall(body))
        self.batches += 1
        if len(self.ids) - before == len(found):
            self.flows += len(packets)
            self.packets += sum(map(int, packets))

    def accept(self, channel: str) -> int:
        number = self.issued.get(channel, 0)
        self.issued[channel] = number + 1
        self.pending[channel, number] = time.monotonic() + self.delay
        return number

    def acknowledge(self, channel: str, numbers: list[int]) -> dict[str, bool]:
        now = time.monotonic()
        return {str(number): self._settle(channel, number, now) for number in numbers}

    def _settle(self, channel: str, number: int, now: float) -> bool:
        due = self.pending.get((channel, number))
        if due is None or due > now:
            return False
        del self.pending[channel, number]
        return True

    def summary(self) -> dict[str, int]:
        return {
            "ids": len(self.ids),
            "events": self.events,
            "flows": self.flows,
            "packets": self.packets,
            "losses": self.losses,
            "batches": self.batches,
            "pending": len(self.pending),
        }


def handler(told: Told) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            with told.lock:
                self._answer(told.summary())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            channel = self.headers["X-Splunk-Request-Channel"]
            if self.path.endswith("/ack"):
                with told.lock:
                    self._answer({"acks": told.acknowledge(channel, json.loads(body)["acks"])})
                return
            plain = gzip.decompress(body)
            with told.lock:
                told.take(plain)
                number = told.accept(channel)
            self._answer({"text": "Success", "code": 0, "ackId": number})

        def _answer(self, what: object) -> None:
            content = json.dumps(what).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    return Handler


def main(port: int, certificate: str, delay: float) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", port), handler(Told(delay)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
