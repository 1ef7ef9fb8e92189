"""Sets that keep their name in the kernel: what the rules mean stays, whatever sets are called there."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.kernel.set_names import NamedTable
from enforcer.rules.table import Chain, NamedSet, Table

HOOK = "type filter hook forward priority 0; policy accept;"
lists = st.frozensets(st.integers(1, 6), min_size=1)
maps = st.dictionaries(st.integers(1, 4), st.sampled_from(["accept", "drop"]), min_size=1)


@st.composite
def tables(draw):
    """Chains that ask lists of addresses and maps of ports, named by content."""
    sets = {}

    def listed(addresses):
        elements = {f"10.0.0.{address * 2}": "" for address in sorted(addresses)}
        return _named(sets, "net4", NamedSet("ipv4_addr", elements, interval=True))

    def led(ways):
        return _named(sets, "ports", NamedSet("inet_service : verdict", {str(k): f" : {v}" for k, v in ways.items()}))

    chains = {"forward": Chain(tuple(f"jump pair-{n}" for n in range(3)), hook=HOOK)}
    for n in range(3):
        asked = [f"ip saddr @{listed(draw(lists))} accept" for _ in range(draw(st.integers(0, 2)))]
        asked += [f"tcp dport vmap @{led(draw(maps))}"] if draw(st.booleans()) else []
        chains[f"pair-{n}"] = Chain((*asked, "drop"))
    return Table("t", sets, chains)


def _named(sets, kind, declared):
    name = f"{kind}-{abs(hash(tuple(sorted(declared.elements.items()))))}"
    sets[name] = declared
    return name


def changed(table, change):
    """What the kernel has after a change, which it refuses where that names what isn't there."""
    sets, chains = dict(table.sets), dict(table.chains)
    assert sets.keys().isdisjoint(change.new_sets)
    for name in change.gone_sets:
        del sets[name]
    for name, element in change.elements.items():
        elements = {} if element.flush else dict(sets[name].elements)
        for key in element.gone:
            del elements[key]
        assert elements.keys().isdisjoint(element.added)
        sets[name] = replace(sets[name], elements=elements | dict(element.added))
    for name in change.gone_chains:
        del chains[name]
    assert chains.keys() >= change.refilled_chains.keys()
    sets, chains = sets | dict(change.new_sets), chains | dict(change.new_chains) | dict(change.refilled_chains)
    asked = {name for chain in chains.values() for rule in chain.rules for name in re.findall(r"@(\S+)", rule)}
    assert asked <= sets.keys()
    return replace(table, sets=sets, chains=chains)


def meaning(table):
    """With what each set holds in the place of its name."""

    def content(match):
        declared = table.sets[match[1]]
        return repr((declared.type, sorted(declared.elements.items())))

    return {name: [re.sub(r"@(\S+)", content, rule) for rule in chain.rules] for name, chain in table.chains.items()}


@given(st.lists(tables(), min_size=2, max_size=8))
def test_whatever_follows_what_the_kernel_has_means_what_the_rules_say(wanted):
    named = NamedTable.of(wanted[0])
    for table in wanted[1:]:
        before = named
        named, change = before.following(table)
        assert changed(before.table, change) == named.table
        assert meaning(named.table) == meaning(table)
        assert len(named.table.sets) == len(table.sets)


def of(addresses, *, ports=(), rule="drop", lowest=""):
    sets = {}
    elements = {f"10.0.0.{address}": "" for address in addresses} | ({lowest: ""} if lowest else {})
    rules = [f"ip saddr @{_named(sets, 'net4', NamedSet('ipv4_addr', elements, interval=True))} accept"]
    if ports:
        ways = NamedSet("inet_service : verdict", {str(port): " : accept" for port in ports})
        rules.append(f"tcp dport vmap @{_named(sets, 'ports', ways)}")
    return Table("t", sets, {"forward": Chain((*rules, rule), hook=HOOK)})


def test_the_same_rules_made_anew_have_the_names_that_the_kernel_has():
    named, _ = NamedTable.of(of([2, 4, 6])).following(of([2, 4, 8]))
    again, change = named.following(of([2, 4, 8]))
    assert not change
    assert again.table == named.table


@pytest.mark.parametrize(
    ("old", "new", "moved"),
    [
        (of([2, 4, 6]), of([2, 4, 8]), (("10.0.0.6",), ["10.0.0.8"])),
        (of([2], ports=[1, 2, 3]), of([2], ports=[1, 3]), (("2",), [])),
        (of([2], ports=[1, 3]), of([2], ports=[1, 2, 3]), None),  # a way that comes is a walk through all rules
        (of([2], ports=[1, 2, 3]), of([4], ports=[1, 2]), None),  # two sets of one chain would change one by one
        (of([2, 4]), of([2, 6], rule="accept"), None),  # so would a rule and a set
        (of([2]), of([2], lowest="0.0.0.0-0.0.0.9"), None),
    ],
)
def test_a_set_changes_in_place_where_nothing_else_does(old, new, moved):
    _, change = NamedTable.of(old).following(new)
    assert change.structural is (moved is None)
    told = [(element.gone, list(element.added)) for element in change.elements.values()]
    assert told == ([] if moved is None else [moved])


def test_content_that_comes_back_while_its_name_is_taken_gets_another():
    first, second = of([2, 4]), of([2, 6])
    named, _ = NamedTable.of(first).following(second)
    both = Table("t", {**first.sets, **second.sets}, {**first.chains, "more": Chain(second.chains["forward"].rules)})
    named, change = named.following(both)
    assert list(change.new_sets) == [f"{next(iter(first.sets))}-2"]
    assert meaning(named.table) == meaning(both)
