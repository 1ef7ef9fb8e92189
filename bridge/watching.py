"""Following one kind in a cluster: listed once, then watched; resumed where it broke off, listed again after a 410.

It yields changes and keeps none; trouble is waited out and told once. Whoever folds the changes calls it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import structlog

from bridge.apiserver import ApiServer, GoneError
from bridge.errors import ClusterError, ClusterRefusedError, ClusterUnreachableError

Json = dict[str, Any]
PAGE = 500
FIRST_RETRY, LONGEST_RETRY = 0.2, 30.0
_GONE = {"ADDED": False, "MODIFIED": False, "DELETED": True}
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Source:
    """What is followed: the path of a list, what people call it, and selectors. `page`: objects asked for at a time."""

    path: str
    what: str
    query: Mapping[str, str] = field(default_factory=dict)
    page: int = PAGE


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of the whole list. After the `last` one, what was in none since the `first` one is gone.

    `version` is that of the whole list.
    """

    objects: Sequence[Json]
    first: bool = True
    last: bool = True
    version: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """One object as it is now; or as it last was, where it is gone."""

    raw: Json
    gone: bool = False


Change = Listed | Changed


async def follow(api: ApiServer, source: Source) -> AsyncGenerator[Change]:
    """The whole list, then every change, for ever. Raises ClusterRefusedError where a kind or a right is missing."""
    version: str | None = None
    failures = 0
    while True:
        try:
            if version is None:
                async with aclosing(_listed(api, source)) as pages:
                    async for change, found in pages:  # noqa: B007 - the last one is watched from
                        yield change
                version = found
            async with aclosing(api.watch(source.path, source.what, version, source.query)) as events:
                async for event in events:
                    failures, version = 0, event["object"]["metadata"]["resourceVersion"]
                    if event["type"] in _GONE:
                        yield Changed(event["object"], gone=_GONE[event["type"]])
            await asyncio.sleep(pause(failures))
        except GoneError:
            version = None
            await asyncio.sleep(pause(failures))
            failures += 1
        except ClusterUnreachableError as error:
            if not failures:
                _log.warning("watch interrupted", what=source.what, error=str(error))
            await asyncio.sleep(pause(failures, error))
            failures += 1


def pause(failures: int, error: ClusterError | None = None) -> float:
    """Seconds to wait after so many failures, half of them left to chance; never less than the server wished for."""
    longest = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(failures, 16))
    wished = (error.retry_after or 0.0) if isinstance(error, ClusterUnreachableError) else 0.0
    return max(longest * (0.5 + random.random() / 2), wished)  # noqa: S311 - spread, not secrecy


async def _listed(api: ApiServer, source: Source) -> AsyncGenerator[tuple[Listed, str]]:
    more = ""
    while True:
        first = not more
        query = {**source.query, "limit": str(source.page)} | ({"continue": more} if more else {})
        answer = await api.get(source.path, source.what, query)
        if answer is None:
            raise ClusterRefusedError(
                f"listing {source.what} in cluster '{api.name}': the kind is not known; install the custom resource "
                "definitions"
            )
        metadata = answer.get("metadata", {})
        more = metadata.get("continue", "")
        version = metadata["resourceVersion"]
        yield Listed(answer.get("items") or (), first, not more, version), version
        if not more:
            return
