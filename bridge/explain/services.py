"""Which Services select a pod, folded from changes: those of its own namespace whose selector its labels match. Pure.

`bridge.registration` follows and asks it. Endpoints that somebody wrote by hand are no claim on anybody's pod.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zones.addresses.inventory import Pod
from zones.kube.watch import Change, Listed

Json = dict[str, Any]
PATH = "/api/v1/services"
_Labels = frozenset[tuple[str, str]]
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Selectors:
    """The Services of one moment: namespace to names with what their pods' labels hold."""

    of_namespace: Mapping[str, tuple[tuple[str, _Labels], ...]] = field(default_factory=dict)

    def of(self, pod: Pod) -> tuple[str, ...]:
        """The names of a pod's Services, in order."""
        labels = pod.labels.items()
        return tuple(name for name, wanted in self.of_namespace.get(pod.namespace, ()) if wanted <= labels)


class Services:
    """Those with a selector. Before they were listed once, none of them is known."""

    def __init__(self) -> None:
        self._held: dict[_Key, _Labels] = {}
        self._seen: set[_Key] = set()
        self.complete = False
        self.generation = 0
        """Rises with every change of a selector."""

    def snapshot(self) -> Selectors:
        by_namespace: defaultdict[str, list[tuple[str, _Labels]]] = defaultdict(list)
        for (namespace, name), wanted in sorted(self._held.items(), key=lambda item: item[0]):
            by_namespace[namespace].append((name, wanted))
        return Selectors({namespace: tuple(services) for namespace, services in by_namespace.items()})

    def fold(self, change: Change) -> None:
        if not isinstance(change, Listed):
            self._keep(change.raw, gone=change.gone)
            return
        if change.first:
            self._seen.clear()
        for raw in change.objects:
            self._seen.add(_key(raw))
            self._keep(raw, gone=False)
        if change.last:
            for vanished in self._held.keys() - self._seen:
                self._set(vanished, frozenset())
            self.complete = True

    def _keep(self, raw: Json, *, gone: bool) -> None:
        selector = {} if gone else (raw.get("spec") or {}).get("selector") or {}
        self._set(_key(raw), frozenset(selector.items()))

    def _set(self, key: _Key, wanted: _Labels) -> None:
        if wanted == self._held.get(key, frozenset()):
            return
        self.generation += 1
        if wanted:
            self._held[key] = wanted
        else:
            del self._held[key]


def _key(raw: Json) -> _Key:
    return raw["metadata"].get("namespace", ""), raw["metadata"]["name"]
