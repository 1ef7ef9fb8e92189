"""Which nodes speak for themselves: their agents' PodSlices, against what the API server says of their pods. Pure.

A node whose slices are there and right is left to itself. For one without any the bridge speaks, as for one whose
slices have been wrong for a while: its agent is dead, or it says what isn't so. `bridge.population.task` keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zones.addresses.inventory import Pod
from zones.kube.watch import Change, Changed
from zones.tiers import slices

# A node's agent follows its pods within a fraction of a second; an API server that is slow is slow to both of us.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class _PodsEssence:
    """Its pods' essence as numbers: there may be a hundred thousand of them."""

    node: str
    pods: tuple[int, ...]


class Spoken:
    """`pods_of`: the pods of a node as they are; `label_key`: the one that makes a pod's zone; `clock` in seconds."""

    def __init__(self, label_key: str, pods_of: Callable[[str], Iterable[Pod]], clock: Callable[[], float]) -> None:
        self._label_key = label_key
        self._pods_of = pods_of
        self._clock = clock
        self._slices: dict[str, _PodsEssence] = {}
        self._seen: set[str] = set()
        self._left_since: dict[str, float] = {}
        self._of_node: dict[str, dict[str, _PodsEssence]] = {}
        self._wrong_since: dict[str, float] = {}
        self._overruled: set[str] = set()
        self._speaking: set[str] = set()
        self._unlooked: set[str] = set()

    def __len__(self) -> int:
        """How many slices nodes have written."""
        return len(self._slices)

    @property
    def overruled(self) -> Collection[str]:
        """The nodes whose slices are there and wrong, so that the bridge speaks for them."""
        return self._overruled

    def left(self, nodes: Collection[str]) -> list[str]:
        """The slices of nodes that are gone, but for a moment ago: `nodes` are those that there are."""
        now, gone = self._clock(), self._of_node.keys() - set(nodes)
        self._left_since = {node: self._left_since.get(node, now) for node in gone}
        old = {node for node, since in self._left_since.items() if now - since >= PATIENCE}
        return [name for node in old for name in self._of_node[node]]

    def speaks(self, node: str) -> bool:
        """Whether the node is left to itself, as of the last look."""
        return node in self._speaking

    def fold(self, change: Change) -> None:
        """Slices as they are now; those that the bridge has written are passed over."""
        if isinstance(change, Changed):
            self._lost(change.raw["metadata"]["name"]) if change.gone else self._saw(change.raw)
            return
        if change.first:
            self._seen.clear()
        for raw in change.objects:
            self._seen.add(raw["metadata"]["name"])
            self._saw(raw)
        if change.last:
            for vanished in self._slices.keys() - self._seen:
                self._lost(vanished)
            self._seen.clear()

    def _saw(self, raw: Mapping[str, Any]) -> None:
        self._lost(raw["metadata"]["name"])
        if not slices.is_own(raw):
            return
        parsed = slices.parse(raw)
        essence = _PodsEssence(parsed.node, tuple(map(self._essence, parsed.pods)))
        self._slices[parsed.name] = self._of_node.setdefault(parsed.node, {})[parsed.name] = essence
        self._unlooked.add(parsed.node)

    def _lost(self, name: str) -> None:
        gone = self._slices.pop(name, None)
        if gone is not None:
            self._of_node[gone.node].pop(name)
            if not self._of_node[gone.node]:
                del self._of_node[gone.node]
            self._unlooked.add(gone.node)

    def stir(self, node: str) -> None:
        """Its pods are other ones."""
        self._unlooked.add(node)

    def look(self) -> tuple[str, ...]:
        """The nodes for which somebody else is to speak from now on than before."""
        now, changed = self._clock(), []
        for node in self._unlooked | self._wrong_since.keys():
            left_to_itself = self._judged(node, now)
            if left_to_itself != (node in self._speaking):
                changed.append(node)
                (self._speaking.add if left_to_itself else self._speaking.discard)(node)
        self._unlooked.clear()
        return tuple(changed)

    def _judged(self, node: str, now: float) -> bool:
        """Whether what a node says may stand, right or not wrong for long. Of wrong ones the time is kept."""
        essences = self._of_node.get(node)
        if essences is None or self._is_right(node, essences.values()):
            self._wrong_since.pop(node, None)
            self._overruled.discard(node)
            return essences is not None
        if now - self._wrong_since.setdefault(node, now) >= PATIENCE:
            self._overruled.add(node)
        return node not in self._overruled

    def _is_right(self, node: str, essences: Iterable[_PodsEssence]) -> bool:
        said = [number for essence in essences for number in essence.pods]
        true = {self._essence(pod) for pod in self._pods_of(node)}
        return len(said) == len(true) and set(said) == true

    def _essence(self, pod: Pod) -> int:
        """What other nodes judge a pod by, but for labels that only records carry."""
        zone = pod.labels.get(self._label_key)
        return hash((pod.uid, pod.namespace, pod.name, pod.workload, pod.addresses, zone))
