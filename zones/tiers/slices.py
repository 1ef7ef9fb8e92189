"""PodSlices: which pods have which addresses, from each node's agent to every other node. Pure.

They say what a pod is, not which zone it is in: each enforcer judges that itself, for all pods alike. For a node whose
agent doesn't speak the bridge does. Nothing that a slice holds makes the reader fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from sys import intern
from typing import Any, TypeGuard

from zones.addresses.inventory import Pod
from zones.canonical import Json, digest
from zones.decode import epoch_seconds
from zones.net import IPAddress
from zones.tiers.native import API_VERSION, TIER_LABEL

POD_SLICE, PLURAL = "PodSlice", "podslices"
MOST_PODS, MOST_ADDRESSES = 100, 64
_MOST_READ = 255
_NODE_DIGITS = 16


@dataclass(frozen=True, slots=True)
class PodSlice:
    """Some pods of one node. `problems`: what in it could not be read, and so is in no zone.

    `addresses`: what the node has itself inside of pod networks, the ends of tunnels.
    """

    name: str
    node: str
    pods: tuple[Pod, ...]
    problems: tuple[str, ...] = ()
    addresses: tuple[IPAddress, ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether the node itself tells this: by admission it alone writes slices with such a name."""
        return own_number(self.node, self.name) is not None


def own_name(node: str, number: int) -> str:
    """Of what a node tells itself, numbered from 0. By the number first nobody can take another node's: `0.n1`."""
    return f"{number}.{node}"


def own_number(node: str, name: str) -> int | None:
    number, _, rest = name.partition(".")
    return int(number) if rest == node and number.isdecimal() and own_name(node, int(number)) == name else None


def is_own(raw: Mapping[str, Any]) -> bool:
    """Of an object, whether the node itself has written it."""
    spec = raw.get("spec")
    node = spec.get("node") if isinstance(spec, Mapping) else None
    return isinstance(node, str) and own_number(node, str(raw["metadata"]["name"])) is not None


def name_of(tier: str, node: str, number: int) -> str:
    """Of what the bridge tells for a node, numbered from 0; a node's name may be too long to be part of another."""
    return f"{tier}-{digest(node)[:_NODE_DIGITS]}-{number}"


def number_of(tier: str, node: str, name: str) -> int | None:
    """Which of the node's slices it is; None where it is none of them."""
    start, _, number = name.rpartition("-")
    return int(number) if number.isdecimal() and name_of(tier, node, int(number)) == f"{start}-{number}" else None


def render(
    tier: str,
    name: str,
    node: str,
    pods: Iterable[Pod],
    labels: Sequence[str],
    *,
    addresses: Iterable[IPAddress] = (),
) -> Json:
    """The object. `labels`: the keys that enforcers need, the zone's among them."""
    spec: Json = {"node": node}
    if own := sorted(map(str, addresses)):
        spec["addresses"] = own
    entries = [entry(pod, labels) for pod in sorted(pods, key=lambda pod: (pod.namespace, pod.name, pod.uid))]
    return {
        "apiVersion": API_VERSION,
        "kind": POD_SLICE,
        "metadata": {"name": name, "labels": {TIER_LABEL: tier}},
        "spec": spec | {"pods": entries},
    }


def entry(pod: Pod, labels: Sequence[str]) -> Json:
    """What the pod's enforcers elsewhere need of it."""
    kept = {key: pod.labels[key] for key in labels if key in pod.labels}
    value: Json = {
        "uid": pod.uid,
        "namespace": pod.namespace,
        "name": pod.name,
        "workload": pod.workload,
        "addresses": [str(address) for address in pod.addresses],
    }
    if kept:
        value["labels"] = kept
    if pod.terminating:
        value["terminating"] = True
    if pod.started is not None and _is_start(pod.started):
        value["startTime"] = f"{datetime.fromtimestamp(pod.started, UTC):%Y-%m-%dT%H:%M:%S}Z"
    return value


def parse(raw: Mapping[str, Any]) -> PodSlice:
    """Its pods, as running ones. What makes no sense is left out and told."""
    metadata = raw.get("metadata") or {}
    name, spec = str(metadata.get("name", "")), raw.get("spec")
    node = spec.get("node") if isinstance(spec, Mapping) else None
    entries = spec.get("pods") if isinstance(spec, Mapping) else None
    where = f"PodSlice '{name}'"
    if not (isinstance(node, str) and node and isinstance(entries, list)):
        return PodSlice(name, "", (), (f"{where} has no node and pods; it was not made by us, and is left out",))
    if len(entries) > _MOST_READ:
        return PodSlice(name, node, (), (f"{where} has {len(entries)} pods; more than {_MOST_READ} are never made",))
    pods: list[Pod] = []
    problems: list[str] = []
    for pod_entry in entries:
        parsed = _pod(pod_entry, intern(node))
        if isinstance(parsed, Pod):
            pods.append(parsed)
        else:
            problems.append(f"{where}: {parsed}; it is in no zone")
    own, bad = _own_addresses(spec.get("addresses", [])) if isinstance(spec, Mapping) else ((), ())
    return PodSlice(name, intern(node), tuple(pods), (*problems, *(f"{where}: {pod_entry}" for pod_entry in bad)), own)


def uids(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Which pods it holds."""
    return tuple(pod.uid for pod in parse(raw).pods)


def _pod(pod_json: object, node: str) -> Pod | str:
    """The pod, or why it is none."""
    if not isinstance(pod_json, Mapping):
        return f"{str(pod_json)[:100]!r} is no pod"
    uid, namespace, name = pod_json.get("uid"), pod_json.get("namespace"), pod_json.get("name")
    workload, labels, addresses = pod_json.get("workload"), pod_json.get("labels", {}), pod_json.get("addresses")
    if not (_is_text(uid) and _is_text(namespace) and _is_text(name) and _is_text(workload) and namespace and name):
        return f"{str(dict(pod_json))[:200]} is no pod"
    if not _are_labels(labels) or not isinstance(addresses, list):
        return f"{str(dict(pod_json))[:200]} is no pod"
    try:
        canonical = tuple(dict.fromkeys(map(_address, addresses)))
    except ValueError as error:
        return f"pod {namespace}/{name}: {error}"
    return Pod(
        uid=uid,
        namespace=intern(namespace),
        name=name,
        node=node,
        phase="Running",
        addresses=canonical,
        labels={intern(key): intern(value) for key, value in labels.items()},
        workload=intern(workload),
        terminating=pod_json.get("terminating") is True,
        started=_started(pod_json.get("startTime")),
    )


def _started(text: object) -> int | None:
    """None where it isn't told, or can't be read: a pod keeps its zone all the same."""
    started = epoch_seconds(text)
    return started if started is not None and _is_start(started) else None


def _is_start(seconds: int) -> bool:
    """Readers keep it in four octets, and 0 for none: until 2106."""
    return 0 < seconds < 2**32


def _own_addresses(texts: object) -> tuple[tuple[IPAddress, ...], tuple[str, ...]]:
    """Of the node itself, and why there are none."""
    if not isinstance(texts, list) or len(texts) > MOST_ADDRESSES:
        return (), (f"a node has up to {MOST_ADDRESSES} addresses in a list, not {str(texts)[:100]}",)
    try:
        return tuple(dict.fromkeys(map(_address, texts))), ()
    except ValueError as error:
        return (), (f"the node's addresses: {error}",)


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.isprintable()


def _are_labels(value: object) -> TypeGuard[Mapping[str, str]]:
    return isinstance(value, Mapping) and all(map(_is_text, value.values())) and all(map(_is_text, value))


def _address(text: object) -> IPAddress:
    if not isinstance(text, str):  # an integer would be an address to Python
        raise ValueError(f"{text!r} is not an address")  # noqa: TRY004 - content, not a caller's mistake
    return ip_address(text)
