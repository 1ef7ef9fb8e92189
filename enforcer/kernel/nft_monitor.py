"""What the kernel announces of our table: who else changed it, and what of it.

Hears and sorts; looks at nothing, judges nothing. In the network namespace of its thread;
`enforcer.kernel.table` asks.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from enforcer.errors import KernelError
from enforcer.kernel import elements, table_digest
from enforcer.kernel.table_digest import ELEMENTS, RULES, Key
from enforcer.netlink.constants import (
    NFT_MSG_DELCHAIN,
    NFT_MSG_DELFLOWTABLE,
    NFT_MSG_DELOBJ,
    NFT_MSG_DELRULE,
    NFT_MSG_DELSET,
    NFT_MSG_DELSETELEM,
    NFT_MSG_NEWCHAIN,
    NFT_MSG_NEWFLOWTABLE,
    NFT_MSG_NEWGEN,
    NFT_MSG_NEWOBJ,
    NFT_MSG_NEWRULE,
    NFT_MSG_NEWSET,
    NFT_MSG_NEWSETELEM,
    NFTA_CHAIN_NAME,
    NFTA_FLOWTABLE_NAME,
    NFTA_GEN_ID,
    NFTA_GEN_PROC_NAME,
    NFTA_GEN_PROC_PID,
    NFTA_OBJ_NAME,
    NFTA_RULE_CHAIN,
    NFTA_SET_ELEM_LIST_SET,
    NFTA_SET_NAME,
    NFTA_TABLE_NAME,
)
from enforcer.netlink.messages import INET, NFTABLES, attributes
from enforcer.netlink.sockets import NETFILTER, RECEIVE, enlarge, open_socket

_SOL_NETLINK, _ADD_MEMBERSHIP, _DROP_MEMBERSHIP, _NFTABLES_GROUP, _ROOM = 270, 1, 2, 7, 4 * 2**20
_HEADER = struct.Struct("=IHHII")
_NEW_GENERATION = NFTABLES << 8 | NFT_MSG_NEWGEN
_MOST = 10_000  # messages of one transaction that are kept apart
_TABLE_KEY = "table", NFTA_TABLE_NAME
# what a message is about, and the attribute that names it
_ABOUT: Mapping[int, tuple[str, int]] = {
    **dict.fromkeys((NFT_MSG_NEWCHAIN, NFT_MSG_DELCHAIN), ("chain", NFTA_CHAIN_NAME)),
    **dict.fromkeys((NFT_MSG_NEWRULE, NFT_MSG_DELRULE), (RULES, NFTA_RULE_CHAIN)),
    **dict.fromkeys((NFT_MSG_NEWSET, NFT_MSG_DELSET), ("set", NFTA_SET_NAME)),
    **dict.fromkeys((NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM), (ELEMENTS, NFTA_SET_ELEM_LIST_SET)),
    **dict.fromkeys((NFT_MSG_NEWOBJ, NFT_MSG_DELOBJ), ("counter", NFTA_OBJ_NAME)),
    **dict.fromkeys((NFT_MSG_NEWFLOWTABLE, NFT_MSG_DELFLOWTABLE), ("flowtable", NFTA_FLOWTABLE_NAME)),
}


@dataclass(frozen=True, slots=True)
class ForeignChange:
    """What somebody else changed in our table in one transaction. `elements`: the keys of elements, by set."""

    who: str
    keys: frozenset[Key]
    elements: Mapping[str, frozenset[bytes]] = field(default_factory=dict, hash=False)


class NftMonitor:
    """Hears of all tables' transactions, and keeps what others than `own`, a netlink port, do to this table.

    `fileno` becomes readable on a change to any table. `overrun`: something was missed since `resubscribe`. `seen`: the
    last generation that was heard of.
    """

    def __init__(self, table: str, own: int, family: int = INET) -> None:
        self._name = table.encode() + b"\0"
        self._own = own
        self._family = family
        self._socket = open_socket(NETFILTER)
        self._pending: list[tuple[int, bytes]] = []
        self.overrun = False
        self.seen = 0
        enlarge(self._socket, _ROOM)
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES_GROUP)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> list[ForeignChange]:
        """What others have done to the table since the last time, without waiting."""
        edits: list[ForeignChange] = []
        while True:
            try:
                data = self._socket.recv(RECEIVE)
            except BlockingIOError:
                return edits
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise KernelError(f"reading the changes of nftables: {error.strerror}") from error
                self.overrun = True
                continue
            edits += self._edits(data)

    def unsubscribe(self) -> None:
        """Hear nothing until `resubscribe`: a large change of our own would overrun us."""
        self._socket.setsockopt(_SOL_NETLINK, _DROP_MEMBERSHIP, _NFTABLES_GROUP)

    def resubscribe(self, generation: int) -> None:
        """All up to this generation is known otherwise."""
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES_GROUP)
        self.read()
        self._pending.clear()
        self.overrun = False
        self.seen = max(self.seen, generation)

    def close(self) -> None:
        self._socket.close()

    def _edits(self, data: bytes) -> Iterator[ForeignChange]:
        """A transaction's messages come first, each with its sender's port; the generation ends it and tells who."""
        named = self._name in data
        at, end = 0, len(data)
        while at + _HEADER.size <= end:
            length, kind, _, _, port = _HEADER.unpack_from(data, at)
            if not _HEADER.size <= length <= end - at:
                return
            if kind == _NEW_GENERATION:
                yield from self._ended(attributes(data[at + _HEADER.size : at + length]))
            elif named and port != self._own:
                self._keep(kind & 0xFF, data[at + _HEADER.size : at + length])
            at += (length + 3) & ~3

    def _keep(self, kind: int, body: bytes) -> None:
        if len(self._pending) < _MOST:
            self._pending.append((kind, body))
        else:
            self.overrun = True

    def _ended(self, generation: Mapping[int, bytes]) -> Iterator[ForeignChange]:
        self.seen = int.from_bytes(generation.get(NFTA_GEN_ID, b""), "big")
        keys: set[Key] = set()
        touched: dict[str, set[bytes]] = {}
        for kind, body in self._pending:
            fields = attributes(body)
            if body[0] == self._family and fields.get(NFTA_TABLE_NAME) == self._name:
                about, at = _ABOUT.get(kind, _TABLE_KEY)
                name = fields.get(at, b"").rstrip(b"\0").decode("utf-8", "replace")
                keys.add((about, name))
                if about == ELEMENTS:
                    touched.setdefault(name, set()).update(map(elements.key_of, table_digest.records([body])))
        self._pending.clear()
        if keys:
            yield ForeignChange(
                _who(generation), frozenset(keys), {name: frozenset(edited) for name, edited in touched.items()}
            )


def _who(generation: Mapping[int, bytes]) -> str:
    program = generation.get(NFTA_GEN_PROC_NAME, b"?").rstrip(b"\0").decode("ascii", "replace")
    return f"{program} (process {int.from_bytes(generation.get(NFTA_GEN_PROC_PID, b''), 'big')})"
