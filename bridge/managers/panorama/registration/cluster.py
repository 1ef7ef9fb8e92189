"""Registers a cluster in Panorama: its device group and tags of its rules, and its pods' tagged addresses in memory.

Only where a site opts in, `bridge.registration` calls it. Each step makes few calls, and none of them waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from bridge.explain.services import Selectors
from bridge.managers.panorama.registration.addresses import AddressRegistration, RegistrationTerms
from bridge.managers.panorama.registration.device_group import DeviceGroup
from bridge.managers.panorama.registration.rule_tagging import RuleTagging, TaggedGroup
from bridge.managers.panorama.registration.steps import WantedGroup
from bridge.managers.panorama.session.api import PanoramaApi
from bridge.managers.wanted_tags import WantedTags
from bridge.population import Member


class PanoramaRegistrar:
    """One cluster at one Panorama. What is None is left to the administrators.

    Its steps raise ManagerError, RegistrationBlockedError for what only somebody else can change, and those of tags of
    rules RegistrationWaitsError.
    """

    def __init__(
        self,
        api: PanoramaApi,
        wanted: WantedGroup | None,
        terms: RegistrationTerms | None,
        clock: Callable[[], float] = time.monotonic,
        *,
        tagged: TaggedGroup | None = None,
    ) -> None:
        self._group = None if wanted is None else DeviceGroup(api, wanted)
        self._addresses = None if terms is None else AddressRegistration(api, terms, clock)
        self._rule_tags = None if tagged is None else RuleTagging(api, tagged)

    def forget(self) -> None:
        if self._addresses is not None:
            self._addresses.forget()

    def group(self) -> Iterator[float]:
        return iter(()) if self._group is None else self._group.settle()

    def addresses(self, members: Sequence[Member], selectors: Selectors) -> Iterator[float]:
        return iter(()) if self._addresses is None else self._addresses.settle(members, selectors)

    def rule_tags(self, wanted: WantedTags) -> Iterator[float]:
        return iter(()) if self._rule_tags is None else self._rule_tags.settle(wanted)
