"""The bridge's own log: JSON lines or console text on standard error. Called once, by `bridge.cli`."""

from __future__ import annotations

import logging
import sys

import structlog

from bridge.settings.models import LogFormat


def configure(level: str, form: LogFormat) -> None:
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(sort_keys=True)
    exceptions: structlog.typing.Processor = structlog.processors.format_exc_info
    if form is LogFormat.CONSOLE:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
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
