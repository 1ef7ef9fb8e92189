"""Lists page by page, and server-side apply."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from zones.canonical import Json
from zones.kube.api import APPLY, JSON, LONGEST, Api, of_cluster
from zones.kube.errors import (
    AnswerTooLongError,
    ClusterMissingError,
    ClusterUnreachableError,
    ExpiredError,
)

# A page is held whole, and whoever may make pods may make long ones.
PAGE, PAGE_BYTES = 500, 8 * 2**20
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Source:
    """What is listed: its path, what people call it, and selectors.

    `page`: objects asked for at a time; `page_bytes`: the most octets of them. `accept`: as what they are asked for.
    """

    path: str
    what: str
    query: Mapping[str, str] = field(default_factory=dict)
    page: int = PAGE
    page_bytes: int | None = None
    accept: str = JSON


@dataclass(frozen=True, slots=True)
class Page:
    """`version`: that of the whole list, to watch from. `at`: the API server's time, in seconds since the epoch."""

    items: Sequence[Json]
    first: bool
    last: bool
    version: str
    at: float | None


async def pages(api: Api, source: Source) -> AsyncGenerator[Page]:
    """The whole list. Raises ClusterError; ClusterMissingError where the kind isn't there, ExpiredError in between.

    Objects may be a thousand times as long as others: fewer are asked for then. 500 objects of 10 kB: 5 MB, all in one
    page. Of 1 MB: given up after 8 MB, then 62 are too much, then 7 at a time; as they get shorter, 14, 28 and so on.
    """
    more, limit, most = "", source.page, source.page_bytes or PAGE_BYTES
    while True:
        query = {**source.query, "limit": str(limit), **({"continue": more} if more else {})}
        doing = f"listing {source.what}"
        try:
            reply = await api.ask(
                "GET", source.path, doing, query=query, accept=source.accept, most=most if limit > 1 else LONGEST
            )
        except AnswerTooLongError:
            if limit == 1:
                raise
            limit = max(1, limit // 8)
            continue
        if reply.body is None:
            raise ClusterMissingError(
                f"{doing}{of_cluster(api.name)}: the kind is not known; install the custom resource definitions"
            )
        try:
            metadata = reply.body["metadata"]
            version, token = metadata["resourceVersion"], metadata.get("continue") or ""
        except (KeyError, TypeError, AttributeError) as error:
            raise ClusterUnreachableError(
                f"{doing}{of_cluster(api.name)}: the answer is no list; it is tried again"
            ) from error
        first, more = not more, token
        limit = min(source.page, limit * 2) if reply.size < most // 4 else limit
        yield Page(reply.body.get("items") or (), first, not more, version, reply.at)
        if not more:
            return


async def read_all(api: Api, source: Source) -> list[Json]:
    """A whole list at once; begun again where it expires in between. Raises ClusterError."""
    for _ in range(_TRIES):
        try:
            async with aclosing(pages(api, source)) as listing:
                return [item async for page in listing for item in page.items]
        except ExpiredError:
            continue
    raise ClusterUnreachableError(f"listing {source.what}{of_cluster(api.name)}: it expired {_TRIES} times")


async def apply(api: Api, path: str, wanted: Json, doing: str, manager: str, *, strict: bool = True) -> Json:
    """Server-side apply, whoever owns the fields; the object as the API server has it now.

    `strict`: a field that the definition doesn't have is refused, not dropped. Raises ClusterError.
    """
    query = {"fieldManager": manager, "force": "true"} | ({"fieldValidation": "Strict"} if strict else {})
    applied = await api.call("PATCH", path, doing, body=wanted, query=query, content_type=APPLY)
    if applied is None:
        raise ClusterMissingError(
            f"{doing}{of_cluster(api.name)}: the kind or object is not there; install the custom resource definitions"
        )
    if "uid" not in (applied.get("metadata") or {}):
        raise ClusterUnreachableError(f"{doing}{of_cluster(api.name)}: the answer is no object; it is tried again")
    return applied
