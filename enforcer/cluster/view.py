"""What the API server has told so far, folded from changes: who has which address, and the tier's objects.

No I/O. `enforcer.cluster.watch` makes the changes, `enforcer.service` folds them here and reads the result.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from enforcer.cluster.node_slices import NodeSlices
from enforcer.cluster.own_slices import OwnSlices
from enforcer.cluster.quarantines import QuarantineTerms
from enforcer.cluster.tier_parts import TierParts
from zones import decode
from zones.addresses.index import AddressOwners
from zones.addresses.inventory import Inventory, Node, Pod
from zones.canonical import Json
from zones.decode import Decoded, Namespace
from zones.net import IPAddress, IPNetwork
from zones.subjects import NOBODY, Subjects
from zones.tiers import quarantines, slices
from zones.tiers.native import ADDRESS_SET, API_VERSION, PLURALS, POLICY_CHUNK, TIER, TIER_LABEL


class WatchedKind(Enum):
    """What is watched, each with its path at the API server."""

    PODS = "/api/v1/pods"
    SLICES = f"/apis/{API_VERSION}/{slices.PLURAL}"
    NODES = "/api/v1/nodes"
    NAMESPACES = "/api/v1/namespaces"
    TIERS = f"/apis/{API_VERSION}/{PLURALS[TIER]}"
    CHUNKS = f"/apis/{API_VERSION}/{PLURALS[POLICY_CHUNK]}"
    SETS = f"/apis/{API_VERSION}/{PLURALS[ADDRESS_SET]}"
    QUARANTINES = f"/apis/{API_VERSION}/{quarantines.PLURAL}"


def selectors(node: str, tier: str) -> Mapping[WatchedKind, Mapping[str, str]]:
    """What a node asks for: of pods its own alone, of ours what is its tier's."""
    ours = {"labelSelector": f"{TIER_LABEL}={tier}"}
    return {
        WatchedKind.PODS: {"fieldSelector": f"spec.nodeName={node}"},
        WatchedKind.TIERS: {"fieldSelector": f"metadata.name={tier}"},
        WatchedKind.SLICES: ours,
        WatchedKind.CHUNKS: ours,
        WatchedKind.SETS: ours,
    }


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """A page of the whole list: after the `last`, what was in none since the `first` is gone.

    `problem`: what is wrong with the list as a whole. `at`: the API server's time when it told this, in seconds since
    the epoch; None where it told none.
    """

    kind: WatchedKind
    objects: Sequence[Json]
    first: bool = True
    last: bool = True
    problem: str = ""
    at: float | None = None


@dataclass(frozen=True, slots=True)
class WatchedObject:
    """One object as it is now; or gone."""

    kind: WatchedKind
    raw: Json
    gone: bool = False


Change = ObjectPage | WatchedObject


@dataclass(frozen=True, slots=True)
class TierText:
    """The Tier and those of its parts that are there, as they are held: equal ones mean the same."""

    tier: bytes | None = None
    parts: Mapping[str, bytes] = field(default_factory=dict, hash=False)

    def read(self) -> tuple[Json | None, Mapping[str, Json]]:
        """As objects; for large policies that is work."""
        return None if self.tier is None else _read(self.tier), TierParts(self.parts, _read, zlib.decompress)


_DECODERS: Mapping[WatchedKind, Callable[[Json], Decoded]] = {
    WatchedKind.PODS: decode.pod,
    WatchedKind.NODES: decode.node,
    WatchedKind.NAMESPACES: decode.namespace,
}


_TIER_KINDS = frozenset({WatchedKind.TIERS, WatchedKind.CHUNKS, WatchedKind.SETS})


@dataclass(slots=True)
class View:
    """Objects by kind and key, and what could not be read, by the same key: pods by uid, all others by name.

    Pods of this node are watched themselves; `node` is its name, and slices that tell of it are passed over.
    """

    tier: str
    networks: tuple[IPNetwork, ...] = ()
    node: str = ""
    listed: set[WatchedKind] = field(default_factory=set)
    _items: dict[WatchedKind, dict[str, Any]] = field(default_factory=lambda: {kind: {} for kind in WatchedKind})
    _uids: dict[WatchedKind, dict[str, str]] = field(default_factory=lambda: {kind: {} for kind in WatchedKind})
    _problems: dict[tuple[WatchedKind, str], tuple[str, ...]] = field(default_factory=dict)
    _allowed: dict[str, frozenset[str] | None] = field(default_factory=dict)
    _seen: dict[WatchedKind, set[str]] = field(default_factory=lambda: {kind: set() for kind in WatchedKind})
    holders: AddressOwners = field(init=False)
    own_slices: OwnSlices = field(init=False)
    quarantines: QuarantineTerms = field(default_factory=QuarantineTerms)
    _quarantined: Subjects = NOBODY
    _slices: NodeSlices = field(init=False)
    generation: int = 0
    """Counts the changes of the tier's objects."""
    pages: int = 0
    """Counts the pages of lists."""
    node_labels: Mapping[str, str] | None = None
    """Of this node's Node, as it was seen last; None where it never was."""

    def __post_init__(self) -> None:
        self.holders = AddressOwners(self.networks)
        self.own_slices = OwnSlices(self.tier, self.node)
        self._slices = NodeSlices(self.holders)

    @property
    def complete(self) -> bool:
        """Whether every kind was listed once. Before that, a missing pod may only be not told yet."""
        return len(self.listed) == len(WatchedKind)

    def fold(self, change: Change) -> bool:
        """Take it in. Whether it is anything to the kernel: most of what happens to pods and nodes isn't."""
        labels = self.node_labels
        if change.kind in _TIER_KINDS:
            self.generation += 1
        if isinstance(change, ObjectPage):
            self.pages += 1
            self._replace(change)
        elif change.gone:
            self._remove(change.kind, change.raw)
        else:
            self._keep(change.kind, change.raw)
        if change.kind is WatchedKind.QUARANTINES:
            self.end_quarantines()
        stirred = self.holders.has_changes or labels != self.node_labels
        return change.kind in _TIER_KINDS or isinstance(change, ObjectPage) or stirred

    def known_before(self, names: Iterable[str]) -> None:
        """Quarantines that an earlier run of the agent knew: they hold until the API server lists what there is."""
        self._items[WatchedKind.QUARANTINES] = dict.fromkeys(names)
        self._uids[WatchedKind.QUARANTINES] = dict(self.quarantines.uids())
        self.end_quarantines()

    def end_quarantines(self) -> None:
        """Who is in quarantine now, by what was told and by the time: asked again whenever one may be over."""
        subjects = self.quarantines.subjects()
        if subjects == self._quarantined:
            return
        self._quarantined = subjects
        self.holders.quarantine(subjects)
        pods = self._items[WatchedKind.PODS]
        for uid, pod in pods.items():
            pods[uid] = self._with_right(pod)
            self._hold(pod, pods[uid])

    def inventory(self) -> Inventory:
        """A whole copy, as of now. It takes a while where there are many pods: for tests and for `render`."""
        pods: dict[str, Pod] = dict(self._items[WatchedKind.PODS])
        pods |= {f"{pod.node}/{pod.namespace}/{pod.name}": pod for pod in self.holders.remote()}
        return Inventory(pods, self.nodes(), self.networks)

    def own_pods(self) -> Iterable[Pod]:
        """Of this node."""
        pods: Mapping[str, Pod] = self._items[WatchedKind.PODS]
        return pods.values()

    def uid_of_node(self) -> str:
        """Of this node's Node; empty where there is none."""
        return self._uids[WatchedKind.NODES].get(self.node, "")

    def tunnel_ends(self, local: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
        """Which of the machine's addresses are inside of pod networks, and not told by its Node."""
        node = self._items[WatchedKind.NODES].get(self.node)
        node_addresses = frozenset[IPAddress]() if node is None else frozenset(node.addresses)
        ends = (at for at in local if at not in node_addresses and self.holders.may_have(at, self.node))
        return tuple(sorted(ends, key=str))[: slices.MOST_ADDRESSES]

    def count(self, kind: WatchedKind) -> int:
        return len(self._items[kind])

    def nodes(self) -> dict[str, Node]:
        return {node.name: node for node in self._items[WatchedKind.NODES].values()}

    def namespaces(self) -> Mapping[str, Namespace]:
        return {item.name: item for item in self._items[WatchedKind.NAMESPACES].values()}

    def tier_object(self) -> Json | None:
        packed: bytes | None = self._items[WatchedKind.TIERS].get(self.tier)
        return None if packed is None else _read(packed)

    def tier_text(self) -> TierText:
        """What a judgement depends on. Parts that the Tier doesn't name, of another revision, don't count."""
        tier: bytes | None = self._items[WatchedKind.TIERS].get(self.tier)
        part_texts = {**self._items[WatchedKind.CHUNKS], **self._items[WatchedKind.SETS]}
        named = () if tier is None else _named(_read(tier))
        return TierText(tier, {name: part_texts[name] for name in named if name in part_texts})

    def parts(self) -> Mapping[str, Json]:
        return TierParts({**self._items[WatchedKind.CHUNKS], **self._items[WatchedKind.SETS]}, _read, zlib.decompress)

    def problems(self) -> tuple[str, ...]:
        return tuple(problem for _, texts in sorted(self._problems.items(), key=str) for problem in texts)

    def _replace(self, change: ObjectPage) -> None:
        kind, seen = change.kind, self._seen[change.kind]
        if change.first:
            seen.clear()
            self._problems.pop((kind, ""), None)
            if kind is WatchedKind.SLICES:
                self.own_slices.listed()
        if change.problem:
            self._problems[kind, ""] = (change.problem,)
        for raw in change.objects:
            seen.add(_key(kind, raw))
            self._keep(kind, raw, change.at)
        if change.last:
            if kind is WatchedKind.QUARANTINES and change.problem:  # nobody says that there are none
                seen |= self._items[kind].keys()
            for vanished in self._items[kind].keys() - seen:
                self._forget(kind, vanished)
            seen.clear()
            self.listed.add(kind)
            if kind is WatchedKind.PODS:
                self.quarantines.ended(self.quarantines.cut_before() - self._items[kind].keys())

    def _remove(self, kind: WatchedKind, raw: Json) -> None:
        """An object that is gone. Of one that was made again under its name meanwhile this says nothing."""
        key = _key(kind, raw)
        if self._uids[kind].get(key, "") == _uid(raw):
            self._forget(kind, key)

    def _keep(self, kind: WatchedKind, raw: Json, at: float | None = None) -> None:
        key = _key(kind, raw)
        self._problems.pop((kind, key), None)
        if kind is WatchedKind.NODES and key == self.node:
            self.node_labels = dict(raw["metadata"].get("labels") or {})
        if kind in _DECODERS:
            decoded = _DECODERS[kind](raw)
            item = self._with_right(decoded.item)
            self._hold(self._items[kind].get(key), item)
            self._items[kind][key] = item
            if isinstance(item, Namespace):
                self._entitle(item)
            if decoded.problems:
                self._problems[(kind, key)] = decoded.problems
        elif kind is WatchedKind.SLICES:
            self._keep_slice(raw)
        elif kind is WatchedKind.QUARANTINES:
            self._keep_quarantine(key, raw, at)
        elif self._is_ours(kind, raw):
            self._items[kind][key] = _written(raw)
        if key in self._items[kind]:
            self._uids[kind][key] = _uid(raw)

    def _keep_slice(self, raw: Json) -> None:
        """Of this node itself the watch of its pods tells the truth. Another tier's slices aren't for us."""
        parsed = slices.parse(raw)
        if not self._is_ours(WatchedKind.SLICES, raw):
            self._forget(WatchedKind.SLICES, parsed.name)
            return
        self._items[WatchedKind.SLICES][parsed.name] = parsed.node
        if parsed.node and parsed.node == self.node:
            self._slices.forget(parsed.name)
            self.own_slices.saw(raw)
            return
        self.own_slices.lost(parsed.name)
        self._slices.keep(parsed)
        if parsed.problems:
            self._problems[WatchedKind.SLICES, parsed.name] = parsed.problems

    def _keep_quarantine(self, name: str, raw: Json, at: float | None) -> None:
        """One that is being deleted is over, whatever keeps the object."""
        parsed = quarantines.parse(raw)
        self._items[WatchedKind.QUARANTINES][name] = None
        if isinstance(parsed, str):
            self._problems[WatchedKind.QUARANTINES, name] = (parsed,)
        if isinstance(parsed, str) or raw["metadata"].get("deletionTimestamp"):
            self.quarantines.forget(name)
        else:
            self.quarantines.keep(parsed, at)

    def _is_ours(self, kind: WatchedKind, raw: Json) -> bool:
        """A cluster may hold more than one tier; chunks and sets of another one are not kept."""
        metadata = raw["metadata"]
        name: str = (
            metadata["name"] if kind is WatchedKind.TIERS else (metadata.get("labels") or {}).get(TIER_LABEL, "")
        )
        return name == self.tier

    def _with_right(self, item: Pod | Node | Namespace) -> Pod | Node | Namespace:
        """A pod with what holds of it here: what its namespace allows it, which isn't known before, and quarantine."""
        if not isinstance(item, Pod):
            return item
        among = bool(self._quarantined) and self.quarantines.cut(item, self._quarantined)
        return replace(item, allowed=self._allowed.get(item.namespace), quarantined=among)

    def _entitle(self, namespace: Namespace) -> None:
        """What a namespace allows is looked at again whenever it changes, for pods that run already too."""
        if self._allowed.get(namespace.name) == namespace.allowed:
            return
        self._allowed[namespace.name] = namespace.allowed
        self.holders.set_namespace_zones(namespace.name, namespace.allowed)
        pods = self._items[WatchedKind.PODS]
        for uid, pod in pods.items():
            if pod.namespace == namespace.name:
                pods[uid] = replace(pod, allowed=namespace.allowed)
                self._hold(pod, pods[uid])

    def _forget(self, kind: WatchedKind, key: str) -> None:
        gone = self._items[kind].pop(key, None)
        self._uids[kind].pop(key, None)
        if kind is WatchedKind.SLICES:
            self._slices.forget(key)
            self.own_slices.lost(key)
        if kind is WatchedKind.QUARANTINES:
            self.quarantines.forget(key)
        if kind is WatchedKind.PODS:
            self.quarantines.ended([key])
        if isinstance(gone, Namespace):
            self._entitle(Namespace(gone.name))
        self._hold(gone, None)
        self._problems.pop((kind, key), None)

    def _hold(self, before: object, after: object) -> None:
        self.holders.replace(
            before if isinstance(before, Pod | Node) else None, after if isinstance(after, Pod | Node) else None
        )


def _key(kind: WatchedKind, raw: Json) -> str:
    metadata = raw["metadata"]
    key: str = metadata["uid"] if kind is WatchedKind.PODS else metadata["name"]
    return key


def _uid(raw: Json) -> str:
    uid: str = raw["metadata"].get("uid", "")
    return uid


def _named(tier: Json) -> Iterator[str]:
    """The parts of a Tier, whatever somebody made of it."""
    spec = tier["spec"] if isinstance(tier["spec"], Mapping) else {}
    for lists in (spec.get("addressSets"), spec.get("policyChunks")):
        yield from filter(lambda name: isinstance(name, str), lists if isinstance(lists, list) else ())


def _written(raw: Json) -> bytes:
    """A policy as objects takes many times the room."""
    return zlib.compress(json.dumps(_lean(raw)).encode(), 1)


def _read(packed: bytes) -> Json:
    value: Json = json.loads(zlib.decompress(packed))
    return value


def _lean(raw: Json) -> Json:
    """A tier object without what the API server adds, but with what tells a recreated one from a changed one."""
    metadata = {key: raw["metadata"][key] for key in ("name", "uid", "labels") if key in raw["metadata"]}
    return {"apiVersion": API_VERSION, "kind": raw.get("kind", ""), "metadata": metadata, "spec": raw["spec"]}
