"""Following one kind in a cluster: listed once, then watched, and resumed where it broke off.

Listed again is what has expired (410), where versions went back, as in an etcd that was restored from a backup, and now
and then all the same. It yields changes and keeps none.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from zones.canonical import Json
from zones.kube.api import of_cluster
from zones.kube.client import ApiServer, Sign
from zones.kube.errors import ClusterError, ClusterRefusedError, ExpiredError
from zones.kube.objects import Page, Source, pages
from zones.runtime.backoff import Backoff

# Whatever was missed for a reason that nobody thought of is known again after so long.
LIST_AGAIN_SECONDS = (6 * 3600, 12 * 3600)
FIRST_RETRY, LONGEST_RETRY = 0.2, 30.0
# A trouble that is over sooner is told in the log alone; a watch that stands so long is well, whether or not it speaks.
BRIEF_SECONDS, STEADY_SECONDS = 3.0, 5.0
_OFTEN = 3  # a list again and again is no cure
_IS_GONE = {"ADDED": False, "MODIFIED": False, "DELETED": True}
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of the whole list. After the `last` one, what was in none since the `first` one is gone.

    `version` is that of the whole list. `went_back`: it is lower than what was told before, which counts no longer.
    `at`: the API server's time, in seconds since the epoch.
    """

    objects: Sequence[Json]
    first: bool = True
    last: bool = True
    version: str = ""
    went_back: bool = False
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """One object as it is now; or as it last was, where it is gone."""

    raw: Json
    gone: bool = False


Change = Listed | Changed


class Watch:
    """How far one list was followed. `heard` is called whenever the API server has answered, changes or not."""

    def __init__(
        self,
        api: ApiServer,
        source: Source,
        backoff: Backoff | None = None,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self._api = api
        self._source = source
        self._backoff = backoff or Backoff(FIRST_RETRY, LONGEST_RETRY)
        self._heard = heard
        self.listed = False
        """Whether the list was ever there."""
        self._version: str | None = None
        self._latest = ""
        self._list_at = 0.0
        self._doubtful = False
        """Whether whoever answers next may not know our version."""
        self._failures = 0
        self._trouble = ""
        self._since = 0.0
        self._answered: float | None = None

    def trouble_at(self, now: float) -> str:
        """Empty where it has only just begun, or a watch goes on in peace: nothing may have happened to tell of."""
        steady = self._answered is not None and now - self._answered > STEADY_SECONDS
        return "" if steady or now - self._since < BRIEF_SECONDS else self._trouble

    async def changes(self) -> AsyncGenerator[Change]:
        """The whole list, then every change, for ever. Trouble is waited out, and logged once for each kind of it.

        Raises ClusterRefusedError where a kind or a right is missing; who calls it again goes on from there.
        """
        while True:
            problem: ClusterError | None = None
            try:
                async with aclosing(self._follow()) as changes:
                    async for change in changes:
                        yield change
            except ExpiredError as error:
                problem = error
                if self._version is None or self._failures >= _OFTEN:
                    self._fails(str(error))
                else:
                    _log.info("listing again", kind=self._source.what, error=str(error))
                self._version = None
            except ClusterError as error:
                problem, self._doubtful = error, True
                self._fails(str(error))
                if isinstance(error, ClusterRefusedError):
                    raise
            await self.wait(problem)

    async def wait(self, problem: ClusterError | None) -> None:
        """Before it is tried again."""
        wish = None if problem is None else problem.retry_after
        await asyncio.sleep(self._backoff.seconds(self._failures, wish))
        self._failures += 1

    def _fails(self, problem: str) -> None:
        if problem != self._trouble:
            _log.warning("watch interrupted", kind=self._source.what, error=problem)
        if not self._trouble:
            self._since = time.monotonic()
        self._trouble, self._answered = problem, None

    async def _follow(self) -> AsyncGenerator[Change]:
        """From where it was left until the API server ends it."""
        if self._version is not None:
            if await self._is_void(self._version):
                self._version = None
            else:
                self._heard()
        if self._version is None:
            async with aclosing(pages(self._api, self._source)) as listing:
                async for page in listing:
                    self._heard()
                    yield self._listed_of(page)
            self._version = self._latest = page.version
            self.listed, self._doubtful = True, False
            self._list_at = time.monotonic() + random.uniform(*LIST_AGAIN_SECONDS)  # noqa: S311 - spread
        source, started = self._source, time.monotonic()
        async with aclosing(self._api.watch(source.path, source.what, self._version, source.query)) as events:
            async for event in events:
                change = self._of_event(event)
                if change is not None:
                    yield change
        self._doubtful = True  # whoever answers next may have an older etcd
        lasted = time.monotonic() - started
        if lasted > LONGEST_RETRY:  # it stood for long, if in silence: nothing was wrong
            self._failures, self._trouble = 0, ""
        elif lasted < STEADY_SECONDS and self._failures >= _OFTEN:
            self._fails(f"watching {source.what}{of_cluster(self._api.name)} is ended as soon as it has begun")

    def _of_event(self, event: Json | Sign) -> Changed | None:
        """None for a bookmark or a sign."""
        match event:
            case Sign.ANSWERED:
                self._answered = time.monotonic()
            case Sign.SILENT:
                self._failures = 0
            case _:
                self._failures, self._trouble = 0, ""
                self._version = self._latest = event["object"]["metadata"]["resourceVersion"]
                self._heard()
                if event["type"] in _IS_GONE:
                    return Changed(event["object"], gone=_IS_GONE[event["type"]])
        return None

    def _listed_of(self, page: Page) -> Listed:
        went_back = _is_lower(page.version, self._latest)
        return Listed(page.items, page.first, page.last, page.version, went_back, page.at)

    async def _is_void(self, version: str) -> bool:
        """Whether all is to be listed again, though the version may still be watched from.

        An etcd that was restored from a backup has lower versions than were seen: a watch from there on says nothing
        until they have risen as high, and then hides what happened meanwhile. It shows where a watch was cut off.
        """
        if time.monotonic() >= self._list_at:
            return True
        if not self._doubtful:
            return False
        current = await self._api.version(self._source.path, self._source.what, self._source.query)
        self._doubtful = False
        if not _is_lower(current, version):
            return False
        _log.warning("versions went back; listing again", kind=self._source.what, version=version)
        return True


def follow(api: ApiServer, source: Source) -> AsyncGenerator[Change]:
    """As `Watch.changes`, for whom nothing else of it matters."""
    return Watch(api, source).changes()


def pause(failures: int, error: ClusterError | None = None) -> float:
    """Seconds to wait after so many failures; never less than the API server wished for."""
    return Backoff(FIRST_RETRY, LONGEST_RETRY).seconds(failures, None if error is None else error.retry_after)


def _is_lower(version: str, other: str) -> bool:
    """Of what is no number nothing is concluded."""
    return version.isdigit() and other.isdigit() and int(version) < int(other)
