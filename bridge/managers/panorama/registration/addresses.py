"""The tagged addresses of a cluster's pods in Panorama's memory: reads what is held, sends what differs.

What that is, `registration_plan` decides; `registration` calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from ipaddress import ip_address

from bridge.errors import RegistrationBlockedError
from bridge.explain.services import Selectors
from bridge.managers.panorama.manager import MOST_REGISTERED, REGISTERED, REGISTERED_PAGE
from bridge.managers.panorama.registration.messages import not_taken, registered_pages, uid_message
from bridge.managers.panorama.registration.plan import TagMessage, Verb, after, fitting, plan, refresh
from bridge.managers.panorama.registration.tags import Mappings, Naming, mappings
from bridge.managers.panorama.session.api import PanoramaApi
from bridge.population import Member

MOST_TOLD = 3


@dataclass(frozen=True, slots=True)
class RegistrationTerms:
    """How addresses are registered. Without a `timeout` they stay until they are taken back."""

    naming: Naming
    timeout: timedelta | None = None
    most: int = MOST_REGISTERED


class AddressRegistration:
    """`settle` goes on by one step for each value, the seconds to wait before the next.

    It remembers what Panorama holds, until it is told to forget or the session is another one. Raises ManagerError, and
    RegistrationBlockedError for what Panorama did not take.
    """

    def __init__(self, api: PanoramaApi, terms: RegistrationTerms, clock: Callable[[], float]) -> None:
        self._api = api
        self._terms = terms
        self._clock = clock
        self._held: dict[str, frozenset[str]] | None = None
        self._session = 0
        self._refreshed: float | None = None

    def forget(self) -> None:
        """What was read or said may be out of date."""
        self._held = self._refreshed = None

    def settle(self, members: Sequence[Member], selectors: Selectors) -> Iterator[float]:
        """Make the tags of the cluster's addresses what these pods say. Nobody else's are touched."""
        session = self._api.live_session()
        if session != self._session:
            self.forget()
        self._session = session
        try:
            yield from self._told(mappings(members, self._terms.naming, selectors))
        except BaseException:
            self.forget()
            raise

    def _told(self, desired: Mappings) -> Iterator[float]:
        if self._held is None:
            self._held = {}
            yield from self._read(self._held)
        owns = self._terms.naming.owns
        wanted = fitting(desired, self._held, owns, self._terms.most)
        refused: list[str] = []
        for message in self._messages(wanted, self._held):
            answer = self._api.user_id(uid_message(message, self._terms.timeout))
            self._held = after(self._held, message)
            refused += not_taken(answer)
            yield 0.0
        if refused:
            raise RegistrationBlockedError(_refusals(refused))
        if len(wanted) < len(desired):
            raise RegistrationBlockedError(
                f"{len(desired) - len(wanted)} of {len(desired)} addresses are not registered: Panorama holds "
                f"{self._terms.most} at most (registration.maxAddresses)"
            )

    def _messages(self, wanted: Mappings, current: Mappings) -> Iterator[TagMessage]:
        planned = plan(wanted, current, self._terms.naming.owns)
        if not self._refresh_due():
            yield from planned
            return
        yield from (message for message in planned if message.verb is Verb.UNREGISTER)
        yield from refresh(wanted)
        self._refreshed = self._clock()

    def _refresh_due(self) -> bool:
        """Thrice in a timeout, so that two tries may fail. Panorama doesn't tell what is left of one."""
        if self._terms.timeout is None:
            return False
        return self._refreshed is None or self._clock() - self._refreshed >= self._terms.timeout.total_seconds() / 3

    def _read(self, tags_of: dict[str, frozenset[str]]) -> Iterator[float]:
        """Every registered address, whoever's."""
        for page in registered_pages(self._api.op, partial(REGISTERED.format, REGISTERED_PAGE), REGISTERED_PAGE):
            tags_of.update({_canonical(ip): tags for ip, tags in page.items()})
            if len(tags_of) >= MOST_REGISTERED:
                return
            yield 0.0


def _refusals(refused: Sequence[str]) -> str:
    more = f", and {len(refused) - MOST_TOLD} more" if len(refused) > MOST_TOLD else ""
    return f"Panorama did not take {len(refused)} tagged addresses: {'; '.join(refused[:MOST_TOLD])}{more}"


def _canonical(ip: str) -> str:
    """As we write it; a range or a prefix stays as it is."""
    try:
        return str(ip_address(ip))
    except ValueError:
        return ip
