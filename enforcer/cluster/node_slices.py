"""Which PodSlices count: what each other node tells of its own pods, or what the bridge tells in its place. No I/O.

The bridge speaks for a node that has no agent, or whose slices are not what the API server says of its pods; as long as
it does, what the node says itself is set aside. `enforcer.cluster.view` folds slices here.
"""

from __future__ import annotations

from zones.addresses.index import AddressOwners
from zones.tiers.slices import PodSlice


class NodeSlices:
    """Slices of other nodes, by name."""

    def __init__(self, holders: AddressOwners) -> None:
        self._holders = holders
        self._node_of: dict[str, str] = {}
        self._own: dict[str, set[str]] = {}
        self._of_bridge: dict[str, set[str]] = {}
        self._aside: dict[str, PodSlice] = {}

    def keep(self, pod_slice: PodSlice) -> None:
        """A slice as it is now."""
        if self._node_of.get(pod_slice.name, pod_slice.node) != pod_slice.node:
            self.forget(pod_slice.name)
        self._node_of[pod_slice.name] = pod_slice.node
        if not pod_slice.is_own:
            self._of_bridge.setdefault(pod_slice.node, set()).add(pod_slice.name)
            for name in self._own.get(pod_slice.node, ()):
                self._set_aside(name)
            self._tell(pod_slice)
            return
        self._own.setdefault(pod_slice.node, set()).add(pod_slice.name)
        if pod_slice.node in self._of_bridge:
            self._aside[pod_slice.name] = pod_slice
        else:
            self._tell(pod_slice)

    def forget(self, name: str) -> None:
        """It is gone. Where it was the bridge's last one of its node, what the node says itself counts again."""
        node = self._node_of.pop(name, None)
        if node is None:
            return
        self._aside.pop(name, None)
        self._tell(PodSlice(name, node, ()))
        for names in (self._own, self._of_bridge):
            names.get(node, set()).discard(name)
            if not names.get(node, True):
                del names[node]
        if node not in self._of_bridge:
            for slice_name in self._own.get(node, ()):
                if slice_name in self._aside:
                    self._tell(self._aside.pop(slice_name))

    def _set_aside(self, name: str) -> None:
        if name not in self._aside:
            node = self._node_of[name]
            self._aside[name] = self._holders.slice_of(name, node)
            self._tell(PodSlice(name, node, ()))

    def _tell(self, pod_slice: PodSlice) -> None:
        self._holders.replace_slice(pod_slice.name, pod_slice.node, pod_slice.pods)
        self._holders.tell_tunnels(pod_slice.node, pod_slice.name, pod_slice.addresses)
