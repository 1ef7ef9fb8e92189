"""The root of all errors that are expected, and what a command's end means."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's end means."""

    DONE = 0
    TROUBLE = 1
    BAD_INPUT = 2


class ZonebridgeError(Exception):
    """Anything that stops a program from doing what it was asked; `exit_code` is what a command ends with."""

    exit_code: ExitCode = ExitCode.TROUBLE
