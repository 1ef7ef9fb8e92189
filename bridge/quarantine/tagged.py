"""Follows a tag in the firewall manager: who has a tagged address when the tag appears is put into quarantine, by uid.

The Quarantine names the address, and so remembers, also for the next bridge, that its tag was acted on: a pod that gets
the address later is not cut off by it. A tag that is taken away lets the pod out.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from bridge.alerts import Alerts
from bridge.errors import ManagerError
from bridge.population import Population
from bridge.quarantine.client import QuarantineClient, Subject
from bridge.tier.sync import RunBlocking
from zones.addresses.inventory import Pod
from zones.kube.errors import ClusterConflictError, ClusterError, ClusterRefusedError
from zones.net import IPAddress
from zones.runtime.errors import InputError
from zones.siem.alerts import SEVERITIES, AlertKind
from zones.tiers.quarantines import Quarantine, seconds_of

SOURCE = "panorama-tag"
_LEAST = 0.2
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TagTerms:
    """`tag`: whose addresses; `duration`: how long, as a Quarantine has it; `interval`: seconds between two looks."""

    tag: str
    duration: str = "4h"
    interval: float = 10.0


@dataclass(slots=True)
class TagFollower:
    """One cluster's part. `tagged` blocks and raises ManagerError. `trigger` says 'look again' and carries nothing."""

    terms: TagTerms
    tagged: Callable[[], Collection[IPAddress]]
    population: Callable[[], Population]
    client: QuarantineClient
    alerts: Alerts
    run_blocking: RunBlocking
    trigger: asyncio.Event = field(default_factory=asyncio.Event)
    clock: Callable[[], float] = time.time
    _done: set[IPAddress] = field(default_factory=set)
    """What was acted on, or is nobody's, since its tag appeared."""
    _missing: set[str] = field(default_factory=set)
    """Quarantines whose tag was gone when it was last looked."""

    async def run(self) -> None:
        """Until cancelled. With nothing known: another bridge may have led meanwhile."""
        self._done.clear()
        self._missing.clear()
        while True:
            self.trigger.clear()
            try:
                await self.once()
            except (ManagerError, ClusterError) as error:
                _log.warning("tagged addresses not followed", tag=self.terms.tag, error=str(error))
            # what is told again and again is looked at as often as a look takes, and not more often
            await asyncio.sleep(_LEAST)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.terms.interval):
                    await self.trigger.wait()

    async def once(self) -> None:
        """Raises ManagerError and ClusterError; what was not done is done by the next look."""
        addresses = frozenset(await self.run_blocking(self.tagged))
        self._done &= addresses
        population = self.population()
        if not population.complete:
            return
        existing = {
            quarantine.reference: quarantine
            for quarantine in await self.client.all()
            if quarantine.source == SOURCE and quarantine.reference.startswith(f"{self._reference('')}")
        }
        new = [address for address in addresses - self._done if self._reference(address) not in existing]
        for address, pods in population.pods_at(new).items():
            await self._act(address, pods, population)
        await self._release(existing, {self._reference(address) for address in addresses})

    async def _act(self, address: IPAddress, pods: list[Pod], population: Population) -> None:
        match pods:
            case [pod]:
                await self._quarantine(address, pod)
            case []:
                if population.is_for_pods(address) or population.node_at(address) is not None:
                    await self._refused(address, "no pod has that address for its own; who gets it later is left alone")
                self._done.add(address)
            case _:
                names = ", ".join(sorted(f"{pod.namespace}/{pod.name}" for pod in pods))
                await self._refused(address, f"more than one pod claims that address: {names}; name the pod yourself")
                self._done.add(address)

    async def _quarantine(self, address: IPAddress, pod: Pod) -> None:
        reference = self._reference(address)
        asked = Quarantine(
            name=_name_of(pod, reference),
            uid="",
            namespace=pod.namespace,
            reason=f"the address {address} has the tag {self.terms.tag}",
            requested_by="panorama",
            source=SOURCE,
            reference=reference,
            duration=self.terms.duration,
            seconds=seconds_of(self.terms.duration) or 0,
        )
        try:
            created = await self.client.add(Subject("pod", pod.namespace, pod.name, pod.uid), asked, self.clock())
        except (InputError, ClusterRefusedError) as error:
            await self._refused(address, str(error))
        except ClusterConflictError:  # another address of the pod, or the bridge before this one
            pass
        else:
            _log.info("quarantined by tag", quarantine=created.name, subject=created.subject, held=created.held)
        self._done.add(address)

    async def _release(self, existing: dict[str, Quarantine], tagged: Collection[str]) -> None:
        """Those whose tag is gone, at two looks one after the other."""
        gone = {quarantine.name for reference, quarantine in existing.items() if reference not in tagged}
        for name in sorted(gone & self._missing):
            with suppress(InputError):
                await self.client.release(name)
            _log.info("released: its tag is gone", quarantine=name, tag=self.terms.tag)
        self._missing = gone - self._missing

    async def _refused(self, address: IPAddress, why: str) -> None:
        kind = AlertKind.QUARANTINE_REFUSED
        message = f"the address {address} has the tag {self.terms.tag} in Panorama, and nobody is cut off: {why}"
        about = {"address": str(address), "tag": self.terms.tag}
        await self.alerts.tell(kind, message, SEVERITIES[kind], about)

    def _reference(self, address: IPAddress | str) -> str:
        return f"tag {self.terms.tag} on {address}"


def _name_of(pod: Pod, reference: str) -> str:
    """The same for every bridge, so that none makes a second one."""
    digest = hashlib.sha256(f"{pod.uid} {reference}".encode()).hexdigest()
    return f"{pod.name[:60].rstrip('.-')}-{digest[:8]}"
