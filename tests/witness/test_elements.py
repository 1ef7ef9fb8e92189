"""Nothing reads or writes an element that no source knows, and no element that a source knows is passed over in silence."""

from pathlib import Path
from random import Random
from xml.etree.ElementTree import fromstring, parse

import panos.objects
import panos.policies
import pytest

from bridge.managers.panorama.objects import application_filters
from bridge.managers.panorama.objects.addresses import AddressResolver
from bridge.managers.panorama.objects.applications import ApplicationObjects
from bridge.managers.panorama.objects.feeds import LIST_KINDS
from bridge.managers.panorama.objects.services import ServiceObjects
from bridge.managers.panorama.rulebase import rules
from bridge.managers.panorama.rulebase.rulebase import ReadOptions, read_scope
from bridge.managers.panorama.rulebase.shapes import SHAPES
from bridge.managers.panorama.rulebase.tree import OBJECT_KINDS, scope_of
from mocks.panorama.apps import predefined
from tests.oracle import naive, names
from tests.oracle.generate import case
from tests.panorama_xml import config, config_text, entry, members, rule, rulebase, section
from tests.witness.elements import NAMES, OBJECTS, TABLE, paths_in, strangers, unknown_below

ROOT = Path(__file__).parents[2]
READERS = {
    "objects": ("addresses", "application_filters", "applications", "content", "content_reader", "default_ports", "feeds", "schedules", "services"),
    "rulebase": ("rulebase", "rules", "shapes", "tree"),
}  # fmt: skip
CODE = [ROOT / f"bridge/managers/panorama/{room}/{name}.py" for room, files in READERS.items() for name in files]
CODE += [ROOT / f"tests/oracle/{name}.py" for name in ("flows", "generate", "naive", "names")]
CONFIGURATIONS = [
    *sorted((ROOT / "tests/golden").glob("*/panorama.xml")),
    ROOT / "config/examples/company/panorama.xml",
]
# Made up on purpose, to stand for what a next release may bring.
NEXT_YEARS = {"moon-phase", "source-weather", "someday"}
SDK = {
    "address": "AddressObject", "address-group": "AddressGroup", "service": "ServiceObject", "service-group": "ServiceGroup",
    "application": "ApplicationObject", "application-group": "ApplicationGroup", "application-filter": "ApplicationFilter",
    "application-container": "ApplicationContainer", "application-tag": "ApplicationTag", "external-list": "Edl",
    "region": "Region", "schedule": "ScheduleObject", "tag": "Tag",
}  # fmt: skip


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.stem)
def test_code_asks_for_elements_that_a_source_knows(path):
    unknown = {
        (name, line) for name, line in paths_in(path.read_text(encoding="utf-8")) if name not in NAMES | NEXT_YEARS
    }
    assert not unknown, f"{path.name}: in no source of elements.yaml"


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.parent.name)
def test_configurations_of_tests_hold_what_a_source_knows(path):
    assert {below for _, below in strangers(parse(path).getroot()) if below.split("/")[-1] not in NEXT_YEARS} == set()


def test_random_configurations_and_the_mocks_content_hold_what_a_source_knows():
    written = [case(Random(seed), depth=2, rules=20, objects=5, mess=0.2, flows=0).config for seed in range(40)]
    for tree in (*written, predefined()):
        found = {below for _, below in strangers(tree) if below.split("/")[-1] not in NEXT_YEARS}
        assert found <= {"schedule-type/hourly"}, "a schedule that is broken on purpose"


def test_an_element_that_was_made_up_is_found_in_code_and_in_configurations():
    made_up = section("application-container", entry("chat", members("functional-apps", "chat-base")))
    assert list(strangers(fromstring(f"<predefined>{made_up}</predefined>"))) == [
        ("application-container", "functional-apps")
    ]
    assert {name for name, _ in paths_in('members(found.find("functional-apps"))')} - NAMES == {"functional-apps"}
    assert {
        name for name, _ in paths_in("entry.findall(f\"{kind}/entry[@name='x']/functional-apps/member\")")
    } - NAMES == {"functional-apps"}


def effects(kind, effect):
    return {path for path, element in TABLE[kind].items() if element.effect == effect and "/" not in path}


def test_the_tables_of_parser_and_oracle_are_the_witnesss():
    assert effects("rule", "read") == rules.READ
    assert rules.SILENT | rules.NOTED.keys() == effects("rule", "silent")
    assert rules.NARROWING.keys() == effects("rule", "condition")
    assert set(naive.ONLY_ANY) == effects("rule", "condition")
    assert {*naive.LISTS, *naive.NO_EFFECT} <= effects("rule", "read") | effects("rule", "silent")
    assert set(OBJECT_KINDS) <= set(OBJECTS)
    assert {*names.ADDRESS_KINDS, *names.SERVICE_KINDS, *names.APPLICATION_KINDS} <= set(OBJECTS)
    assert {*application_filters.LISTS, *application_filters.CHARACTERISTICS, "tagging", "exclude"} == effects(
        "application-filter", "read"
    )
    assert application_filters.OTHERS.keys() == effects("application-filter", "problem")
    assert {*application_filters.LISTS, *application_filters.CHARACTERISTICS.values()} <= effects("application", "read")
    assert {f"type/{kind}" for kind in LIST_KINDS} <= TABLE["external-list"].keys()


@pytest.mark.parametrize("kind", SHAPES)
def test_the_shapes_of_objects_are_the_witnesss(kind):
    """What the reader lets pass in an object is in a source; and what a source knows makes no object unreadable."""
    for path, children in SHAPES[kind].items():
        known = {
            below.removeprefix(f"{path}/"): element.shape
            for below, element in TABLE[kind].items()
            if below.startswith(f"{path}/") or not path
        }
        direct = {name: shape for name, shape in known.items() if "/" not in name}
        assert set(direct) <= set(children)
        assert set(children) - set(direct) <= {"tag", "description", "disable-override", "override"}
        for name, shape in direct.items():
            assert children[name].value == {"yesno": "text", "entries": "node", "empty": "node"}.get(shape, shape)


def names_of(instance):
    """The names of elements that an object of the SDK writes, over all versions that it knows."""
    for parameter in instance._params:
        for _, profile in parameter._VersioningSupport__profiles:
            path = ((profile or {}).get("path") or "").split("/entry")[0]
            yield from (name for name in path.split("/") if name and "{" not in name)


def names_in_the_table(kind):
    return {name for path in TABLE[kind] for name in path.split("/")}


@pytest.mark.parametrize("kind", SDK)
def test_every_element_of_the_installed_sdk_is_in_the_table(kind):
    written = set(names_of(getattr(panos.objects, SDK[kind])("x")))
    assert written - names_in_the_table(kind) == set()


def test_every_element_of_the_sdks_rules_is_in_the_table():
    written = set(names_of(panos.policies.SecurityRule("x")))
    assert written - names_in_the_table("rule") == {"uuid"}, "which is an attribute"


CONTENT = {
    "list": "<member>x</member>",
    "yesno": "no",
    "text": "x",
    "empty": "",
    "node": "",
    "entries": "<entry name='x'/>",
}


def read(extra):
    tree = config("", {"dg": rulebase("pre", rule(extra=extra))})
    return read_scope(scope_of(tree, "dg"), ReadOptions()).rules[0]


@pytest.mark.parametrize("tag", sorted(effects("rule", "condition") | effects("rule", "silent")))
def test_every_element_of_a_rule_has_the_effect_that_the_table_says(tag):
    element = TABLE["rule"][tag]
    found = read(f"<{tag}>{CONTENT[element.shape]}</{tag}>")
    assert bool(found.conditions) is (element.effect == "condition")
    assert found.malformed == ()
    if element.effect == "condition":
        assert read(members(tag, "any")).conditions == ()


BASES = {
    "address": "<ip-netmask>10.0.0.1</ip-netmask>",
    "address-group": members("static", "10.0.0.1"),
    "service": "<protocol><tcp><port>80</port></tcp></protocol>",
    "service-group": members("members", "service-http"),
    "application": "<default><port><member>tcp/80</member></port></default>",
    "application-group": members("members", "ssl"),
}


def meaning(kind, body):
    scope = scope_of(config(section(kind, entry("x", body))), "dg")
    if kind.startswith("address"):
        return AddressResolver(scope).member("x")
    return (
        ServiceObjects(scope).member("x") if kind.startswith("service") else ApplicationObjects(scope).members(("x",))
    )


SILENT = [(kind, tag) for kind in BASES for tag in sorted(effects(kind, "silent"))]


@pytest.mark.parametrize(("kind", "tag"), SILENT)
def test_an_element_without_effect_changes_nothing_of_an_object(kind, tag):
    more = f"<{tag}>{CONTENT[TABLE[kind][tag].shape]}</{tag}>"
    assert meaning(kind, BASES[kind] + more) == meaning(kind, BASES[kind])


def unresolved(found):
    return [*found.unresolved, *(each for member in getattr(found, "members", ()) for each in member.unresolved)]


LISTED = "<type><{0}><url>https://e.example/</url>{1}</{0}></type>"
PROBLEMS = {
    "external-list type/url": (AddressResolver, "external-list", LISTED.format("url", "")),
    "external-list type/predefined-url": (AddressResolver, "external-list", LISTED.format("predefined-url", "")),
    "external-list type/imsi": (AddressResolver, "external-list", LISTED.format("imsi", "")),
    "external-list type/imei": (AddressResolver, "external-list", LISTED.format("imei", "")),
    "external-list type/domain/expand-domain": (
        AddressResolver, "external-list", LISTED.format("domain", "<expand-domain>yes</expand-domain>"),
    ),
    "application default/ident-by-icmp-type/code": (
        ApplicationObjects, "application", "<default><ident-by-icmp-type><type>3</type><code>4</code></ident-by-icmp-type></default>",
    ),
    "application default/ident-by-icmp6-type/code": (
        ApplicationObjects, "application", "<default><ident-by-icmp6-type><type>1</type><code>4</code></ident-by-icmp6-type></default>",
    ),
    "application-filter new-appid": (ApplicationObjects, "application-filter", "<new-appid>yes</new-appid>"),
    "application-filter saas-certifications": (ApplicationObjects, "application-filter", members("saas-certifications", "x")),
    "application-filter saas-risk": (ApplicationObjects, "application-filter", members("saas-risk", "x")),
}  # fmt: skip


@pytest.mark.parametrize("which", PROBLEMS)
def test_every_problem_of_the_table_is_named_in_the_reading(which):
    reader, kind, body = PROBLEMS[which]
    scope = scope_of(config(section(kind, entry("x", body))), "dg")
    assert unresolved(reader(scope).member("x") if reader is AddressResolver else reader(scope).members(("x",)))


def test_no_problem_of_the_table_is_without_a_test():
    listed = {
        f"{kind} {path}" for kind, paths in TABLE.items() for path, each in paths.items() if each.effect == "problem"
    }
    assert listed == set(PROBLEMS)


def test_every_element_has_a_source_and_the_words_that_are_known():
    for paths in TABLE.values():
        for element in paths.values():
            assert element.shape in CONTENT
            assert element.effect in {"read", "silent", "condition", "problem"}
            assert element.sources
            assert set(element.sources) <= set("PCGHXD")


def test_what_is_read_in_one_place_is_no_stranger_in_another():
    whole = fromstring(config_text(section("address", entry("a", "<ip-netmask>10.0.0.1</ip-netmask><odd/>"))))
    assert list(unknown_below("address", whole.find("shared/address/entry"))) == [("address", "odd")]
