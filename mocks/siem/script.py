"""What a test wants the collector to do instead of its usual work. It never touches a connection itself.

A step is queued and plays for the next requests of its kind: `send` (/event, /raw), `ack` or `health`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mocks.siem.codes import CODES

Kind = Literal["send", "ack", "health"]


@dataclass(slots=True)
class Step:
    """Plays `times` times.

    With a `code`: answers it; nothing is indexed unless `committed` or the code is a success. `reset` drops the
    connection and `seconds` waits, both after the usual work. `lose` accepts, but never indexes.
    """

    kind: Kind = "send"
    times: int = 1
    code: int | None = None
    retry_after: int | None = None
    committed: bool = False
    reset: bool = False
    seconds: float = 0.0
    lose: bool = False


@dataclass(slots=True)
class Script:
    steps: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> None:
        self.steps.append(step)

    def take(self, kind: Kind) -> Step | None:
        for step in self.steps:
            if step.kind == kind:
                step.times -= 1
                if step.times <= 0:
                    self.steps.remove(step)
                return step
        return None


def read_step(text: str) -> Step:
    """KIND[:VALUE][*TIMES]: `code:9*3`, `code:26:7` (Retry-After 7), `reset`, `slow:2.5`, `lose`. Or ValueError."""
    head, _, times = text.partition("*")
    kind, *values = head.split(":")
    step = Step(times=int(times or 1), reset=kind == "reset", lose=kind == "lose")
    match kind, values:
        case "reset" | "lose", []:
            return step
        case "slow", [seconds]:
            step.seconds = float(seconds)
        case "code", [code, *retry_after] if len(retry_after) < 2:  # noqa: PLR2004 # one or none
            step.code = int(code)
            step.retry_after = int(retry_after[0]) if retry_after else None
        case _:
            raise ValueError("write KIND[:VALUE][*TIMES]: code:9*3, code:26:7, reset, slow:2.5 or lose")
    if step.code is not None and step.code not in CODES:
        raise ValueError(f"HEC has no code {step.code}")
    return step
