"""This node's pods as PodSlices: what is at the API server, what should be, and so what is to be written. No I/O.

A pod stays in the slice it is in, so that a change writes one small object; who starts over slices that are there takes
them as they are. Slice 0 is there while the node has an agent, if only to say that the node speaks for itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from zones.addresses.inventory import Pod
from zones.canonical import Json, digest
from zones.net import IPAddress
from zones.tiers import slices
from zones.tiers.native import TIER_LABEL

# The longest name that an object may have; a node with a longer one is told of by the bridge.
_LONGEST = 253


@dataclass(frozen=True, slots=True)
class SliceTerms:
    """How slices are to be: the Node's uid, with which they go away; the pods' labels that they carry.

    `addresses`: the node's own ones inside of pod networks.
    """

    owner: str
    labels: tuple[str, ...]
    addresses: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class _LiveSlice:
    version: int
    content: str


class OwnSlices:
    """`changed`: since somebody last asked what is due. `most`: pods in one slice."""

    def __init__(self, tier: str, node: str, most: int = slices.MOST_PODS) -> None:
        self._tier = tier
        self._node = node
        self._most = most
        self._live: dict[str, _LiveSlice] = {}
        self._gone: set[str] = set()  # since `due`
        self._number_of: dict[str, int] = {}
        self.changed = True

    def saw(self, raw: Mapping[str, Any]) -> None:
        """A slice of this node as the API server has it. What is older than our own writing is passed over."""
        name = raw["metadata"]["name"]
        number = slices.own_number(self._node, name)
        known, version = self._live.get(name), _version(raw)
        if number is None or (known is not None and version <= known.version):
            return
        self._live[name] = _LiveSlice(version, _content(raw))
        for uid in slices.uids(raw):
            self._number_of.setdefault(uid, number)
        self.changed = True

    def listed(self) -> None:
        """All are told of anew. Restored from a backup, they are older than what was written, by lower versions."""
        self._live = {name: _LiveSlice(-1, live.content) for name, live in self._live.items()}

    def wrote(self, body: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Written as it should be, whatever the API server left out of it.

        The watch may be faster than the answer, and have told already what somebody made of it meanwhile.
        """
        name, version = body["metadata"]["name"], _version(answer)
        known = self._live.get(name)
        if name in self._gone or (known is not None and known.version > version):
            self.changed = True
            return
        self._live[name] = _LiveSlice(version, _content(body))

    def lost(self, name: str) -> None:
        """It is gone."""
        if slices.own_number(self._node, name) is not None:
            self._gone.add(name)
        if self._live.pop(name, None) is not None:
            self.changed = True

    def due(self, pods: Iterable[Pod], terms: SliceTerms) -> Iterator[tuple[str, Json | None]]:
        """What is to be written; None is to be deleted."""
        self.changed = False
        self._gone.clear()
        wanted = self._wanted(pods, terms)
        for name, body in wanted.items():
            live = self._live.get(name)
            if live is None or live.content != _content(body):
                yield name, body
        yield from ((name, None) for name in sorted(self._live.keys() - wanted.keys()))

    def _wanted(self, pods: Iterable[Pod], terms: SliceTerms) -> dict[str, Json]:
        if len(slices.own_name(self._node, 99)) > _LONGEST:
            return {}
        numbered: dict[int, list[Pod]] = {0: []}
        for pod in self._placed([pod for pod in pods if pod.holds_addresses and pod.addresses]):
            numbered.setdefault(self._number_of[pod.uid], []).append(pod)
        return {
            slices.own_name(self._node, number): self._render(number, numbered[number], terms)
            for number in sorted(numbered)
        }

    def _placed(self, pods: Sequence[Pod]) -> Sequence[Pod]:
        """Each where it was, or in the first slice with room."""
        present = {pod.uid for pod in pods}
        self._number_of = {uid: number for uid, number in self._number_of.items() if uid in present}
        sizes = Counter(self._number_of.values())
        for uid in sorted(present - self._number_of.keys()):
            number = next(candidate for candidate in count() if sizes[candidate] < self._most)
            self._number_of[uid] = number
            sizes[number] += 1
        return pods

    def _render(self, number: int, pods: Iterable[Pod], terms: SliceTerms) -> Json:
        name = slices.own_name(self._node, number)
        addresses = () if number else terms.addresses
        body = slices.render(self._tier, name, self._node, pods, terms.labels, addresses=addresses)
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": terms.owner}
        return body | {"metadata": body["metadata"] | {"ownerReferences": [owner]}}


def _version(raw: Mapping[str, Any]) -> int:
    """Kubernetes' own word of what is newer, for one object."""
    return int(raw["metadata"].get("resourceVersion") or 0)


def _content(raw: Mapping[str, Any]) -> str:
    metadata = raw["metadata"]
    owners = sorted(str(owner_reference.get("uid")) for owner_reference in metadata.get("ownerReferences") or ())
    return digest([raw.get("spec"), (metadata.get("labels") or {}).get(TIER_LABEL), owners])
