"""What the sections of the settings files have in common, and the values in them. It reads nothing."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

MIB = 2**20
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")


class Section(BaseModel):
    """Keys are camelCase in the file; an unknown one is a fault."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )


def host_and_port(address: str) -> tuple[str, int]:
    """`127.0.0.1:9469` or `[::1]:9469`. Raises ValueError."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:\s]+)):(\d{1,5})", address)
    if found is None or not int(found[3]) < 2**16:
        raise ValueError("must be HOST:PORT, an IPv6 address in brackets")
    return found[1] or found[2], int(found[3])


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


Address = Annotated[str, AfterValidator(_address)]
Duration = Annotated[timedelta, BeforeValidator(duration), Field(gt=timedelta(0))]
Seconds = Annotated[float, Field(gt=0)]
