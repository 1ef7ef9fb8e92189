"""Rulesets with all names that aren't fixed replaced by what they stand for: equal ones are equal, however named."""

import hashlib
import re

_NAMED = re.compile(r"(goto |jump |@)([^\s,;]+)")
_FREE = re.compile(r"(pair|part|common|net|nets|app|apps|peer)[46]-|(ports?|nets|allow|deny|reset)-|log-limit-")


def meaning(ruleset):
    """What each chain and set says that has a fixed name, and what the others say, as often as they stand there."""
    table, wanted, known = ruleset.table, _wanted(ruleset.members), {}

    def of(match):
        name = match[2]
        if _FREE.match(name) and name not in known:
            known[name] = hashlib.sha256(repr(said(name)).encode()).hexdigest()
        return match[1] + known.get(name, name)

    def said(name):
        texts = []
        if name in table.chains:
            chain = table.chains[name]
            texts += [chain.hook, *chain.rules, *(raw.comment for raw in chain.raw)]
        if name in table.sets:
            declared = table.sets[name]
            texts += [*declared.declaration(), *sorted(f"{key}{tail}" for key, tail in declared.elements.items())]
            texts += wanted.get(name, [])
        return [_NAMED.sub(of, text) for text in texts]

    names = [*table.chains, *table.sets]
    fixed = {name: said(name) for name in names if not _FREE.match(name)}
    return fixed, sorted(repr(said(name)) for name in names if _FREE.match(name))


def _wanted(members):
    found = {}
    for family, of in members.wanted.workloads.items():
        for workload, places in of.items():
            for place in places:
                found.setdefault(place.set, []).append(f"{family} {workload}{place.tail}")
    for family, of in members.wanted.peers.items():
        for name, peer in of.items():
            found.setdefault(name, []).append(f"{family} {peer}")
    return {name: sorted(texts) for name, texts in found.items()}
