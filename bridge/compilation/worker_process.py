"""Runs one long computation in a process of its own, bounded in time and memory. The service doesn't wait for it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TypeVar

_T = TypeVar("_T")
_Given = TypeVar("_Given")
NICE = 10
_STOP_SECONDS = 5.0


class WorkerError(Exception):
    """The computation came to no result: too long, too much memory, or a defect. The message says which."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """At most so many seconds by the clock and so many bytes of its own memory."""

    seconds: float = 120.0
    memory: int = 512 * 2**20


def run(call: Callable[[_Given], _T], argument: _Given, bounds: Bounds) -> _T:
    """The result of a module's function, with an argument that can be pickled. Blocks. Raises WorkerError."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, call, argument, bounds.memory), daemon=True)
    try:
        process.start()
        theirs.close()
        if not ours.poll(bounds.seconds):
            raise WorkerError(f"it took more than {bounds.seconds:g} s and was given up")
        ok, answer = ours.recv()
    except EOFError:
        raise WorkerError("its process ended without a result; it may have needed too much memory") from None
    except (OSError, pickle.PickleError) as error:
        raise WorkerError(f"its process can't be used: {error}") from error
    finally:
        ours.close()
        if process.pid is not None:
            process.kill()
            process.join(_STOP_SECONDS)
    if not ok:
        raise WorkerError(str(answer))
    result: _T = answer
    return result


def _work(answers: Connection, call: Callable[[_Given], object], argument: _Given, memory: int) -> None:
    """In the process: a lower priority than the service's, and an end where memory is used up."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    try:
        answer = True, call(argument)
    except MemoryError:
        answer = False, f"it needs more than {memory >> 20} MiB of memory"
    except Exception as error:  # noqa: BLE001 - the service goes on whatever it is
        answer = False, f"unexpected {type(error).__name__}: {error}"
    answers.send(answer)
