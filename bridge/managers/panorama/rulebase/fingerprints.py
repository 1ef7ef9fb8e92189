"""What an element says in 128 bits, so that it can be compared with what it said at an earlier commit. Pure."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from xml.etree.ElementTree import Element

from bridge.managers.panorama.rulebase.tree import ObjectScope

_BYTES = 16


def fingerprint(element: Element, *place: str) -> bytes:
    """Of all that an element and everything below it say, and of where it stands."""
    # `items`, as `attrib` would give each element without attributes a dictionary to keep.
    said = [(node.tag, node.text, node.tail, len(node), node.items()) for node in element.iter()]
    return blake2b(marshal.dumps((place, said), 0), digest_size=_BYTES).digest()


def of_objects(scope: ObjectScope, kinds: Iterable[str]) -> dict[str, bytes]:
    """Name -> what it stands for among these kinds, in the order in which the scope has them."""
    prints: dict[str, bytes] = {}
    for kind in kinds:
        for name, definition in scope.objects(kind).items():
            prints[name] = prints.get(name, b"") + fingerprint(definition.entry, kind, definition.level)
    return prints


def changed(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> set[str]:
    """The names that stand for something else, for something new, or for nothing any more."""
    return {name for name, _ in before.items() ^ now.items()}


def names_above(names: Iterable[str], below: Mapping[str, tuple[str, ...]]) -> set[str]:
    """These names and every group that holds one of them at any depth. `below`: group -> its members."""
    above: dict[str, list[str]] = {}
    for group, members_ in below.items():
        for member in members_:
            above.setdefault(member, []).append(group)
    reached = set(names)
    waiting = list(reached)
    while waiting:
        fresh = [group for group in above.get(waiting.pop(), ()) if group not in reached]
        reached.update(fresh)
        waiting.extend(fresh)
    return reached
