from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from mocks.siem import HecServer, Token
from mocks.siem.collector import Collector
from mocks.siem.replies import Reply, Request

TOKEN = "8d2c6a5e-0000-4000-8000-000000000001"
ACK_TOKEN = "8d2c6a5e-0000-4000-8000-000000000002"
CHANNEL = "11111111-2222-3333-4444-555555555555"
OTHER_CHANNEL = "99999999-2222-3333-4444-555555555555"

Send = Callable[..., Reply]


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def eventually(true: Callable[[], bool], timeout: float = 20) -> None:
    """Ask until it is true."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, f"not true within {timeout} s"
        time.sleep(0.01)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def collector(clock: Clock) -> Collector:
    return Collector(
        Token(TOKEN, indexes=("main", "net"), sourcetype="json"),
        Token(ACK_TOKEN, use_ack=True),
        ack_delay=1.0,
        clock=clock,
    )


@pytest.fixture
def send(collector: Collector) -> Send:
    """Hand a request to the collector, with the plain token unless told otherwise."""

    def send_request(
        body: str | bytes | dict[str, Any] = b"",
        path: str = "/services/collector/event",
        *,
        method: str = "POST",
        token: str | None = TOKEN,
        headers: dict[str, str] | None = None,
        **query: str,
    ) -> Reply:
        authorization = {"Authorization": f"Splunk {token}"} if token else {}
        octets = json.dumps(body) if isinstance(body, dict) else body
        return collector.handle(
            Request(
                method,
                path,
                {**authorization, **(headers or {})},
                query,
                octets.encode() if isinstance(octets, str) else octets,
            )
        )

    return send_request


@pytest.fixture
def hec() -> Iterator[HecServer]:
    with HecServer(Token(TOKEN), Token(ACK_TOKEN, use_ack=True), tls=False) as server:
        yield server


@pytest.fixture
def http(hec: HecServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=hec.url, headers={"Authorization": f"Splunk {TOKEN}"}, timeout=10) as client:
        yield client
