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

    def keep(self, told: PodSlice) -> None:
        """A slice as it is now."""
        if self._node_of.get(told.name, told.node) != told.node:
            self.forget(told.name)
        self._node_of[told.name] = told.node
        if not told.is_own:
            self._of_bridge.setdefault(told.node, set()).add(told.name)
            for name in self._own.get(told.node, ()):
                self._set_aside(name)
            self._tell(told)
            return
        self._own.setdefault(told.node, set()).add(told.name)
        if told.node in self._of_bridge:
            self._aside[told.name] = told
        else:
            self._tell(told)

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
            for each in self._own.get(node, ()):
                if each in self._aside:
                    self._tell(self._aside.pop(each))

    def _set_aside(self, name: str) -> None:
        if name not in self._aside:
            node = self._node_of[name]
            self._aside[name] = self._holders.slice_of(name, node)
            self._tell(PodSlice(name, node, ()))

    def _tell(self, told: PodSlice) -> None:
        self._holders.replace_slice(told.name, told.node, told.pods)
        self._holders.tell_tunnels(told.node, told.name, told.addresses)
