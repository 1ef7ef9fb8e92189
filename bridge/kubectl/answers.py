"""What the plugin's questions are answered with: refusals that pods were told of, zones, and the tier's state.

Each answer is a value for programs, and lines of text for people. Pure, but for the reading of the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from bridge.commands import tier_facts
from bridge.nodes.enforcement import states_of
from bridge.tier.reader import ClusterReader
from zones.canonical import Json
from zones.runtime.errors import InputError
from zones.runtime.output import printable, table_lines
from zones.zone import ANY_ZONE

CONTROLLER = "zonebridge.io/zone-enforcer"
ADVICE = {
    "ZoneDenied": "if your application needs it, ask the firewall team for a rule between both zones and this port",
    "ZoneWouldDeny": "it passed, as the node only observes; ask the firewall team for a rule before it ends",
    "ZoneNotEntitled": "use a zone of the namespace's annotation zonebridge.io/zones, or have the platform team add "
    "it; then start the pod anew",
    "ZoneUnknown": "look for a typing error in the label zonebridge.io/zone, or ask the firewall team for the zone",
    "ZoneAddressNotTrusted": "tell the platform team: the address is outside of the node's pod networks",
    "ZoneQuarantined": "ask the security team",
}
NOTHING = (
    "no pod was told of a refusal; Events are kept for an hour. If a connection fails all the same, look at "
    "NetworkPolicies, the Service's endpoints, and whether anything listens"
)
ZONE_COLUMNS = ("ZONE", "KNOWN", "PODS", "ISOLATED", "NODES")
_MOST_NAMED = 20
_IN_SECONDS = 120


async def refusals(cluster: ClusterReader, namespace: str | None, pod: str | None) -> list[Json]:
    """What enforcers told pods, the latest first. `namespace` None: all."""
    if pod is not None and namespace is not None and await cluster.pod(namespace, pod) is None:
        raise InputError(f"why: there is no pod '{pod}' in namespace '{namespace}'")
    fields = f"reportingController={CONTROLLER}" + (f",regarding.name={pod}" if pod else "")
    refused = [_refusal(event) for event in await cluster.events(namespace, fields) if event.get("reason") in ADVICE]
    return sorted(refused, key=lambda refusal: (refusal["last"], refusal["namespace"], refusal["pod"]), reverse=True)


def _refusal(event: Json) -> Json:
    about, series = event.get("regarding") or {}, event.get("series") or {}
    first = str(event.get("eventTime") or "")
    return {
        "namespace": about.get("namespace", ""),
        "pod": about.get("name", ""),
        "reason": event["reason"],
        "count": series.get("count", 1),
        "first": first,
        "last": str(series.get("lastObservedTime") or first),
        "message": event.get("note", ""),
        "advice": ADVICE[event["reason"]],
    }


def refusal_lines(refused: Sequence[Json], now: datetime) -> Iterator[str]:
    """Then what to do, once for each reason."""
    if not refused:
        yield NOTHING
        return
    for refusal in refused:
        times = f" x{refusal['count']}" if refusal["count"] > 1 else ""
        name = f"{refusal['namespace']}/{refusal['pod']}"
        yield printable(f"{_ago(refusal['last'], now)} ago{times}  {name}  {refusal['reason']}  {refusal['message']}")
    yield from (f"  {reason}: {ADVICE[reason]}" for reason in dict.fromkeys(refusal["reason"] for refusal in refused))


def _ago(text: str, now: datetime) -> str:
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return "?"
    seconds = max(0, int((now - then.replace(tzinfo=then.tzinfo or UTC)).total_seconds()))
    return f"{seconds}s" if seconds < _IN_SECONDS else f"{seconds // 60}m"


async def zones_of(cluster: ClusterReader, tier: str, namespace: str | None) -> list[Json]:
    """The zones that there are, and with a namespace whether it may use each."""
    listed = None if namespace is None else await cluster.allowed_zones(namespace)
    values = []
    for zone in await cluster.zones(tier):
        spec, status = zone.get("spec") or {}, zone.get("status") or {}
        counts = {name: status.get(name, 0) for name in ("pods", "isolated", "nodes")}
        value = {"zone": spec.get("zone", ""), "known": bool(spec.get("known")), **counts}
        if namespace is not None:
            value["allowed"] = None if listed is None else value["zone"] in listed or ANY_ZONE in listed
        values.append(value)
    return sorted(values, key=lambda value: str(value["zone"]))


def zone_lines(zones: Iterable[Json], namespace: str | None) -> Iterator[str]:
    """For people."""
    columns = ZONE_COLUMNS if namespace is None else (*ZONE_COLUMNS, f"ALLOWED IN {namespace}")
    yield from table_lines(columns, [_zone_row(zone) for zone in zones])


def _zone_row(zone: Json) -> tuple[str, ...]:
    facts = zone["zone"], _yes(zone["known"]), *(str(zone[name]) for name in ("pods", "isolated", "nodes"))
    if "allowed" not in zone:
        return facts
    return (*facts, "no annotation" if zone["allowed"] is None else _yes(zone["allowed"]))


def _yes(value: object) -> str:
    return "yes" if value else "no"


async def status_of(cluster: ClusterReader, tier: str) -> Json:
    """The tier's own status, and the nodes that have another revision in force. Keys are only ever added."""
    raw = await cluster.tier(tier)
    facts = tier_facts.facts(raw or {}, "" if raw else tier_facts.NOTHING_YET)
    wanted = facts["revision"], facts["digest"]
    states = states_of(await cluster.node_states(), tier)
    behind = [
        {"node": name, "revision": state.get("revision"), "mode": state.get("mode")}
        for name, state in sorted(states.items())
        if raw is not None and (state.get("revision"), state.get("digest")) != wanted
    ]
    return {"tier": tier, "device_group": _source(raw).get("deviceGroup", ""), **facts, "behind": behind}


def _source(tier: Json | None) -> Json:
    source: Json = ((tier or {}).get("spec") or {}).get("source") or {}
    return source


def status_lines(value: Json) -> Iterator[str]:
    """For people."""
    row = tier_facts.row(value | {"cluster": ""})[1:]
    yield from table_lines(tier_facts.COLUMNS[1:], [row])
    behind = value["behind"]
    for node in behind[:_MOST_NAMED]:
        yield printable(f"  node {node['node']} has revision {node['revision'] or 'none'} in force")
    if len(behind) > _MOST_NAMED:
        yield f"  and {len(behind) - _MOST_NAMED} more"
