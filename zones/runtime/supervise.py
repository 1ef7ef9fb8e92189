"""Running a task for as long as the program runs: whatever ends it is logged, and it is started again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from zones.runtime.backoff import Backoff

_log = structlog.get_logger()


async def supervised(
    name: str,
    work: Callable[[], Awaitable[None]],
    backoff: Backoff,
    expected: type[Exception],
    *,
    event: str = "task ended and is started again",
) -> None:
    """Until cancelled. `expected` is logged as a line, anything else with its traceback, both as `event`.

    Work that ran for longer than the longest back-off did well: what ends it then is another trouble than before.
    """
    failures = 0
    while True:
        started = time.monotonic()
        try:
            await work()
        except expected as error:
            _log.error(event, task=name, error=str(error))
        except Exception:  # noqa: BLE001 - a defect in one task must not stop the others
            _log.exception(event, task=name)
        if time.monotonic() - started > backoff.longest:
            failures = 0
        await asyncio.sleep(backoff.seconds(failures))
        failures += 1
