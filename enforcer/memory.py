"""How the agent keeps its memory small: garbage is looked for rarely, and what a large change needed is given back.

Without either, everything works the same. `enforcer.cli` and `enforcer.kernel.reconcile` call it.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from enforcer.netlink import assemble

_ARENA_MAX, _MMAP_THRESHOLD, _LARGE = -8, -3, 128 * 1024
_THRESHOLDS = 50_000, 20, 20  # a policy is some hundred thousand objects, none of them in cycles


def tune_allocator() -> None:
    """One arena for all threads, which take turns anyway; what is large is mapped, and so unmapped when it goes."""
    gc.set_threshold(*_THRESHOLDS)
    with suppress(OSError, AttributeError):  # another C library has no such things
        c = ctypes.CDLL(None)
        c.mallopt(_ARENA_MAX, 1)
        c.mallopt(_MMAP_THRESHOLD, _LARGE)


@contextmanager
def gc_paused() -> Iterator[None]:
    """What a change of the whole table makes stays: to look for garbage meanwhile takes a fifth of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def forget() -> None:
    """What was read of rules' text while all of them were written; nothing stops for it."""
    assemble.forget()
    _trim()


def trim() -> None:
    """To the system: a change of the whole table needs several times its size.

    What is left stays for long: nobody looks through it for garbage again, which would stop everything for that time.
    """
    assemble.forget()
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    _trim()


def _trim() -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
