"""The names that zones have in the kernel's maps: at most 15 characters, readable where that is enough. Pure.

Labels are the developers' to choose: no label can ever get the id of another zone.
"""

from __future__ import annotations

import re
from base64 import b32encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from itertools import count

ID_LENGTH = 15  # what fits an nftables ifname with its NUL
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_HASH_LENGTH = 8


@dataclass(frozen=True, slots=True)
class ZoneKey:
    """A zone, seen from pods or from the networks around them: between two networks nothing is enforced."""

    zone: str
    of_pods: bool


def zone_ids(keys: Iterable[ZoneKey]) -> dict[ZoneKey, str]:
    """An id for each, unique; where two want the same, the earlier one gets it."""
    ids: dict[ZoneKey, str] = {}
    taken: set[str] = set()
    for key in dict.fromkeys(keys):
        ids[key] = next(name for salt in count() if (name := _candidate(key, salt)) not in taken)
        taken.add(ids[key])
    return ids


def _candidate(key: ZoneKey, salt: int) -> str:
    prefix = "" if key.of_pods else "net/"
    if not salt and _PLAIN.fullmatch(key.zone) and len(prefix + key.zone) <= ID_LENGTH:
        return prefix + key.zone
    digest = b32encode(sha256(f"{salt}:{key.zone}".encode()).digest()).decode()[:_HASH_LENGTH].lower()
    room = ID_LENGTH - len(prefix) - _HASH_LENGTH - 1
    start = "".join(_PLAIN.findall(key.zone))[:room]
    return f"{prefix}{start}~{digest}"
