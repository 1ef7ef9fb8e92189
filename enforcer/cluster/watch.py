"""The one door to Kubernetes: list and watch with bookmarks, resume, 410 -> list again; this node's NodeState, Events.

It yields changes and never keeps any: `enforcer.service` folds them into a view. One kind's trouble is no other kind's.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from enforcer.cluster.connection import Connection, Request
from enforcer.cluster.view import Change, Changed, Kind, Listed
from enforcer.errors import ClusterError, ClusterMissingError, ClusterRefusedError, ExpiredError, TooLongError
from zones.canonical import Json
from zones.runtime.backoff import Backoff
from zones.tiers.native import API_VERSION

# A page is held whole, and objects of ours are long; whoever may make pods may make long ones.
PAGE, PAGE_OF_OURS = 100, 20
PAGE_BYTES, LONGEST = 4 * 2**20, 32 * 2**20
_LONG = frozenset({Kind.SLICES, Kind.CHUNKS, Kind.SETS})
WATCH_SECONDS = (240, 480)
_GRACE_SECONDS = 30
# Bookmarks come every minute, but none of kinds of which nothing has changed since the API server began: after so much
# silence the connection may be dead, whatever it looks like.
SILENCE_SECONDS = 90
# Whatever was missed for a reason that nobody thought of is known again after so long.
LIST_AGAIN_SECONDS = (6 * 3600, 12 * 3600)
# A trouble that is over sooner is told in the log alone; a watch that stands so long is well, whether or not it speaks.
_BRIEF_SECONDS, _STEADY_SECONDS, _SLOW_SECONDS = 3.0, 5.0, 5.0
# Whatever an API server, or what stands before it, wishes for: what is known would get too old.
_LONGEST_WISH = 60.0
_OFTEN = 3  # a list again and again is no cure
_TYPES = {"ADDED": False, "MODIFIED": False, "DELETED": True}
_REFUSED = frozenset({401, 403})
_MISSING, _GONE = 404, 410
_FIELD_MANAGER = "zone-enforcer"
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json"
# A cluster whose bridge is older has none of these; a node's own pods are enforced without them.
_MAY_BE_MISSING = {
    Kind.SLICES: "pods of other nodes are not known, and so outside",
    Kind.QUARANTINES: "quarantines are not known, but those that were before",
}
_log = structlog.get_logger()


@dataclass(slots=True)
class _Place:
    """How far one kind was followed. `listed`: whether it ever was there; `list_at`: when it is listed again anyway.

    `doubtful`: whether the API server may be one that doesn't know this version. `trouble`: what is wrong, `since`
    when; `stands`: since when a watch has been answered, both by time.monotonic.
    """

    version: str | None = None
    failures: int = 0
    listed: bool = False
    list_at: float = 0.0
    doubtful: bool = False
    trouble: str = ""
    since: float = 0.0
    stands: float | None = None

    def fails(self, why: str) -> None:
        if not self.trouble:
            self.since = time.monotonic()
        self.trouble, self.stands = why, None

    def works(self) -> None:
        self.failures, self.trouble = 0, ""

    def trouble_at(self, now: float) -> str:
        """Empty where it has only just begun, or a watch goes on in peace: nothing may have happened to tell of."""
        steady = self.stands is not None and now - self.stands > _STEADY_SECONDS
        return "" if steady or now - self.since < _BRIEF_SECONDS else self.trouble


class Cluster:
    """A connection to one API server."""

    def __init__(
        self, connection: Connection, chosen: Mapping[Kind, Mapping[str, str]], backoff: Backoff | None = None
    ) -> None:
        self._connection = connection
        self._chosen = chosen
        self._backoff = backoff or Backoff(0.2, 30.0)
        self._places: dict[Kind, _Place] = {}
        self._asked: dict[int, tuple[float, Request]] = {}

    @property
    def problem(self) -> str:
        """Which kinds the API server isn't heard of, and what it leaves without an answer; empty where all is well."""
        now = time.monotonic()
        slow = sorted({str(request) for at, request in self._asked.values() if now - at > _SLOW_SECONDS})
        unanswered = f"the API server has not answered for {_SLOW_SECONDS:g} s: {', '.join(slow)}" if slow else ""
        troubles = {kind.name.lower(): place.trouble_at(now) for kind, place in self._places.items()}
        silent = sorted(kind for kind, trouble in troubles.items() if trouble)
        reasons = "; ".join(dict.fromkeys(troubles[kind] for kind in silent))
        old = f"what is known of {', '.join(silent)} may be old: {reasons}" if silent else ""
        return "; ".join(filter(None, [old, unanswered]))

    @classmethod
    async def connect(cls, kubeconfig: Path | None, chosen: Mapping[Kind, Mapping[str, str]] | None = None) -> Cluster:
        """By a kubeconfig file, or by the pod's own service account. Raises InputError.

        `chosen`: what is asked for of a kind, as selectors; all of the others.
        """
        connection = Connection(kubeconfig)
        await connection.open()
        return cls(connection, chosen or {})

    async def close(self) -> None:
        await self._connection.close()

    async def changes(self, kind: Kind, heard: Callable[[], None] = lambda: None) -> AsyncIterator[Change]:
        """The whole list, then every change, for ever. Trouble is waited out, and told once for each kind of it.

        Listed again is what has expired, where versions went back, and now and then all the same. `heard` is called
        whenever the API server has answered for this kind, changes or not.
        """
        place = self._places[kind] = _Place()
        while True:
            wished = None
            try:
                async with aclosing(self._follow(kind, place)) as folding:
                    async for change in folding:
                        heard()
                        if change is not None:
                            yield change
            except ExpiredError as error:
                _log.info("listing again", kind=kind.name.lower(), error=str(error))
                if place.version is None or place.failures >= _OFTEN:
                    place.fails(str(error))
                place.version = None
            except ClusterError as error:
                if str(error) != place.trouble:
                    _log.warning("watch interrupted", kind=kind.name.lower(), error=str(error))
                place.fails(str(error))
                place.doubtful, wished = True, error.retry_after
                if isinstance(error, ClusterRefusedError) and kind in _MAY_BE_MISSING and not place.listed:
                    heard()
                    yield Listed(kind, (), problem=f"{_MAY_BE_MISSING[kind]}: {error}")
            await asyncio.sleep(self._backoff.seconds(place.failures, wished))
            place.failures += 1

    async def _follow(self, kind: Kind, place: _Place) -> AsyncGenerator[Change | None]:
        """From where it was left until the API server ends it; None is a sign of life."""
        if place.version is not None:
            if await self._is_void(kind, place, place.version):
                place.version = None
            else:
                yield None
        if place.version is None:
            async with aclosing(self._pages(kind)) as pages:
                async for page, version in pages:  # noqa: B007 - the last one is watched from
                    yield page
            place.version, place.listed, place.doubtful = version, True, False
            place.list_at = time.monotonic() + random.uniform(*LIST_AGAIN_SECONDS)  # noqa: S311 - spreads the nodes
        async with aclosing(self._watch(kind, place.version, place)) as events:
            async for change, place.version in events:
                place.works()
                yield change

    async def _is_void(self, kind: Kind, place: _Place, version: str) -> bool:
        """Whether all is to be listed again, though the version may still be watched from.

        An etcd that was restored from a backup has lower versions than were seen: a watch from there on says nothing
        until they have risen as high, and then hides what happened meanwhile. It shows where a watch was cut off.
        """
        if time.monotonic() >= place.list_at:
            return True
        if not place.doubtful:
            return False
        query = {**self._chosen.get(kind, {}), "limit": "1"}
        current = _page(await self._read(Request("GET", kind.value, query, accept=_METADATA)), kind)["metadata"]
        place.doubtful = False
        went_back = _is_lower(current["resourceVersion"], version)
        if went_back:
            _log.warning("the API server's versions went back; listing again", kind=kind.name.lower(), version=version)
        return went_back

    async def list(self, kind: Kind) -> AsyncIterator[Listed]:
        """All objects of a kind, once, page by page. Raises ClusterError."""
        async with aclosing(self._pages(kind)) as pages:
            async for page, _ in pages:
                yield page

    async def _pages(self, kind: Kind) -> AsyncGenerator[tuple[Listed, str]]:
        """With the version to watch from. Objects may be a thousand times as long as others: fewer are asked for then.

        100 objects of 20 kB: 2 MB, all in one page. Of 1 MB: given up after 4 MB, then 12 at a time are too much, then
        one at a time; as they get shorter, two, four and so on.
        """
        most = limit = PAGE_OF_OURS if kind in _LONG else PAGE
        more: dict[str, str] = {}
        while True:
            query = {**self._chosen.get(kind, {}), "limit": str(limit), **more}
            try:
                request = Request("GET", kind.value, query)
                content, at = await self._read_dated(request, PAGE_BYTES if limit > 1 else LONGEST)
            except TooLongError:
                limit = max(1, limit // 8)
                continue
            page = _page(content, kind)
            token = page["metadata"].get("continue")
            listed = Listed(kind, page.get("items") or (), not more, not token, at=at)
            yield listed, page["metadata"]["resourceVersion"]
            if not token:
                return
            more = {"continue": token}
            limit = min(most, limit * 2) if len(content) < PAGE_BYTES // 4 else limit

    async def _watch(self, kind: Kind, version: str, place: _Place) -> AsyncGenerator[tuple[Change | None, str]]:
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 - spreads the nodes' renewals
        query = {
            **self._chosen.get(kind, {}),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        began = time.monotonic()
        limit, silence = seconds + _GRACE_SECONDS, min(SILENCE_SECONDS, seconds + _GRACE_SECONDS)
        request = Request("GET", kind.value, query, seconds=limit, silence=silence)
        async with self._timed(request) as answered, self._answer(request) as response:
            answered()
            place.stands = time.monotonic()
            try:
                async for line in _lines(response.content, request):
                    event = _parsed(line, kind)
                    resource_version: str = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] in _TYPES:
                        yield Changed(kind, event["object"], gone=_TYPES[event["type"]]), resource_version
                    else:
                        yield None, resource_version
            except TimeoutError:
                place.failures = 0  # nothing may have happened: it is looked at, and watched from there on
            except (aiohttp.ClientError, OSError) as error:
                raise ClusterError(
                    f"the watch of {kind.name.lower()} ({request}) broke off: {_words(error)}"
                ) from error
            finally:
                _drop(response)
        # whoever answers next may have an older etcd; a busy agent can't tell by how long the watch lasted
        lasted, place.doubtful = time.monotonic() - began, True
        if lasted < _STEADY_SECONDS and place.failures >= _OFTEN:
            place.fails(f"{request} is ended as soon as it has begun")

    async def report(self, node: str, status: Json) -> None:
        """Write this node's NodeState, making it where it isn't there yet."""
        path = f"/apis/{API_VERSION}/nodestates"
        written = Request("PATCH", f"{path}/{node}/status", {}, {"status": status}, _MERGE)
        try:
            await self._read(written)
        except ClusterMissingError:
            metadata = {"name": node, "ownerReferences": await self._owners(node)}
            node_state = {"apiVersion": API_VERSION, "kind": "NodeState", "metadata": metadata, "spec": {}}
            await self._read(Request("POST", path, {}, node_state))
            await self._read(written)

    async def _owners(self, node: str) -> tuple[Json, ...]:
        """The Node, with which its state is to go away."""
        node_object = await self._object(Request("GET", f"{Kind.NODES.value}/{node}"))
        return ({"apiVersion": "v1", "kind": "Node", "name": node, "uid": node_object["metadata"]["uid"]},)

    async def put_slice(self, name: str, body: Json | None) -> Json:
        """Write a PodSlice of this node, or delete it. Returns it as the API server has it now."""
        path = f"{Kind.SLICES.value}/{name}"
        if body is None:
            with suppress(ClusterMissingError):
                await self._read(Request("DELETE", path))
            return {}
        query = {"fieldManager": _FIELD_MANAGER, "force": "true"}
        return await self._object(Request("PATCH", path, query, body, _APPLY))

    async def post(self, event: Json) -> None:
        """Write a Kubernetes Event, or what has become of it: applied by its name, it may be written again."""
        metadata = event["metadata"]
        path = f"/apis/events.k8s.io/v1/namespaces/{metadata['namespace']}/events/{metadata['name']}"
        query = {"fieldManager": _FIELD_MANAGER, "force": "true"}
        await self._read(Request("PATCH", path, query, event, _APPLY))

    async def _object(self, request: Request) -> Json:
        content = await self._read(request)
        try:
            parsed: Json = json.loads(content)
            parsed["metadata"]["uid"]
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(f"the answer to {request} is no object: {content[:100]!r}") from error
        return parsed

    async def _read(self, request: Request, most: int = LONGEST) -> bytes:
        """The whole answer. Raises TooLongError where it has more octets than `most`."""
        content, _ = await self._read_dated(request, most)
        return content

    async def _read_dated(self, request: Request, most: int) -> tuple[bytes, float | None]:
        """And the time, by the API server's clock, at which it began to answer; None where it doesn't say."""
        async with self._timed(request), self._answer(request) as response:
            content = bytearray()
            try:
                async for chunk in response.content.iter_any():
                    content += chunk
                    if len(content) > most:
                        break
                else:
                    return bytes(content), _date(response)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                _drop(response)
                raise ClusterError(f"the answer to {request} broke off: {_words(error)}") from error
            except asyncio.CancelledError:
                _drop(response)
                raise
            _drop(response)
            raise TooLongError(f"the answer to {request} has more than {most} octets")

    @asynccontextmanager
    async def _timed(self, request: Request) -> AsyncIterator[Callable[[], object]]:
        """What waits for an answer is known to do so, until all of it is there or what is given is called."""
        asked = id(request)
        self._asked[asked] = time.monotonic(), request
        try:
            yield lambda: self._asked.pop(asked, None)
        finally:
            self._asked.pop(asked, None)

    @asynccontextmanager
    async def _answer(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """The beginning of an answer that is no error."""
        async with self._connection.answer(request) as response:
            if response.status >= 400:  # noqa: PLR2004 - HTTP's errors
                raise await _error(response, str(request))
            yield response


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
    return ClusterError(message, min(float(wish), _LONGEST_WISH) if wish.isdigit() else None)


def _date(response: aiohttp.ClientResponse) -> float | None:
    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
    except ValueError:
        return None


async def _lines(content: aiohttp.StreamReader, request: Request) -> AsyncIterator[bytes]:
    """Lines of any length: an address set is longer than a stream's own line limit."""
    pieces: list[bytes] = []
    async for chunk in content.iter_any():
        first, *rest = chunk.split(b"\n")
        pieces.append(first)
        if not rest and sum(map(len, pieces)) > LONGEST:
            raise ClusterError(f"{request} sent an event of more than {LONGEST} octets")
        for piece in rest:
            line = b"".join(pieces)
            pieces = [piece]
            if line:
                yield line
    if any(pieces):
        raise ClusterError(f"{request} ended in the middle of an event: {b''.join(pieces)[:100]!r}")


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _is_lower(version: str, other: str) -> bool:
    """Of what is no number nothing is concluded."""
    return version.isdigit() and other.isdigit() and int(version) < int(other)


def _page(content: bytes, kind: Kind) -> dict[str, Any]:
    try:
        page: dict[str, Any] = json.loads(content)
        page["metadata"]["resourceVersion"]
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"the list of {kind.name.lower()} (GET {kind.value}) is none: {content[:100]!r}") from error
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
        raise ClusterError(
            f"the watch of {kind.name.lower()} (GET {kind.value}) sent what is no event: {line[:100]!r}"
        ) from error
    return event
