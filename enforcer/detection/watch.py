"""Keeps a node's detectors at work: the policy in force, feeds that changed, hours that end, what was learnt.

`enforcer.service` runs it. A feed that can't be read stays as it was, and is told as a problem.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from enforcer import state_file
from enforcer.detection.detection import Detection
from enforcer.errors import EnforcerError
from zones.indicators import FeedFields, FeedForm, Indicator, IndicatorFeedError, IndicatorIndex, parse_feed
from zones.policy import Policy

FILE = "detection.json"
_TICK, _LOOK, _SAVE = 1.0, 30.0, 300.0
_LARGEST = 64 * 2**20
_log = structlog.get_logger()


class WatchedFeed(Protocol):
    """Of the settings."""

    @property
    def name(self) -> str: ...
    @property
    def file(self) -> Path: ...
    @property
    def format(self) -> FeedForm: ...
    @property
    def fields(self) -> FeedFields: ...
    @property
    def least_confidence(self) -> int: ...


@dataclass(slots=True)
class _Content:
    """`place`: what tells one content of the file from another."""

    place: tuple[int, ...] = ()
    indicators: Sequence[Indicator] = ()
    unusable: int = 0
    problem: str = ""


@dataclass(slots=True)
class DetectionWatch:
    """`limited` is told of how many sources were forgotten before their time since it was last told."""

    detection: Detection
    directory: Path
    policy: Callable[[], Policy | None]
    limited: Callable[[int], None]
    feeds: Sequence[WatchedFeed] = ()
    _contents: dict[str, _Content] = field(default_factory=dict)
    _evicted: int = 0
    _loaded: bool = False

    @property
    def problems(self) -> Iterator[str]:
        return (content.problem for content in self._contents.values() if content.problem)

    @property
    def unusable(self) -> dict[str, int]:
        """Entries of each feed that are no addresses."""
        return {name: content.unusable for name, content in self._contents.items()}

    async def run(self) -> None:
        """Until cancelled."""
        if not self._loaded:
            await asyncio.to_thread(self.load)
            self._loaded = True
        looked = saved = 0.0
        loop = asyncio.get_running_loop()
        while True:
            self.detection.learn(self.policy())
            self.detection.tick()
            if loop.time() - looked >= _LOOK or not looked:
                looked = loop.time()
                await self.look()
                evicted, self._evicted = self.detection.evicted - self._evicted, self.detection.evicted
                if evicted:
                    self.limited(evicted)
            if loop.time() - saved >= _SAVE and saved:
                saved = loop.time()
                await asyncio.to_thread(self.save, self.detection.content())
            saved = saved or loop.time()
            await asyncio.sleep(_TICK)

    def load(self) -> None:
        """What was learnt before."""
        try:
            content = state_file.read(self.directory / FILE)
        except EnforcerError as error:
            _log.warning("what was learnt can't be read: it is learnt anew", error=str(error))
            return
        if content is not None and not self.detection.restore(content):
            _log.warning("what was learnt is damaged: it is learnt anew", file=str(self.directory / FILE))

    def save(self, content: bytes) -> None:
        """Nothing that was learnt before is overwritten by an agent that has not read it."""
        if not self._loaded:
            return
        try:
            state_file.write_atomically(self.directory / FILE, content)
        except OSError as error:
            _log.warning("what was learnt is not saved", file=str(self.directory / FILE), error=error.strerror)

    async def look(self) -> None:
        """Read the feeds that changed."""
        changed = False
        for feed in self.feeds:
            content = await asyncio.to_thread(_read, feed, self._contents.get(feed.name, _Content()))
            changed = changed or content is not self._contents.get(feed.name)
            if content.problem and content is not self._contents.get(feed.name):
                _log.error("indicator feed", feed=feed.name, error=content.problem)
            self._contents[feed.name] = content
        if changed:
            indicators = [indicator for content in self._contents.values() for indicator in content.indicators]
            self.detection.indicators = await asyncio.to_thread(IndicatorIndex, indicators)


def _read(feed: WatchedFeed, before: _Content) -> _Content:
    """The same object where nothing has changed."""
    try:
        status = feed.file.stat()
        place = status.st_ino, status.st_size, status.st_mtime_ns
        if place == before.place:
            return before
        _require_readable(status)
        parsed = parse_feed(feed.file.read_text("utf-8", "replace"), feed.format, feed.name, feed.fields)
    except (OSError, IndicatorFeedError) as error:
        why = getattr(error, "strerror", None) or str(error)
        problem = f"indicator feed '{feed.name}' in {feed.file}: {why}; what it said before holds"
        same = problem == before.problem
        return before if same else _Content((), before.indicators, before.unusable, problem)
    kept = [one for one in parsed.indicators if one.confidence is None or one.confidence >= feed.least_confidence]
    return _Content(place, kept, parsed.unusable)


def _require_readable(status: os.stat_result) -> None:
    """Raises IndicatorFeedError."""
    if not stat.S_ISREG(status.st_mode):
        raise IndicatorFeedError("it is no file")
    if status.st_size > _LARGEST:
        raise IndicatorFeedError(f"it is larger than {_LARGEST // 2**20} MiB")
