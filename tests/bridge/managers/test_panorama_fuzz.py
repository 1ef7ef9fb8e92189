"""No configuration crashes the reader or the compiler, or holds them up: it is read, or refused with one of our errors.

The configurations are those of the golden cases, damaged as bytes and as trees.
"""

import signal
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from xml.etree.ElementTree import Element, fromstring, tostring

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.compilation.report import report_json
from bridge.errors import BridgeError
from bridge.feeds.due import next_due
from bridge.managers.panorama import ReadOptions, read_file
from bridge.managers.panorama.objects.tag_filter import parse_filter
from bridge.managers.panorama.rulebase.document import DocumentError, parse
from tests.panorama_xml import config_text, entry, members, rule, rulebase, section
from zones.compile import CompileOptions, OnInexpressibleDeny, compile_policy
from zones.problems import RuleStatus
from zones.rules import Action
from zones.schedule import Schedule
from zones.tiers import native
from zones.zone import Zoning

ROOT = Path(__file__).parents[3]
SEEDS = [path.read_bytes() for path in sorted((ROOT / "tests/golden").glob("*/panorama.xml"))]
SECONDS = 10
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NASTY = (
    "", " ", "any", "any ", "ANY", "none", "yes", "no", "true", "application-default", "default", "k8s", "Shared", "entry",
    "x" * 100_000, "é" * 300, "\u202e\u200b", "\U0001f512", "\t\n", "a\r\nb", "'", '"', "'\"", "]]>", "&", "<b/>", "'] | //*[@x='", "../../etc/passwd",
    "%s%n{0}${x}", "-1", "0", "65536", "99999999999999999999", "9" * 5000, "1e9", "0x10", "1_0", "٣", "²", "NaN", "1-", "-", ",", "1,,2",
    "65535-0", "0.0.0.0/0", "::/0", "0.0.0.0-255.255.255.255", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "10.0.0.0/-1",
    "1.2.3.4/255.255.255.0", "1.2.3.4/0.0.0.255", "fe80::1%eth0", "::ffff:1.2.3.4", "10.0.0.1/255.255.255.255", "0.0.0.0/85.85.85.85",
    "1.2.3.4/1.2.3.4/5", "tcp/", "tcp/dynamic", "TCP/80-90", "gre/5", "/", "9999/12/31@24:00-9999/12/31@24:00",
    "0001/01/01@00:00-9999/12/31@23:59", "2026/02/30@00:00-2026/03/01@00:00", "24:00-24:00", "00:00-00:00", "25:61-", "('a' or", "not", "()",
)  # fmt: skip


@contextmanager
def bounded(seconds=SECONDS):
    """Fails what takes longer, wherever it hangs."""

    def late(*_):
        raise AssertionError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def without_lengths(schema):
    """The schema but for how long its texts are: an administrator's names have an end, these have none."""
    if isinstance(schema, dict):
        return {key: without_lengths(value) for key, value in schema.items() if key != "maxLength"}
    return [without_lengths(each) for each in schema] if isinstance(schema, list) else schema


def definition(plural):
    found = yaml.safe_load((ROOT / f"config/crd/zonebridge.io_{plural}.yaml").read_text())
    return jsonschema.Draft7Validator(without_lengths(found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]))


DEFINITIONS = {kind: definition(plural) for kind, plural in native.PLURALS.items()}


def survives(path, text, device_group="k8s"):
    """Read and compile; what comes out can be told, stored and read again, and keeps the fail-closed rule."""
    path.write_bytes(text)
    with bounded():
        try:
            rulebase = read_file(path, device_group, ReadOptions(time_zone="Europe/Berlin"))
        except BridgeError:
            return None
        for feed in rulebase.feeds:
            assert next_due(feed, NOW) > NOW
        for each in rulebase.rules:
            if isinstance(each.schedule, Schedule):
                each.schedule.active(NOW)
                each.schedule.next_change(NOW)
        for on_deny in OnInexpressibleDeny:
            compiled = compile_policy(rulebase, Zoning(), CompileOptions(inexpressible_deny=on_deny))
            report_json(compiled, device_group)
            for report in compiled.reports:
                assert not (report.refuses and report.status is not RuleStatus.NOT_ENFORCED)
                if report.status is RuleStatus.NOT_ENFORCED and on_deny is not OnInexpressibleDeny.IGNORE:
                    assert report.refuses or report.action == Action.ALLOW
            if compiled.policy is not None:
                storable(compiled.policy)
    return rulebase


def storable(policy):
    rendered = native.render(policy, "panorama", 1)
    for each in (*rendered.parts, rendered.tier):
        DEFINITIONS[each["kind"]].validate(each)
    assert native.parse(rendered.tier, {part["metadata"]["name"]: part for part in rendered.parts}) == policy


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "panorama.xml"


def damaged_bytes(rng, text):
    text = bytearray(text)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(text))
        until = min(at + rng.randint(1, 200), len(text))
        match rng.randrange(5):
            case 0:
                text[at] ^= 1 << rng.randrange(8)
            case 1:
                del text[at:until]
            case 2:
                text[at:at] = text[at:until] * rng.randint(1, 3)
            case 3:
                text[at:at] = rng.choice(NASTY).encode()[:500]
            case _:
                text[at:until] = rng.randbytes(until - at)
        if not text:
            break
    return bytes(text)


def damaged_tree(rng, text):
    root = fromstring(text)
    for _ in range(rng.randint(1, 12)):
        damage(rng, root)
    return tostring(root, encoding="utf-8")


def damage(rng, root):  # noqa: C901 - one case a kind of damage
    parents = [each for each in root.iter() if len(each)]
    if not parents:
        return
    parent = rng.choice(parents)
    at = rng.randrange(len(parent))
    child = parent[at]
    match rng.randrange(9):
        case 0:
            parent.remove(child)
        case 1:
            parent.insert(rng.randrange(len(parent) + 1), child)
        case 2:
            child.tag = rng.choice([each.tag for each in root.iter()])
        case 3:
            child.tag = rng.choice(("entry", "member", "x", "any", "dynamic", "static", "negate", "y" * 500))
        case 4:
            other = rng.choice(parents)
            if other not in child.iter():  # not into itself
                other.append(child)
        case 5:
            child.set("name", rng.choice(NASTY))
        case 6:
            child.attrib.clear()
        case 7:
            parent[at] = deep(rng.randint(1, 300), child)
        case _:
            leaf = rng.choice([each for each in root.iter() if not len(each)] or [child])
            leaf.text = rng.choice(NASTY)


def deep(levels, inside):
    for _ in range(levels):
        outer = Element(inside.tag)
        outer.append(inside)
        inside = outer
    return inside


def kinds_of_leaves():
    """One leaf for each way that texts stand in a configuration: its configuration, and its number there."""
    found = {}
    for seed in SEEDS:
        above = {}
        for number, each in enumerate(fromstring(seed).iter()):
            above |= {child: (*above.get(each, ()), each.tag)[-2:] for child in each}
            if not len(each):
                found.setdefault((*above.get(each, ()), each.tag), (seed, number))
    return list(found.values())


LEAVES = kinds_of_leaves()


def with_text(leaf, text):
    seed, number = leaf
    root = fromstring(seed)
    next(each for at, each in enumerate(root.iter()) if at == number).text = text
    return tostring(root, encoding="utf-8")


FUZZ = settings(max_examples=settings().max_examples * 3)


@FUZZ
@given(st.sampled_from(SEEDS), st.integers(0, 2**32))
def test_damaged_bytes(path, seed, number):
    survives(path, damaged_bytes(Random(number), seed))


@FUZZ
@given(st.sampled_from(LEAVES), st.sampled_from(NASTY) | st.text(max_size=20))
def test_odd_texts_in_every_place(path, leaf, text):
    survives(path, with_text(leaf, text))


@FUZZ
@given(st.sampled_from(SEEDS), st.integers(0, 2**32))
def test_damaged_trees(path, seed, number):
    survives(path, damaged_tree(Random(number), seed))


def test_elements_nested_hundreds_of_thousands_deep(path):
    survives(
        path,
        b"<config><shared>" + b"<address-group>" * 300_000 + b"</address-group>" * 300_000 + b"</shared></config>",
    )


@pytest.mark.parametrize("where", ["rule", "member", "address"])
def test_a_hundred_thousand_attributes(path, where):
    text = config_text(
        section("address", entry("a", "<ip-netmask>10.0.0.1</ip-netmask>")) + "",
        {"k8s": rulebase("pre", rule("r", source="a"))},
    )
    tag = {"rule": '<entry name="r"', "member": "<member", "address": '<entry name="a"'}[where]
    many = " ".join(f'a{number}="1"' for number in range(100_000))
    assert survives(path, text.replace(tag, f"{tag} {many}", 1).encode()).rules


def test_a_group_of_tens_of_thousands_of_members(path):
    names = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(30_000)]
    groups = section("address-group", entry("g", members("static", *names)), entry("h", members("static", "g", "h")))
    assert survives(path, config_text(groups, {"k8s": rulebase("pre", rule("r", source="h"))}).encode()).rules


def test_groups_in_groups_ten_thousand_deep(path):
    groups = [entry(f"g{n}", members("static", f"g{n + 1}")) for n in range(10_000)]
    services = [entry(f"g{n}", members("members", f"g{n + 1}")) for n in range(10_000)]
    shared = (
        section("address-group", *groups)
        + section("service-group", *services)
        + section("application-group", *services)
    )
    read = survives(
        path,
        config_text(shared, {"k8s": rulebase("pre", rule("r", source="g0", service="g0", application="g0"))}).encode(),
    )
    assert read.rules[0].sources.members[0].unresolved[0].name == "g10000"


def test_device_groups_that_are_their_own_ancestors(path):
    chain = {f"g{n}": f"g{(n + 1) % 2000}" for n in range(2000)}
    assert survives(path, config_text("", dict.fromkeys(chain, ""), chain).encode(), "g0") is None


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_parser(data):
    with suppress(DocumentError):
        assert parse(data).tag


# Filters, against Python's own reading of the same words.

TAGS = ("a", "b", "c", "and more", "or", "x-y")
WORDS = st.sampled_from([*(f"'{tag}'" for tag in TAGS), *(f'"{tag}"' for tag in TAGS), "a", "b", "c", "x-y"])
OPERATORS = {"and": ("and", "AND", "And", "aNd"), "or": ("or", "OR", "Or", "oR")}
SPACES = st.sampled_from([" ", "  ", "\n", "\t "])


@st.composite
def joined(draw, parts):
    """Two or three parts with operators between them, as a filter and as Python."""
    filters, python = draw(parts)
    for _ in range(draw(st.integers(0, 3))):
        operator = draw(st.sampled_from(sorted(OPERATORS)))
        written = draw(st.sampled_from(OPERATORS[operator]))
        more, more_python = draw(parts)
        filters += f"{draw(SPACES)}{written}{draw(SPACES)}{more}"
        python += f" {operator} {more_python}"
    return filters, python


def in_brackets(part):
    return st.tuples(st.sampled_from([("(", ")"), ("( ", " )"), ("((", "))")]), part).map(
        lambda drawn: (drawn[0][0] + drawn[1][0] + drawn[0][1], f"({drawn[1][1]})")
    )


TAG = WORDS.map(lambda word: (word, f"({word.strip(chr(34) + chr(39))!r} in tags)"))
EXPRESSIONS = joined(st.recursive(TAG, lambda inner: in_brackets(joined(inner)), max_leaves=12))


@given(EXPRESSIONS, st.frozensets(st.sampled_from(TAGS)))
def test_a_filter_means_what_its_words_mean_in_python(expression, tags):
    text, python = expression
    assert parse_filter(text)(tags) is eval(python, {"tags": tags})
