"""Trees as chains and maps, for people to read in `golden/tree/chains.nft`; and what becomes a map, a rule, an element.

`python -m tests.enforcer.test_treechains` writes the golden file anew: read the difference.
"""

from pathlib import Path

import pytest

from enforcer.rules.family import Family
from enforcer.rules.match import Sets, of_entry
from enforcer.rules.members.set_membership import AddressClass, SetEntry, SetMembership
from enforcer.rules.members.zone_ids import ZoneKey
from enforcer.rules.table import Chain, Table
from enforcer.rules.tree.chains import TreeChains
from enforcer.rules.tree.clause import Clause, Spaces
from enforcer.rules.tree.splits import best_split
from enforcer.rules.tree.tree import TreeBuilder
from zones.net import ICMP, TCP, UDP, AddressSet, Ranges, parse_ports
from zones.policy import Entry, Traffic, Verdict
from zones.rules import Origin
from zones.zone import Zoning

GOLDEN = Path(__file__).parent / "golden" / "tree" / "chains.nft"
SPACES = Spaces()


def entry(name, *traffic, **more):
    return Entry(Origin(name, None, "pre", "k8s"), Verdict.ALLOW, traffic=traffic or (Traffic(),), **more)


def to(app, ports, protocol=TCP, **more):
    return Traffic(protocol, parse_ports(ports), destination_workload=app, **more)


ENTRIES = (
    entry("blocklist", sources=AddressSet.parse(["192.0.2.0/25", "198.51.100.7"])),
    entry("shop", to("cart", "8080"), to("orders", "8080,9090")),
    entry("to-mysql", to("mysql", "3306", source_workload="orders")),
    entry("admins", to("mysql", "3306"), sources=AddressSet.parse(["10.9.0.0/24"])),
    entry("backup", to("mysql", "10000-10999"), sources=AddressSet.parse(["10.9.7.0/24"])),
    entry("search", to("search", "9200-9300")),
    entry("metrics", Traffic(TCP, parse_ports("9100")), sources=AddressSet.parse(["10.8.0.0/24"])),
    entry("metrics-agents", Traffic(TCP, parse_ports("9100-9110")), sources=AddressSet.parse(["10.8.1.0/24"])),
    entry("ping", Traffic(ICMP, icmp_type=8)),
    entry("from-high-ports", to("cart", "7000", UDP, source_ports=parse_ports("32768-60999"))),
    entry("queue", to("queue", "5671-5672"), to("queue", "15672")),
    entry("rest"),
)


def clauses(entries=ENTRIES, family=Family.V4):
    return [
        clause
        for each in entries
        for clause in of_entry(each, family, SPACES, lambda each=each: f"allow-{each.origin.name}")
    ]


def written(listed, family=Family.V4, leaf=8):
    """The rules of the first chain, all sets, the other chains; and whom the sets want."""
    sets = Sets()
    chains = TreeChains(family, sets)
    rules = chains.rules(TreeBuilder(leaf).tree(listed))
    return rules, sets, sets.in_use.chains


def rendered():
    rules, sets, made = written(clauses(), leaf=3)
    targets = {f"allow-{each.origin.name}": Chain(("accept",)) for each in ENTRIES}
    return Table("tree", sets.declared, {"first": Chain(rules)} | made | targets).text()


def test_golden():
    assert rendered() == GOLDEN.read_text()


def by_port(*ports):
    return [Clause(f"t{number}", TCP, SPACES.of(parse_ports(each))) for number, each in enumerate(ports)]


def many(count, width=0, step=10):
    return [f"{at}-{at + width}" if width else f"{at}" for at in range(1000, 1000 + step * count, step)]


def test_single_ports_are_found_in_a_map_of_values():
    rules, sets, _ = written(by_port(*many(20)))
    (made,) = sets.declared.values()
    assert rules == (f"meta nfproto ipv4 ct original protocol 6 ct reply proto-src vmap @{next(iter(sets.declared))}",)
    assert not made.interval
    assert made.elements["1010"] == " : goto t1"


def test_ranges_are_found_in_a_map_of_ranges():
    _, sets, _ = written(by_port(*many(20, width=5)))
    (made,) = sets.declared.values()
    assert made.interval
    assert made.elements["1010-1015"] == " : goto t1"


def test_short_ranges_become_values():
    _, sets, _ = written(by_port("10-11", *many(20)))
    (made,) = sets.declared.values()
    assert not made.interval
    assert made.elements["10"] == made.elements["11"] == " : goto t0"


def test_few_ways_are_rules():
    rules, sets, made = written(by_port("80", "443"), leaf=1)
    assert [rule.split()[-3:] for rule in rules] == [["80", "goto", "t0"], ["443", "goto", "t1"]]
    assert not sets.declared
    assert not made


def test_apps_are_known_by_their_pods_and_no_address_is_in_the_tree():
    listed = [Clause(f"t{n}", server=f"app-{n}") for n in range(20)]
    rules, sets, _ = written(listed)
    (name,) = sets.declared
    assert rules == (f"ct reply ip saddr vmap @{name}",)
    assert not sets.declared[name].elements
    assert sets.members.workloads[Family.V4]["app-3"] == [SetEntry(name, " : goto t3")]


def test_a_pod_of_one_namespace_has_the_way_of_that_where_another_leads_elsewhere():
    """What is asked of any namespace holds on its way too, in its place."""
    listed = [
        Clause("first", server="db", client="cart"),
        Clause("shop's", server="shop/db"),
        Clause("anyone's", server="db"),
        *(Clause(f"t{n}", server=f"app-{n}") for n in range(20)),
    ]
    split = best_split(listed, copy_long=True)
    assert split.branches["shop/db"] == [0, 1, 2]
    assert split.branches["db"] == [0, 2]
    sets = Sets()
    name = sets.ways_of_workloads(Family.V4, {"db": " : goto a", "shop/db": " : goto b"}, "")
    members = SetMembership(Zoning(), "n1", sets.members, {ZoneKey("web", of_pods=True): "web"})
    for namespace, tail in (("shop", " : goto b"), ("bank", " : goto a")):
        profile = AddressClass(
            ZoneKey("web", of_pods=True), "db", namespace, is_node=False, is_known=True, is_own=False
        )
        assert [place.tail for place in members.places(Family.V4, profile) if place.set == name] == [tail]


def test_of_icmp_the_types_are_ports():
    listed = [Clause(f"t{kind}", ICMP, SPACES.of(Ranges(((kind << 8, kind << 8 | 255),)))) for kind in range(20)]
    (rule,) = written(listed)[0]
    assert rule.startswith("meta nfproto ipv4 ct original protocol 1 ct original proto-dst vmap @")


def test_a_way_that_may_find_nothing_leads_back():
    """What stands behind a selection is for those that it finds nothing for: with goto they would never come there."""
    listed = [Clause("t", TCP, SPACES.of(parse_ports(each)), client="a", server="b") for each in many(20)]
    listed += by_port(*many(20))
    _, sets, _ = written([*listed, Clause("rest")])
    ways = {tail.split()[1] for each in sets.declared.values() for tail in each.elements.values()}
    assert ways == {"jump"}


def test_ports_without_a_protocol_are_refused():
    with pytest.raises(ValueError, match="without a protocol"):
        written([Clause("t", ports=SPACES.of(parse_ports("80")))])


@pytest.mark.parametrize("family", Family)
def test_equal_parts_have_equal_names(family):
    (rules, sets, made), (again, others, same) = (written(clauses(family=family), family) for _ in range(2))
    assert (rules, sets.declared, sets.members, made) == (again, others.declared, others.members, same)


if __name__ == "__main__":
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(rendered())
