"""Whose an address is, kept up to date change by change: what `Inventory.directory` answers, without its cost. No I/O.

Nodes and the pods of this node are held as they are, pods of other nodes packed, as their slices tell them.
`enforcer.cluster.view` keeps it; the kernel's rules and the flow records ask it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from zones.addresses.inventory import Holder, Node, Pod, UnownedAddress, yields
from zones.addresses.packed_pods import AttributePool, PackedSlice, SharedAttributes, address_of, key_of
from zones.addresses.pod_networks import Doubt, PodNetworks, within
from zones.addresses.tunnels import Tunnels
from zones.net import V4_LAST, V6_LAST, AddressSet, IPAddress, IPNetwork, union
from zones.subjects import NOBODY, Subjects, mark_of
from zones.tiers.slices import PodSlice

_Claim = Pod | PackedSlice
_Row = tuple[_Claim, int]


class AddressOwners:
    """Pods and nodes by address. `networks`: prefixes of pods besides those that the nodes tell.

    `gone` is told of each address that a pod has no more: a number, the pod as by `take_changed`, and its node.
    """

    def __init__(self, networks: tuple[IPNetwork, ...] = ()) -> None:
        self.gone: Callable[[int, Pod, str], None] | None = None
        self._networks = PodNetworks(AddressSet.of(networks))
        self._moved: list[AddressSet] = []
        self._by_name: dict[str, Node] = {}
        self._nodes: dict[int, dict[str, Node]] = {}
        self._tunnels = Tunnels()
        self._claims: dict[int, _Claim | tuple[_Claim, ...]] = {}
        self._of_node: dict[str, dict[str, _Claim]] = {}
        self._blocks: dict[str, PackedSlice] = {}
        self._alike = AttributePool()
        self._allowed: dict[str, frozenset[str] | None] = {}
        self._contested: set[int] = set()
        self._changed: set[int] = set()
        self._reentitled: set[str] = set()
        self._quarantined = NOBODY

    @property
    def pod_networks(self) -> AddressSet:
        """The prefixes that pods get addresses from; another object whenever they change."""
        return self._networks.all

    @property
    def has_changes(self) -> bool:
        """Whether addresses changed hands, or the networks changed, since they were last asked for."""
        return bool(self._changed or self._reentitled) or self._networks.has_changes

    def take_changed(self) -> dict[int, Holder | None]:
        """Who holds each address that changed hands, or whose holder changed, since the last time; None is gone.

        Addresses are numbers (`packed_pods.key_of`): as objects they would take several times the room.
        A pod of another node is told by what it has in common with all that are like it: namespace, workload, labels
        and right, but neither uid, name, node nor addresses. One object stands for all of them.
        """
        for block in self._blocks.values() if self._reentitled else ():
            self._changed.update(block.of_namespaces(self._reentitled))
        if self._networks.has_changes:
            self._look_at_networks()
        changed = {key: self._common(key) for key in self._changed}
        self.forget_changed()
        return changed

    def forget_changed(self) -> None:
        """For who takes the snapshot instead."""
        self._changed, self._reentitled, self._moved = set(), set(), []
        self._networks.take_changed()

    def snapshot(self) -> dict[int, Holder]:
        """Who holds each address, all of them, told as by `take_changed`."""
        owners = ((key, self._common(key)) for key in chain(self._claims, self._nodes, self._tunnels))
        return {key: holder for key, holder in owners if holder is not None}

    def of(self, address: IPAddress) -> Holder | None:
        """None is an address of neither pods nor nodes. A pod of another node is whole, but for its uid."""
        key = key_of(address)
        node = self._node_at(key)
        if node is not None:
            return node
        claims = self._claimants(key)
        if claims:
            return UnownedAddress.DISPUTED if len(claims) > 1 else _whole(claims[0])
        return self._tunnel_at(key) or (UnownedAddress.UNKNOWN if address in self.pod_networks else None)

    def may_have(self, address: IPAddress, node: str) -> bool:
        """Whether an address is in one of a node's pod networks, or in one of those that are configured."""
        spaces = self._networks.of(node), self._networks.configured
        return any(within(key_of(address), space) for space in spaces)

    def disputed(self) -> list[tuple[IPAddress, tuple[Pod, ...]]]:
        """The addresses that more than one running pod claims."""
        contested = ((address_of(key), self._claimants(key)) for key in sorted(self._contested))
        return [(address, tuple(map(_whole, claims))) for address, claims in contested if len(claims) > 1]

    def pod_address_conflicts(self, node: str) -> Iterator[tuple[IPAddress, Pod]]:
        """The addresses that pods of this node claim and can't have: they are in none of the node's pod networks."""
        for claim in self._of_node.get(node, {}).values():
            if isinstance(claim, Pod):
                yield from ((at, claim) for at in claim.addresses if not self._believes(key_of(at), node))

    def doubted(self, node: str) -> Sequence[Doubt]:
        """The pod networks that a node says it has, and isn't believed to."""
        return self._networks.doubted(node)

    def node_address_conflicts(self, node: str) -> Iterator[tuple[IPAddress, Node]]:
        """The addresses of this node's pod networks that other nodes claim as their own, and can't have."""
        space = self._networks.of(node)
        for key, named in self._nodes.items() if space else ():
            if within(key, space):
                yield from (
                    (address_of(key), other) for other in named.values() if not self._believes_node(key, other.name)
                )

    def pod_classes(self) -> Iterator[tuple[Pod, int]]:
        """What pods there are, and how many of each; those of other nodes as by `take_changed`."""
        own = (claim for claims in self._of_node.values() for claim in claims.values() if isinstance(claim, Pod))
        return chain(((pod, 1) for pod in own), ((shared.pod, shared.count) for shared in self._alike))

    def remote(self) -> Iterator[Pod]:
        """Every pod that slices tell of, whole. It takes a while where they are many."""
        return (pod for block in self._blocks.values() for pod in block.pods())

    def replace(self, before: Pod | Node | None, after: Pod | Node | None) -> None:
        """An object as it was and as it is; None where it wasn't there or is gone."""
        if before == after:
            return
        for item in (before, after):
            self._changed.update(map(key_of, (*_held(item), *(item.tunnels if isinstance(item, Node) else ()))))
        self._withdraw(before)
        self._enter(after)
        if self.gone is not None and isinstance(before, Pod):
            for address in set(_held(before)) - set(_held(after)):
                self.gone(key_of(address), before, before.node)
        if isinstance(node := after or before, Node):
            self._look_again(node.name)

    def replace_slice(self, name: str, node: str, pods: Sequence[Pod]) -> None:
        """The pods of another node that a slice tells of; none where it is gone."""
        block = self._blocks.get(name)
        if block is not None and block.node != node:
            self._fill(block, ())
            block = None
        if block is None:
            block = self._blocks[name] = PackedSlice(name, node)
            self._of_node.setdefault(node, {})[name] = block
        self._fill(block, pods)

    def slice_of(self, name: str, node: str) -> PodSlice:
        """What was last told of a slice. Its pods have no uid, and the rights that they have now."""
        block = self._blocks.get(name)
        pods = () if block is None else tuple(block.pods())
        return PodSlice(name, node, pods, addresses=tuple(map(address_of, self._tunnels.announced(node, name))))

    def tell_tunnels(self, node: str, place: str, addresses: Sequence[IPAddress]) -> None:
        """The addresses inside of pod networks that a node says it has itself; `place`: the slice that says so."""
        self._changed |= self._tunnels.tell(node, place, set(map(key_of, addresses)))

    def set_namespace_zones(self, namespace: str, allowed: frozenset[str] | None) -> None:
        """The zones that a namespace allows the pods that slices tell of; None without an annotation."""
        self._allowed[namespace] = allowed
        if self._alike.set_namespace_zones(namespace, allowed):
            self._reentitled.add(namespace)  # looked for when it is asked, for all namespaces at once

    def quarantine(self, subjects: Subjects) -> None:
        """Who is in quarantine from now on, of the pods that slices tell. Own pods are told by `replace`."""
        turned, self._quarantined = subjects ^ self._quarantined, subjects
        for block in self._blocks.values() if turned else ():
            for row, among in block.judged(turned, subjects):
                former = block.alike[row]
                if former.pod.quarantined is not among:
                    alike = self._alike.acquire(replace(former.pod, quarantined=among), former.pod.allowed)
                    self._changed.update(block.change(row, alike))
                    self._alike.release(former)

    def _kind_of(self, pod: Pod) -> SharedAttributes:
        """With what holds of it here, whatever a slice says."""
        among = self._quarantined.have(pod.namespace, pod.name, mark_of(pod.uid), pod.workload)
        return self._alike.acquire(replace(pod, quarantined=among), self._allowed.get(pod.namespace))

    def _fill(self, block: PackedSlice, pods: Sequence[Pod]) -> None:
        before, former = block.contents(), block.alike
        block.fill(pods, [self._kind_of(pod) for pod in pods])
        for alike in former:
            self._alike.release(alike)
        after = block.contents()
        for key in before.keys() - after.keys():
            self._changed.add(key)
            self._release(key, block)
            if self.gone is not None:
                _, alike = before[key][0]
                self.gone(key, alike.pod, block.node)
        for key, rows in after.items():
            known = before.get(key)
            if rows != known:
                self._changed.add(key)
                if known is None and key not in self._claims and len(rows) == 1:
                    self._claims[key] = block
                else:
                    self._release(key, block)
                    self._claim(key, block)
        if not pods:
            del self._blocks[block.name]
            self._drop_claim(block.node, block.name)

    def _withdraw(self, before: Pod | Node | None) -> None:
        if isinstance(before, Node):
            for address in before.addresses:
                named = self._nodes.get(key_of(address), {})
                named.pop(before.name, None)
                if not named:
                    self._nodes.pop(key_of(address), None)
            self._by_name.pop(before.name, None)
            self._tunnels.tell(before.name, "", frozenset())
            self._learn(before.name, ())
        elif before is not None and _held(before):
            for address in before.addresses:
                self._release(key_of(address), before)
            self._drop_claim(before.node, before.uid)

    def _enter(self, after: Pod | Node | None) -> None:
        if isinstance(after, Node):
            for address in after.addresses:
                self._nodes.setdefault(key_of(address), {})[after.name] = after
            self._by_name[after.name] = after
            self._tunnels.tell(after.name, "", set(map(key_of, after.tunnels)))
            self._learn(after.name, after.pod_cidrs)
        elif after is not None and _held(after):
            for address in after.addresses:
                self._claim(key_of(address), after)
            self._of_node.setdefault(after.node, {})[after.uid] = after

    def _learn(self, node: str, cidrs: Sequence[IPNetwork]) -> None:
        """The pod networks of a node; who has what is looked at again when it is asked for."""
        moved = self._networks.tell(node, cidrs)
        if moved:
            self._moved.append(moved)

    def _look_at_networks(self) -> None:
        """Networks changed: what pods of such nodes claim, and what others claim of these networks."""
        moved = union(self._moved)
        untold = (node for node in self._of_node if not self._networks.of(node))
        of_untold = chain.from_iterable(map(self._keys_of, untold))
        self._changed.update(key for key in chain(self._nodes, self._tunnels, of_untold) if within(key, moved))
        for node in self._networks.take_changed():
            self._changed.update(self._keys_of(node))
            self._changed |= self._tunnels.of(node)

    def _keys_of(self, node: str) -> Iterator[int]:
        """All addresses that its pods claim."""
        for claim in self._of_node.get(node, {}).values():
            yield from claim.keys if isinstance(claim, PackedSlice) else map(key_of, claim.addresses)

    def _look_again(self, node: str) -> None:
        """What depends on the node itself: who yields to whom, and the ends of its tunnels."""
        self._changed.update(
            key for key in self._contested if any(claimant.node == node for claimant in self._all(key))
        )
        self._changed |= self._tunnels.of(node)

    def _drop_claim(self, node: str, key: str) -> None:
        claims = self._of_node.get(node, {})
        claims.pop(key, None)
        if not claims:
            self._of_node.pop(node, None)

    def _claim(self, key: int, claim: _Claim) -> None:
        claims = (*self._all(key), claim)
        self._settle(key, claims)

    def _release(self, key: int, claim: _Claim) -> None:
        self._settle(key, tuple(other for other in self._all(key) if not _same(other, claim)))

    def _settle(self, key: int, claims: tuple[_Claim, ...]) -> None:
        """Most addresses have one claim, which is held without anything around it."""
        if not claims:
            self._claims.pop(key, None)
        else:
            self._claims[key] = claims[0] if len(claims) == 1 else claims
        many = len(claims) > 1 or any(isinstance(claim, PackedSlice) and claim.keys.count(key) > 1 for claim in claims)
        (self._contested.add if many else self._contested.discard)(key)

    def _all(self, key: int) -> tuple[_Claim, ...]:
        claims = self._claims.get(key, ())
        return claims if isinstance(claims, tuple) else (claims,)

    def _common(self, key: int) -> Holder | None:
        node = self._node_at(key) if key in self._nodes else None
        return node or self._common_pod(key) or (self._tunnel_at(key) if key in self._tunnels else None)

    def _common_pod(self, key: int) -> Pod | UnownedAddress | None:
        if key not in self._contested:
            claim = self._claims.get(key)
            if not isinstance(claim, PackedSlice):
                return claim if isinstance(claim, Pod) and self._believes(key, claim.node) else None
            return claim.common(claim.row(key)) if self._believes(key, claim.node) else None
        claims = self._claimants(key)
        if len(claims) > 1:
            return UnownedAddress.DISPUTED
        return next((claim.common(row) if isinstance(claim, PackedSlice) else claim for claim, row in claims), None)

    def _claimants(self, key: int) -> list[_Row]:
        """The pods that claim an address and may have it. Those that yield are none where another one doesn't.

        A pod that two slices tell of is one: as the last of them by name tells it, so that all nodes agree, whatever
        they heard first.
        """
        rows: list[_Row] = []
        for claim in self._all(key):
            if self._believes(key, claim.node):
                rows += [(claim, row) for row in claim.claims(key)] if isinstance(claim, PackedSlice) else [(claim, 0)]
        if len(rows) < 2:  # noqa: PLR2004
            return rows
        different = list({_identity(row): row for row in sorted(rows, key=_slice_name)}.values())
        return [row for row in different if not self._yields(row)] or different

    def _yields(self, claim: _Row) -> bool:
        holder, row = claim
        pod = holder.common(row) if isinstance(holder, PackedSlice) else holder
        return yields(pod, self._by_name.get(holder.node))

    def _node_at(self, key: int) -> Node | None:
        """The node whose own address it is."""
        named = self._nodes.get(key, {})
        return next((node for node in named.values() if self._believes_node(key, node.name)), None)

    def _tunnel_at(self, key: int) -> Node | None:
        """The node that says it has an address that no pod has: the one whose network it is in, or the only one."""
        tellers = [name for name in self._tunnels.tellers(key) if name in self._by_name]
        owners = [name for name in tellers if within(key, self._networks.of(name))]
        owners = owners or (tellers if within(key, self._networks.configured) else [])
        return self._by_name[owners[0]] if len(owners) == 1 else None

    def _believes(self, key: int, node: str) -> bool:
        return self._networks.believes(key & V6_LAST, 4 if key <= V4_LAST else 6, node)

    def _believes_node(self, key: int, node: str) -> bool:
        """An address of another node's pods is none of its own, whatever it reports."""
        return within(key, self._networks.of(node)) or not within(key, self._networks.announced)


def _held(holder: Pod | Node | None) -> tuple[IPAddress, ...]:
    if holder is None or (isinstance(holder, Pod) and not holder.holds_addresses):
        return ()
    return holder.addresses


def _same(one: _Claim, other: _Claim) -> bool:
    return one is other or (isinstance(one, Pod) and isinstance(other, Pod) and one.uid == other.uid)


def _whole(claim: _Row) -> Pod:
    holder, row = claim
    return holder.pod(row) if isinstance(holder, PackedSlice) else holder


def _slice_name(claim: _Row) -> str:
    holder, _ = claim
    return holder.name if isinstance(holder, PackedSlice) else ""


def _identity(claim: _Row) -> str:
    """Slices tell no uid here; among the pods that are on a node at one time, namespace and name are as good."""
    pod = _whole(claim)
    return pod.uid or f"{pod.node}/{pod.namespace}/{pod.name}"
