"""Whether Panorama answers with our key and has our device group, and whether the SIEM's receivers would take a record.

Both by the bridge's own doors: certificates are verified, and key and token are those of the settings.

From where the command runs: in the bridge's pod that is the bridge's own way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from bridge.check.snapshot import ClusterSnapshot, Reached
from bridge.errors import BridgeError
from bridge.managers.panorama.manager import PanoramaManager
from bridge.managers.panorama.session.api import PanoramaApi
from bridge.settings.models import BridgeSettings, HecDestination, SyslogDestination
from bridge.wiring.clusters import panorama_access, read_options
from bridge.wiring.siem import sender
from zones.runtime.errors import SettingsError
from zones.runtime.findings import Finding, Group

GROUP = Group("Panorama and SIEM")


def check(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    if snapshot.reached is None:
        yield GROUP.warning(
            "not asked: no settings file was named", "name the bridge's settings with -c, best from within its pod"
        )
        return
    for reached in snapshot.reached:
        yield (
            GROUP.failed(f"{reached.what}: {reached.problem}", reached.do)
            if reached.problem
            else GROUP.ok(reached.what)
        )


async def ask(settings: BridgeSettings) -> tuple[Reached, ...]:
    """Each device group's rules, and each destination."""
    panorama = await asyncio.to_thread(_panorama, settings)
    destinations = settings.siem.destinations
    return (
        *panorama,
        *await asyncio.gather(*(_destination(destination, at) for at, destination in enumerate(destinations))),
    )


def _panorama(settings: BridgeSettings) -> list[Reached]:
    if settings.panorama is None:
        return []
    api = PanoramaApi(panorama_access(settings.panorama))
    hosts = " and ".join(settings.panorama.hosts)
    reached = []
    for cluster in settings.clusters:
        try:
            rulebase = PanoramaManager(api, cluster.device_group, read_options(settings)).rulebase()
        except BridgeError as error:
            reached.append(Reached(f"Panorama {hosts}", str(error), "check the hosts, the key and the device group"))
        else:
            reached.append(
                Reached(f"device group '{cluster.device_group}' is read from {hosts}: {len(rulebase.rules)} rules")
            )
    return reached


async def _destination(settings: HecDestination | SyslogDestination, at: int) -> Reached:
    what = f"SIEM destination '{settings.name}'"
    try:
        receiver = sender(settings, f"siem.destinations[{at}]")
    except SettingsError as error:
        return Reached(what, str(error), "put the file right in the Secret zonebridge-siem")
    try:
        problem = await receiver.probe()
    finally:
        await receiver.close()
    if problem:
        return Reached(what, problem, "check its address, caFile and token, DNS, and what stands between")
    return Reached(f"{what} would take a record")
