"""Takes the startup taint from a node whose enforcer has reported since the node was registered.

Nodes get the taint from whoever makes them, by their kubelets' --register-with-taints: pods then wait for the rules.
Nobody puts it back (docs/decisions/0035-startup-taint.md). Only where a site opts in; `bridge.service` looks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Protocol

import structlog

from zones.kube.errors import ClusterError

Json = dict[str, Any]
TAINT = "zonebridge.io/agent-not-ready"
_log = structlog.get_logger()


class TaintApi(Protocol):
    """What is needed of a cluster."""

    async def node(self, name: str) -> Json | None: ...
    async def node_state(self, name: str) -> Json | None: ...
    async def tier(self, name: str) -> Json | None: ...
    async def leave_taints(self, name: str, version: str, taints: list[Json]) -> None: ...


class Untaint:
    """One cluster's. `tainted` names the nodes that have the taint, as a watch tells."""

    def __init__(self, cluster: TaintApi, tier: str, tainted: Callable[[], Collection[str]]) -> None:
        self._cluster = cluster
        self._tier = tier
        self._tainted = tainted

    async def look(self) -> None:
        """A node that changes meanwhile is looked at the next time. Raises nothing of the cluster's."""
        names = sorted(self._tainted())
        if not names:
            return
        try:
            has_tier = await self._cluster.tier(self._tier) is not None
            for name in names:
                await self._free(name, has_tier=has_tier)
        except ClusterError as error:
            _log.warning("a startup taint stays", taint=TAINT, error=str(error))

    async def _free(self, name: str, *, has_tier: bool) -> None:
        node, state = await self._cluster.node(name), await self._cluster.node_state(name)
        if node is None or not is_ready(node, (state or {}).get("status") or {}, has_tier=has_tier):
            return
        taints = node.get("spec", {}).get("taints") or []
        left = [taint for taint in taints if taint["key"] != TAINT]
        if len(left) < len(taints):
            await self._cluster.leave_taints(name, node["metadata"]["resourceVersion"], left)
            _log.info("the enforcer is ready: the startup taint is removed", node=name)


def is_ready(node: Json, status: Mapping[str, Any], *, has_tier: bool) -> bool:
    """Whether this very node's enforcer holds the tier. Without one there are no rules to wait for.

    What an earlier node of the name has reported says nothing of this one.
    """
    reported = status.get("reportedAt")
    if not reported:
        return False
    registered = datetime.fromisoformat(node["metadata"]["creationTimestamp"])
    since = datetime.fromisoformat(reported) >= registered
    return since and (not has_tier or bool(status.get("revision")))
