"""What of a cluster's tagged addresses differs from what Panorama holds, and in which messages to say it. Pure.

Only tags that are the cluster's own are ever taken away. `bridge.registration` sends what it plans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bridge.managers.panorama.registration.tags import Mappings

MOST_TAGS = 2_000
"""In one message: some 300 kB, of the 10 MB that Panorama takes."""

_NONE: frozenset[str] = frozenset()


class Verb(StrEnum):
    """User-ID's words."""

    REGISTER = "register"
    UNREGISTER = "unregister"


@dataclass(frozen=True, slots=True)
class TagMessage:
    """One call: addresses with the tags that are put on them, or taken from them."""

    verb: Verb
    entries: Mappings


def plan(
    desired: Mappings, current: Mappings, owns: Callable[[str], bool], most: int = MOST_TAGS
) -> tuple[TagMessage, ...]:
    """From `current` to `desired`. What is gone first: an address that changed hands keeps nothing of before."""
    gone = {ip: {tag for tag in tags - desired.get(ip, _NONE) if owns(tag)} for ip, tags in current.items()}
    missing = {ip: tags - current.get(ip, _NONE) for ip, tags in desired.items()}
    return (*_messages(Verb.UNREGISTER, gone, most), *_messages(Verb.REGISTER, missing, most))


def refresh(desired: Mappings, most: int = MOST_TAGS) -> tuple[TagMessage, ...]:
    """Everything once more, so that its timeout begins again."""
    return tuple(_messages(Verb.REGISTER, desired, most))


def after(current: Mappings, message: TagMessage) -> dict[str, frozenset[str]]:
    """What Panorama holds when it has taken a message."""
    now = dict(current)
    for ip, tags in message.entries.items():
        before = now.get(ip, _NONE)
        left = before | tags if message.verb is Verb.REGISTER else before - tags
        if left:
            now[ip] = left
        else:
            now.pop(ip, None)
    return now


def fitting(desired: Mappings, current: Mappings, owns: Callable[[str], bool], most: int) -> dict[str, frozenset[str]]:
    """As many addresses as there is room for beside everybody else's; those that are registered already come first."""
    others = sum(ip not in desired and any(not owns(tag) for tag in tags) for ip, tags in current.items())
    room = max(most - others, 0)
    if len(desired) <= room:
        return dict(desired)
    order = sorted(desired, key=lambda ip: (ip not in current, ip))
    return {ip: desired[ip] for ip in order[:room]}


def _messages(verb: Verb, wanted: Mapping[str, frozenset[str] | set[str]], most: int) -> Iterator[TagMessage]:
    entries: dict[str, frozenset[str]] = {}
    count = 0
    for ip, tags in wanted.items():
        if not tags:
            continue
        if entries and count + len(tags) > most:
            yield TagMessage(verb, entries)
            entries, count = {}, 0
        entries[ip] = frozenset(tags)
        count += len(tags)
    if entries:
        yield TagMessage(verb, entries)
