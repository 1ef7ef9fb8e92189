"""Sets of field paths, and the walks over objects that make, compare, merge and remove them. Pure.

A path is a tuple of elements in the words of managedFields: `f:spec`, `k:{"name":"web"}`, `v:"a"`. `managed` calls.
"""

from __future__ import annotations

import json
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
    if _is_leaf(old, new, topology):
        if old is not ABSENT and new is not ABSENT and old != new:
            found.modified.add(path)
        return
    before, after = children(old, topology), children(new, topology)
    for step in before | after:
        below = (after.get(step) or before[step])[1]
        nothing = (ABSENT, below)
        _compare(before.get(step, nothing)[0], after.get(step, nothing)[0], below, (*path, step), found)


def _is_leaf(old: Any, new: Any, topology: Topology) -> bool:
    present = [value for value in (old, new) if value is not ABSENT]
    if not all(granular(value, topology) for value in present) or len({type(value) for value in present}) > 1:
        return True
    return not any(present)


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
    merged: list[Any] = []
    waiting = [step for step in live if step not in applied]
    order = list(live)
    for step, (item, _) in applied.items():
        if step in live:
            while waiting and order.index(waiting[0]) < order.index(step):
                merged.append(live[waiting.pop(0)][0])
        merged.append(merge(live[step][0] if step in live else ABSENT, item, below))
    return merged + [live[step][0] for step in waiting]


def remove(value: Any, paths: FieldSet, topology: Topology) -> Any:
    """The value without the fields at the paths, and what lies below them."""
    if not paths or not granular(value, topology):
        return value
    nested = _by_first(paths)
    kept = {
        step: remove(inner, nested.get(step, frozenset()), below)
        for step, (inner, below) in children(value, topology).items()
        if (step,) not in paths
    }
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
