"""Who takes part: the example company, or pods made up for the zones of somebody's own export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from bridge.managers.panorama import read_file
from bridge.settings.file import Purpose, load
from bridge.settings.models import BridgeSettings
from zones.workload import workload_name
from zones.zone import ANY_ZONE, ENTITLEMENT_ANNOTATION

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "company"
NODES = ("node-1", "node-2")
MADE_UP_ZONES = ("alpha", "beta", "gamma")
MOST_ZONES = 8


@dataclass(frozen=True, slots=True)
class PodSpec:
    """A pod as an application team declares it. Without `zone` it carries no label."""

    namespace: str
    name: str
    node: str
    zone: str | None = None
    owner_kind: str | None = None
    owner_name: str = ""

    @property
    def workload(self) -> str:
        return workload_name(self.name, self.owner_kind, self.owner_name)


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A host outside the cluster."""

    name: str
    ip: str
    ip6: str


@dataclass(frozen=True, slots=True)
class Company:
    """A Panorama configuration, the device group that is the cluster, its settings, and who talks in it."""

    panorama: Path
    device_group: str
    settings: Path
    pods: tuple[PodSpec, ...]
    hosts: tuple[HostSpec, ...]
    ports: tuple[int, ...]
    annotations: Mapping[str, Mapping[str, str]]
    """Of the pods' namespaces: which zones they may use."""

    def site(self) -> BridgeSettings:
        """What the site settled, as the bridge reads it."""
        return load(self.settings, {}, Purpose.OFFLINE)


HOSTS = (HostSpec("office", "10.21.9.5", "2001:db8:21::5"), HostSpec("internet", "203.0.113.5", "2001:db8:113::5"))


def example() -> Company:
    """The company of config/examples."""
    declared = yaml.safe_load((EXAMPLE / "pods.yaml").read_text())
    return Company(
        panorama=EXAMPLE / "panorama.xml",
        device_group="prod-eu-1",
        settings=EXAMPLE / "zonebridge.yaml",
        pods=tuple(_pod(each) for each in declared["pods"]),
        hosts=HOSTS,
        ports=tuple(declared["ports"]),
        annotations={name: {ENTITLEMENT_ANNOTATION: zones} for name, zones in declared["namespaces"].items()},
    )


def _every_zone(pods: Iterable[PodSpec]) -> dict[str, dict[str, str]]:
    return {pod.namespace: {ENTITLEMENT_ANNOTATION: ANY_ZONE} for pod in pods}


def _pod(declared: dict[str, str]) -> PodSpec:
    kind, _, name = declared.get("owner", "").partition("/")
    return PodSpec(declared["namespace"], declared["name"], declared["node"], declared.get("zone"), kind or None, name)


def of_export(panorama: Path, device_group: str, *, ignore_inexpressible: bool = False) -> Company:
    """Two pods for each of the export's zones, one without a label, one with a zone that nobody knows."""
    settings = EXAMPLE.parent / ("ignore-inexpressible.yaml" if ignore_inexpressible else "minimal.yaml")
    known = sorted(zone for zone in read_file(panorama, device_group).zones if _fits_a_label(zone))
    zones = (known or list(MADE_UP_ZONES))[:MOST_ZONES]
    pods, ports = tuple(_made_up(zones)), (22, 80, 443, 8080)
    return Company(panorama, device_group, settings, pods, HOSTS[1:], ports, _every_zone(pods))


def _fits_a_label(zone: str) -> bool:
    return len(zone) <= 63 and zone.replace("-", "").replace("_", "").replace(".", "").isalnum()


def _made_up(zones: list[str]) -> Iterator[PodSpec]:
    for number, zone in enumerate(zones, 1):
        for node in NODES:
            yield PodSpec("demo", f"pod-{number}-on-{node}", node, zone)
    yield PodSpec("demo", "pod-without-label", NODES[0])
    yield PodSpec("demo", "pod-of-unknown-zone", NODES[1], "nobody-knows-this")
