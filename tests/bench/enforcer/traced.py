"""`zone-enforcer run`, noting when a change passes each stage: JSON lines [stage, seconds, what] in a file.

`python -m tests.bench.enforcer.traced FILE run -c SETTINGS`; `tests.bench.enforcer.agent` reads it. Seconds are those of
CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

from enforcer.cli import main
from enforcer.cluster.view import View
from enforcer.enforcement import Enforcement
from enforcer.kernel.nft import Nftables
from enforcer.kernel.reconcile import Reconciler
from tests.bench.enforcer.stages import scheduled
from zones.kube.watch import Watch

_LONG = 0.005  # seconds that a callback may keep the event loop


def _begin(file: str) -> None:
    place = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)

    def note(stage: str, what: object = "") -> None:
        os.write(place, (json.dumps([stage, perf_counter(), what]) + "\n").encode())

    def after(where: Any, name: str, stage: str, what: Callable[..., object]) -> None:
        original = getattr(where, name)

        def noted(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            note(stage, what(result, *arguments))
            return result

        setattr(where, name, noted)

    after(Watch, "_of_event", "received", lambda change, *_: "" if change is None else _named(change.raw))
    after(View, "fold", "folded", lambda news, _, change: [_named(getattr(change, "raw", {})), news])
    after(Enforcement, "_feed", "taken", lambda feed, _: len(feed.changed))
    after(Nftables, "commit", "committed", lambda *_: scheduled())
    _before(Reconciler, "apply", lambda: note("began", scheduled()))
    after(Reconciler, "apply", "ended", lambda applied, *_: applied.action.value)
    _watch_garbage(note)
    _watch_loop(note)


def _named(raw: Any) -> str:
    return str((raw.get("metadata") or {}).get("name", ""))


def _before(where: Any, name: str, tell: Callable[[], None]) -> None:
    original = getattr(where, name)

    def told(*arguments: Any, **options: Any) -> Any:
        tell()
        return original(*arguments, **options)

    setattr(where, name, told)


def _watch_garbage(note: Callable[[str, object], None]) -> None:
    began = 0.0

    def heard(phase: str, told: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = perf_counter()
        else:
            note("garbage", [told["generation"], perf_counter() - began])

    gc.callbacks.append(heard)


def _watch_loop(note: Callable[[str, object], None]) -> None:
    """Whatever keeps the event loop for long."""
    original = asyncio.Handle._run

    def timed(self: asyncio.Handle) -> None:
        started = perf_counter()
        original(self)
        took = perf_counter() - started
        if took > _LONG:
            note("busy", [took, repr(self)[:300]])

    asyncio.Handle._run = timed  # type: ignore[method-assign]


if __name__ == "__main__":
    _begin(sys.argv.pop(1))
    main()
