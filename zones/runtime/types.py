"""What the parts of the settings file have in common. It reads nothing; the settings' own modules build on it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

MIB = 2**20
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Seconds = Annotated[float, Field(gt=0)]


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
