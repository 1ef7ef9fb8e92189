"""Following one kind in a cluster: listed once, then watched, and resumed where it broke off.

Listed again is what has expired (410), where versions went back, as in an etcd that was restored from a backup, and now
and then all the same. It yields changes and keeps none; trouble is waited out and
told once. Whoever folds the changes calls it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog

from bridge.errors import ClusterError, ClusterRefusedError, ClusterUnreachableError
from bridge.kube.api import LONGEST, GoneError, Json, TooLongError
from bridge.kube.client import ApiServer
from zones.runtime.backoff import Backoff

PAGE, PAGE_BYTES = 500, 8 * 2**20
# Whatever was missed for a reason that nobody thought of is known again after so long.
LIST_AGAIN_SECONDS = (6 * 3600, 12 * 3600)
FIRST_RETRY, LONGEST_RETRY = 0.2, 30.0
_OFTEN = 3  # a list again and again is no cure
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

    `version` is that of the whole list. `went_back`: it is lower than what was told before, which counts no longer.
    """

    objects: Sequence[Json]
    first: bool = True
    last: bool = True
    version: str = ""
    went_back: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """One object as it is now; or as it last was, where it is gone."""

    raw: Json
    gone: bool = False


Change = Listed | Changed


async def follow(api: ApiServer, source: Source) -> AsyncGenerator[Change]:
    """The whole list, then every change, for ever. Raises ClusterRefusedError where a kind or a right is missing."""
    version: str | None = None
    seen, failures, doubtful, list_at = "", 0, False, 0.0
    trouble, began = "", time.monotonic()
    while True:
        try:
            if version is not None and await _is_void(api, source, version, list_at, doubtful=doubtful):
                version = None
            if version is None:
                async with aclosing(_listed(api, source, seen)) as pages:
                    async for change, found in pages:  # noqa: B007 - the last one is watched from
                        yield change
                version = seen = found
                list_at = time.monotonic() + random.uniform(*LIST_AGAIN_SECONDS)  # noqa: S311 - spread
            doubtful = True  # whoever answers next may have an older etcd
            began = time.monotonic()
            async with aclosing(api.watch(source.path, source.what, version, source.query)) as events:
                async for event in events:
                    failures, trouble, version = 0, "", event["object"]["metadata"]["resourceVersion"]
                    seen = version
                    if event["type"] in _GONE:
                        yield Changed(event["object"], gone=_GONE[event["type"]])
            if time.monotonic() - began > LONGEST_RETRY:  # it stood for long, if in silence: nothing was wrong
                failures, trouble = 0, ""
            await asyncio.sleep(pause(failures))
        except (GoneError, ClusterUnreachableError) as error:
            expired = isinstance(error, GoneError) and version is not None and failures < _OFTEN
            if not expired and str(error) != trouble:
                _log.warning("watch interrupted", what=source.what, error=str(error))
                trouble = str(error)
            version = None if isinstance(error, GoneError) else version
            await asyncio.sleep(pause(failures, error))
            failures += 1


def pause(failures: int, error: ClusterError | None = None) -> float:
    """Seconds to wait after so many failures, half of them left to chance; never less than the server wished for."""
    wished = error.retry_after if isinstance(error, ClusterUnreachableError) else None
    return Backoff(FIRST_RETRY, LONGEST_RETRY).seconds(failures, wished)


async def _is_void(api: ApiServer, source: Source, version: str, list_at: float, *, doubtful: bool) -> bool:
    """Whether all is to be listed again, though the version may still be watched from.

    An etcd that was restored from a backup has lower versions than were seen: a watch from there on says nothing until
    they have risen as high, and then hides what happened meanwhile. It shows where a watch was cut off.
    """
    if time.monotonic() >= list_at:
        return True
    if not doubtful or not _is_lower(await api.version(source.path, source.what, source.query), version):
        return False
    _log.warning("versions went back; listing again", what=source.what, version=version)
    return True


def _is_lower(version: str, other: str) -> bool:
    """Of what is no number nothing is concluded."""
    return version.isdigit() and other.isdigit() and int(version) < int(other)


async def _listed(api: ApiServer, source: Source, seen: str) -> AsyncGenerator[tuple[Listed, str]]:
    """`seen`: the highest version so far. Objects may be a thousand times as long as others: fewer are asked for then.

    500 objects of 10 kB: 5 MB, all in one page. Of 1 MB: given up after 8 MB, then 62 and 7 at a time.
    """
    more, limit = "", source.page
    while True:
        first = not more
        query = {**source.query, "limit": str(limit)} | ({"continue": more} if more else {})
        try:
            answer = await api.get(source.path, source.what, query, PAGE_BYTES if limit > 1 else LONGEST)
        except TooLongError:
            limit = max(1, limit // 8)
            continue
        if answer is None:
            raise ClusterRefusedError(
                f"listing {source.what} in cluster '{api.name}': the kind is not known; install the custom resource "
                "definitions"
            )
        metadata = answer.get("metadata", {})
        more = metadata.get("continue", "")
        version = metadata["resourceVersion"]
        yield Listed(answer.get("items") or (), first, not more, version, _is_lower(version, seen)), version
        limit = min(source.page, limit * 2)
        if not more:
            return
