"""After any sequence of commits, what is read and compiled with what was known before is what is made from nothing."""

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from random import Random
from unittest.mock import patch
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import BridgeError
from bridge.managers.panorama.rulebase import indexed_text
from bridge.managers.panorama.rulebase.document import members as members_of
from bridge.managers.panorama.rulebase.indexed_text import NOTHING, IndexedText
from bridge.managers.panorama.rulebase.rereading import Rereader
from bridge.managers.panorama.rulebase.rulebase import ReadOptions, read_scope, scope_entries
from bridge.managers.panorama.rulebase.tree import Ancestry, ElementLevel, TextLevel, scope_of
from tests.oracle.generate import case
from tests.panorama_xml import config, entry, members, rule, rulebase, section
from zones.compile import CompileOptions, compile_policy
from zones.net import AddressSet
from zones.tiers import native
from zones.zone import Zoning

COMMITS = 8


def answered(level, rereader):
    """A level as the door to Panorama gives it, to somebody who knows what this Rereader read last."""
    answer = Element("response", status="success")
    SubElement(answer, "result").extend(level.elements)
    if not level.elements:
        return ElementLevel(level.name, (), NOTHING)
    text, before = tostring(answer), rereader.text(level.name)
    known = None if before is None else before.after(text)
    if known is not None:
        return TextLevel(level.name, known)
    root = fromstring(text)
    return ElementLevel(level.name, (root[0][0],), IndexedText.of(text, root))


def read(rereader, scope, options):
    """As a manager reads: the names of applications first."""
    scope = replace(scope, levels=tuple(answered(level, rereader) for level in scope.levels))
    lists = [*rereader.application_lists(scope)]
    assert lists == [members_of(each.element.find("application")) for each in scope_entries(scope)]
    return rereader.read(scope, options)


def as_answered(scope):
    """Without what only an export that was merged by hand has: a level of several elements."""
    return replace(scope, levels=tuple(replace(level, elements=level.elements[:1]) for level in scope.levels))


def edit(root, rng):
    """Something that an administrator does, or a mistake: any element of the tree goes, comes twice, or changes places."""
    parents = [each for each in root.iter() if len(each)]
    parent = rng.choice(parents)
    at = rng.randrange(len(parent))
    what = rng.choice(("remove", "copy", "move", "swap", "borrow", "borrow", "rename"))
    child = parent[at]
    if what == "remove":
        parent.remove(child)
    elif what == "copy":
        parent.insert(rng.randrange(len(parent) + 1), deepcopy(child))
    elif what == "move":
        parent.remove(child)
        parent.insert(rng.randrange(len(parent) + 1), child)
    elif what == "swap":
        like = [(other, n) for other in parents for n, each in enumerate(other) if each.tag == child.tag]
        other, n = rng.choice(like)
        if not ({child, other[n]} & {*child.iter(), *other[n].iter()} - {child, other[n]}):
            parent[at], other[n] = deepcopy(other[n]), deepcopy(child)
    elif what == "borrow":
        child.text = rng.choice([each.text for each in root.iter(child.tag)])
    else:
        names = [each.get("name") for each in root.iter("entry")]
        for each in child.iter("entry"):
            each.attrib.pop("name", None)
            if name := rng.choice(names):
                each.set("name", name)
            break


class Histories:
    """One device group as it is known from commit to commit, beside what is made from nothing."""

    def __init__(self, feeds):
        self.rereader = Rereader()
        self.feeds = feeds
        self.compiled = self.rendered = None

    def commit(self, scope, options, feeds):
        scope = as_answered(scope)
        known, fresh = read(self.rereader, scope, options), read_scope(scope, options)
        assert known == fresh
        self.compiled = compile_policy(known, Zoning(), CompileOptions(), (), feeds, before=self.compiled)
        whole = compile_policy(fresh, Zoning(), CompileOptions(), (), feeds)
        assert self.compiled == whole
        if whole.policy is not None:
            self.rendered = native.render(self.compiled.policy, "t", 1, before=self.rendered)
            made = native.render(whole.policy, "t", 1)
            assert (self.rendered.tier, self.rendered.parts) == (made.tier, made.parts)


@given(
    seed=st.integers(0, 2**32),
    rules=st.integers(1, 24),
    objects=st.integers(0, 5),
    mess=st.sampled_from((0.0, 0.02, 0.3)),
)
def test_what_is_known_of_earlier_commits_changes_nothing(seed, rules, objects, mess):
    rng = Random(seed)
    some = case(rng, depth=rng.randrange(4), rules=rules, objects=objects, mess=mess, flows=0)
    root, site = deepcopy(some.config), some.site
    registered = {address: frozenset(tags) for address, tags in site.registered.items()}
    feeds = {name: AddressSet.parse(prefixes) for name, prefixes in site.feeds.items()}
    history = Histories(feeds)
    for _ in range(COMMITS):
        options = ReadOptions(
            site.ancestors_win, site.time_zone, wildcard_top_down=site.wildcard_top_down, registered=dict(registered)
        )
        ancestry = Ancestry(site.parents, flat=site.flat)
        try:
            scope = scope_of(root, some.group, ancestors_win=site.ancestors_win, ancestry=ancestry)
        except BridgeError:
            root = deepcopy(some.config)  # an administrator takes it back
            continue
        history.commit(scope, options, feeds)
        for _ in range(rng.randint(0, 3)):
            edit(root, rng)
        if registered and rng.random() < 0.2:
            registered[rng.choice([*registered])] = frozenset(rng.sample(["a", "b", "c"], rng.randrange(3)))
        if feeds and rng.random() < 0.3:
            feeds = feeds | {rng.choice([*feeds]): AddressSet.parse([f"10.9.{rng.randrange(9)}.0/24"])}


def scope_with(objects, *rules):
    return scope_of(config(groups={"dg": objects + rulebase("pre", *rules)}), "dg")


def addresses(**texts):
    return section("address", *(entry(name, f"<ip-netmask>{text}</ip-netmask>") for name, text in texts.items()))


RULES = [rule(f"rule {number}", source=["group", "host"] if number == 3 else "host") for number in range(6)]
GROUP = section("address-group", entry("group", members("static", "inner")), entry("inner", members("static", "low")))


def test_only_the_rules_that_an_edit_touches_are_read_and_compiled_again():
    before = scope_with(addresses(host="10.0.0.1", low="10.0.0.2") + GROUP, *RULES)
    after = scope_with(addresses(host="10.0.0.1", low="10.0.0.3") + GROUP, *RULES)
    rereader = Rereader()
    first, second = (read(rereader, scope, ReadOptions()) for scope in (before, after))
    assert [a is b for a, b in zip(first.rules, second.rules, strict=True)] == [True] * 3 + [False] + [True] * 2
    compiled = compile_policy(first, Zoning())
    again = compile_policy(second, Zoning(), before=compiled)
    same = [a is b for a, b in zip(compiled.policy.entries, again.policy.entries, strict=True)]
    assert same == [True] * 3 + [False] + [True] * 2 + [False] * 2  # the defaults are made each time


def test_a_rule_that_only_moved_is_not_compiled_again():
    objects = addresses(host="10.0.0.1", low="10.0.0.2") + GROUP
    rereader = Rereader()
    first = read(rereader, scope_with(objects, *RULES), ReadOptions())
    second = read(rereader, scope_with(objects, rule("above"), *RULES), ReadOptions())
    compiled = compile_policy(first, Zoning())
    again = compile_policy(second, Zoning(), before=compiled)
    assert all(a is b for a, b in zip(compiled.policy.entries[:6], again.policy.entries[1:7], strict=True))
    assert [report.number for report in again.reports[:7]] == list(range(1, 8))


def test_a_commit_of_nothing_is_the_very_same_rulebase():
    rereader = Rereader()
    objects = addresses(host="10.0.0.1", low="10.0.0.2") + GROUP
    first, second = (read(rereader, scope_with(objects, *RULES), ReadOptions()) for _ in range(2))
    assert first is second


def read_again(*scopes, **options):
    """The last of these scopes, read after the others, and the same from nothing."""
    rereader = Rereader()
    *_, known = (read(rereader, scope, ReadOptions(**options)) for scope in scopes)
    return known, read_scope(scopes[-1], ReadOptions(**options))


def test_another_rule_takes_a_wildcard_from_one_that_nobody_touched():
    objects = section(
        "address",
        *(
            entry(name, f"<ip-wildcard>10.0.{octet}.0/{mask}</ip-wildcard>")
            for name, octet, mask in (("wide", 0, "0.255.255.255"), ("narrow", 5, "0.255.0.255"))
        ),
    )
    untouched = rule("allow", source="wide")
    known, fresh = read_again(
        scope_with(objects, untouched), scope_with(objects, untouched, rule("deny", "deny", source="narrow"))
    )
    assert known == fresh
    assert known.rules[0].sources.members[0].unresolved


def test_an_ambiguous_object_that_went_to_another_level_is_told_where_it_is_now():
    both = section("address", entry("db", "<ip-netmask>10.0.0.1</ip-netmask>"))
    group = section("address-group", entry("db", members("static", "db")))
    rules = rulebase("pre", rule(source="db"))
    here = scope_of(config(groups={"dg": both + group + rules}), "dg")
    there = scope_of(config(shared=both, groups={"dg": group + rules}), "dg")
    known, fresh = read_again(here, there)
    assert known == fresh
    assert "(Shared)" in known.rules[0].sources.members[0].unresolved[0].why


def test_two_feeds_that_have_one_name_are_as_if_read_for_the_first_time():
    kind = section("predefined-ip", "<url>host</url>")
    objects = section("external-list", entry("one", section("type", kind)))
    named = section("address", entry("host", "<fqdn>db.example.com</fqdn>"))
    rules = (rule("a", source="host"), rule("b", source="one"))
    first, second = scope_with(addresses(host="10.0.0.1") + objects, *rules), scope_with(named + objects, *rules)
    for scopes in ((first, second), (first, second, first), (second, second)):
        known, fresh = read_again(*scopes)
        assert known == fresh


def test_an_edit_parses_what_it_changed_and_no_more():
    objects = section("address", *(entry(f"host-{n}", f"<ip-netmask>10.0.0.{n}</ip-netmask>") for n in range(200)))
    rules = [rule(f"rule {n}", source=f"host-{n}") for n in range(200)]
    edited = [*rules[:100], rule("rule 100", source="host-150"), *rules[101:]]
    rereader = Rereader()
    read(rereader, scope_with(objects, *rules), ReadOptions())
    scope = scope_with(objects, *edited)
    parsed = []

    def parse(text, **options):
        parsed.append(len(text))
        return fromstring(text)

    with patch.object(indexed_text, "fromstring", parse):
        level, shared = (answered(level, rereader) for level in scope.levels)
        rulebase = rereader.read(replace(scope, levels=(level, shared)), ReadOptions())
    assert rulebase == read_scope(scope, ReadOptions())
    whole = len(tostring(scope.levels[0].elements[0]))
    assert sum(parsed) < whole / 20, (parsed, whole)


def test_every_kind_of_edit_is_seen_by_a_rule_that_nobody_touched():
    """Of an object below a group below a group, a schedule, a service in a group, an application of a group, a tag."""
    nested = GROUP + section("service", entry("s", "<protocol><tcp><port>80</port></tcp></protocol>"))
    nested += section("service-group", entry("sg", members("members", "s")))
    nested += section("application", entry("app", "<default><port><member>tcp/80</member></port></default>"))
    nested += section("application-group", entry("ag", members("members", "app")))
    nested += section("schedule", entry("night", "<schedule-type><recurring><daily><member>22:00-23:00</member></daily></recurring></schedule-type>"))  # fmt: skip
    hosts = [entry(name, f"<ip-netmask>10.0.0.{n}</ip-netmask>{members('tag', 'old')}") for n, name in enumerate(("host", "low"))]  # fmt: skip
    filtered = section("address-group", entry("dyn", "<dynamic><filter>'old'</filter></dynamic>"))
    base = section("address", *hosts) + filtered + nested
    rules = [rule("first"), rule("one", source="group", destination="dyn", service="sg", application="ag", extra="<schedule>night</schedule>"), rule("last")]  # fmt: skip
    scopes = [scope_with(base, *rules)]
    for old, new in (
        ("10.0.0.1", "10.0.0.9"),
        ("<port>80", "<port>81"),
        ("22:00", "21:00"),
        ("<member>app</member>", "<member>gone</member>"),
        ('<tag><member>old</member></tag></entry><entry name="low"', '</entry><entry name="low"'),
        ("<filter>'old'", "<filter>'new'"),
    ):
        assert old in base
        base = base.replace(old, new)
        scopes.append(scope_with(base, *rules))
    rereader, seen = Rereader(), []
    for scope in scopes:
        known = read(rereader, scope, ReadOptions())
        assert known == read_scope(scope, ReadOptions())
        seen.append(known.rules[1])
    assert all(one != other for one, other in pairwise(seen)), "each edit is one of that rule"
