"""A connection that keeps talking, to see when a rule lets it live, cuts it, or resets it.

It only observes; it never reconnects. The lab makes and closes it.
"""

from __future__ import annotations

import asyncio
import time

from mocks.lab.background import Background
from mocks.lab.listen import CHUNK
from mocks.lab.netns import LabError
from mocks.lab.probe import Endpoint, Transport, open_socket

POLL = 0.01


class Conversation:
    """An established connection that says something every `every` seconds and watches for the answers.

    With `speak=False` it only answers what it hears, for servers that talk first. Times are `time.monotonic()`.
    """

    def __init__(
        self,
        background: Background,
        source: Endpoint,
        ip: str,
        port: int,
        *,
        transport: Transport = "tcp",
        every: float = 0.05,
        silence: float = 0.5,
        speak: bool = True,
        timeout: float = 3.0,
    ) -> None:
        self._background = background
        self._every = every
        self._silence = silence
        self._speak = speak
        self._ended_at: float | None = None
        self._closed = False
        self.replies = 0
        self.name = f"{source.netns.name} -> {ip} port {port}/{transport}"
        self._socket = open_socket(source.netns, ip, transport)
        try:
            background.call(self._open(ip, port, within=timeout), timeout + 5)
        except (OSError, TimeoutError) as error:
            self._socket.close()
            raise LabError(
                f"no conversation {self.name}: {error or 'no answer'}; is it allowed, is it served?"
            ) from error

    @property
    def alive(self) -> bool:
        return self._ended_at is None and time.monotonic() - self.last_reply_at <= self._silence

    @property
    def ended(self) -> bool:
        """Whether it was reset or closed: it never comes back. Silence is no end."""
        return self._ended_at is not None

    @property
    def died_at(self) -> float | None:
        """When it was reset or closed, or else heard last; None while it lives. Silence can end again."""
        if self.alive:
            return None
        return self.last_reply_at if self._ended_at is None else self._ended_at

    def wait(self, *, alive: bool, timeout: float = 5.0) -> bool:
        """Wait until it lives or is dead; False if it doesn't come to that in time."""
        deadline = time.monotonic() + timeout
        while self.alive is not alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._background.call(self._stop())

    async def _open(self, ip: str, port: int, within: float) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(within):
            await loop.sock_connect(self._socket, (ip, port))
        self.last_reply_at = time.monotonic()
        self._parts = [loop.create_task(self._hear())]
        if self._speak:
            self._parts.append(loop.create_task(self._say()))

    async def _say(self) -> None:
        loop = asyncio.get_running_loop()
        while self._ended_at is None:
            try:
                await loop.sock_sendall(self._socket, b"ping\n")
            except OSError:
                return self._end()
            await asyncio.sleep(self._every)
        return None

    async def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                heard = await loop.sock_recv(self._socket, CHUNK)
                if not heard:
                    return self._end()
                self.last_reply_at = time.monotonic()
                self.replies += 1
                if not self._speak:
                    await loop.sock_sendall(self._socket, b"heard\n")
            except OSError:
                return self._end()

    def _end(self) -> None:
        if self._ended_at is None:
            self._ended_at = time.monotonic()

    async def _stop(self) -> None:
        for part in self._parts:
            part.cancel()
        await asyncio.gather(*self._parts, return_exceptions=True)
        self._end()
        self._socket.close()
