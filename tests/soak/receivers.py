"""Two HEC collectors behind a balancer, with one ledger of what either has indexed. It judges nothing."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import Counter, defaultdict
from concurrent.futures import Future
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mocks.lab.background import Background
from mocks.siem import HecServer, Token
from tests.enforcer.balancer import Balancer

# Two lives of one agent begin at least so many numbers apart: they are microseconds of the wall clock.
APART = 100_000


class Ledger:
    """The journal of both collectors: records by node and number, without their content. Alerts of losses are kept."""

    def __init__(self) -> None:
        self.indexed: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()
        self.alerts: Counter[str] = Counter()
        self.losses: list[dict[str, Any]] = []
        self._numbers: dict[str, set[int]] = defaultdict(set)
        self._lock = threading.Lock()

    def append(self, events: list[Any]) -> None:
        with self._lock:
            for event in events:
                self._note(event.event)

    def _note(self, record: dict[str, Any]) -> None:
        node, number = record["node"], record["sequence"]
        self.indexed[node] += 1
        if number in self._numbers[node]:
            self.repeated[node] += 1
            return
        self._numbers[node].add(number)
        if record["kind"] == "alert":
            self.alerts[record["alert"]] += 1
            if record["alert"] == "log-loss":
                self.losses.append(record)

    def received(self, node: str) -> int:
        """Different records of a node."""
        with self._lock:
            return len(self._numbers[node])

    def arrivals(self, node: str) -> int:
        """Records of a node, each as often as it came."""
        with self._lock:
            return self.indexed[node]

    def gaps(self, node: str) -> list[tuple[int, int]]:
        """The last number before and the first after each gap within one life of the agent."""
        with self._lock:
            numbers = sorted(self._numbers[node])
        return [(before, after) for before, after in pairwise(numbers) if 1 < after - before < APART]


class Receivers:
    """Collectors, balancer and ledger; also a context manager. The token that is valid is in `token_file`."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger()
        self.token_file = folder / "hec-token"
        self.token = secrets.token_hex(16)
        self.collectors = [HecServer(tls=False, keep=100, ack_delay=0.2) for _ in range(2)]
        for collector in self.collectors:
            collector.journal = self.ledger  # type: ignore[assignment]
            collector.add(Token(self.token, use_ack=True))
        self.balancer = Balancer(self.collectors)
        self._stack = ExitStack()
        self._background = Background()
        self._end: asyncio.Event | None = None
        self._served: Future[None] | None = None

    @property
    def url(self) -> str:
        return str(self.balancer.url)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for collector in self.collectors:
                stack.enter_context(collector)
            self._background.start()
            stack.callback(self._background.stop)
            ready = threading.Event()
            self._served = self._background.spawn(self._serve(ready))
            stack.callback(self._finish)
            if not ready.wait(10):
                raise RuntimeError("the balancer does not serve")
            self._write_token()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._end = asyncio.Event()
        async with self.balancer.serving():
            ready.set()
            await self._end.wait()

    def _finish(self) -> None:
        async def finish() -> None:
            if self._end is not None:
                self._end.set()

        self._background.call(finish())
        if self._served is not None:
            self._served.result(10)

    def _write_token(self) -> None:
        self.token_file.write_text(self.token)
        self.token_file.chmod(0o600)

    def rotate_token(self) -> None:
        """A new token in the file; the former one is no longer valid."""
        former, self.token = self.token, secrets.token_hex(16)
        for collector in self.collectors:
            collector.add(Token(self.token, use_ack=True))
            collector.remove(former)
        self._write_token()
