"""What `status` tells: each cluster's tier as its own status has it. A cluster that can't be asked says why.

Only `bridge.cli` asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bridge.commands.tier_facts import NOTHING_YET, facts
from bridge.settings.models import ClusterSettings
from bridge.tier.cluster import TierApi
from bridge.wiring.clusters import cluster_access
from zones.kube.client import ApiServer
from zones.kube.errors import ClusterError

Json = dict[str, Any]


async def overview(clusters: Sequence[ClusterSettings]) -> list[Json]:
    """One value for each cluster. Keys are only ever added."""
    return list(await asyncio.gather(*map(_one, clusters)))


async def _one(settings: ClusterSettings) -> Json:
    cluster = TierApi(ApiServer(cluster_access(settings)))
    about = {"cluster": settings.name, "device_group": settings.device_group, "tier": settings.tier}
    try:
        tier = await cluster.tier(settings.tier)
    except ClusterError as error:
        return about | facts({}, str(error))
    finally:
        await cluster.close()
    return about | facts(tier or {}, "" if tier else NOTHING_YET)
