"""The pods that a preview is made for: out of a list in a file, or of what an API server lists. Pure.

Two forms of a list: what `kubectl get pods -A -o json` prints, and lines or a list of
`{"namespace": …, "name": …, "zone": …, "workload": …, "addresses": […], "node": …}`, of which only namespace and name
are needed. With kubectl's form the zone comes out of the label; that a namespace is entitled to it is known only where
its annotation is, in the form of `kubectl get namespaces,pods -A -o json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from zones import decode
from zones.addresses.inventory import FINISHED_PHASES, Pod
from zones.net import IPAddress
from zones.runtime.errors import InputError
from zones.workload import normalise
from zones.zone import ISOLATED, Zoning, allowed_zones

Json = Mapping[str, Any]
KEYS = frozenset({"namespace", "name", "zone", "workload", "addresses", "node"})


@dataclass(frozen=True, slots=True)
class Resident:
    """A pod with a zone of its own. `node` "" where it isn't known; without addresses it has any."""

    namespace: str
    name: str
    zone: str
    workload: str
    addresses: tuple[IPAddress, ...] = ()
    node: str = ""


def listed(text: str, zoning: Zoning, option: str) -> tuple[Resident, ...]:
    """The pods of a file's text, those on their node's own network and those that have ended left out.

    Raises InputError that names the option and the place.
    """
    return tuple(_residents(list(_items(text, option)), zoning, option))


def residents(objects: Iterable[Json], zoning: Zoning) -> Iterator[Resident]:
    """Out of Kubernetes objects: pods, and namespaces for what these are entitled to. Raises KeyError on anything else.

    Without any namespace among them, every pod is where its label says.
    """
    objects = list(objects)
    annotated = {
        object_["metadata"]["name"]: allowed_zones(object_["metadata"].get("annotations") or {})
        for object_ in objects
        if object_.get("kind") == "Namespace"
    }
    for raw in objects:
        if raw.get("kind") == "Namespace":
            continue
        pod = decode.pod(raw).item
        if isinstance(pod, Pod) and not pod.host_network and pod.phase not in FINISHED_PHASES and not pod.stopped:
            claimed = zoning.claimed(pod.labels)
            entitled = not annotated or zoning.entitled(claimed, annotated.get(pod.namespace))
            zone = claimed if entitled else ISOLATED
            yield Resident(pod.namespace, pod.name, zone, pod.workload, pod.addresses, pod.node)


def _residents(items: list[Json], zoning: Zoning, option: str) -> Iterator[Resident]:
    plain = [item for item in items if "metadata" not in item]
    yield from (_plain(item, zoning, option, number) for number, item in enumerate(plain, 1))
    objects = [item for item in items if "metadata" in item]
    try:
        yield from residents(objects, zoning)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{option}: a pod in it is not as Kubernetes writes it: {error}") from error


def _plain(item: Json, zoning: Zoning, option: str, number: int) -> Resident:
    where = f"{option}: pod {number}"
    unknown = sorted(item.keys() - KEYS)
    if unknown:
        raise InputError(f"{where}: '{unknown[0]}' is not known; take some of {', '.join(sorted(KEYS))}")
    texts = {key: item.get(key) or "" for key in KEYS - {"addresses"}}
    wrong = [key for key, value in texts.items() if not isinstance(value, str)]
    if wrong:
        raise InputError(f"{where}: {wrong[0]} must be text")
    if not (texts["namespace"] and texts["name"]):
        raise InputError(f"{where}: it needs a namespace and a name")
    addresses_ = item.get("addresses") or []
    try:
        addresses = tuple(map(ip_address, addresses_ if isinstance(addresses_, list) else [addresses_]))
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    workload = normalise(texts["workload"] or texts["name"])
    return Resident(
        texts["namespace"], texts["name"], texts["zone"] or zoning.default, workload, addresses, texts["node"]
    )


def _items(text: str, option: str) -> Iterator[Json]:
    text = text.removeprefix("\ufeff").strip()
    try:
        values = json.loads(text) if text else []
    except RecursionError:
        raise InputError(f"{option}: it is nested too deeply to be a list of pods") from None
    except ValueError:
        values = [_line(line, option, number) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if isinstance(values, dict):
        values = values["items"] if isinstance(values.get("items"), list) else [values]
    for value in values if isinstance(values, list) else [values]:
        if not isinstance(value, dict):
            raise InputError(f"{option}: it is no list of pods; give what `kubectl get pods -A -o json` prints")
        yield value


def _line(line: str, option: str, number: int) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{option}: line {number} is no JSON: {error}") from error
