"""Who had an address until a short while ago: a connection's end is often heard of after its pod is gone."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from enforcer.flows.flows import FlowEnd, FlowNames
from zones.addresses.inventory import Pod, endpoint
from zones.addresses.packed_pods import key_of
from zones.net import IPAddress


@dataclass(slots=True)
class Departed:
    """At most `capacity` pods, for `seconds`: the kernel tells of a closed TCP connection within two minutes."""

    capacity: int = 10_000
    seconds: float = 600.0
    clock: Callable[[], float] = time.monotonic
    _pods: OrderedDict[int, tuple[Pod, str, float]] = field(default_factory=OrderedDict)

    def gone(self, address: int, pod: Pod, node: str) -> None:
        """An address, as `zones.addresses.packed_pods.key_of` has it, that a pod of a node has no more."""
        self._pods[address] = (pod, node, self.clock())
        self._pods.move_to_end(address)
        while len(self._pods) > self.capacity:
            self._pods.popitem(last=False)

    def end(self, address: IPAddress, names: FlowNames) -> FlowEnd | None:
        pod, node, at = self._pods.get(key_of(address), (None, "", 0.0))
        if pod is None or self.clock() - at > self.seconds:
            return None
        zone = endpoint(address, pod, names.zoning).zone
        return FlowEnd(address, zone, pod.namespace, pod.name, pod.workload, node)
