"""Metrics and health over HTTP: /metrics, /healthz, /readyz. It reads nothing but the request line and answers once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LONGEST = 8192
_SECONDS = 5
_MOST = 64  # connections at a time; who comes when all are taken takes the place of the one that has waited longest


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path answers."""

    ok: bool
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Paths = Mapping[str, Callable[[], Answer]]


def paths_of(unready: Callable[[], Sequence[str]], metrics: Callable[[], bytes], *, ready: str = "ok") -> Paths:
    """`unready`: why this process is of no use, nothing where it is. `ready`: what /readyz says then."""

    def readyz() -> Answer:
        reasons = unready()
        return Answer(ok=not reasons, body="".join(f"{line}\n" for line in reasons or (ready,)).encode())

    return {
        "/healthz": lambda: Answer(ok=True, body=b"ok\n"),
        "/readyz": readyz,
        "/metrics": lambda: Answer(ok=True, body=metrics(), content_type=METRICS_TYPE),
    }


@asynccontextmanager
async def serving(
    address: tuple[str, int], unready: Callable[[], Sequence[str]], metrics: Callable[[], bytes]
) -> AsyncIterator[int]:
    """Serve until left; yields the port."""
    server = await serve(*address, paths_of(unready, metrics))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def serve(host: str, port: int, paths: Paths) -> asyncio.Server:
    """Who is silent for seconds, or in the way of others, is hung up: idle connections keep nobody's probe out."""
    waiting: dict[asyncio.StreamWriter, None] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(waiting) >= _MOST:
            oldest = next(iter(waiting))
            del waiting[oldest]
            oldest.transport.abort()
        waiting[writer] = None
        try:
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, paths))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            waiting.pop(writer, None)
            writer.close()

    return await asyncio.start_server(handle, host, port, limit=_LONGEST)


def _response(head: bytes, paths: Paths) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0].decode("ascii", "replace")
    if method != b"GET":
        return _rendered("405 Method Not Allowed", Answer(ok=False, body=b"only GET\n"))
    if path not in paths:
        return _rendered("404 Not Found", Answer(ok=False, body=b"not here\n"))
    answer = paths[path]()
    return _rendered("200 OK" if answer.ok else "503 Service Unavailable", answer)


def _rendered(status: str, answer: Answer) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + answer.body
