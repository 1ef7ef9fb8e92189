"""Which pods are in quarantine, as a set that asks for a pod's name: by its uid, or by its workload. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

MARK_OCTETS = 8


def mark_of(uid: str) -> bytes:
    """A uid in 8 octets: pods of other nodes are many, and their uids long."""
    return blake2b(uid.encode(), digest_size=MARK_OCTETS).digest()


@dataclass(frozen=True, slots=True)
class Subjects:
    """`pods`: (namespace, name, `mark_of(uid)`); `workloads`: (namespace, the name that App-IDs match)."""

    pods: frozenset[tuple[str, str, bytes]] = frozenset()
    workloads: frozenset[tuple[str, str]] = frozenset()

    def have(self, namespace: str, name: str, mark: bytes, workload: str) -> bool:
        return (namespace, workload) in self.workloads or (namespace, name, mark) in self.pods

    def __bool__(self) -> bool:
        return bool(self.pods or self.workloads)

    def __xor__(self, other: Subjects) -> Subjects:
        """Those that are in one of both."""
        return Subjects(self.pods ^ other.pods, self.workloads ^ other.workloads)


NOBODY = Subjects()
