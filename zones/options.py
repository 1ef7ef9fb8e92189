"""What a site settles for all rules of a cluster, for the compiler."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AppIdSide(StrEnum):
    """Which end of a flow a workload application names."""

    DESTINATION = "destination"
    SOURCE = "source"
    EITHER = "either"


class DenyByPorts(StrEnum):
    """What a site does with a deny of a predefined App-ID, which can only block ports, whatever the application."""

    APPLY = "apply"
    REFUSE = "refuse"


class OnInexpressibleDeny(StrEnum):
    """What a site does with a deny that can't be expressed and carries no tag that decides."""

    REFUSE = "refuse"
    WIDEN = "widen"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """What a site settles for all rules.

    `serial`: the cluster's declared identity, which answers `target`. `cluster_zones`: the zones this cluster has;
    None counts every zone.
    """

    serial: str | None = None
    cluster_zones: frozenset[str] | None = None
    app_id_side: AppIdSide = AppIdSide.DESTINATION
    inexpressible_deny: OnInexpressibleDeny = OnInexpressibleDeny.REFUSE
    deny_by_ports: DenyByPorts = DenyByPorts.APPLY
