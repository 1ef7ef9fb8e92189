"""Whose an address is, kept up to date change by change: what `Inventory.directory` answers, without its cost. No I/O.

`enforcer.view` keeps it; the flow records ask it.
"""

from __future__ import annotations

from typing import TypeVar

from zones.inventory import Holder, Node, Pod, Stranger
from zones.net import AddressSet, IPAddress, IPNetwork

_Claimant = TypeVar("_Claimant", Pod, Node)


class Holders:
    """Pods and nodes by address. `networks`: prefixes of pods besides those that the nodes tell."""

    def __init__(self, networks: tuple[IPNetwork, ...] = ()) -> None:
        self._networks = networks
        self._pods: dict[IPAddress, dict[str, Pod]] = {}
        self._nodes: dict[IPAddress, dict[str, Node]] = {}
        self._cidrs: dict[str, tuple[IPNetwork, ...]] = {}
        self._pod_networks = AddressSet.of(networks)
        self._disputed: set[IPAddress] = set()
        self._changed: set[IPAddress] = set()

    @property
    def pod_networks(self) -> AddressSet:
        """The prefixes that pods get addresses from; another object whenever they change."""
        return self._pod_networks

    def take_changed(self) -> dict[IPAddress, Holder | None]:
        """Who holds each address that changed hands since the last time; None is gone."""
        changed = {address: self._claimant(address) for address in self._changed}
        self._changed.clear()
        return changed

    def snapshot(self) -> dict[IPAddress, Holder]:
        """Who holds each address, all of them."""
        found = {address: self._claimant(address) for address in (*self._pods, *self._nodes)}
        return {address: holder for address, holder in found.items() if holder is not None}

    def of(self, address: IPAddress) -> Holder | None:
        """None is an address of neither pods nor nodes."""
        known = self._claimant(address)
        return Stranger.UNKNOWN if known is None and address in self._pod_networks else known

    def _claimant(self, address: IPAddress) -> Holder | None:
        node = self._nodes.get(address)
        if node:
            return next(iter(node.values()))
        claims = self._pods.get(address)
        if claims:
            return Stranger.DISPUTED if len(claims) > 1 else next(iter(claims.values()))
        return None

    def disputed(self) -> list[tuple[IPAddress, tuple[Pod, ...]]]:
        """The addresses that more than one running pod claims."""
        return [(address, tuple(self._pods[address].values())) for address in sorted(self._disputed, key=str)]

    def replace(self, before: Pod | Node | None, after: Pod | Node | None) -> None:
        """An object as it was and as it is; None where it wasn't there or is gone."""
        self._changed.update(_held(before), _held(after))
        for address in _held(before):
            self._release(address, before)
        for address in _held(after):
            self._claim(address, after)
        if isinstance(before, Node) or isinstance(after, Node):
            self._learn_networks(before, after)

    def _learn_networks(self, before: Pod | Node | None, after: Pod | Node | None) -> None:
        if isinstance(before, Node):
            self._cidrs.pop(before.name, None)
        if isinstance(after, Node):
            self._cidrs[after.name] = after.pod_cidrs
        told = [cidr for cidrs in self._cidrs.values() for cidr in cidrs]
        self._pod_networks = AddressSet.of([*self._networks, *told])

    def _claim(self, address: IPAddress, holder: Pod | Node | None) -> None:
        if isinstance(holder, Node):
            self._nodes.setdefault(address, {})[holder.name] = holder
        elif holder is not None:
            claims = self._pods.setdefault(address, {})
            claims[holder.uid] = holder
            self._judge(address, claims)

    def _release(self, address: IPAddress, holder: Pod | Node | None) -> None:
        if isinstance(holder, Node):
            _drop(self._nodes, address, holder.name)
        elif holder is not None:
            _drop(self._pods, address, holder.uid)
            self._judge(address, self._pods.get(address, {}))

    def _judge(self, address: IPAddress, claims: dict[str, Pod]) -> None:
        if len(claims) > 1:
            self._disputed.add(address)
        else:
            self._disputed.discard(address)


def _held(holder: Pod | Node | None) -> tuple[IPAddress, ...]:
    if holder is None or (isinstance(holder, Pod) and not holder.holds_addresses):
        return ()
    return holder.addresses


def _drop(index: dict[IPAddress, dict[str, _Claimant]], address: IPAddress, key: str) -> None:
    claims = index.get(address, {})
    claims.pop(key, None)
    if not claims:
        index.pop(address, None)
