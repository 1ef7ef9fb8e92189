"""What Panorama's administrator will change: something that opens a connection and something that cuts one.

Found by trying edits on the candidate configuration and asking the policy, so that it works for anybody's export.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mocks.panorama import Panorama
from tests.demo.matrix import Connection, connections, policy_of
from tests.demo.world import World
from zones.policy import Verdict
from zones.rules import Origin

SHARED_PRE = "/config/shared/pre-rulebase/security/rules"
GROUP = "/config/devices/entry[@name='localhost.localdomain']/device-group/entry[@name='{}']"
PREFERRED = "Web to app"
MOST_TRIES = 40


@dataclass(frozen=True, slots=True)
class Change:
    """The edits in words, the connection they open and the one they cut, None where nothing can be."""

    words: tuple[str, ...]
    added: str
    opens: Connection | None
    cuts: Connection | None


def prepare(world: World, before: list[Connection]) -> Change:
    """Edit the candidate configuration, and say what that will do. Nothing is committed."""
    panorama = world.panorama.panorama
    revoked, cuts = _revoke(world, before)
    closed = [each for each in before if _could_open(each)]
    opens = next((each for each in closed if _crosses_nodes(world, each)), next(iter(closed), None))
    added = "zonebridge demo: allow"
    if opens is not None:
        _add_on_top(panorama, added, opens, "allow")
    words = [revoked] if revoked else []
    if opens is not None:
        words.append(f"added '{added}' on top: {opens.from_zone} to {opens.to_zone}, tcp/{opens.port}")
    return Change(tuple(words), added, opens, cuts)


def _could_open(each: Connection) -> bool:
    return each.decision.verdict is not Verdict.ALLOW and each.from_zone != each.to_zone and ":" not in each.ip


def _crosses_nodes(world: World, each: Connection) -> bool:
    """Whether both nodes must have the new rule before the connection can pass."""
    nodes = {spec.name: spec.node for spec in world.company.pods}
    return each.source in nodes and nodes[each.source] != nodes[each.destination]


def _revoke(world: World, before: list[Connection]) -> tuple[str, Connection | None]:
    """Take out a rule that alone allows some connection; where there is none, put a deny on top."""
    panorama = world.panorama.panorama
    allowed = [each for each in before if each.decision.verdict is Verdict.ALLOW and ":" not in each.ip]
    for origin in _rules(allowed):
        panorama.delete(_xpath(origin))
        cut = _first_cut(world, [each for each in allowed if each.decision.origin == origin])
        if cut is not None:
            return f"deleted '{origin.name}' ({origin.device_group}, {origin.rulebase} rules)", cut
        panorama.revert()
    victim = next((each for each in allowed if each.decision.origin.rulebase != "infrastructure"), None)
    if victim is None:
        return "", None
    _add_on_top(panorama, "zonebridge demo: deny", victim, "deny")
    return f"added a deny on top: {victim.from_zone} to {victim.to_zone}, tcp/{victim.port}", victim


def _rules(allowed: list[Connection]) -> Iterator[Origin]:
    origins = dict.fromkeys(each.decision.origin for each in allowed)
    ours = [origin for origin in origins if origin.rulebase in {"pre", "post"}]
    return iter(sorted(ours, key=lambda origin: origin.name != PREFERRED)[:MOST_TRIES])


def _first_cut(world: World, candidates: list[Connection]) -> Connection | None:
    policy = policy_of(world.company, world.candidate_file())
    after = {_key(each): each for each in connections(world.company, policy, world.machines)}
    return next((each for each in candidates if after[_key(each)].decision.verdict is not Verdict.ALLOW), None)


def _key(each: Connection) -> tuple[str, str, int]:
    return each.source, each.ip, each.port


def _xpath(origin: Origin) -> str:
    level = "/config/shared" if origin.device_group == "Shared" else GROUP.format(origin.device_group)
    return f"{level}/{origin.rulebase}-rulebase/security/rules/entry[@name='{origin.name}']"


def _add_on_top(panorama: Panorama, name: str, what: Connection, action: str) -> None:
    """A rule before all others: Shared's first pre rule."""
    service = f"zonebridge-demo-tcp-{what.port}"
    panorama.set(
        f"/config/shared/service/entry[@name='{service}']",
        f"<protocol><tcp><port>{what.port}</port></tcp></protocol>",
    )
    lists = {"from": what.from_zone, "to": what.to_zone, "source": "any", "destination": "any", "application": "any"}
    body = "".join(f"<{tag}><member>{value}</member></{tag}>" for tag, value in (lists | {"service": service}).items())
    rule = f"{SHARED_PRE}/entry[@name='{name}']"
    panorama.set(rule, f"{body}<action>{action}</action>")
    first = panorama.candidate.find("shared/pre-rulebase/security/rules/entry")
    if first is not None and first.get("name") != name:
        panorama.move(rule, "top")


def set_disabled(panorama: Panorama, name: str, *, disabled: bool) -> None:
    """Switch a Shared pre rule off or on in the candidate configuration."""
    panorama.set(f"{SHARED_PRE}/entry[@name='{name}']", f"<disabled>{'yes' if disabled else 'no'}</disabled>")
