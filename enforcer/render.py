"""`zone-enforcer render`: the rules that an agent would have the kernel enforce, of a cluster or of files.

It changes nothing anywhere. `enforcer.cli` calls it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from enforcer import wiring
from enforcer.cluster import object_files
from enforcer.cluster.tier import judge
from enforcer.cluster.view import View, WatchedKind, selectors
from enforcer.cluster.watch import Cluster
from enforcer.errors import EnforcerError
from enforcer.rules import ruleset
from enforcer.rules.options import Mode, RulesetOptions
from enforcer.settings.models import EnforcerSettings, load
from zones.runtime.errors import InputError


def of_cluster(config: Path | None, environment: Mapping[str, str], node: str) -> str:
    settings = load(config, environment)
    name = node or settings.node_name
    return _rendered(asyncio.run(_live(settings, name)), name, wiring.options(settings))


def of_files(tier: Path, pods: Path | None, node: str, mode: Mode) -> str:
    objects = object_files.read_objects(tier) + ([] if pods is None else object_files.read_objects(pods))
    names = object_files.tier_names(objects)
    if len(names) != 1:
        raise InputError(f"{tier} must hold exactly one Tier and the objects that it names; it holds {len(names)}")
    return _rendered(object_files.view_of(objects, names[0]), node, RulesetOptions(mode))


async def _live(settings: EnforcerSettings, node: str) -> View:
    cluster = await Cluster.connect(settings.kubeconfig, selectors(node, settings.tier))
    view = View(settings.tier, tuple(settings.pod_networks), node)
    try:
        for kind in WatchedKind:
            async for page in cluster.list(kind):
                view.fold(page)
    finally:
        await cluster.close()
    return view


def _rendered(view: View, node: str, options: RulesetOptions) -> str:
    judged = judge(None, view.tier_object(), view.parts())
    if judged.revision is None:
        raise EnforcerError(judged.why or f"there is no tier '{view.tier}'; the bridge makes it")
    return ruleset.build(judged.revision.policy, view.inventory(), node, datetime.now(UTC), options).text()
