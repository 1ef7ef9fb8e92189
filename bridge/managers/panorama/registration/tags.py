"""A pod's addresses as Panorama's dynamic groups know them: tags in the form of the Kubernetes plug-in. Pure.

`bridge.registration` asks for them, `registration_plan` compares them with what Panorama holds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from bridge.explain.services import Selectors
from bridge.population import Member
from zones.canonical import digest

Mappings = Mapping[str, frozenset[str]]

LONGEST_TAG, MOST_TAGS = 127, 32
_DIGITS = 8
# A dynamic group's filter quotes a tag, and a log line holds it: neither may be ended by one.
_UNFIT = re.compile(r"""[\x00-\x1f\x7f'"<>&]""")


@dataclass(frozen=True, slots=True)
class Naming:
    """How a cluster's tags begin, and which labels become tags. `cluster` has no dot: it would end the name."""

    cluster: str
    labels: tuple[str, ...] = ()
    prefix: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", f"k8s.cl_{self.cluster}.")

    def owns(self, tag: str) -> bool:
        """Whether a tag is this cluster's. Everybody else's are left alone."""
        return tag == self.quarantined or tag.startswith((f"{self.prefix}ns_", f"{self.prefix}zone_"))

    @property
    def quarantined(self) -> str:
        """Of the addresses of pods that are cut off in the cluster."""
        return f"{self.prefix}quarantined"


def mappings(members: Iterable[Member], naming: Naming, selectors: Selectors) -> dict[str, frozenset[str]]:
    """Every address with its tags, 32 at most. One that two running pods claim has none: it is trusted to neither."""
    everybody = tuple(members)
    claims = Counter(address for member in everybody for address in member.pod.addresses)
    return {
        str(address): frozenset(islice(tags(member, naming, selectors.of(member.pod)), MOST_TAGS))
        for member in everybody
        for address in member.pod.addresses
        if claims[address] == 1
    }


def tags(member: Member, naming: Naming, services: Iterable[str]) -> Iterator[str]:
    """Of quarantine, zone, namespace, workload, labels, services. Who claims a zone without right is in none here."""
    namespace = f"{naming.prefix}ns_{member.pod.namespace}"
    if member.pod.quarantined:
        yield naming.quarantined
    if not member.isolated:
        yield fit(f"{naming.prefix}zone_{member.claimed}")
    yield fit(namespace)
    if member.pod.workload:
        yield fit(f"{namespace}.wl_{member.pod.workload}")
    for key in naming.labels:
        if value := member.pod.labels.get(key):
            yield fit(f"{namespace}.{key}.{value}")
    for name in services:
        yield fit(f"{namespace}.svc_{name}")


def fit(tag: str) -> str:
    """As PAN-OS takes it: no quotes, at most 127 characters, two that are cut off told apart by a digest."""
    clean = _UNFIT.sub("_", tag)
    return clean if len(clean) <= LONGEST_TAG else f"{clean[: LONGEST_TAG - _DIGITS - 1]}-{digest(tag)[:_DIGITS]}"
