"""Whether this node takes ways that senders write into their packets: the rules see only where these lead first.

It reads settings of the kernel and changes none. `enforcer.service` asks through `enforcer.wiring`.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

_SETTINGS = Path("/proc/sys/net")
# Each holds for a link where it is set for that and for `all`. Kernels without one have no such ways.
_WAYS = {
    "ipv4/conf/{}/accept_source_route": "IPv4 source routes",
    "ipv6/conf/{}/seg6_enabled": "segment routing",
    "ipv6/conf/{}/rpl_seg_enabled": "RPL source routes",
}
_NOT_LINKS = frozenset({"all", "default", "lo"})


def problems(uplinks: Container[str], settings: Path = _SETTINGS) -> list[str]:
    """Of the links that lead to pods. Raises nothing: what can't be found out is no problem."""
    texts = list[str]()
    for way, what in _WAYS.items():
        try:
            links = sorted(folder.name for folder in (settings / way.partition("{}")[0]).iterdir())
            on = [] if _is_off(settings / way.format("all")) else links
            open_ = [
                link
                for link in on
                if link not in _NOT_LINKS and link not in uplinks and not _is_off(settings / way.format(link))
            ]
        except OSError:
            continue
        if open_:
            name = way.format("all").replace("/", ".")
            texts.append(
                f"{len(open_)} links of pods (such as {open_[0]}) take {what}: what a pod may send to this node it may "
                f"have sent on to anybody, past the rules; set net.{name}=0"
            )
    return texts


def _is_off(setting: Path) -> bool:
    try:
        return int(setting.read_text()) <= 0
    except (OSError, ValueError):
        return True
