"""With whom each workload speaks outside, learnt for some days; then somebody new is told. Pure.

Time is time that this node has watched, of a clock that nobody sets:
what was learnt is as old after a restart as it was before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from enforcer.detection.terms import DetectionTerms
from zones.net import IPNetwork, protocol_name
from zones.seen import SeenKey

Workload = tuple[str, str]
Contact = tuple[str, str, str]
_NEAR = {4: 24, 6: 64}


@dataclass(slots=True)
class _Habits:
    """What is known of a workload. `varied`: it spoke with more than can be remembered, so that nobody is new to it."""

    since: float
    contacts: set[Contact] = field(default_factory=set)
    varied: bool = False


@dataclass(slots=True)
class Contacts:
    """At most `terms.capacity` workloads: who was silent for longest is forgotten, and learns anew if it comes back."""

    terms: DetectionTerms
    evicted: int = 0
    varied: int = 0
    _habits: OrderedDict[Workload, _Habits] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._habits)

    def is_new(self, key: SeenKey, now: float) -> bool:
        """Whether an accepted connection goes where its workload never spoke, since it was learnt whom it speaks to."""
        contact = contact_of(key)
        if contact is None:
            return False
        workload = key.source.namespace, key.source.workload
        habits = self._habits.pop(workload, None)
        if habits is None:
            if len(self._habits) >= self.terms.capacity:
                del self._habits[next(iter(self._habits))]
                self.evicted += 1
            habits = _Habits(now)
        self._habits[workload] = habits
        if habits.varied or contact in habits.contacts:
            return False
        if len(habits.contacts) >= self.terms.contacts:
            habits.varied, habits.contacts = True, set()
            self.varied += 1
            return False
        habits.contacts.add(contact)
        return now - habits.since >= self.terms.learning

    def json(self) -> list[dict[str, Any]]:
        """For the next start."""
        return [
            {
                "workload": list(workload),
                "since": habits.since,
                "contacts": sorted(map(list, habits.contacts)),
                "varied": habits.varied,
            }
            for workload, habits in self._habits.items()
        ]

    def restore(self, saved: list[Mapping[str, Any]]) -> None:
        """Raises ValueError, KeyError or TypeError where that is something else."""
        restored: OrderedDict[Workload, _Habits] = OrderedDict()
        for item in saved[: self.terms.capacity]:
            namespace, workload = map(str, item["workload"])
            contacts = {(str(zone), str(near), str(service)) for zone, near, service in item["contacts"]}
            restored[namespace, workload] = _Habits(float(item["since"]), contacts, bool(item["varied"]))
        self._habits = restored


def contact_of(key: SeenKey) -> Contact | None:
    """Who is no pod and no node, by its /24 or /64, and the service; None for all others."""
    network = key.destination.network
    if network is None or not key.source.workload:
        return None
    return key.destination.zone, str(near(network)), service_of(key)


def near(network: IPNetwork) -> IPNetwork:
    return ip_network((network.network_address, min(_NEAR[network.version], network.prefixlen)), strict=False)


def service_of(key: SeenKey) -> str:
    return protocol_name(key.protocol) + ("" if key.port is None else f"/{key.port}")
