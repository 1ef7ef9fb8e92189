"""What a test wants the collector to do instead of its usual work. It never touches a connection itself.

A step is queued and plays for the next requests of its kind: `send` (/event, /raw), `ack` or `health`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

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
