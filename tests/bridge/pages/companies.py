"""Policies whose pages the tests open: the example company, names of an attacker, and two hundred zones."""

from dataclasses import replace
from pathlib import Path

from bridge.compilation import offline
from bridge.preview import Configuration, compared
from bridge.settings.file import Purpose, load
from tests.bridge.world import START, rule, rulebase
from zones.compile import compile_policy
from zones.net import AddressSet
from zones.policy import usual_infrastructure
from zones.rules import Action, Addresses, AddressObject, Origin
from zones.zone import Zoning

EXAMPLE = Path(__file__).parents[3] / "config" / "examples" / "company"
DEVICE_GROUP = "prod-eu-1"
ZONES = 200
RULES = 1000

MARKUP = "</script><svg onload=hacked()>"
HOSTILE = (
    MARKUP,
    "\"><img src=x onerror=hacked()> '",
    "{{ 7 * 7 }}{% raw %}",
    "gnp.exe\u202efdp",
    "a\u2028b\x00c\td",
    "javascript:hacked()",
    "=cmd|' /C calc'!A0",
    "long" * 40,
    "\u05d0\u05d1\u05d2 right to left",
)


def company():
    """The example company, compiled."""
    settings = load(EXAMPLE / "zonebridge.yaml", {}, Purpose.OFFLINE)
    infrastructure = offline.known_infrastructure(settings)
    return offline.compile_file(EXAMPLE / "panorama.xml", DEVICE_GROUP, settings, infrastructure)


def changed_company():
    """The example company's preview: one rule denies, one opens more, one is gone, one resets."""
    settings = load(EXAMPLE / "zonebridge.yaml", {}, Purpose.OFFLINE)
    running = offline.rulebase_in_file(EXAMPLE / "panorama.xml", DEVICE_GROUP, settings, offline.NOTHING_MORE)
    edits = {
        "Orders database": lambda each: replace(each, action=Action.DENY),
        "Web to app": lambda each: replace(each, from_zones=each.from_zones | {"partner"}),
        "Block data from the outside": lambda each: replace(each, disabled=True),
        "Agents push metrics": lambda each: replace(each, action=Action.RESET_BOTH),
    }
    rules = tuple(edits.get(each.origin.name, lambda same: same)(each) for each in running.rules)
    return _preview(running, replace(running, rules=rules), settings.zones.zoning())


def hostile_preview():
    """A rule of each hostile name is added between zones of that name."""
    rules = [
        rule(name, origin=Origin(name, None, "pre", name), from_zones=frozenset({name}), to_zones=frozenset({MARKUP}))
        for name in HOSTILE
    ]
    return _preview(rulebase(zones=HOSTILE), rulebase(*rules, zones=HOSTILE), Zoning())


def _preview(running, candidate, zoning):
    infrastructure = usual_infrastructure(
        frozenset({"kube-system"}), frozenset({"kube-system"}), frozenset({"coredns"})
    )
    sides = [Configuration(each, compile_policy(each, zoning, None, infrastructure)) for each in (running, candidate)]
    return compared(*sides, START)


def hostile():
    """Each name as a zone, as a rule, as a device group, and as a reason."""
    rules = [
        rule(
            name,
            origin=Origin(name, None, "pre", name),
            from_zones=frozenset({name}),
            to_zones=frozenset({HOSTILE[0]}),
            conditions=(name,) if place % 2 else (),
        )
        for place, name in enumerate(HOSTILE)
    ]
    return compile_policy(rulebase(*rules, zones=HOSTILE), Zoning())


def many_zones():
    """Two hundred zones and a thousand rules."""
    rules = [
        rule(
            f"rule {number}",
            Action.DENY if number % 7 == 0 else Action.ALLOW,
            from_zones=frozenset({_zone(number)}),
            to_zones=frozenset({_zone(number * 37 % 613)}),
            sources=Addresses((AddressObject("net", AddressSet.parse([f"10.{number % 256}.0.0/16"])),)),
        )
        for number in range(RULES)
    ]
    return compile_policy(rulebase(*rules, zones=[_zone(number) for number in range(ZONES)]), Zoning())


def _zone(number):
    return f"zone-{number % ZONES}"
