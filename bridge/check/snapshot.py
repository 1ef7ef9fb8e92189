"""What `zonebridge check` judges: lists of a cluster's objects as the API server gave them, or why it did not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class InstallationNames:
    """Where the installation is."""

    bridge: str = "zonebridge-system"
    enforcer: str = "zonebridge-enforcer"
    tier: str = "panorama"


@dataclass(frozen=True, slots=True)
class ListedObjects:
    """Objects of a kind; or `problem`, where they could not be had. A kind that the cluster lacks has none."""

    items: Sequence[Json] = ()
    problem: str = ""

    def named(self, name: str, namespace: str | None = None) -> Json | None:
        for item in self.items:
            metadata = item["metadata"]
            if metadata["name"] == name and namespace in (None, metadata.get("namespace")):
                return item
        return None


@dataclass(frozen=True, slots=True)
class AccessReview:
    """Whether somebody may do something; None where nobody could be asked."""

    who: str
    may: str
    allowed: bool | None


@dataclass(frozen=True, slots=True)
class Reached:
    """A receiver or Panorama, and why it could not be reached; empty where it could."""

    what: str
    problem: str = ""
    do: str = ""


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """A cluster at one time. `now` is in seconds since 1970, by the clock of where the command runs."""

    names: InstallationNames
    now: float
    version: str = ""
    admission: ListedObjects = ListedObjects()
    lists: Mapping[str, ListedObjects] = field(default_factory=dict)
    access: tuple[AccessReview, ...] = ()
    reached: tuple[Reached, ...] | None = None

    def of(self, kind: str) -> ListedObjects:
        return self.lists.get(kind, ListedObjects(problem="it was not asked for"))

    @property
    def installed(self) -> bool:
        """Whether anything of zonebridge is there yet."""
        crds = self.of("customresourcedefinitions")
        kinds = any(item["metadata"]["name"] == "tiers.zonebridge.io" for item in crds.items)
        return kinds or bool(self.of("tiers").items) or self.of("daemonsets").named("zone-enforcer") is not None


def labels(item: Json) -> Mapping[str, str]:
    return item["metadata"].get("labels") or {}


def names(items: Iterable[Json]) -> list[str]:
    return [str(item["metadata"]["name"]) for item in items]
