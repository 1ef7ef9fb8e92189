"""Keeps the feeds that rules draw on: fetches each when it is due, keeps the last good content, says when one changed.

It opens no connection itself and compiles nothing; `bridge.service` runs it, `bridge.tier.sync` reads it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog

from bridge.feeds.due import OF_THE_CALENDAR, next_due
from bridge.feeds.fetch import FeedContent, FeedError
from zones.net import AddressSet
from zones.rules import Feed, FeedKind

FIRST_SECONDS = 10.0
RETRY = 30.0
_log = structlog.get_logger()


class Fetch(Protocol):
    """What a keeper needs of the door."""

    def __call__(self, feed: Feed, /) -> Awaitable[FeedContent]: ...


@dataclass(slots=True)
class _KeptFeed:
    """One feed: its last good content, and when it is due again.

    `due` is a time of the steady clock, `scheduled` one of the calendar: whichever comes first.
    """

    due: float
    scheduled: datetime | None = None
    content: FeedContent | None = None
    trouble: str | None = None


class Feeds:
    """The feeds of one cluster. `changed` is called, without arguments, after a feed's addresses changed.

    Intervals go by `clock`, which nobody sets; times of day by `now`.
    """

    def __init__(
        self,
        fetch: Fetch,
        changed: Callable[[], None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._changed = changed
        self._now = now
        self._clock = clock
        self._kept: dict[Feed, _KeptFeed] = {}
        self._wanted = asyncio.Event()
        self.version = 0

    def contents(self) -> Mapping[str, AddressSet]:
        """The last good addresses of every feed that ever had any, by the name that rules use."""
        return {feed.name: kept.content.space for feed, kept in self._kept.items() if kept.content is not None}

    def troubles(self) -> Mapping[str, str]:
        """What keeps feeds from their newest content, by name."""
        return {feed.name: kept.trouble for feed, kept in self._kept.items() if kept.trouble is not None}

    async def want(self, feeds: Sequence[Feed], seconds: float = FIRST_SECONDS) -> None:
        """Keep exactly these from now on; waits, for so long at most, until the new ones were asked for once."""
        self._kept = {feed: self._kept.get(feed) or _KeptFeed(self._clock()) for feed in feeds}
        fresh = [feed for feed, kept in self._kept.items() if kept.content is None and kept.trouble is None]
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*map(self._refresh, fresh))
        self._wanted.set()

    async def run(self) -> None:
        """Refresh what is due, until cancelled."""
        while True:
            self._wanted.clear()
            before = self.version
            await asyncio.gather(
                *(self._refresh(feed) for feed, kept in self._kept.items() if self._seconds(kept) <= 0)
            )
            if self.version != before:
                self._changed()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_left()):
                    await self._wanted.wait()

    def _seconds_left(self) -> float:
        return max(min((self._seconds(kept) for kept in self._kept.values()), default=3600.0), 0.1)

    def _seconds(self, kept: _KeptFeed) -> float:
        """Until this one is due."""
        left = kept.due - self._clock()
        return left if kept.scheduled is None else min(left, (kept.scheduled - self._now()).total_seconds())

    async def _refresh(self, feed: Feed) -> None:
        kept = self._kept.get(feed)
        if kept is None:  # let go in the meantime
            return
        try:
            content = await self._fetch(feed)
        except FeedError as error:
            self._try_again(kept, str(error))
            _log.warning("feed not refreshed", feed=feed.name, error=str(error), kept=kept.content is not None)
            return
        except Exception as error:  # noqa: BLE001 - one feed's bug must not end the others, nor the service
            self._try_again(kept, f"unexpected {type(error).__name__}")
            _log.exception("feed not refreshed", feed=feed.name)
            return
        if kept.content is None or content.space != kept.content.space:
            self.version += 1
        kept.content, kept.trouble = content, None
        kept.due, kept.scheduled = self._next(feed, content)

    def _try_again(self, kept: _KeptFeed, trouble: str) -> None:
        kept.trouble, kept.due, kept.scheduled = trouble, self._clock() + RETRY, None

    def _next(self, feed: Feed, content: FeedContent) -> tuple[float, datetime | None]:
        """By the DNS's time to live, by the list's schedule, or by whichever comes first."""
        now, steady = self._now(), self._clock()
        if feed.kind is FeedKind.FQDN and content.ttl is not None:
            return steady + content.ttl, None
        scheduled = next_due(feed, now)
        seconds = (scheduled - now).total_seconds()
        due = steady + (seconds if content.ttl is None else min(content.ttl, seconds))
        return due, scheduled if feed.recurring.period in OF_THE_CALENDAR else None
