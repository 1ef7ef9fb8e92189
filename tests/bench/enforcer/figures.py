"""One figure of a benchmark: what modules of this folder yield and `__main__` prints and writes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    unit: str
