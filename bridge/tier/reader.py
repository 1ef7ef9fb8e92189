"""What people may read of a cluster: the tier, its zones, pods and what selects them. It decides nothing.

`bridge.tier.cluster` is the bridge's door, which writes too; commands that only ask take this one, over any `Api`.
"""

from __future__ import annotations

from urllib.parse import quote

from zones.canonical import Json
from zones.kube.api import JSON, LONGEST, Api
from zones.kube.errors import ClusterRefusedError
from zones.kube.objects import Source, read_all
from zones.tiers import quarantines
from zones.tiers.native import API_VERSION, PLURALS, TIER, TIER_LABEL
from zones.zone import allowed_zones

NODE_STATES, ZONES = "nodestates", "zones"
PAGE, LONG_PAGE = 100, 500
ROOT, CORE = f"/apis/{API_VERSION}", "/api/v1"


class ClusterReader:
    """One cluster, as whoever the way to it is for."""

    def __init__(self, api: Api) -> None:
        self._api: Api = api

    @property
    def name(self) -> str:
        return self._api.name

    async def close(self) -> None:
        await self._api.close()

    async def tier(self, name: str) -> Json | None:
        return await self._api.get(f"{ROOT}/{PLURALS[TIER]}/{name}", f"Tier '{name}'")

    async def parts(self, tier: str) -> dict[str, Json]:
        """Every chunk and address set that carries the tier's label, by name."""
        query = {"labelSelector": f"{TIER_LABEL}={tier}"}
        parts: dict[str, Json] = {}
        for kind in PLURALS:
            if kind != TIER:
                for part in await self._list(PLURALS[kind], query):
                    parts[part["metadata"]["name"]] = part | {"apiVersion": API_VERSION, "kind": kind}
        return parts

    async def node_states(self) -> list[Json]:
        return await self._list(NODE_STATES, {})

    async def allowed_zones(self, namespace: str) -> frozenset[str] | None:
        """The zones that a namespace's annotation lists; None without one."""
        namespace_object = await self._api.get(f"/api/v1/namespaces/{namespace}", f"namespace {namespace}")
        return allowed_zones((namespace_object or {}).get("metadata", {}).get("annotations") or {})

    async def pod(self, namespace: str, name: str) -> Json | None:
        return await self._api.get(f"/api/v1/namespaces/{namespace}/pods/{name}", f"pod {namespace}/{name}")

    async def pods_in(self, namespace: str) -> list[Json] | None:
        """All pods of a namespace; None where they may not be read."""
        try:
            return await self._list("pods", {}, page=LONG_PAGE, root=f"{CORE}/namespaces/{quote(namespace, safe='')}")
        except ClusterRefusedError:
            return None

    async def quarantines(self) -> list[Json] | None:
        """All of the cluster's; None where they may not be read, as by most people, or where the kind isn't there."""
        try:
            return await self._list(quarantines.PLURAL, {})
        except ClusterRefusedError:
            return None

    async def pods_at(self, address: str) -> list[Json]:
        """The pods of all namespaces that have an address, whatever became of them."""
        return await self._list("pods", {"fieldSelector": f"status.podIP={address}"}, page=LONG_PAGE, root=CORE)

    async def nodes(self) -> list[Json]:
        return await self._list("nodes", {}, page=LONG_PAGE, root=CORE)

    async def network_policies(self, namespace: str) -> list[Json]:
        """Those of a namespace."""
        root = f"/apis/networking.k8s.io/v1/namespaces/{namespace}"
        return await self._list("networkpolicies", {}, page=LONG_PAGE, root=root)

    async def zones(self, tier: str) -> list[Json]:
        """The Zones of a tier: what the manager knows, and what pods claim."""
        return await self._list(ZONES, {"labelSelector": f"{TIER_LABEL}={tier}"}, page=LONG_PAGE)

    async def events(self, namespace: str | None, fields: str) -> list[Json]:
        """Events of a namespace, or of all, as events.k8s.io/v1 has them. `fields`: a field selector."""
        root = "/apis/events.k8s.io/v1" + (f"/namespaces/{namespace}" if namespace else "")
        return await self._list("events", {"fieldSelector": fields}, page=LONG_PAGE, root=root)

    async def _list(
        self, plural: str, query: dict[str, str], *, page: int = PAGE, accept: str = JSON, root: str = ROOT
    ) -> list[Json]:
        return await read_all(self._api, Source(f"{root}/{plural}", plural, query, page, LONGEST, accept))
