"""What became of a record at a receiver."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivered:
    """It is there."""


@dataclass(frozen=True, slots=True)
class Later:
    """It is not; send it again, not before `after` seconds. `why` also says what only an administrator can change."""

    why: str
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """This record will never be taken."""

    why: str


Outcome = Delivered | Later | Refused
