"""What the sections of the settings files have in common, and the values in them. It reads nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
)
from pydantic.alias_generators import to_camel

from zones.runtime.logs import LogFormat

MIB = 2**20
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")


class Section(BaseModel):
    """Keys are camelCase in the file; an unknown one is a fault."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: LogFormat = LogFormat.JSON


class SettingsFile(Section):
    """A whole file. `notices`: what its reader has to say of it, for the log."""

    _notices: tuple[str, ...] = PrivateAttr(())

    @property
    def notices(self) -> tuple[str, ...]:
        return self._notices

    @classmethod
    def noted(cls, content: Mapping[str, Any], notices: tuple[str, ...]) -> Self:
        """Raises pydantic's ValidationError."""
        settings = cls.model_validate(content)
        settings._notices = notices  # noqa: SLF001 - its own
        return settings


def host_and_port(address: str) -> tuple[str, int]:
    """`127.0.0.1:9469` or `[::1]:9469`. Raises ValueError."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:\s]+)):(\d{1,5})", address)
    if match is None or not int(match[3]) < 2**16:
        raise ValueError("must be HOST:PORT, an IPv6 address in brackets")
    return match[1] or match[2], int(match[3])


def _address(address: str) -> str:
    host_and_port(address)
    return address


def duration(value: object) -> timedelta:
    """`90`, `90s`, `1m30s`, `90d` as a timedelta. Raises ValueError."""
    try:
        if isinstance(value, timedelta):
            return value
        if isinstance(value, str) and _DURATION.fullmatch(value):
            parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", value)
            return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            return timedelta(seconds=float(value))
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"'{value}' is no duration; write 90s, 5m or 1h30m")


def seconds(value: object) -> float:
    """The same as a number of seconds. Raises ValueError."""
    return duration(value).total_seconds()


Address = Annotated[str, AfterValidator(_address)]
Duration = Annotated[timedelta, BeforeValidator(duration), Field(gt=timedelta(0))]
Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
