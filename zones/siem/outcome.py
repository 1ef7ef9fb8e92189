"""What became of a batch, as every receiver's answer is told to `enforcer.shipping.delivery`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Arrival(StrEnum):
    """What it means that a record was sent: how far it is known to have come.

    WRITTEN: to a file. RECEIVED: the receiver's kernel has it, on a connection that outlived it; whether the receiver
    has read it nobody tells. ACCEPTED: the receiver answered that it took it. INDEXED: it answered that it is stored.
    """

    WRITTEN = "written"
    RECEIVED = "received"
    ACCEPTED = "accepted"
    INDEXED = "indexed"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The batch is there. `slow_down`: the receiver says it is near its limit.

    `refused`: the records it will never take, by their index, and why; it has all others.
    """

    slow_down: bool = False
    refused: Mapping[int, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver has taken the batch, but it counts only once it confirms this receipt."""

    receipt: int
    slow_down: bool = False


@dataclass(frozen=True, slots=True)
class Gone:
    """What was accepted and isn't confirmed never will be: all of it is to be sent again, this batch too."""

    why: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Nothing is wrong with the batch; send it again, not before `after` seconds where the receiver said so.

    `slow`: there was no answer in time; a smaller batch may do.
    """

    why: str
    after: float | None = None
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Sending again can't help before an administrator has acted: a token, a right, a wrong address.

    `arrived`: how many records of the batch are there all the same, from the first one on.
    """

    why: str
    arrived: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """The record at `index` will never be taken; those before it are there, those after it are not."""

    index: int
    why: str


@dataclass(frozen=True, slots=True)
class Split:
    """Something in the batch is refused, or it is too big, and the receiver doesn't say where: try smaller ones."""

    why: str


Outcome = Delivered | Accepted | Gone | Retry | Hold | Refused | Split
