"""Sets of field paths, and the walks over objects that make, compare, merge and remove them. Pure.

A path is a tuple of elements in the words of managedFields: `f:spec`, `k:{"name":"web"}`, `v:"a"`. `managed` calls.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mocks.kubernetes.status import Json
from mocks.kubernetes.topology import Topology

Path = tuple[str, ...]
FieldSet = frozenset[Path]


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
Children = dict[str, tuple[Any, Topology]]


def element(item: Any, topology: Topology) -> str:
    """How an item of a set or of a keyed list is known."""
    if topology.list_type == "set" or not isinstance(item, dict):
        return "v:" + _compact(item)
    keys = topology.key_defaults() | {key: item[key] for key in topology.list_keys if key in item}
    return "k:" + _compact(keys)


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def granular(value: Any, topology: Topology) -> bool:
    """Whether a value is owned piece by piece."""
    if isinstance(value, dict):
        return not topology.atomic_map
    return isinstance(value, list) and topology.list_type != "atomic"


def children(value: Any, topology: Topology) -> Children:
    if isinstance(value, dict):
        return {f"f:{name}": (inner, topology.field(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return {element(item, topology): (item, topology.item()) for item in value}
    return {}


def fields_of(value: Any, topology: Topology) -> FieldSet:
    """The fields that an applied configuration speaks of."""
    return frozenset(_fields(value, topology, ()))


def _fields(value: Any, topology: Topology, path: Path) -> Iterator[Path]:
    if not granular(value, topology):
        yield path
        return
    for step, (inner, below) in children(value, topology).items():
        here = (*path, step)
        if inner is None or inner == {} or not _is_struct_field(step, topology):
            yield here
        yield from _fields(inner, below, here)


def _is_struct_field(step: str, topology: Topology) -> bool:
    return step.startswith("f:") and topology.declares(step[2:])


@dataclass(slots=True)
class Comparison:
    """What differs between two objects."""

    added: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.modified)

    @property
    def written(self) -> FieldSet:
        return frozenset(self.added | self.modified)


def compare(old: Any, new: Any, topology: Topology) -> Comparison:
    found = Comparison()
    _compare(old, new, topology, (), found)
    return found


def _compare(old: Any, new: Any, topology: Topology, path: Path, found: Comparison) -> None:
    if old is ABSENT:
        found.added.add(path)
    elif new is ABSENT:
        found.removed.add(path)
    if (old is None and new) or (new is None and old):
        # null stands for an empty container
        filled = new if old is None else old
        empty: Any = [] if isinstance(filled, list) else {}
        old, new = (empty if value is None and granular(filled, topology) else value for value in (old, new))
    if old is not ABSENT and new is not ABSENT and type(old) is not type(new):
        # what lay below the old value is gone, what lies below the new one is new
        found.modified.add(path)
        _compare_below(old, ABSENT, topology, path, found)
        _compare_below(ABSENT, new, topology, path, found)
    elif not _is_leaf(old, new, topology):
        _compare_below(old, new, topology, path, found)
    elif old is not ABSENT and new is not ABSENT and old != new:
        found.modified.add(path)


def _compare_below(old: Any, new: Any, topology: Topology, path: Path, found: Comparison) -> None:
    before, after = (children(value, topology) if granular(value, topology) else {} for value in (old, new))
    for step in before | after:
        below = (after.get(step) or before[step])[1]
        nothing = (ABSENT, below)
        _compare(before.get(step, nothing)[0], after.get(step, nothing)[0], below, (*path, step), found)


def _is_leaf(old: Any, new: Any, topology: Topology) -> bool:
    """Whether values are compared whole: atomic, scalar, or all of them empty."""
    present = [value for value in (old, new) if value is not ABSENT]
    return not all(granular(value, topology) for value in present) or not any(present)


def merge(live: Any, applied: Any, topology: Topology) -> Any:
    """The live value with the applied one laid over it."""
    if applied is ABSENT:
        return live
    if live is ABSENT or type(live) is not type(applied) or not granular(applied, topology):
        return applied
    if isinstance(applied, dict):
        names = {**live, **applied}
        return {name: merge(live.get(name, ABSENT), applied.get(name, ABSENT), topology.field(name)) for name in names}
    return _merge_lists(children(live, topology), children(applied, topology), topology.item())


def _merge_lists(live: Children, applied: Children, below: Topology) -> list[Any]:
    """Applied items keep their order; live ones keep their places between them."""
    merged: dict[str, Any] = {}
    left, right = deque(live), deque(applied)
    shared = deque(step for step in applied if step in live)

    def take(step: str) -> None:
        item = applied[step][0] if step in applied else ABSENT
        merged[step] = merge(live[step][0] if step in live else ABSENT, item, below)
        if shared and shared[0] == step:
            shared.popleft()

    while left or right:
        if left and left[0] not in applied:
            take(left.popleft())
        elif left and right and left[0] != right[0] and shared and shared[0] != left[0]:
            # it comes at its applied place
            left.popleft()
        elif left and (not right or left[0] == right[0] or left[0] in merged):
            step = left.popleft()
            if right and right[0] == step:
                take(right.popleft())
        else:
            take(right.popleft())
    return list(merged.values())


def remove(value: Any, paths: FieldSet, topology: Topology) -> Any:
    """The value without the fields at the paths, and what lies below them. A container that ends empty becomes null."""
    if not isinstance(value, dict | list):
        return value
    if not granular(value, topology):
        return None
    nested = _by_first(paths)
    kept = {
        step: remove(inner, nested[step], below) if step in nested else inner
        for step, (inner, below) in children(value, topology).items()
        if (step,) not in paths
    }
    if not kept:
        return None
    if isinstance(value, dict):
        return {step[2:]: inner for step, inner in kept.items()}
    return list(kept.values())


def _by_first(paths: FieldSet) -> dict[str, FieldSet]:
    nested: dict[str, set[Path]] = {}
    for path in paths:
        if len(path) > 1:
            nested.setdefault(path[0], set()).add(path[1:])
    return {step: frozenset(below) for step, below in nested.items()}


def with_structs(paths: FieldSet, topology: Topology) -> FieldSet:
    """The set, and every struct field that holds a member of it."""
    found = set(paths)
    for path in paths:
        here = topology
        for depth, step in enumerate(path[:-1], 1):
            if _is_struct_field(step, here):
                found.add(path[:depth])
            here = here.field(step[2:]) if step.startswith("f:") else here.item()
    return frozenset(found)


def encode(paths: Iterable[Path]) -> Json:
    """FieldsV1."""
    root: Json = {}
    members = set(paths)
    for path in sorted(members):
        here = root
        for step in path:
            here = here.setdefault(step, {})
    _mark(root, members, ())
    return root


def _mark(tree: Json, members: set[Path], path: Path) -> None:
    for step, below in list(tree.items()):
        here = (*path, step)
        if below:
            _mark(below, members, here)
            if here in members:
                below["."] = {}


def decode(tree: Mapping[str, Any]) -> FieldSet:
    return frozenset(_decode(tree, ()))


def _decode(tree: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for step, below in tree.items():
        if step == ".":
            yield path
            continue
        if not below:
            yield (*path, step)
        yield from _decode(below, (*path, step))


def spoken(path: Path) -> str:
    """A path as conflicts name it: `.spec.containers[name="web"].image`."""
    return "".join(_spoken(step) for step in path)


def _spoken(step: str) -> str:
    if step.startswith("f:"):
        return f".{step[2:]}"
    if step.startswith("v:"):
        return f"[={step[2:]}]"
    keys: Json = json.loads(step[2:])
    return "[" + ",".join(f"{key}={_compact(value)}" for key, value in keys.items()) + "]"
