"""How often the interpreter looks for garbage: rarely. A configuration is some million objects, none of them in cycles.

`bridge.cli` sets it as the process starts; without it everything works the same, and takes half as long again.
"""

from __future__ import annotations

import gc

_THRESHOLDS = 100_000, 50, 50


def look_rarely() -> None:
    gc.set_threshold(*_THRESHOLDS)
