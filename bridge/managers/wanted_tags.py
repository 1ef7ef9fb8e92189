"""What a bridge's own tags on a manager's rules are to be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WantedTags:
    """Of each rule of the device group, by its UUID; rules that aren't in it are left alone.

    `usage_known`: whether it is known what was hit. Where it isn't, tags that tell of it stay as they are.
    """

    tags: Mapping[str, frozenset[str]]
    usage_known: bool
