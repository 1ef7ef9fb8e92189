"""Which nodes say that they have an address inside of pod networks: the ends of tunnels between nodes. No I/O.

A node's packets to another node's pods have such a source under VXLAN, IPIP or WireGuard. The index
keeps them and decides who is believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet


class Tunnels:
    """Addresses as numbers (`packed_pods.key_of`). A node may say so in several places, such as its slices."""

    def __init__(self) -> None:
        self._said: dict[str, dict[str, frozenset[int]]] = {}
        self._tellers: dict[int, frozenset[str]] = {}

    def __iter__(self) -> Iterator[int]:
        return iter(self._tellers)

    def __contains__(self, key: int) -> bool:
        return key in self._tellers

    def of(self, node: str) -> frozenset[int]:
        """All that a node says it has."""
        return frozenset[int]().union(*self._said.get(node, {}).values())

    def announced(self, node: str, place: str) -> frozenset[int]:
        """What a node said last in one place."""
        return self._said.get(node, {}).get(place, frozenset())

    def tellers(self, key: int) -> frozenset[str]:
        return self._tellers.get(key, frozenset())

    def tell(self, node: str, place: str, keys: AbstractSet[int]) -> frozenset[int]:
        """What a node says in one place from now on. The addresses for which that makes a difference."""
        before = self.of(node)
        said = self._said.setdefault(node, {})
        said[place] = frozenset(keys)
        if not keys:
            del said[place]
        if not said:
            del self._said[node]
        changed = before ^ self.of(node)
        for key in changed:
            tellers = self.tellers(key) ^ {node}
            self._tellers[key] = tellers
            if not tellers:
                del self._tellers[key]
        return changed
