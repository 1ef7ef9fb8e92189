"""Registers a cluster in Panorama: its device group in the configuration, its pods' tagged addresses in memory.

Only where a site opts in, `bridge.registration` calls it. Each step makes few calls, and none of them waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from bridge.explain.services import Selectors
from bridge.managers.panorama.registration.addresses import AddressRegistration, RegistrationTerms
from bridge.managers.panorama.registration.device_group import DeviceGroup
from bridge.managers.panorama.registration.steps import WantedGroup
from bridge.managers.panorama.session.api import PanoramaApi
from bridge.population import Member


class PanoramaRegistrar:
    """One cluster at one Panorama. What is None is left to the administrators.

    Its steps raise ManagerError, and RegistrationBlockedError for what only somebody else can change.
    """

    def __init__(
        self,
        api: PanoramaApi,
        wanted: WantedGroup | None,
        terms: RegistrationTerms | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._group = None if wanted is None else DeviceGroup(api, wanted)
        self._addresses = None if terms is None else AddressRegistration(api, terms, clock)

    def forget(self) -> None:
        if self._addresses is not None:
            self._addresses.forget()

    def group(self) -> Iterator[float]:
        return iter(()) if self._group is None else self._group.settle()

    def addresses(self, members: Sequence[Member], selectors: Selectors) -> Iterator[float]:
        return iter(()) if self._addresses is None else self._addresses.settle(members, selectors)
