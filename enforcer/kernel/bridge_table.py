"""Keeps the table of the family `bridge` true: it stands where a bridge of this node has pods behind its ports.

Blocking, in the same thread as `enforcer.kernel.reconcile`, which calls it after its own table. What goes wrong here is
told, and keeps nobody from that one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from enforcer.errors import EnforcerError, KernelError
from enforcer.kernel import elements, nft, table_digest
from enforcer.kernel.drift import TableDrift
from enforcer.kernel.table import KernelTable
from enforcer.netlink.messages import BRIDGE
from enforcer.netlink.nflog import Packet
from enforcer.node.bridge_ports import BridgePorts, Pods, PortSurvey
from enforcer.restart.snapshot import SavedTable
from enforcer.rules.chains import bridge_table
from enforcer.rules.chains.bridge_table import Station, Surroundings
from enforcer.rules.connmark import ConnmarkLayout
from enforcer.rules.family import Family
from enforcer.rules.members.address_index import ElementDelta
from enforcer.rules.options import RulesetOptions
from enforcer.rules.table import Table
from zones.net import ETHERTYPES, IPAddress

_NAME_BYTES = 16  # of an interface, in a set's key
_PATIENCE = 60.0  # seconds in which a pod that is known gets its port, before it is told that it has none
_AGAIN = 2.0  # seconds between looks while a pod's port is missing
_FEW = 5


@dataclass(frozen=True, slots=True)
class PodsBehindPorts:
    """Who is behind the ports, for frames that name no address: by the port's index, and by hardware address.

    `known`, `unknown`: how many ports of bridges lead to a pod that is known, and how many don't.
    """

    by_port: Mapping[int, IPAddress] = field(default_factory=dict, hash=False)
    by_mac: Mapping[bytes, IPAddress] = field(default_factory=dict, hash=False)
    known: int = 0
    unknown: tuple[str, ...] = ()

    def named(self, packet: Packet) -> Packet:
        """A frame that is no IP, and says no address itself, from and to the pods whose hardware addresses it has.

        That it is from whom it says is the port's to tell, where its pod is known.
        """
        frame = packet.frame
        if frame is None or packet.protocol < ETHERTYPES or packet.source != packet.destination:
            return packet
        source = self.by_port.get(frame.port or 0) or self.by_mac.get(frame.source, packet.source)
        return packet._replace(source=source, destination=self.by_mac.get(frame.to, packet.destination))


NOBODY = PodsBehindPorts()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a look depends on, beside the kernel's links."""

    pods: Pods
    uplinks: tuple[str, ...]
    own: tuple[IPAddress, ...]


class BridgeTable:
    """`problem`: why frames are not looked at as they should be."""

    def __init__(self) -> None:
        self._table = KernelTable(bridge_table.TABLE, ConnmarkLayout(0), BRIDGE)
        self._ports = BridgePorts()
        self._asked: _Asked | None = None
        self._sight = PortSurvey()
        self._wish: tuple[RulesetOptions, Surroundings] | None = None
        self._made: Table | None = None
        self._former: tuple[Station, ...] | None = None
        self._spared: frozenset[str] = frozenset()
        self._looked_at = 0.0
        self._missing: dict[str, float] = {}
        self._failure = self._unheard = ""
        self._absent = self._moved = False
        self.stations = NOBODY

    def filenos(self) -> tuple[int, ...]:
        """Readable when a port or the table changed."""
        return self._table.fileno(), self._ports.fileno()

    @property
    def problem(self) -> str:
        return self._failure or self._unheard or self._untold()

    def close(self) -> None:
        self._table.close()
        self._ports.close()

    def remove(self) -> None:
        """Raises KernelError."""
        if not self._absent and (self._table.known or self._table.exists()):
            self._table.delete()
        self._absent = True
        self._wish = self._made = None
        self.stations = NOBODY

    def restore(self, saved: SavedTable | None) -> None:
        """What was saved. It stays unknown: the next pass loads what is then right, and tells what is wrong."""
        if saved is not None:
            self._absent = False
            with suppress(KernelError):
                self._table.restore(saved)

    def without_pods(self, options: RulesetOptions) -> Table | None:
        """The table as it is before anybody is known, for a restart of the node; None where none stands."""
        if self._wish is None:
            return None
        return bridge_table.table(options, Surroundings(self._wish[1].passed))

    def audit(self) -> TableDrift | None:
        """What others changed. It is put back by `follow`. What was announced is read, also where nothing follows."""
        self._unheard = ""
        try:
            self._moved = self._ports.stirred() or self._moved
            return self._table.audit(lambda _: ())
        except (KernelError, OSError) as error:
            self._unheard = _said(error)
            return None

    def follow(self, options: RulesetOptions, pods: Pods, uplinks: tuple[str, ...], own: tuple[IPAddress, ...]) -> None:
        """`pods`: of this node. Raises nothing: what fails is `problem`, and tried again."""
        try:
            self._look(_Asked(pods, uplinks, own))
            self._enforce(options)
            self._failure = ""
        except (EnforcerError, OSError) as error:
            self._asked, self._failure = None, _said(error)

    def _look(self, asked: _Asked) -> None:
        stirred, now = self._ports.stirred() or self._moved, time.monotonic()
        again = self._sight.unplaced and now >= self._looked_at + _AGAIN
        if not (stirred or again or asked != self._asked):
            return
        stood: tuple[Station, ...] | None = ()
        if self._former is None:
            stood = _remembered()
            self._former = stood or ()
        self._sight, self._moved = self._ports.look(asked.pods, asked.uplinks, asked.own, self._former), False
        disputed = frozenset(self._sight.disputed)
        # Where no table stood these pods were let through so far; all others wait until it is known who they are.
        self._spared = disputed if stood is None else self._spared & disputed
        self._sight = self._closed(self._sight, asked.pods)
        self._asked, self._looked_at = asked, now
        self._missing = {uid: self._missing.get(uid, now) for uid in self._sight.unplaced}
        around = self._sight.around
        stations = () if around is None else around.stations
        by_port = {station.index: min(station.addresses, key=_order) for station in stations if station.addresses}
        by_mac = {
            bytes.fromhex(station.mac.replace(":", "")): min(station.addresses, key=_order)
            for station in stations
            if station.mac and station.addresses
        }
        self.stations = PodsBehindPorts(by_port, by_mac, len(stations), self._sight.unknown)

    def _closed(self, sight: PortSurvey, pods: Pods) -> PortSurvey:
        """With the addresses that nobody may use, as several ports claim them."""
        if sight.around is None:
            return sight
        waiting = [uid for uid in sight.disputed if uid not in self._spared]
        addresses = frozenset[IPAddress]().union(*(pods[uid] for uid in waiting))
        return replace(sight, around=replace(sight.around, disputed=addresses))

    def _enforce(self, options: RulesetOptions) -> None:
        around = self._sight.around
        if around is None:
            self.remove()
            return
        self._absent = False
        if self._made is None or self._wish != (options, around):
            self._made, self._wish = bridge_table.table(options, around), (options, around)
        if self._table.known:
            self._table.change(self._made, ElementDelta(), ElementDelta)
        else:
            self._table.load(self._made, ElementDelta())

    def _untold(self) -> str:
        """Of pods that have been known for long, and whose port isn't."""
        around = self._sight.around
        if around is not None and around.disputed:
            addresses = ", ".join(map(str, sorted(around.disputed, key=_order)[:_FEW]))
            return (
                f"several ports of a bridge claim {addresses} (of {', '.join(self._sight.unknown[:_FEW])}): which of "
                "them is the pod's isn't known, so nobody may use these addresses; end the pod that took them, or "
                "start the pod that has them anew"
            )
        late = time.monotonic() - _PATIENCE
        disputed = [uid for uid in self._sight.disputed if self._missing.get(uid, late) <= late]
        missing = [uid for uid, since in self._missing.items() if since <= late]
        if not missing or not self._sight.unknown:
            return ""
        ports = ", ".join(self._sight.unknown[:_FEW])
        why = "several ports claim their addresses" if disputed else "no port of a bridge has their addresses"
        return (
            f"it is not known behind which port of a bridge {len(missing)} pods of this node are ({why}; ports that "
            f"lead to nobody known: {ports}): they may forge frames in the name of pods that are not known either"
        )


def _remembered() -> tuple[Station, ...] | None:
    """What a former agent knew of ports, from its table; nothing where that can't be read. None: no table stands."""
    addresses_of: dict[str, set[IPAddress]] = {}
    try:
        with closing(nft.Nftables(BRIDGE)) as kernel:
            if kernel.flags(bridge_table.TABLE) is None:
                return None
            for family in Family:
                for record in table_digest.records(
                    kernel.elements(bridge_table.TABLE, family.named(bridge_table.OWNED))
                ):
                    key = elements.key_of(record)
                    name, address = key[:_NAME_BYTES], key[_NAME_BYTES:]
                    if len(address) == family.value.bytes:
                        addresses_of.setdefault(name.rstrip(b"\0").decode(), set()).add(ip_address(address))
    except (KernelError, UnicodeDecodeError):
        return ()
    return tuple(Station(name, frozenset(addresses)) for name, addresses in addresses_of.items())


def _order(address: IPAddress) -> tuple[int, int]:
    return address.version, int(address)


def _said(error: EnforcerError | OSError) -> str:
    what = error.strerror if isinstance(error, OSError) else str(error)
    return f"frames between pods of a bridge are not held to their port's pod: {what}"
