"""The one door to Kubernetes: list and watch with bookmarks, resume, 410 -> list again; this node's NodeState, Events.

It yields changes and never keeps any: `enforcer.service` folds them into a view. One kind's trouble is no other kind's.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import structlog

from enforcer.cluster.kubeclient import client, config
from enforcer.cluster.view import Change, Changed, Kind, Listed
from enforcer.errors import ClusterError, ClusterMissingError, ClusterRefusedError, ExpiredError, InputError
from enforcer.patience import Patience
from enforcer.sockets import Sockets
from zones.canonical import Json
from zones.tiers.native import API_VERSION

# A page is held whole, and objects of ours are long.
PAGE, PAGE_OF_OURS = 100, 20
_LONG = frozenset({Kind.SLICES, Kind.CHUNKS, Kind.SETS})
WATCH_SECONDS = (240, 480)
_GRACE_SECONDS = 30
_TYPES = {"ADDED": False, "MODIFIED": False, "DELETED": True}
_REFUSED = frozenset({401, 403})
_MISSING, _GONE = 404, 410
_FIELD_MANAGER, _APPLY = "zone-enforcer", "application/apply-patch+yaml"
# A cluster whose bridge is older has none of these; a node's own pods are enforced without them.
_MAY_BE_MISSING = frozenset({Kind.SLICES})
_log = structlog.get_logger()


@dataclass(slots=True)
class _Place:
    """How far one kind was followed. `listed`: whether it ever was there."""

    version: str | None = None
    failures: int = 0
    listed: bool = False


class Cluster:
    """A connection to one API server."""

    def __init__(
        self, api: client.ApiClient, chosen: Mapping[Kind, Mapping[str, str]], patience: Patience | None = None
    ) -> None:
        self._api = api
        self._sockets = Sockets()
        rest = api.rest_client
        rest.pool_manager = self._sockets.session(rest.maxsize, rest.ssl_context)
        self._chosen = chosen
        self._patience = patience or Patience(0.2, 30.0)

    @classmethod
    async def connect(cls, kubeconfig: Path | None, chosen: Mapping[Kind, Mapping[str, str]] | None = None) -> Cluster:
        """By a kubeconfig file, or by the pod's own service account. Raises InputError.

        `chosen`: what is asked for of a kind, as selectors; all of the others.
        """
        configuration = client.Configuration()
        try:
            if kubeconfig is None:
                config.load_incluster_config(client_configuration=configuration)
            else:
                await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            where = "the service account" if kubeconfig is None else f"kubeconfig {kubeconfig}"
            raise InputError(f"{where} can't be used to reach Kubernetes: {error}") from error
        return cls(client.ApiClient(configuration), chosen or {})

    async def close(self) -> None:
        await self._api.close()
        await self._sockets.end()

    async def changes(self, kind: Kind, heard: Callable[[], None] = lambda: None) -> AsyncIterator[Change]:
        """The whole list, then every change, for ever. Trouble is waited out; only a 410 lists again.

        `heard` is called whenever the API server has answered for this kind, changes or not.
        """
        place = _Place()
        while True:
            wished = None
            try:
                async with aclosing(self._follow(kind, place)) as told:
                    async for change in told:
                        heard()
                        if change is not None:
                            yield change
            except ExpiredError:
                place.version = None
            except ClusterError as error:
                _log.warning("watch interrupted", kind=kind.name.lower(), why=str(error))
                wished = error.retry_after
                if isinstance(error, ClusterRefusedError) and kind in _MAY_BE_MISSING and not place.listed:
                    heard()
                    yield Listed(kind, (), problem=f"pods of other nodes are not known, and so outside: {error}")
            await asyncio.sleep(self._patience.wait(place.failures, wished))
            place.failures += 1

    async def _follow(self, kind: Kind, place: _Place) -> AsyncGenerator[Change | None]:
        """From where it was left until the API server ends it; None is a sign of life."""
        if place.version is None:
            async with aclosing(self._pages(kind)) as pages:
                async for page, version in pages:  # noqa: B007 - the last one is watched from
                    yield page
            place.version, place.listed = version, True
        async with aclosing(self._watch(kind, place.version)) as events:
            async for change, place.version in events:
                place.failures = 0
                yield change

    async def list(self, kind: Kind) -> AsyncIterator[Listed]:
        """All objects of a kind, once, page by page. Raises ClusterError."""
        async with aclosing(self._pages(kind)) as pages:
            async for page, _ in pages:
                yield page

    async def _pages(self, kind: Kind) -> AsyncGenerator[tuple[Listed, str]]:
        """With the version to watch from."""
        more: dict[str, str] = {}
        while True:
            query = {**self._chosen.get(kind, {}), "limit": str(PAGE_OF_OURS if kind in _LONG else PAGE), **more}
            page = _page(await self._read("GET", kind.value, query), kind)
            token = page["metadata"].get("continue")
            yield Listed(kind, page.get("items") or (), not more, not token), page["metadata"]["resourceVersion"]
            if not token:
                return
            more = {"continue": token}

    async def _watch(self, kind: Kind, version: str) -> AsyncGenerator[tuple[Change | None, str]]:
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 - spreads the nodes' renewals
        query = {
            **self._chosen.get(kind, {}),
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
            metadata = {"name": node, "ownerReferences": await self._owners(node)}
            made = {"apiVersion": API_VERSION, "kind": "NodeState", "metadata": metadata, "spec": {}}
            await self._read("POST", path, {}, made)
            await self._read("PATCH", f"{path}/{node}/status", {}, body)

    async def _owners(self, node: str) -> tuple[Json, ...]:
        """The Node, with which its state is to go away."""
        found = json.loads(await self._read("GET", f"{Kind.NODES.value}/{node}", {}))
        return ({"apiVersion": "v1", "kind": "Node", "name": node, "uid": found["metadata"]["uid"]},)

    async def put_slice(self, name: str, body: Json | None) -> Json:
        """Write a PodSlice of this node, or delete it. Returns it as the API server has it now."""
        path = f"{Kind.SLICES.value}/{name}"
        if body is None:
            with suppress(ClusterMissingError):
                await self._read("DELETE", path, {})
            return {}
        query = {"fieldManager": _FIELD_MANAGER, "force": "true"}
        answer: Json = json.loads(await self._read("PATCH", path, query, body, _APPLY))
        return answer

    async def post(self, event: Json) -> None:
        """Write a Kubernetes Event, or what has become of it: applied by its name, it may be written again."""
        metadata = event["metadata"]
        path = f"/apis/events.k8s.io/v1/namespaces/{metadata['namespace']}/events/{metadata['name']}"
        query = {"fieldManager": _FIELD_MANAGER, "force": "true"}
        await self._read("PATCH", path, query, event, _APPLY)

    async def _read(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None = None, content_type: str = ""
    ) -> bytes:
        response = await self._request(method, path, query, body, content_type=content_type)
        try:
            content: bytes = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterError(f"the answer to {method} {path} broke off: {error or type(error).__name__}") from error
        return content

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None = None,
        *,
        content_type: str = "",
        seconds: float = 60.0,
    ) -> aiohttp.ClientResponse:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": content_type or kind}
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
    if response.status == _MISSING:
        return ClusterMissingError(message)
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


def _page(content: bytes, kind: Kind) -> dict[str, Any]:
    try:
        page: dict[str, Any] = json.loads(content)
        page["metadata"]["resourceVersion"]
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"the list of {kind.name.lower()} is none: {content[:100]!r}") from error
    return page


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
