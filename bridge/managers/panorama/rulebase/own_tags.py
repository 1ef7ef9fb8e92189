"""The tags that a bridge puts on rules, to say what a cluster does with them. To a bridge they say nothing. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

PARTLY = "k8s-partly"
NOT_ENFORCED = "k8s-not-enforced"
_UNUSED = re.compile(r"k8s-unused-[1-9][0-9]{0,4}d")


def unused_tag(least: timedelta) -> str:
    """Of rules that weren't hit for so many days."""
    return f"k8s-unused-{least.days}d"


def is_usage_tag(name: str) -> bool:
    """Whether it tells of hits, whatever the number of days."""
    return _UNUSED.fullmatch(name) is not None


def is_own_tag(name: str) -> bool:
    return name in {PARTLY, NOT_ENFORCED} or is_usage_tag(name)
