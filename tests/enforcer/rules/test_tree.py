"""A tree says what the list of its clauses says: walked step by step, as the kernel does it, for any flow."""

import random
from bisect import bisect_right
from dataclasses import dataclass
from itertools import count, pairwise
from string import ascii_lowercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.rules.tree.clause import Clause, Dimension, Spaces
from enforcer.rules.tree.tree import DEPTH, LEAF, Jump, Select, Test, TreeBuilder, TreeNode
from zones.net import ICMP, SCTP, TCP, UDP, Ranges

Test.__test__ = False
GRE = 47
SPACES = Spaces()
SERVERS = ascii_lowercase
WITH_PORTS = {TCP, UDP, SCTP}


@dataclass(frozen=True)
class Packet:
    """What selections look at; `port` of ICMP is type and code."""

    protocol: int = TCP
    port: int = 0
    source_port: int = 0
    source: int = 0
    destination: int = 0
    client: str = ""
    server: str = ""


VALUES = {
    Dimension.PORT: "port",
    Dimension.SOURCE_PORT: "source_port",
    Dimension.SERVER: "server",
    Dimension.CLIENT: "client",
    Dimension.SOURCE: "source",
    Dimension.DESTINATION: "destination",
    Dimension.PROTOCOL: "protocol",
}


def holds(clause, packet):
    exact = (
        (clause.protocol, packet.protocol), (clause.client, packet.client), (clause.server, packet.server)
    )  # fmt: skip
    within = (
        (clause.ports, packet.port), (clause.source_ports, packet.source_port),
        (clause.sources, packet.source), (clause.destinations, packet.destination),
    )  # fmt: skip
    return all(wanted in {None, given} for wanted, given in exact) and all(
        space is None or value in space.ranges for space, value in within
    )


def first_match(clauses, packet):
    return next((clause.target for clause in clauses if holds(clause, packet)), None)


class Walker:
    """Goes a packet's way through a tree, and counts the steps."""

    def __init__(self, tree):
        self.tree = tree
        self.steps = 0
        self._indexes = {}

    def target(self, packet, node=None):
        for step in (node or self.tree).steps:
            self.steps += 1
            match step:
                case Test(clause):
                    found = clause.target if holds(clause, packet) else None
                case Jump(to):
                    found = self.target(packet, to)
                case Select():
                    branch = self._branch(step, packet)
                    found = None if branch is None else self.target(packet, branch)
            if found is not None:
                return found
        return None

    def _branch(self, select, packet):
        value = getattr(packet, VALUES[select.dimension])
        if select.dimension in {Dimension.SERVER, Dimension.CLIENT, Dimension.PROTOCOL}:
            return select.branches.get(value)
        ports = select.dimension in {Dimension.PORT, Dimension.SOURCE_PORT}
        spans = self._index(select, packet.protocol if ports else None)
        at = bisect_right(spans, value, key=lambda span: span[0]) - 1
        if at < 0 or value > spans[at][1]:
            return None
        return select.branches[(packet.protocol, spans[at]) if ports else spans[at]]

    def _index(self, select, protocol):
        """The spans, in order; no two of a map may overlap."""
        key = id(select), protocol
        if key not in self._indexes:
            keys = [each for each in select.branches if protocol is None or each[0] == protocol]
            spans = sorted(each if protocol is None else each[1] for each in keys)
            assert all(left[1] < right[0] for left, right in pairwise(spans))
            self._indexes[key] = spans
        return self._indexes[key]


def ports(clause):
    return clause.ports or clause.source_ports


def parts(tree):
    """All nodes, and how many chains lie one below the other."""
    nodes = {}

    def height(node):
        if node not in nodes:
            below = [
                other
                for step in node.steps
                if not isinstance(step, Test)
                for other in ([step.to] if isinstance(step, Jump) else step.branches.values())
            ]
            assert all(step.clause.protocol or not ports(step.clause) for step in node.steps if isinstance(step, Test))
            nodes[node] = 1 + max((height(each) for each in below if each.target is None), default=0)
        return nodes[node]

    return height(tree), nodes


# Few different values, so that conditions meet. Drawn from a seed: hypothesis itself is slow with so many draws.


def space(chance, last):
    ends = [sorted(chance.choices(range(last + 1), k=2)) for _ in range(chance.choice([1, 1, 1, 2, 3]))]
    return SPACES.of(Ranges.of(map(tuple, ends)))


def clause(chance, target, share, many):
    def maybe(value, allowed=True):
        return value() if allowed and chance.random() < share else None

    protocol = maybe(lambda: chance.choice([TCP, TCP, UDP, SCTP, ICMP, GRE]))
    return Clause(
        target,
        protocol,
        maybe(lambda: space(chance, 12), protocol in WITH_PORTS | {ICMP}),
        maybe(lambda: space(chance, 6), protocol in WITH_PORTS),
        maybe(lambda: space(chance, 12)),
        maybe(lambda: space(chance, 6)),
        maybe(lambda: chance.choice("ab")),
        maybe(lambda: chance.choice(SERVERS[:many])),
    )


def any_packet(chance, many):
    protocol = chance.choice([TCP, TCP, UDP, SCTP, ICMP, GRE, 89])
    numbers = (chance.randint(0, last) for last in (13, 7, 13, 7))
    return Packet(protocol, *numbers, chance.choice(["", "a", "b", "c"]), chance.choice(["", *SERVERS[: many + 1]]))


@settings(max_examples=5 * settings.default.max_examples)
@given(
    seed=st.integers(0, 2**32),
    many=st.sampled_from([3, 10, 30, 80, 150]),
    leaf=st.sampled_from([0, 1, 3, LEAF]),
    depth=st.integers(0, DEPTH),
)
@pytest.mark.timeout(1200)
def test_a_tree_finds_the_first_match(seed, many, leaf, depth):
    chance = random.Random(seed)
    share, servers = chance.choice([0.3, 0.5, 0.7]), chance.choice([4, 20])
    listed = [clause(chance, f"t{chance.randint(0, n)}", share, servers) for n in range(many)]
    walker = Walker(TreeBuilder(leaf, depth).tree(listed))
    for _ in range(30):
        packet = any_packet(chance, servers)
        assert walker.target(packet) == first_match(listed, packet)
    assert parts(walker.tree)[0] <= depth + 1


# Long lists of several kinds, drawn without hypothesis: it is slow with thousands of clauses.


def one(first, last=None):
    return SPACES.of(Ranges(((first, first if last is None else last),)))


def prefix(chance):
    size = 1 << chance.choice([0, 0, 4, 8, 8, 12, 16])
    start = chance.randrange(1 << 20) & -size
    return one(start, start + size - 1)


def port(chance):
    if chance.random() < 0.6:
        return one(chance.choice([80, 443, 443, 443, 8080, 5432, 53]))
    first = chance.randrange(1024, 60_000)
    return one(first, chance.choice([first, first, first + 9, 65_535]))


def app(chance, many=60):
    return f"app-{chance.randrange(many)}"


KINDS = {
    "ports": lambda c, t: Clause(t, c.choice([TCP, UDP]), one(next(c.numbers) % 65_536)),
    "apps": lambda c, t: Clause(t, TCP, port(c), server=app(c)),
    "prefixes": lambda c, t: Clause(t, sources=prefix(c)),
    "both": lambda c, t: Clause(t, TCP, port(c), sources=prefix(c)),
    "far": lambda c, t: Clause(t, UDP, port(c), sources=prefix(c), destinations=prefix(c)),
    "ping": lambda c, t: Clause(t, ICMP, one(8 << 8, 8 << 8 | 255), sources=prefix(c)),
    "pairs of apps": lambda c, t: Clause(t, TCP, port(c), client=app(c), server=app(c)),
    "from": lambda c, t: Clause(t, None, server=app(c), sources=prefix(c)),
    "source ports": lambda c, t: Clause(t, TCP, port(c), one(1024, 65_535), server=app(c)),
}
MIXTURES = {"all": tuple(KINDS)} | {kind: (kind,) for kind in ("ports", "apps", "prefixes", "both", "from")}


def mixture(kinds, many, seed=1):
    chance = random.Random(seed)
    chance.numbers = count(1)
    made = [KINDS[chance.choice(kinds)](chance, f"t{n}") for n in range(many)]
    return [*made, Clause("default")]


def packet_near(listed, chance):
    """One that some clause may hold for, but for what was changed."""
    clause = chance.choice(listed)
    pick = lambda space, last: (  # noqa: E731
        chance.randrange(last) if space is None else chance.randint(*chance.choice(space.ranges.spans))
    )
    return Packet(
        clause.protocol or chance.choice([TCP, UDP]),
        pick(clause.ports, 65_536),
        pick(clause.source_ports, 65_536),
        pick(clause.sources, 1 << 20),
        pick(clause.destinations, 1 << 20),
        chance.choice([clause.client or "", app(chance)]),
        chance.choice([clause.server or "", clause.server or "", app(chance)]),
    )


@pytest.mark.parametrize("kinds", MIXTURES)
def test_long_lists_of_every_kind(kinds):
    listed = mixture(MIXTURES[kinds], 700)
    walker = Walker(TreeBuilder().tree(listed))
    chance = random.Random(2)
    for _ in range(300):
        packet = packet_near(listed, chance)
        assert walker.target(packet) == first_match(listed, packet)
    assert walker.steps / 300 < len(listed) / 12
    assert parts(walker.tree)[0] <= DEPTH + 1


@pytest.mark.parametrize("kinds", ["ports", "prefixes"])
def test_what_one_look_can_tell_takes_one_look(kinds):
    listed = mixture((kinds,), 3000)
    tree = TreeBuilder().tree(listed)
    assert [type(step) for step in tree.steps] == [Select, Test]
    assert all(branch.target for branch in tree.steps[0].branches.values())


@pytest.mark.parametrize("kinds", MIXTURES)
def test_a_tree_grows_with_its_clauses_and_not_much_faster(kinds):
    """Chains, rules, elements; and ways through the chains, which the kernel walks when it loads them."""
    listed = mixture(MIXTURES[kinds], 1500)
    _, nodes = parts(TreeBuilder().tree(listed))
    ways = {}
    for node in nodes:  # inner ones come first
        ways[node] = sum(
            1 + ways[step.to] if isinstance(step, Jump)
            else 1 if isinstance(step, Test)
            else sum(1 + ways.get(each, 0) for each in step.branches.values())
            for step in node.steps
        )  # fmt: skip
    size = sum(len(each.branches) if isinstance(each, Select) else 1 for node in nodes for each in node.steps)
    assert size < 25 * len(listed)
    assert max(ways.values()) < 500 * len(listed)


def test_few_clauses_stay_a_list():
    listed = mixture(MIXTURES["all"], LEAF - 1)
    assert [step.clause for step in TreeBuilder().tree(listed).steps] == listed


def test_what_can_not_be_reached_is_left_out():
    certain = Clause("always")
    again = Clause("a", TCP)
    assert [step.clause for step in TreeBuilder().tree([again, again, certain, Clause("b", UDP)]).steps] == [
        again,
        certain,
    ]


def test_equal_lists_are_one_node():
    forest = TreeBuilder()
    listed = mixture(MIXTURES["all"], 100)
    assert forest.tree(listed) is forest.tree(list(listed))


def long_lists(many, spans=5000):
    every = [SPACES.of(Ranges(tuple((n * 40 + at, n * 40 + at) for n in range(spans)))) for at in range(many)]
    return [Clause(f"t{n}", TCP, sources=space) for n, space in enumerate(every)]


def test_long_blocklists_are_copied_where_they_repeat_and_may_be():
    """Address lists of thousands of prefixes are asked as they stand: by each of a few, and by many when they repeat."""
    assert all(isinstance(step, Test) for step in TreeBuilder().tree(long_lists(8)).steps)
    assert isinstance(TreeBuilder().tree(long_lists(12)).steps[0], Select)
    assert all(isinstance(step, Test) for step in TreeBuilder(copies_long=False).tree(long_lists(12)).steps)


def test_a_tree_is_the_same_whatever_was_grown_before():
    listed, forest = [*long_lists(12), Clause("last")], TreeBuilder()
    for n in range(6):
        forest.tree([*long_lists(12), Clause(f"t{n}")])
    alone, after = (parts(each.tree(listed)) for each in (TreeBuilder(), forest))
    assert [len(node.steps) for node in alone[1]] == [len(node.steps) for node in after[1]]


def test_an_empty_list_says_nothing():
    tree = TreeBuilder().tree([])
    assert tree.target is None
    assert not tree.final
    assert Walker(TreeNode(())).target(Packet()) is None
