"""The one door to Kubernetes: list and watch with bookmarks, resume, 410 -> list again; and this node's NodeState.

It yields changes and never keeps any: `enforcer.service` folds them into a view. One kind's trouble is no other kind's.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import structlog
from kubernetes.aio import client, config

from enforcer.errors import ClusterError, ClusterRefusedError, ExpiredError, InputError
from enforcer.patience import Patience
from enforcer.view import Change, Changed, Kind, Listed
from zones.canonical import Json
from zones.tiers.native import API_VERSION

PAGE = 500
WATCH_SECONDS = (240, 480)
_GRACE_SECONDS = 30
_TYPES = {"ADDED": False, "MODIFIED": False, "DELETED": True}
_REFUSED = frozenset({401, 403, 404})
_GONE, _TOO_MANY = 410, 429
_log = structlog.get_logger()


class Cluster:
    """A connection to one API server."""

    def __init__(self, api: client.ApiClient, patience: Patience | None = None) -> None:
        self._api = api
        self._patience = patience or Patience(0.2, 30.0)

    @classmethod
    async def connect(cls, kubeconfig: Path | None) -> Cluster:
        """By a kubeconfig file, or by the pod's own service account. Raises InputError."""
        configuration = client.Configuration()
        try:
            if kubeconfig is None:
                config.load_incluster_config(client_configuration=configuration)
            else:
                await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            where = "the service account" if kubeconfig is None else f"kubeconfig {kubeconfig}"
            raise InputError(f"{where} can't be used to reach Kubernetes: {error}") from error
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        await self._api.close()
        await asyncio.sleep(0)  # lets the sockets go

    async def changes(self, kind: Kind, heard: Callable[[], None] = lambda: None) -> AsyncIterator[Change]:
        """The whole list, then every change, for ever. Trouble is waited out; only a 410 lists again.

        `heard` is called whenever the API server has answered for this kind, changes or not.
        """
        version: str | None = None
        failures = 0
        while True:
            try:
                if version is None:
                    objects, version = await self.list(kind)
                    heard()
                    yield Listed(kind, objects)
                async for change, version in self._watch(kind, version):  # noqa: B007, B020 - the last one is resumed from
                    failures = 0
                    heard()
                    if change is not None:
                        yield change
                await asyncio.sleep(self._patience.wait(failures))
            except ExpiredError:
                version = None
                await asyncio.sleep(self._patience.wait(failures))
                failures += 1
            except ClusterError as error:
                _log.warning("watch interrupted", kind=kind.name.lower(), why=str(error))
                await asyncio.sleep(self._patience.wait(failures, error.retry_after))
                failures += 1

    async def list(self, kind: Kind) -> tuple[list[Json], str]:
        """All objects of a kind, page by page, and the version to watch from."""
        objects: list[Json] = []
        query: dict[str, str] = {"limit": str(PAGE)}
        while True:
            page = json.loads(await self._read("GET", kind.value, query))
            objects += page.get("items") or ()
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return objects, metadata["resourceVersion"]
            query = {"limit": str(PAGE), "continue": metadata["continue"]}

    async def _watch(self, kind: Kind, version: str) -> AsyncIterator[tuple[Change | None, str]]:
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 - spreads the nodes' renewals
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        response = await self._request("GET", kind.value, query, seconds=seconds + _GRACE_SECONDS)
        try:
            async for line in _lines(response.content):
                event = _parsed(line, kind)
                found: str = event["object"]["metadata"]["resourceVersion"]
                if event["type"] in _TYPES:
                    yield Changed(kind, event["object"], gone=_TYPES[event["type"]]), found
                else:
                    yield None, found
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterError(
                f"the watch of {kind.name.lower()} broke off: {error or type(error).__name__}"
            ) from error
        finally:
            _drop(response)

    async def report(self, node: str, status: Json) -> None:
        """Write this node's NodeState, making it where it isn't there yet."""
        path = f"/apis/{API_VERSION}/nodestates"
        body = {"status": status}
        try:
            await self._read("PATCH", f"{path}/{node}/status", {}, body)
        except ClusterRefusedError:
            made = {"apiVersion": API_VERSION, "kind": "NodeState", "metadata": {"name": node}, "spec": {}}
            await self._read("POST", path, {}, made)
            await self._read("PATCH", f"{path}/{node}/status", {}, body)

    async def _read(self, method: str, path: str, query: Mapping[str, str], body: Json | None = None) -> bytes:
        response = await self._request(method, path, query, body)
        try:
            content: bytes = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterError(f"the answer to {method} {path} broke off: {error or type(error).__name__}") from error
        return content

    async def _request(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None = None, seconds: float = 60.0
    ) -> aiohttp.ClientResponse:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": kind}
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=10)
        try:
            serialized = await self._api.param_serialize(
                method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            _, url, headers, sent, _ = serialized
            url += "?" + urlencode(query) if query else ""
            answer = await self._api.rest_client.request(
                method, url, headers=headers, body=sent, _request_timeout=timeout
            )
        except (aiohttp.ClientError, TimeoutError, OSError, config.ConfigException) as error:
            raise ClusterError(f"{method} {path}: no answer: {error or type(error).__name__}") from error
        response: aiohttp.ClientResponse = answer.response
        if response.status >= 400:  # noqa: PLR2004 - HTTP's errors
            raise await _error(response, f"{method} {path}")
        return response


def _drop(response: aiohttp.ClientResponse) -> None:
    """End a watch at once: a polite end of TLS would outlive the event loop at the end of the program."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()
    response.close()


async def _error(response: aiohttp.ClientResponse, asked: str) -> ClusterError:
    try:
        text = (await response.content.read(500)).decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, OSError):
        text = ""
    response.close()
    message = f"{asked}: HTTP {response.status} {' '.join(text.split())}".strip()
    if response.status == _GONE:
        return ExpiredError(message)
    if response.status in _REFUSED:
        return ClusterRefusedError(message)
    wish = response.headers.get("Retry-After", "")
    return ClusterError(message, float(wish) if wish.isdigit() else None)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: an address set is longer than a stream's own line limit."""
    held: list[bytes] = []
    async for chunk in content.iter_any():
        first, *rest = chunk.split(b"\n")
        held.append(first)
        for each in rest:
            line = b"".join(held)
            held = [each]
            if line:
                yield line


def _parsed(line: bytes, kind: Kind) -> dict[str, Any]:
    """An event with a version; an error event is raised. The API server ends a watch that is too old with one."""
    try:
        event: dict[str, Any] = json.loads(line)
        if event["type"] == "ERROR":
            status = event["object"]
            text = f"the watch of {kind.name.lower()} was ended: {status.get('message', status)}"
            raise ExpiredError(text) if status.get("code") == _GONE else ClusterError(text)
        event["object"]["metadata"]["resourceVersion"]
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"the watch of {kind.name.lower()} sent what is no event: {line[:100]!r}") from error
    return event
