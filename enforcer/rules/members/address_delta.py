"""What the loop hands to the kernel's thread: who holds which address now, of those that changed. A value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zones.addresses.inventory import Holder, Inventory
from zones.addresses.packed_pods import key_of
from zones.net import AddressSet, IPAddress


@dataclass(frozen=True, slots=True)
class AddressDelta:
    """`changed`: by the address as a number, as `AddressOwners.take_changed` tells it; None is gone.

    `replaces_all`: an address that `changed` doesn't hold is gone too.
    """

    changed: Mapping[int, Holder | None] = field(default_factory=dict)
    pod_networks: AddressSet = field(default_factory=AddressSet)
    replaces_all: bool = False

    @classmethod
    def of(cls, inventory: Inventory) -> AddressDelta:
        """All that an inventory knows."""
        return cls.by_address(inventory.holders(), AddressSet.of(inventory.pod_networks()), replaces_all=True)

    @classmethod
    def by_address(
        cls, changed: Mapping[IPAddress, Holder | None], pod_networks: AddressSet, *, replaces_all: bool = False
    ) -> AddressDelta:
        return cls({key_of(address): holder for address, holder in changed.items()}, pod_networks, replaces_all)
