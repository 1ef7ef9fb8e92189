"""The addresses that carry one tag in Panorama's memory: registered by a firewall, by User-ID, by anybody's script.

It only reads, page by page, through a session of its own: a long read of a rulebase must not hold it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from xml.sax.saxutils import quoteattr

from bridge.errors import ManagerAnswerError
from bridge.managers.panorama.registration.messages import registered_pages
from bridge.managers.panorama.session.api import PanoramaApi
from zones.net import IPAddress

_TAGGED = (
    "<show><object><registered-ip><tag><entry name={}/></tag>"
    "<limit>{}</limit><start-point>{}</start-point></registered-ip></object></show>"
)
_PAGE = 500
MOST_TAGGED = 10_000


@dataclass(frozen=True, slots=True)
class TaggedAddresses:
    """Not for use by two threads."""

    api: PanoramaApi
    tag: str

    def read(self) -> frozenset[IPAddress]:
        """All of them; ranges and prefixes are nobody's. Raises ManagerError."""
        self.api.check_active()
        addresses: set[str] = set()
        for page in registered_pages(self.api.op, partial(_TAGGED.format, quoteattr(self.tag), _PAGE), _PAGE):
            addresses |= {ip for ip, tags in page.items() if self.tag in tags}
            if len(addresses) > MOST_TAGGED:
                raise ManagerAnswerError(f"reading the tag '{self.tag}': more than {MOST_TAGGED} addresses carry it")
        return frozenset(_single(addresses))

    def close(self) -> None:
        self.api.close()


def _single(texts: Iterable[str]) -> Iterator[IPAddress]:
    for text in texts:
        try:
            yield ip_address(text)
        except ValueError:  # a range or a prefix: no pod's
            continue
