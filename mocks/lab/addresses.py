"""Addresses in pairs, one of each family, handed out and taken back.

It touches no kernel. The topology asks it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from mocks.lab.netns import LabError


@dataclass(frozen=True, slots=True)
class Place:
    """An address of each family."""

    ip: str
    ip6: str


class Subnet:
    """A pair of IPv4 and IPv6 prefixes, handing out addresses of the same offset in both, lowest free first."""

    def __init__(self, cidr: str, cidr6: str, first: int) -> None:
        self.cidr = ipaddress.IPv4Network(cidr)
        self.cidr6 = ipaddress.IPv6Network(cidr6)
        self._first = first
        self._taken: set[int] = set()

    def at(self, offset: int) -> Place:
        return Place(str(self.cidr[offset]), str(self.cidr6[offset]))

    def take(self, ip: str | None = None) -> Place:
        offset = self._lowest() if ip is None else self._offset(ip)
        if offset in self._taken:
            raise LabError(f"{ip} is taken; delete its holder first")
        self._taken.add(offset)
        return self.at(offset)

    def give_back(self, place: Place) -> None:
        self._taken.discard(self._offset(place.ip))

    def _lowest(self) -> int:
        for offset in range(self._first, self.cidr.num_addresses - 1):
            if offset not in self._taken:
                return offset
        raise LabError(f"no address is left in {self.cidr}; delete a pod or take a larger prefix")

    def _offset(self, ip: str) -> int:
        wanted = ipaddress.IPv4Address(ip)
        if wanted not in self.cidr:
            raise LabError(f"{ip} is not in {self.cidr}; ask for one that is")
        return int(wanted) - int(self.cidr.network_address)
