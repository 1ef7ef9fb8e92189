"""Keeps the feeds that rules draw on: fetches each when it is due, keeps the last good content, says when one changed.

It opens no connection itself and compiles nothing; `bridge.service` runs it, `bridge.sync` reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from bridge.feeds.due import next_due
from bridge.feeds.fetch import Content, FeedError
from zones.net import AddressSet
from zones.rules import Feed, FeedKind

FIRST_SECONDS = 10.0
RETRY = timedelta(seconds=30)
_log = structlog.get_logger()


class Fetch(Protocol):
    """What a keeper needs of the door."""

    def __call__(self, feed: Feed, /) -> Awaitable[Content]: ...


@dataclass(slots=True)
class _Kept:
    """One feed: its last good content, and when it is due again."""

    due: datetime
    content: Content | None = None
    trouble: str | None = None


class Feeds:
    """The feeds of one cluster. `changed` is called, without arguments, after a feed's addresses changed."""

    def __init__(
        self, fetch: Fetch, changed: Callable[[], None], *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._fetch = fetch
        self._changed = changed
        self._now = now
        self._kept: dict[Feed, _Kept] = {}
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
        self._kept = {feed: self._kept.get(feed) or _Kept(self._now()) for feed in feeds}
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
            await asyncio.gather(*(self._refresh(feed) for feed, kept in self._kept.items() if kept.due <= self._now()))
            if self.version != before:
                self._changed()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_left()):
                    await self._wanted.wait()

    def _seconds_left(self) -> float:
        soonest = min((kept.due for kept in self._kept.values()), default=self._now() + timedelta(hours=1))
        return max((soonest - self._now()).total_seconds(), 0.1)

    async def _refresh(self, feed: Feed) -> None:
        kept = self._kept.get(feed)
        if kept is None:  # let go in the meantime
            return
        try:
            content = await self._fetch(feed)
        except FeedError as error:
            kept.trouble, kept.due = str(error), self._now() + RETRY
            _log.warning("feed not refreshed", feed=feed.name, error=str(error), kept=kept.content is not None)
            return
        except Exception as error:  # noqa: BLE001 - one feed's bug must not end the others, nor the service
            kept.trouble, kept.due = f"unexpected {type(error).__name__}", self._now() + RETRY
            _log.exception("feed not refreshed", feed=feed.name)
            return
        if kept.content is None or content.space != kept.content.space:
            self.version += 1
        kept.content, kept.trouble = content, None
        kept.due = self._next(feed, content)

    def _next(self, feed: Feed, content: Content) -> datetime:
        """By the DNS's time to live, by the list's schedule, or by whichever comes first."""
        now = self._now()
        by_ttl = None if content.ttl is None else now + timedelta(seconds=content.ttl)
        if feed.kind is FeedKind.FQDN and by_ttl is not None:
            return by_ttl
        scheduled = next_due(feed, now)
        return scheduled if by_ttl is None else min(by_ttl, scheduled)
