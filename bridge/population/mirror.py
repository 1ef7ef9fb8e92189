"""Objects of one kind kept what they should be: what is wanted against what is there, as a level.

It remembers what it last knew of each, so that its own writing is never taken for somebody else's.
`bridge.population.task` tells it what is there and when to write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from bridge.tier.plan import Part
from zones.canonical import digest
from zones.kube.errors import ClusterError, ClusterUnreachableError
from zones.kube.watch import Change, Listed

Json = dict[str, Any]
AT_ONCE = 8
_NEWEST = 2**63
_log = structlog.get_logger()


class ObjectApi(Protocol):
    """What it needs of a cluster."""

    async def apply(self, wanted: Json) -> Json: ...
    async def apply_status(self, wanted: Json) -> Json: ...
    async def delete(self, part: Part) -> object: ...


@dataclass(frozen=True, slots=True)
class _LiveObject:
    version: int
    spec: str
    status: str


class Mirror:
    """`wanted`: the object of a name, None where there shall be none; its status, if any, is written too."""

    def __init__(self, kind: str, door: ObjectApi, wanted: Callable[[str], Json | None]) -> None:
        self._kind = kind
        self._door = door
        self._wanted = wanted
        self._live: dict[str, _LiveObject] = {}
        self._seen: set[str] = set()
        self._dirty: set[str] = set()
        self._refused: set[str] = set()
        self._writing: dict[str, int] = {}
        self._writes = 0

    @property
    def dirty(self) -> bool:
        """Whether there is something to write."""
        return bool(self._dirty)

    def take_writes(self) -> int:
        """How many objects were written since the last time."""
        count, self._writes = self._writes, 0
        return count

    def touch(self, *names: str) -> None:
        """These may be other ones now."""
        self._dirty.update(names)

    def saw(self, change: Change) -> None:
        """What is there, by the watch."""
        if not isinstance(change, Listed):
            self._note(change.raw, gone=change.gone)
            return
        if change.first:
            self._seen.clear()
            if change.went_back:
                self._live.clear()
        for raw in change.objects:
            self._seen.add(raw["metadata"]["name"])
            self._note(raw, gone=False)
        if change.last:
            for vanished in (self._live.keys() | self._writing.keys()) - self._seen:
                self._gone(vanished, _NEWEST)
            self._seen.clear()

    def retry(self) -> None:
        """Try again what was refused."""
        self._dirty |= self._refused
        self._refused.clear()

    async def write(self) -> None:
        """What is not as it should be. What is refused stands aside; raises ClusterUnreachableError."""
        names, self._dirty = self._dirty, set()
        gate = asyncio.Semaphore(AT_ONCE)

        async def put(name: str) -> None:
            async with gate:
                self._writing[name] = 0
                try:
                    await self._put(name)
                finally:
                    del self._writing[name]

        order = sorted(names)
        results = await asyncio.gather(*map(put, order), return_exceptions=True)
        failed = [(name, result) for name, result in zip(order, results, strict=True) if result is not None]
        for name, error in failed:
            (self._dirty if isinstance(error, ClusterUnreachableError) else self._refused).add(name)
        for text in dict.fromkeys(str(error) for _, error in failed if isinstance(error, ClusterError)):
            _log.warning("not written", kind=self._kind, error=text)
        worst = next(_worst(error for _, error in failed), None)
        if worst is not None:
            raise worst

    async def _put(self, name: str) -> None:
        wanted, live = self._wanted(name), self._live.get(name)
        if wanted is None:
            await self._remove(name, live)
            return
        spec, status = _digests(wanted)
        if live is None or live.spec != spec:
            body = {key: value for key, value in wanted.items() if key != "status"}
            live = self._wrote(name, await self._door.apply(body))
        if status != live.status and "status" in wanted:
            body = {key: value for key, value in wanted.items() if key != "spec"}
            after = self._wrote(name, await self._door.apply_status(body))
            if after.spec != live.spec:  # somebody else was in between
                self._dirty.add(name)

    async def _remove(self, name: str, live: _LiveObject | None) -> None:
        if live is None:
            return
        await self._door.delete(Part(self._kind, name))
        self._writes += 1
        if self._live.get(name) is live:
            del self._live[name]

    def _wrote(self, name: str, answer: Json) -> _LiveObject:
        """What our writing made of it, unless the watch has told of something newer meanwhile."""
        self._writes += 1
        written = _LiveObject(_version(answer), *_digests(answer))
        known = self._live.get(name)
        if max(self._writing[name], known.version if known else 0) < written.version:
            self._live[name] = written
        return written

    def _note(self, raw: Json, *, gone: bool) -> None:
        name, version = raw["metadata"]["name"], _version(raw)
        known = self._live.get(name)
        if known is not None and version <= known.version:
            return
        if gone:
            self._gone(name, version)
        else:
            self._live[name] = _LiveObject(version, *_digests(raw))
            self._dirty.add(name)

    def _gone(self, name: str, version: int) -> None:
        """An answer that is still on its way may tell of it as it was before."""
        self._live.pop(name, None)
        self._dirty.add(name)
        if name in self._writing:
            self._writing[name] = version


def _worst(errors: Iterator[BaseException]) -> Iterator[BaseException]:
    """What concerns more than one object: defects first, then an API server that is away."""
    failures = list(errors)
    yield from (error for error in failures if not isinstance(error, ClusterError))
    yield from (error for error in failures if isinstance(error, ClusterUnreachableError))


def _digests(raw: Json) -> tuple[str, str]:
    return digest(raw.get("spec")), digest(raw.get("status"))


def _version(raw: Json) -> int:
    """They only grow; one that is no number is always newer."""
    text = raw["metadata"].get("resourceVersion", "")
    return int(text) if text.isdecimal() else _NEWEST
