"""What a network plug-in and its companions lay on a node beside links and routes: nftables tables of their own.

Each is loaded whole, in one transaction, and touches no other. A node is asked for them; they know no policy.
"""

from __future__ import annotations

from collections.abc import Iterable

from mocks.lab.netns import Netns

MASQUERADE = "lab_masquerade"
POLICY = "lab_policy"
LOCAL_DNS = "lab_local_dns"
DNS = 53
# Between kube-proxy's own hooks and conntrack: where NOTRACK has to be said.
RAW = -300


def masquerade(netns: Netns, pods: Iterable[str], inside: Iterable[str]) -> None:
    """Hide pods behind the node from whoever is not `inside`. Prefixes of both families."""
    inside = tuple(inside)
    rules = "\n".join(_hide(pod, inside) for pod in pods)
    hook = "type nat hook postrouting priority srcnat;"
    _load(netns, MASQUERADE, f"chain postrouting {{ {hook}\n{rules}\n}}")


def _hide(pods: str, inside: Iterable[str]) -> str:
    family = _family(pods)
    near = ", ".join(prefix for prefix in inside if _family(prefix) == family)
    return f"{family} saddr {pods} {family} daddr != {{ {near} }} masquerade"


def refuse(netns: Netns, *matches: str) -> None:
    """Drop what matches, where plug-ins filter: forward at 0. What was refused before is no more."""
    rules = "\n".join(f"{match} counter drop" for match in matches)
    _load(netns, POLICY, f"chain forward {{ type filter hook forward priority filter;\n{rules}\n}}")


def untrack_dns(netns: Netns, addresses: Iterable[str]) -> None:
    """Keep what goes to and comes from a node-local DNS out of conntrack, as its own set-up does."""
    asked, answered = [], []
    for address in addresses:
        for transport in ("udp", "tcp"):
            asked.append(f"{_family(address)} daddr {address} {transport} dport {DNS} notrack")
            answered.append(f"{_family(address)} saddr {address} {transport} sport {DNS} notrack")
    chains = [("prerouting", asked), ("output", [*asked, *answered])]
    _load(
        netns,
        LOCAL_DNS,
        "\n".join(
            f"chain {hook} {{ type filter hook {hook} priority {RAW};\n" + "\n".join(rules) + "\n}"
            for hook, rules in chains
        ),
    )


def remove(netns: Netns, *tables: str) -> None:
    """Take away, where it is there."""
    _nft(netns, "\n".join(f"add table inet {name}\ndelete table inet {name}" for name in tables))


def _load(netns: Netns, table: str, body: str) -> None:
    _nft(netns, f"add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n{body}\n}}")


def _nft(netns: Netns, script: str) -> None:
    netns.require(["nft", "-f", "-"], stdin=script + "\n")


def _family(prefix: str) -> str:
    return "ip6" if ":" in prefix else "ip"
