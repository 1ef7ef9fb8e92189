"""Whether Panorama answers with our key and has our device group, and whether the SIEM's receivers can be connected to.

From where the command runs: in the bridge's pod that is the bridge's own way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from bridge.check.findings import Finding, Group
from bridge.check.snapshot import Reached, Snapshot
from bridge.errors import BridgeError
from bridge.managers.panorama.api import PanoramaApi
from bridge.managers.panorama.manager import PanoramaManager
from bridge.settings import HecDestination, Settings, host_and_port
from bridge.wiring import panorama_access, read_options

GROUP = Group("Panorama and SIEM")
_PATIENCE = 10.0


def check(snapshot: Snapshot) -> Iterator[Finding]:
    if snapshot.reached is None:
        yield GROUP.warning(
            "not asked: no settings file was named", "name the bridge's settings with -c, best from within its pod"
        )
        return
    for each in snapshot.reached:
        yield GROUP.failed(f"{each.what}: {each.problem}", each.do) if each.problem else GROUP.ok(each.what)


async def ask(settings: Settings) -> tuple[Reached, ...]:
    """Each device group's rules, and a connection to each destination."""
    found = [await asyncio.to_thread(_panorama, settings)]
    found.append(await asyncio.gather(*(_connect(name, *where) for name, where in _destinations(settings))))
    return tuple(each for part in found for each in part)


def _panorama(settings: Settings) -> list[Reached]:
    if settings.panorama is None:
        return []
    api = PanoramaApi(panorama_access(settings.panorama))
    hosts = " and ".join(settings.panorama.hosts)
    found = []
    for each in settings.clusters:
        try:
            rulebase = PanoramaManager(api, each.device_group, read_options(settings)).rulebase()
        except BridgeError as error:
            found.append(Reached(f"Panorama {hosts}", str(error), "check the hosts, the key and the device group"))
        else:
            found.append(
                Reached(f"device group '{each.device_group}' is read from {hosts}: {len(rulebase.rules)} rules")
            )
    return found


def _destinations(settings: Settings) -> Iterable[tuple[str, tuple[str, int]]]:
    for each in settings.siem.destinations:
        if isinstance(each, HecDestination):
            parts = urlsplit(each.url)
            yield each.name, (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        else:
            yield each.name, host_and_port(each.address)


async def _connect(name: str, host: str, port: int) -> Reached:
    what = f"SIEM destination '{name}' at {host}:{port}"
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        problem = str(error) or f"no answer within {_PATIENCE:g} s"
        return Reached(what, problem, "check the address, DNS and what stands between")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Reached(f"{what} accepts connections")
