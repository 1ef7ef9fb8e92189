"""The canonical record itself, one JSON object a line. Pure; `docs/records.md` names its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
