"""The log of either program: JSON lines or console text on standard error.

A line is an event in plain words, and what it is about by name. `error` says what went wrong, `reason` why something
is as it is; no other word stands for either.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from enum import StrEnum

import structlog


class LogFormat(StrEnum):
    JSON = "json"
    CONSOLE = "console"


def configure(level: str, form: LogFormat) -> None:
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(sort_keys=True)
    exceptions: structlog.typing.Processor = structlog.processors.format_exc_info
    if form is LogFormat.CONSOLE:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the other one prints variables, secrets among them
        )
        exceptions = structlog.stdlib.ExtraAdder()  # the console renderer prints exceptions itself
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            exceptions,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def note(notices: Iterable[str]) -> None:
    """What the reader of the settings has to say of them."""
    for notice in notices:
        structlog.get_logger().warning("settings with former names", reason=notice)
