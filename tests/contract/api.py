"""How the contract's tests speak to an API server: JSON over httpx, and watches read line by line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

Json = dict[str, Any]
APPLY, MERGE, PATCH = "application/apply-patch+yaml", "application/merge-patch+json", "application/json-patch+json"


def poll(ready: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Api:
    """A running API server."""

    name: str
    url: str
    kubeconfig: Path
    http: httpx.Client

    def get(self, path: str, code: int = 200, **query: Any) -> Json:
        return read(self.http.get(path, params=query), code)

    def post(self, path: str, body: Json, code: int = 201, **query: Any) -> Json:
        return read(self.http.post(path, json=body, params=query), code)

    def put(self, path: str, body: Json, code: int = 200, **query: Any) -> Json:
        return read(self.http.put(path, json=body, params=query), code)

    def delete(self, path: str, code: int = 200, body: Json | None = None, **query: Any) -> Json:
        return read(self.http.request("DELETE", path, json=body, params=query), code)

    def patch(self, path: str, body: Any, kind: str = MERGE, code: int = 200, **query: Any) -> Json:
        headers = {"Content-Type": kind}
        return read(self.http.patch(path, content=json.dumps(body), headers=headers, params=query), code)

    def apply(self, path: str, body: Json, manager: str = "tester", code: int | None = None, **query: Any) -> Json:
        headers = {"Content-Type": APPLY}
        params = {"fieldManager": manager} | query
        response = self.http.patch(path, content=json.dumps(body), headers=headers, params=params)
        assert response.status_code == code if code else response.is_success, response.text
        return response.json()

    @contextmanager
    def watch(self, path: str, **query: Any) -> Iterator[Iterator[Json]]:
        """The events of a watch that ends by itself after a few seconds."""
        params = {"watch": "true", "timeoutSeconds": 20} | query
        with self.http.stream("GET", path, params=params) as response:
            assert response.status_code == 200, response.read()
            yield (json.loads(line) for line in response.iter_lines() if line)

    def until_served(self, *paths: str) -> None:
        for path in paths:
            poll(lambda path=path: self.http.get(path).status_code == 200)


def read(response: httpx.Response, code: int) -> Json:
    assert response.status_code == code, f"{response.status_code}: {response.text[:2000]}"
    body: Json = response.json()
    return body


def version(item: Json) -> str:
    return str(item["metadata"]["resourceVersion"])


def causes(status: Json) -> set[tuple[str, str]]:
    """Field and reason of everything that is wrong with an object."""
    return {(cause["field"], cause["reason"]) for cause in status["details"]["causes"]}
