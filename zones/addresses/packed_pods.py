"""Pods of other nodes, as PodSlices tell them, kept small: there may be a hundred thousand of them. No I/O.

A slice's pods are packed into columns, and made anew when one is asked for; what pods have in common is held once.
`zones.addresses.index` keeps them.
"""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from zones.addresses.inventory import Pod
from zones.net import V4_LAST, V6_LAST, IPAddress
from zones.subjects import MARK_OCTETS, Subjects, mark_of

_V6 = 1 << 128
_Likeness = tuple[str, bool, bool, frozenset[tuple[str, str]]]


def key_of(address: IPAddress) -> int:
    """An address as one number, of either version: the smallest thing that a dictionary can find it by."""
    number = int(address)
    return number if address.version == 4 else number | _V6  # noqa: PLR2004


def address_of(key: int) -> IPAddress:
    return IPv4Address(key) if key <= V4_LAST else IPv6Address(key & V6_LAST)


def packed(keys: Iterable[int], length: int) -> list[bytes]:
    """As packets have the addresses, all of which are of this length."""
    return [(key & V6_LAST).to_bytes(length, "big") for key in keys]


def key_of_packed(address: bytes) -> int:
    return int.from_bytes(address, "big") | (0 if len(address) == 4 else _V6)  # noqa: PLR2004


@dataclass(slots=True, eq=False)
class SharedAttributes:
    """What `count` pods have in common. `pod` has no uid, name, node or addresses; another right makes another one."""

    pod: Pod
    count: int = 0


class AttributePool:
    """Each kind of pod once, while there are any of it."""

    def __init__(self) -> None:
        self._held: dict[str, dict[_Likeness, SharedAttributes]] = {}

    def __iter__(self) -> Iterator[SharedAttributes]:
        return (alike for by_likeness in self._held.values() for alike in by_likeness.values())

    def acquire(self, pod: Pod, allowed: frozenset[str] | None) -> SharedAttributes:
        """One pod more of its kind."""
        key, pool = _likeness(pod), self._held.setdefault(pod.namespace, {})
        alike = pool.get(key)
        if alike is None:
            alike = pool[key] = SharedAttributes(
                replace(pod, uid="", name="", node="", addresses=(), started=None, allowed=allowed)
            )
        alike.count += 1
        return alike

    def release(self, alike: SharedAttributes) -> None:
        alike.count -= 1
        pool = self._held[alike.pod.namespace]
        if not alike.count:
            del pool[_likeness(alike.pod)]
        if not pool:
            del self._held[alike.pod.namespace]

    def set_namespace_zones(self, namespace: str, allowed: frozenset[str] | None) -> bool:
        """What a namespace allows its pods from now on. Whether that concerns any."""
        theirs = [
            attributes for attributes in self._held.get(namespace, {}).values() if attributes.pod.allowed != allowed
        ]
        for shared in theirs:
            shared.pod = replace(shared.pod, allowed=allowed)
        return bool(theirs)


class PackedSlice:
    """The pods of one slice. `keys` are their addresses, `rows` says for each which pod's it is.

    Of uids it keeps the marks alone. A start is four octets, 0 where it isn't known.
    """

    __slots__ = ("_alike", "_keys", "_marks", "_names", "_rows", "_starts", "name", "node")

    def __init__(self, name: str, node: str) -> None:
        self.name = name
        self.node = node
        self._alike: tuple[SharedAttributes, ...] = ()
        self._names = ""
        self._marks = b""
        self._keys: tuple[int, ...] = ()
        self._rows = b""
        self._starts = array("I")

    @property
    def keys(self) -> tuple[int, ...]:
        """All addresses that its pods claim, as numbers; one that two of them claim stands twice."""
        return self._keys

    @property
    def alike(self) -> tuple[SharedAttributes, ...]:
        return self._alike

    def fill(self, pods: Sequence[Pod], alike: Sequence[SharedAttributes]) -> None:
        """At most 256 pods, each with its kind. No name has a line's end in it."""
        self._alike = tuple(alike)
        self._names = "\n".join(pod.name for pod in pods)
        self._marks = b"".join(mark_of(pod.uid) for pod in pods)
        self._keys = tuple(key_of(address) for pod in pods for address in pod.addresses)
        self._rows = bytes(row for row, pod in enumerate(pods) for _ in pod.addresses)
        self._starts = array("I", (pod.started or 0 for pod in pods))

    def contents(self) -> Mapping[int, list[tuple[str, SharedAttributes]]]:
        """Who claims each address."""
        names = self._names.split("\n")
        rows_of: dict[int, list[tuple[str, SharedAttributes]]] = {}
        for key, row in zip(self._keys, self._rows, strict=True):
            rows_of.setdefault(key, []).append((names[row], self._alike[row]))
        return rows_of

    def row(self, key: int) -> int:
        """Of the pod that claims an address. Raises ValueError where there is none."""
        return self._rows[self._keys.index(key)]

    def claims(self, key: int) -> Iterator[int]:
        """The rows of the pods that claim an address."""
        at = -1
        for _ in range(self._keys.count(key)):
            at = self._keys.index(key, at + 1)
            yield self._rows[at]

    def common(self, row: int) -> Pod:
        return self._alike[row].pod

    def pod(self, row: int) -> Pod:
        """The whole pod, but for its uid."""
        mine = tuple(address_of(key) for key, at in zip(self._keys, self._rows, strict=True) if at == row)
        name, started = self._names.split("\n")[row], self._starts[row] or None
        return replace(self._alike[row].pod, name=name, node=self.node, addresses=mine, started=started)

    def pods(self) -> Iterator[Pod]:
        return map(self.pod, range(len(self._alike)))

    def judged(self, turned: Subjects, subjects: Subjects) -> list[tuple[int, bool]]:
        """The rows of the pods that are among those who `turned`, each with whether it is among the `subjects`."""
        marked = any(mark in self._marks for _, _, mark in turned.pods)  # or what looks alike: it is asked again
        if not marked and not any(
            (attributes.pod.namespace, attributes.pod.workload) in turned.workloads for attributes in self._alike
        ):
            return []
        judged: list[tuple[int, bool]] = []
        for row, (name, alike) in enumerate(zip(self._names.split("\n"), self._alike, strict=True)):
            pod, mark = alike.pod, self._marks[row * MARK_OCTETS : (row + 1) * MARK_OCTETS]
            if turned.have(pod.namespace, name, mark, pod.workload):
                judged.append((row, subjects.have(pod.namespace, name, mark, pod.workload)))
        return judged

    def change(self, row: int, alike: SharedAttributes) -> Iterator[int]:
        """A pod is of another kind now. Its addresses."""
        self._alike = (*self._alike[:row], alike, *self._alike[row + 1 :])
        return (key for key, at in zip(self._keys, self._rows, strict=True) if at == row)

    def of_namespaces(self, namespaces: Container[str]) -> Iterator[int]:
        """The addresses of these namespaces' pods."""
        alike = self._alike
        return (key for key, row in zip(self._keys, self._rows, strict=True) if alike[row].pod.namespace in namespaces)


def _likeness(pod: Pod) -> _Likeness:
    return pod.workload, pod.terminating, pod.quarantined, frozenset(pod.labels.items())
