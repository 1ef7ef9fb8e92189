"""Rules for a node before the API server has told who is who: what isn't known yet is cut off. Pure.

An address that nobody has is in the outside zone. Until pods are known those of this node, whatever zones they are in,
would meet there as members of one, and with what is outside. `enforcer.kernel.reconcile` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from enforcer.rules.chains.link_checks import FROM_POD
from enforcer.rules.chains.verdict_chains import Ending, VerdictChains
from enforcer.rules.family import Family
from enforcer.rules.members.set_membership import UPLINKS, SetMembership
from enforcer.rules.members.zone_ids import ZoneKey
from enforcer.rules.options import RulesetOptions
from enforcer.rules.ruleset import NO_TIER, Ruleset
from enforcer.rules.table import Chain, NamedSet
from zones.policy import Verdict
from zones.rules import NO_LOG, Origin

NOT_YET_KNOWN: Ending = (Origin("infrastructure/not-yet-known", None, "infrastructure", ""), Verdict.DENY, NO_LOG)


_NEIGHBOURS = "icmpv6 type 133-137 ip6 hoplimit 255 accept"  # on a bridge they are passed on too


def deny_unknown_pods(ruleset: Ruleset, members: SetMembership, options: RulesetOptions) -> Ruleset:
    """For a table that is to be restored: an address of a pod network that nobody had reaches infrastructure alone."""
    terminals = VerdictChains(options)
    denied = f" : goto {terminals.chain(NOT_YET_KNOWN)}"
    pairs = _pairs_of(members.ids[ZoneKey(members.zoning.outside, of_pods=True)], members.ids)
    changed = dict.fromkeys(pairs, denied)
    table = ruleset.table
    sets = {family.named("pairs"): _with(table.sets[family.named("pairs")], changed) for family in Family}
    table = replace(table, sets={**table.sets, **sets}, chains={**table.chains, **terminals.chains})
    return replace(ruleset, table=table, terminals={**ruleset.terminals, **terminals.by_id})


def deny_all(ruleset: Ruleset, options: RulesetOptions) -> Ruleset:
    """For a node that has no tier, and doesn't know the networks of pods yet: it passes nothing on."""
    terminals = VerdictChains(options)
    from_pod = f"iifname != @{UPLINKS} jump {FROM_POD}"
    rules = from_pod, _NEIGHBOURS, f"goto {terminals.chain((NO_TIER, Verdict.DENY, NO_LOG))}"
    table = ruleset.table
    forward = {name: Chain(rules, hook=chain.hook) for name, chain in table.chains.items() if " forward " in chain.hook}
    table = replace(table, chains={**table.chains, **terminals.chains, **forward})
    return replace(ruleset, table=table, terminals={**ruleset.terminals, **terminals.by_id})


def _pairs_of(unknown: str, ids: Mapping[ZoneKey, str]) -> list[str]:
    others = ids.values()
    return [f'"{unknown}" . "{other}"' for other in others] + [f'"{other}" . "{unknown}"' for other in others]


def _with(declared: NamedSet, changed: Mapping[str, str]) -> NamedSet:
    return replace(declared, elements={**declared.elements, **changed})
