"""Tells other nodes of this node's pods: keeps its PodSlices at the API server what its own watch says.

What comes alone is written at once, what comes together in one go; trouble is waited out. `enforcer.service` runs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from enforcer.cluster.own_slices import SliceTerms
from enforcer.cluster.view import View
from enforcer.errors import EnforcerError
from zones.canonical import Json
from zones.kube.errors import ClusterError
from zones.net import IPAddress
from zones.runtime.backoff import Backoff

# The machine's addresses, the labels and the Node are looked at so often; pods and slices are told of.
_LOOK_SECONDS, _PAUSE = 1.0, 0.1
# Who writes the same so many times is undone by somebody each time, and takes more and more time over it.
_UNDONE = 3
_log = structlog.get_logger()


class SliceApi(Protocol):
    """What `enforcer.cluster.watch` offers."""

    async def put_slice(self, name: str, body: Json | None) -> Json: ...


class Machine(Protocol):
    """The machine's own addresses: what `enforcer.netlink.sockets` offers. Raises a KernelError."""

    def __call__(self) -> tuple[IPAddress, ...]: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class SliceWriter:
    """`labels`: the keys that slices carry now. `writes` counts.

    `problem`: why other nodes aren't told, empty where they are.
    """

    view: View
    door: SliceApi
    labels: Callable[[], tuple[str, ...]]
    machine: Machine
    backoff: Backoff = field(default_factory=lambda: Backoff(0.5, 30.0))
    writes: int = 0
    problem: str = ""
    _due: asyncio.Event = field(default_factory=asyncio.Event)
    _told: SliceTerms | None = None
    _repeated: int = 0
    _last: tuple[str, Json | None] | None = None

    def look(self) -> None:
        """Pods or slices of this node are other ones."""
        self._due.set()

    def close(self) -> None:
        self.machine.close()

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._due.wait()
            stirred = self._due.is_set()
            self._due.clear()
            try:
                await self._write(stirred=stirred or bool(failures))
                failures, self.problem = 0, ""
            except ClusterError as error:
                self._complain(error)
                await asyncio.sleep(self.backoff.seconds(failures, error.retry_after))
                failures += 1
            await asyncio.sleep(self.backoff.seconds(self._repeated) if self._repeated >= _UNDONE else _PAUSE)

    async def _write(self, *, stirred: bool) -> None:
        terms = await self._terms()
        if terms is None or not (stirred or self.view.own_slices.changed or terms != self._told):
            return
        for name, body in list(self.view.own_slices.due(self.view.own_pods(), terms)):
            answer = await self.door.put_slice(name, body)
            self.writes += 1
            self._repeated = self._repeated + 1 if (name, body) == self._last else 0
            self._last = name, body
            if body is None:
                self.view.own_slices.lost(name)
            else:
                self.view.own_slices.wrote(body, answer)
        self._told = terms

    async def _terms(self) -> SliceTerms | None:
        """None before everything was listed, and without a Node: nothing is to be told of that."""
        owner = self.view.uid_of_node() if self.view.complete else ""
        if not owner:
            return None
        try:
            local = await asyncio.to_thread(self.machine)
        except EnforcerError as error:
            _log.warning("the machine's addresses could not be read", error=str(error))
            return None if self._told is None else SliceTerms(owner, self.labels(), self._told.addresses)
        return SliceTerms(owner, self.labels(), self.view.tunnel_ends(local))

    def _complain(self, error: ClusterError) -> None:
        """Once for each kind of trouble."""
        problem = f"other nodes are not told of this node's pods: {error}"
        if problem != self.problem:
            _log.warning("pod slices not written", error=str(error))
        self.problem = problem
