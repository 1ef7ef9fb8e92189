"""What this kernel's nftables lacks of what our rules need: each tried by itself, and nothing is changed by it.

Asked only after rules were refused. `enforcer.kernel.reconcile` calls it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from enforcer.errors import KernelError, PrivilegeError
from enforcer.kernel.nft import Nftables
from enforcer.kernel.transaction import Transaction, own, write_all
from enforcer.rules.table import Chain, NamedSet, Table

NEEDED = "Linux 5.13"  # the youngest of the features: elements that catch all
_TABLE = "zonebridge-trial"


def _ruled(*rules: str) -> Table:
    return Table(_TABLE, {}, {"trial": Chain(rules)})


def _holding(declared: NamedSet) -> Table:
    return Table(_TABLE, {"trial": declared}, {})


FEATURES: Mapping[str, Table] = {
    "connection tracking (nft_ct)": _ruled("ct state new accept", "ct mark set ct mark & 0x00ffffff | 0x01000000"),
    "logging (nft_log)": _ruled('log group 1 snaplen 64 prefix "trial"'),
    "limits (nft_limit)": _ruled("limit rate 1/second burst 1 packets accept"),
    "rejects (nft_reject_inet)": _ruled("reject with icmpx admin-prohibited"),
    "routes of sources (nft_fib_inet)": _ruled("fib saddr . iif oif missing drop"),
    "maps to verdicts": _holding(NamedSet("ipv4_addr : verdict", {"10.0.0.1": " : accept"})),
    "sets of ranges": _holding(NamedSet("ipv6_addr", {"2001:db8::/32": ""}, interval=True)),
    "ranges of several fields (5.6)": _holding(
        NamedSet("ipv4_addr . inet_service", {"10.0.0.0/8 . 1-2": ""}, interval=True)
    ),
    "elements that catch all (5.13)": _holding(NamedSet("ipv4_addr : verdict", {"*": " : accept"})),
}


@dataclass(frozen=True, slots=True)
class _Trial:
    """What is only to be looked at."""

    commands: Transaction

    def data(self) -> bytes:
        return self.commands.unended()

    def named(self, sequence: int) -> str:
        return self.commands.named(sequence)


def missing_features(features: Mapping[str, Table] = FEATURES) -> str:
    """In words for an administrator; nothing where all is there, or where that can't be found out."""
    try:
        with closing(Nftables()) as kernel:
            names = list(_refused(kernel, features))
    except PrivilegeError:
        return ""
    except KernelError:
        names = ["nftables itself (nf_tables)"]
    if not names:
        return ""
    return (
        f"the kernel {os.uname().release} lacks of nftables: {', '.join(names)}; "
        f"the rules need {NEEDED} or later, built with these"
    )


def _refused(kernel: Nftables, features: Mapping[str, Table]) -> Iterator[str]:
    kernel.generation()
    for name, table in features.items():
        trial = Transaction(table.name)
        write_all(trial, table, own(table), ())
        try:
            kernel.commit(_Trial(trial))
        except PrivilegeError:
            raise
        except KernelError:
            yield name
