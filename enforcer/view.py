"""What the API server has told so far, folded from changes: the inventory, and the tier's objects.

No I/O. `enforcer.watch` makes the changes, `enforcer.service` folds them here and reads the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

from zones import decode
from zones.canonical import Json
from zones.decode import Decoded, Namespace
from zones.holders import Holders
from zones.inventory import Inventory, Node, Pod
from zones.net import IPNetwork
from zones.tiers.native import ADDRESS_SET, API_VERSION, PLURALS, POLICY_CHUNK, TIER, TIER_LABEL


class Kind(Enum):
    """What is watched, each with its path at the API server."""

    PODS = "/api/v1/pods"
    NODES = "/api/v1/nodes"
    NAMESPACES = "/api/v1/namespaces"
    TIERS = f"/apis/{API_VERSION}/{PLURALS[TIER]}"
    CHUNKS = f"/apis/{API_VERSION}/{PLURALS[POLICY_CHUNK]}"
    SETS = f"/apis/{API_VERSION}/{PLURALS[ADDRESS_SET]}"


@dataclass(frozen=True, slots=True)
class Listed:
    """A whole list: what isn't in it is gone."""

    kind: Kind
    objects: Sequence[Json]


@dataclass(frozen=True, slots=True)
class Changed:
    """One object as it is now; or gone."""

    kind: Kind
    raw: Json
    gone: bool = False


Change = Listed | Changed

_DECODERS: Mapping[Kind, Callable[[Json], Decoded]] = {
    Kind.PODS: decode.pod,
    Kind.NODES: decode.node,
    Kind.NAMESPACES: decode.namespace,
}


_TIER_KINDS = frozenset({Kind.TIERS, Kind.CHUNKS, Kind.SETS})


@dataclass(slots=True)
class View:
    """Objects by kind and uid (tier objects by name), and what could not be read, by the same key."""

    tier: str
    networks: tuple[IPNetwork, ...] = ()
    listed: set[Kind] = field(default_factory=set)
    _items: dict[Kind, dict[str, Any]] = field(default_factory=lambda: {kind: {} for kind in Kind})
    _problems: dict[tuple[Kind, str], tuple[str, ...]] = field(default_factory=dict)
    _allowed: dict[str, frozenset[str] | None] = field(default_factory=dict)
    _inventory: Inventory | None = None
    holders: Holders = field(init=False)
    generation: int = 0
    """Counts the changes of the tier's objects."""

    def __post_init__(self) -> None:
        self.holders = Holders(self.networks)

    @property
    def complete(self) -> bool:
        """Whether every kind was listed once. Before that, a missing pod may only be not told yet."""
        return len(self.listed) == len(Kind)

    def fold(self, change: Change) -> None:
        if change.kind in {Kind.PODS, Kind.NODES}:
            self._inventory = None
        if change.kind in _TIER_KINDS:
            self.generation += 1
        if isinstance(change, Listed):
            self._replace(change)
        elif change.gone:
            self._forget(change.kind, _key(change.kind, change.raw))
        else:
            self._keep(change.kind, change.raw)

    def inventory(self) -> Inventory:
        """As of now; later changes make another one."""
        if self._inventory is None:
            pods: dict[str, Pod] = self._items[Kind.PODS]
            nodes: dict[str, Node] = {node.name: node for node in self._items[Kind.NODES].values()}
            self._inventory = Inventory(MappingProxyType(dict(pods)), MappingProxyType(nodes), self.networks)
        return self._inventory

    def namespaces(self) -> Mapping[str, Namespace]:
        return {each.name: each for each in self._items[Kind.NAMESPACES].values()}

    def tier_object(self) -> Json | None:
        found: Json | None = self._items[Kind.TIERS].get(self.tier)
        return found

    def parts(self) -> dict[str, Json]:
        return {**self._items[Kind.CHUNKS], **self._items[Kind.SETS]}

    def problems(self) -> tuple[str, ...]:
        return tuple(problem for _, found in sorted(self._problems.items(), key=str) for problem in found)

    def _replace(self, change: Listed) -> None:
        keys = {_key(change.kind, raw) for raw in change.objects}
        for vanished in self._items[change.kind].keys() - keys:
            self._forget(change.kind, vanished)
        for raw in change.objects:
            self._keep(change.kind, raw)
        self.listed.add(change.kind)

    def _keep(self, kind: Kind, raw: Json) -> None:
        key = _key(kind, raw)
        self._problems.pop((kind, key), None)
        if kind in _DECODERS:
            decoded = _DECODERS[kind](raw)
            item = self._with_right(decoded.item)
            self._hold(self._items[kind].get(key), item)
            self._items[kind][key] = item
            if isinstance(item, Namespace):
                self._entitle(item)
            if decoded.problems:
                self._problems[(kind, key)] = decoded.problems
        elif self._is_ours(kind, raw):
            self._items[kind][key] = _lean(raw)

    def _is_ours(self, kind: Kind, raw: Json) -> bool:
        """A cluster may hold more than one tier; chunks and sets of another one are not kept."""
        metadata = raw["metadata"]
        name: str = metadata["name"] if kind is Kind.TIERS else (metadata.get("labels") or {}).get(TIER_LABEL, "")
        return name == self.tier

    def _with_right(self, item: Pod | Node | Namespace) -> Pod | Node | Namespace:
        """A pod with what its namespace allows it; nothing is known of that before the namespace is."""
        if not isinstance(item, Pod):
            return item
        return replace(item, allowed=self._allowed.get(item.namespace))

    def _entitle(self, namespace: Namespace) -> None:
        """What a namespace allows is looked at again whenever it changes, for pods that run already too."""
        if self._allowed.get(namespace.name) == namespace.allowed:
            return
        self._allowed[namespace.name] = namespace.allowed
        self._inventory = None
        pods = self._items[Kind.PODS]
        for uid, pod in pods.items():
            if pod.namespace == namespace.name:
                pods[uid] = replace(pod, allowed=namespace.allowed)
                self._hold(pod, pods[uid])

    def _forget(self, kind: Kind, key: str) -> None:
        gone = self._items[kind].pop(key, None)
        if isinstance(gone, Namespace):
            self._entitle(Namespace(gone.name))
        self._hold(gone, None)
        self._problems.pop((kind, key), None)

    def _hold(self, before: object, after: object) -> None:
        self.holders.replace(
            before if isinstance(before, Pod | Node) else None, after if isinstance(after, Pod | Node) else None
        )


def _key(kind: Kind, raw: Json) -> str:
    metadata = raw["metadata"]
    key: str = metadata["uid"] if kind in _DECODERS else metadata["name"]
    return key


def _lean(raw: Json) -> Json:
    """A tier object without what the API server adds, but with what tells a recreated one from a changed one."""
    metadata = {key: raw["metadata"][key] for key in ("name", "uid", "labels") if key in raw["metadata"]}
    return {"apiVersion": API_VERSION, "kind": raw.get("kind", ""), "metadata": metadata, "spec": raw["spec"]}
