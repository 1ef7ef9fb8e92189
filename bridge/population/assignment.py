"""Which PodSlice tells of which pod: one pod's change touches one object, and nothing moves without need. Pure.

A node's slices hold its pods alone. `bridge.population.task` tells the changes and writes what was touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from zones.addresses.inventory import Pod
from zones.tiers import slices

Json = dict[str, Any]


@dataclass(slots=True)
class _AssignedPods:
    node: str
    pods: dict[str, Pod] = field(default_factory=dict)


class Assignment:
    """The slices of one tier. `labels`: the label keys that they carry; `most`: pods in one."""

    def __init__(self, tier: str, labels: Sequence[str], most: int = slices.MOST_PODS) -> None:
        self._tier = tier
        self._labels = tuple(dict.fromkeys(labels))
        self._most = most
        self._slices: dict[str, _AssignedPods] = {}
        self._where: dict[str, str] = {}
        self._of_node: dict[str, dict[int, _AssignedPods]] = {}
        self._hints: dict[str, tuple[str, int]] = {}

    def __len__(self) -> int:
        return len(self._slices)

    def names(self) -> Iterator[str]:
        return iter(self._slices)

    def adopt(self, raw: Mapping[str, Any]) -> None:
        """A slice that was found: its pods will stay in it, so that another leader rewrites nothing."""
        parsed = slices.parse(raw)
        number = slices.number_of(self._tier, parsed.node, parsed.name)
        if number is not None:
            self._hints.update({pod.uid: (parsed.node, number) for pod in parsed.pods})

    def settle(self) -> None:
        """Every pod that is there has its place: what was adopted for others is forgotten."""
        self._hints.clear()

    def change(self, before: Pod | None, after: Pod | None) -> tuple[str, ...]:
        """A pod as it was and as it is: the slices that are other ones now."""
        if before is None or after is None or before.node != after.node:
            left = () if before is None else self._leave(before)
            return left if after is None else (*left, self._join(after))
        name = self._where[after.uid]
        self._slices[name].pods[after.uid] = after
        same = slices.entry(before, self._labels) == slices.entry(after, self._labels)
        return () if same else (name,)

    def node_of(self, name: str) -> str | None:
        """Whose pods a slice tells of; None where there is none of that name."""
        assigned = self._slices.get(name)
        return None if assigned is None else assigned.node

    def names_of(self, node: str) -> list[str]:
        """A node's slices."""
        return [slices.name_of(self._tier, node, number) for number in self._of_node.get(node, ())]

    def pods_of(self, node: str) -> Iterator[Pod]:
        return (pod for assigned in self._of_node.get(node, {}).values() for pod in assigned.pods.values())

    def render(self, name: str) -> Json | None:
        """The object; None where there shall be none."""
        assigned = self._slices.get(name)
        if assigned is None:
            return None
        return slices.render(self._tier, name, assigned.node, assigned.pods.values(), self._labels)

    def _leave(self, pod: Pod) -> tuple[str, ...]:
        name = self._where.pop(pod.uid)
        assigned = self._slices[name]
        del assigned.pods[pod.uid]
        if not assigned.pods:
            del self._slices[name]
            numbered = self._of_node[assigned.node]
            del numbered[next(number for number, candidate in numbered.items() if candidate is assigned)]
            if not numbered:
                del self._of_node[assigned.node]
        return (name,)

    def _join(self, pod: Pod) -> str:
        number = self._number(pod)
        numbered = self._of_node.setdefault(pod.node, {})
        if number not in numbered:
            numbered[number] = _AssignedPods(pod.node)
        name = slices.name_of(self._tier, pod.node, number)
        self._slices[name] = numbered[number]
        numbered[number].pods[pod.uid] = pod
        self._where[pod.uid] = name
        return name

    def _number(self, pod: Pod) -> int:
        """Where it was found, or the node's first slice with room."""
        numbered = self._of_node.get(pod.node, {})
        node, hinted = self._hints.pop(pod.uid, ("", 0))
        if node == pod.node and self._has_room(numbered, hinted):
            return hinted
        return next(number for number in count() if self._has_room(numbered, number))

    def _has_room(self, numbered: Mapping[int, _AssignedPods], number: int) -> bool:
        return number not in numbered or len(numbered[number].pods) < self._most
