"""The pods of one cluster as its API server tells them, folded from changes. Pure.

`bridge.population.task` folds and publishes it; the registration in Panorama reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from bridge.nodes.startup_taint import TAINT
from zones import decode
from zones.addresses.inventory import Node, Pod
from zones.decode import Decoded, Namespace
from zones.kube.watch import Change, Listed
from zones.net import IPAddress
from zones.zone import ISOLATED, Zoning

Json = dict[str, Any]


class FollowedKind(Enum):
    """What is followed, each with its path at the API server."""

    PODS = "/api/v1/pods"
    NODES = "/api/v1/nodes"
    NAMESPACES = "/api/v1/namespaces"


@dataclass(frozen=True, slots=True)
class Member:
    """A pod that holds addresses, and the zone it claims; `isolated` where its namespace isn't entitled to that."""

    pod: Pod
    claimed: str
    isolated: bool

    @property
    def zone(self) -> str:
        """The zone that it is in, as every enforcer judges it."""
        return ISOLATED if self.isolated else self.claimed


@dataclass(frozen=True, slots=True)
class MemberMove:
    """A member as it was and as it is; None where it wasn't there or is gone."""

    before: Member | None
    after: Member | None


_DECODERS: dict[FollowedKind, Callable[[Json], Decoded]] = {
    FollowedKind.PODS: decode.pod,
    FollowedKind.NODES: decode.node,
    FollowedKind.NAMESPACES: decode.namespace,
}


class Population:
    """Pods that hold addresses, on nodes that are there.

    Finished, host-network and unscheduled pods are none of them, and neither are those of a node that is gone.
    """

    def __init__(self, zoning: Zoning) -> None:
        self._zoning = zoning
        self._pods: dict[str, Pod] = {}
        self._of_node: dict[str, set[str]] = {}
        self._nodes: dict[str, Node] = {}
        self._uids: dict[tuple[FollowedKind, str], str] = {}
        self._allowed: dict[str, frozenset[str] | None] = {}
        self._tainted: set[str] = set()
        self._listed: set[FollowedKind] = set()
        self._seen: dict[FollowedKind, set[str]] = {kind: set() for kind in FollowedKind}
        self.generation = 0
        """Rises with every change of a member."""

    def __len__(self) -> int:
        return sum(len(uids) for node, uids in self._of_node.items() if node in self._nodes)

    @property
    def nodes(self) -> Collection[str] | None:
        """The nodes that there are; None before they were listed."""
        return self._nodes.keys() if FollowedKind.NODES in self._listed else None

    @property
    def tainted(self) -> Collection[str]:
        """The nodes whose startup taint is still on them."""
        return frozenset(self._tainted)

    def node_at(self, address: IPAddress) -> str | None:
        """The name of the node that reports an address as its own."""
        return next((node.name for node in self._nodes.values() if address in node.addresses), None)

    def pods_at(self, addresses: Collection[IPAddress]) -> dict[IPAddress, list[Pod]]:
        """The running pods that have each of these addresses; more than one where they claim the same."""
        claimants: dict[IPAddress, list[Pod]] = {address: [] for address in addresses}
        for pod in self._pods.values():
            for address in pod.addresses:
                if address in claimants:
                    claimants[address].append(pod)
        return claimants

    def is_for_pods(self, address: IPAddress) -> bool:
        """Whether an address is in the prefixes from which a node of the cluster gives addresses to pods."""
        return any(address in cidr for node in self._nodes.values() for cidr in node.pod_cidrs)

    @property
    def complete(self) -> bool:
        """Whether every kind was listed once. Before that, a missing pod may only be not told yet."""
        return len(self._listed) == len(FollowedKind)

    def members(self) -> Iterator[Member]:
        """All of them, in no order."""
        return (self._member(pod) for pod in self._pods.values() if pod.node in self._nodes)

    def fold(self, kind: FollowedKind, change: Change) -> list[MemberMove]:
        """Take in a change: what it does to the members."""
        moves = list(self._fold(kind, change))
        self.generation += len(moves)
        return moves

    def _fold(self, kind: FollowedKind, change: Change) -> Iterator[MemberMove]:
        if not isinstance(change, Listed):
            yield from self._remove(kind, change.raw) if change.gone else self._keep(kind, change.raw)
            return
        if change.first:
            self._seen[kind].clear()
        for raw in change.objects:
            self._seen[kind].add(_key(kind, raw))
            yield from self._keep(kind, raw)
        if change.last:
            for vanished in self._known(kind) - self._seen[kind]:
                yield from self._forget(kind, vanished)
            self._seen[kind].clear()
            self._listed.add(kind)

    def _known(self, kind: FollowedKind) -> set[str]:
        if kind is FollowedKind.PODS:
            return set(self._pods)
        return set(self._nodes) if kind is FollowedKind.NODES else set(self._allowed)

    def _remove(self, kind: FollowedKind, raw: Json) -> Iterator[MemberMove]:
        """What is gone. Of an object that was made again under its name meanwhile this says nothing."""
        if kind is FollowedKind.PODS or self._uids.get((kind, _key(kind, raw)), "") == _uid(raw):
            yield from self._forget(kind, _key(kind, raw))

    def _keep(self, kind: FollowedKind, raw: Json) -> Iterator[MemberMove]:
        if kind is not FollowedKind.PODS:  # a pod's key is its uid
            self._uids[kind, _key(kind, raw)] = _uid(raw)
        item = _DECODERS[kind](raw).item
        if isinstance(item, Pod):
            yield from self._pod(item.uid, item if item.holds_addresses and item.addresses else None)
        elif isinstance(item, Node):
            has_taint = any(taint.get("key") == TAINT for taint in raw.get("spec", {}).get("taints") or ())
            (self._tainted.add if has_taint else self._tainted.discard)(item.name)
            yield from self._node(item.name, item)
        else:
            yield from self._namespace(item)

    def _forget(self, kind: FollowedKind, key: str) -> Iterator[MemberMove]:
        self._uids.pop((kind, key), None)
        if kind is FollowedKind.PODS:
            yield from self._pod(key, None)
        elif kind is FollowedKind.NODES:
            self._tainted.discard(key)
            yield from self._node(key, None)
        else:
            yield from self._namespace(Namespace(key))
            self._allowed.pop(key, None)

    def _pod(self, uid: str, after: Pod | None) -> Iterator[MemberMove]:
        before = self._pods.get(uid)
        if before == after:
            return
        former = self._visible(before)
        if before is not None:
            del self._pods[uid]
            self._of_node[before.node].discard(uid)
        if after is not None:
            self._pods[uid] = after
            self._of_node.setdefault(after.node, set()).add(uid)
        shown = self._visible(after)
        if former or shown:
            yield MemberMove(former, shown)

    def _node(self, name: str, after: Node | None) -> Iterator[MemberMove]:
        was_there = name in self._nodes
        if after is not None:
            self._nodes[name] = after
        else:
            self._nodes.pop(name, None)
        if was_there == (after is not None):
            return
        for uid in sorted(self._of_node.get(name, ())):
            member = self._member(self._pods[uid])
            yield MemberMove(None, member) if after is not None else MemberMove(member, None)

    def _namespace(self, after: Namespace) -> Iterator[MemberMove]:
        """What a namespace allows is looked at again for the pods that run already."""
        if after.allowed == self._allowed.setdefault(after.name, None):
            return
        theirs = [pod for pod in self._pods.values() if pod.namespace == after.name and pod.node in self._nodes]
        before = [self._member(pod) for pod in theirs]
        self._allowed[after.name] = after.allowed
        for member in before:
            now = self._member(member.pod)
            if now != member:
                yield MemberMove(member, now)

    def _visible(self, pod: Pod | None) -> Member | None:
        return self._member(pod) if pod is not None and pod.node in self._nodes else None

    def _member(self, pod: Pod) -> Member:
        claimed = self._zoning.claimed(pod.labels)
        return Member(pod, claimed, not self._zoning.entitled(claimed, self._allowed.get(pod.namespace)))


def _key(kind: FollowedKind, raw: Json) -> str:
    metadata = raw["metadata"]
    key: str = metadata["uid"] if kind is FollowedKind.PODS else metadata["name"]
    return key


def _uid(raw: Json) -> str:
    uid: str = raw["metadata"].get("uid", "")
    return uid
