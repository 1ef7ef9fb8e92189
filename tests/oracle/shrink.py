"""Cuts a failing configuration down: drops one element after the other as long as the failure stays."""

from copy import deepcopy
from xml.etree.ElementTree import Element, indent, tostring

KEPT = {"config", "shared", "devices", "readonly", "predefined", "device-group", "url"}
# A cut that makes a rule malformed is another failure.
LISTS = {"from", "to", "source", "destination", "application", "service"}


def shrink(config: Element, fails) -> Element:
    """The smallest configuration found for which `fails(config)` still holds."""
    small = deepcopy(config)
    while any(_drop(small, parent, fails) for parent in list(small.iter())):
        pass
    return small


def _drop(config, parent, fails):
    for child in list(parent):
        if _needed(parent, child):
            continue
        at = list(parent).index(child)
        parent.remove(child)
        if _fails(config, fails):
            return True
        parent.insert(at, child)
    return False


def _needed(parent, child):
    if parent.tag in LISTS:
        return len(parent) == 1 and child.tag == "member"
    in_rule = parent.tag == "entry" and parent.find("action") is not None
    return child.tag in KEPT or (in_rule and child.tag in {*LISTS, "action"})


def _fails(config, fails):
    # A cut may leave what no Panorama would hold: that is no smaller failure.
    try:
        return fails(config)
    except Exception:  # noqa: BLE001
        return False


def pretty(config: Element) -> str:
    small = deepcopy(config)
    indent(small)
    return tostring(small, encoding="unicode")
