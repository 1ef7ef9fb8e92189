"""What the configuration actions do to a candidate: set, edit, delete, rename, move, clone, multi-config.

Each is a function from a root to a new root; none knows who asked, and none commits. The appliance calls them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from xml.etree.ElementTree import Element

from mocks.panorama import xpath as paths
from mocks.panorama.replies import ApiError, Code
from mocks.panorama.tree import (
    XmlError,
    key,
    marked_copy,
    open_path,
    parse_forest,
    rebuild,
    shallow,
    unite,
)
from mocks.panorama.xpath import Step, Trail, XPathError

Stamp = Mapping[str, str]

# Of each set, a node holds one: setting another puts it out.
CHOICES = (
    {"ip-netmask", "ip-range", "ip-wildcard", "fqdn"},
    {"static", "dynamic"},
    {"recurring", "non-recurring"},
)
RULEBASES = {"pre-rulebase", "post-rulebase", "rulebase"}
NAME_LIMIT = 63
LIMITED = {"address", "address-group", "service", "service-group", "application-group", "rules"} | {
    "device-group",
    "template",
    "template-stack",
}


def read_path(xpath: str) -> tuple[Step, ...]:
    try:
        return paths.parse(xpath)
    except XPathError as error:
        raise ApiError(Code.BAD_XPATH, f"Invalid xpath: {error}") from error


def find(root: Element, xpath: str) -> list[Trail]:
    return paths.select(root, read_path(xpath))


def concrete(root: Element, xpath: str) -> tuple[Step, ...]:
    """The steps of a path that says which node to make."""
    steps = read_path(xpath)
    if steps[0].tag != root.tag or not all(step.concrete for step in steps):
        raise ApiError(Code.BAD_XPATH, f"{xpath} doesn't name one node")
    return steps


def one(root: Element, xpath: str) -> Trail:
    trails = find(root, xpath)
    if not trails:
        raise ApiError(Code.NOT_PRESENT, "Object not present")
    if len(trails) > 1:
        raise ApiError(Code.BAD_XPATH, f"{xpath} doesn't name one node")
    return trails[0]


def read_elements(text: str) -> list[Element]:
    try:
        forest = parse_forest(text)
    except XmlError as error:
        raise ApiError(Code.INVALID_OBJECT, f"Malformed element: {error}") from error
    for element in forest:
        unite(element)
    return forest


def set_(root: Element, xpath: str, element: str, stamp: Stamp) -> Element:
    """Merge the elements into the node at the path, which is made where missing."""
    fresh = open_path(root, concrete(root, xpath), stamp)
    forest = Element(fresh[-1].tag)
    forest.extend(read_elements(element))
    fresh[-1].attrib.update(stamp)
    merge(fresh[-1], forest, stamp)
    return checked(fresh[0], root)


def merge(target: Element, source: Element, stamp: Stamp) -> None:
    """Lay `source` over `target`, a fresh node: entries by name, members added, leaves replaced."""
    places = {key(child): at for at, child in enumerate(target)}
    for child in source:
        at = places.get(key(child))
        if at is None:
            supersede(target, child)
            target.append(marked_copy(child, stamp))
            places = {key(one): where for where, one in enumerate(target)}
        elif len(child) or (child.text or "") != (target[at].text or ""):
            target[at] = merged(target[at], child, stamp)


def merged(old: Element, new: Element, stamp: Stamp) -> Element:
    if not len(new):
        return marked_copy(new, stamp)
    fresh = shallow(old)
    fresh.attrib.update(stamp)
    merge(fresh, new, stamp)
    return fresh


def supersede(target: Element, child: Element) -> None:
    for choice in CHOICES:
        if child.tag in choice:
            target[:] = [other for other in target if other.tag not in choice]


def edit(root: Element, xpath: str, element: str, stamp: Stamp) -> Element:
    """Replace the node at the path, or make it."""
    steps = concrete(root, xpath)
    elements = read_elements(element)
    last = steps[-1]
    if len(elements) != 1 or elements[0].tag != last.tag or elements[0].get("name") != last.entry:
        raise ApiError(Code.INVALID_OBJECT, f"edit failed: the element must be one <{last.tag}> as the xpath names it")
    fresh = open_path(root, steps, stamp)
    parent, old = fresh[-2], fresh[-1]
    new = marked_copy(elements[0], stamp)
    if "uuid" in old.attrib:
        new.attrib.setdefault("uuid", old.attrib["uuid"])
    parent[list(parent).index(old)] = new
    return checked(fresh[0], root)


def delete(root: Element, xpath: str, stamp: Stamp) -> Element:
    """Without every node that matches; their parents carry the mark."""
    trails = find(root, xpath)
    if any(len(trail) == 1 for trail in trails):
        raise ApiError(Code.NOT_POSSIBLE, "The configuration itself can't be deleted")
    gone = {id(trail[-1]) for trail in trails}
    parents = {id(trail[-2]) for trail in trails}
    above = {id(node) for trail in trails for node in trail[:-1]}

    def without(node: Element) -> Element:
        if id(node) not in above:
            return node
        fresh = shallow(node)
        fresh[:] = [without(child) for child in node if id(child) not in gone]
        if id(node) in parents:
            fresh.attrib.update(stamp)
        return fresh

    return without(root)


def rename(root: Element, xpath: str, newname: str, stamp: Stamp) -> Element:
    trail = one(root, xpath)
    refuse_taken(trail, newname)

    def renamed(node: Element) -> Element:
        fresh = shallow(node)
        fresh.attrib.update({"name": newname, **stamp})
        return fresh

    return checked(rebuild(root, [trail], renamed), root)


def refuse_taken(trail: Trail, newname: str) -> None:
    if trail[-1].tag != "entry" or len(trail) < 2:  # noqa: PLR2004 # a node and its parent
        raise ApiError(Code.BAD_XPATH, "The xpath must name an entry")
    if not newname:
        raise ApiError(Code.BAD_REQUEST, 'Missing value for parameter "newname".')
    if any(other.get("name") == newname for other in trail[-2]):
        raise ApiError(Code.INVALID_OBJECT, f"{newname} already exists")


def move(root: Element, xpath: str, where: str, dst: str, stamp: Stamp) -> Element:
    """Within the list that holds the entry."""
    trail = one(root, xpath)
    if len(trail) < 2:  # noqa: PLR2004 # a node and its parent
        raise ApiError(Code.BAD_XPATH, "The xpath must name an entry")
    parent, node = trail[-2], trail[-1]
    rest = [child for child in parent if child is not node]
    at = place(rest, where, dst)
    if list(parent).index(node) == at:
        raise ApiError(Code.NOT_POSSIBLE, f"{node.get('name')} is already there")
    moved = shallow(node)
    moved.attrib.update(stamp)

    def reordered(old: Element) -> Element:
        fresh = shallow(old)
        fresh[:] = [*rest[:at], moved, *rest[at:]]
        return fresh

    return rebuild(root, [trail[:-1]], reordered)


def place(rest: list[Element], where: str, dst: str) -> int:
    if where in {"top", "bottom"}:
        return 0 if where == "top" else len(rest)
    if where not in {"before", "after"}:
        raise ApiError(Code.BAD_REQUEST, f'Illegal value for parameter "where" [{where}].')
    for at, child in enumerate(rest):
        if child.get("name") == dst:
            return at if where == "before" else at + 1
    raise ApiError(Code.NOT_FOUND, f"{dst} is not there to move to")


def clone(root: Element, xpath: str, source: str, newname: str, stamp: Stamp) -> Element:
    """A copy of the entry at `source`, under a new name, in the list at the path."""
    original = one(root, source)[-1]
    copy = marked_copy(original, stamp)
    copy.attrib.pop("uuid", None)
    copy.set("name", newname)
    fresh = open_path(root, concrete(root, xpath), stamp)
    refuse_taken((fresh[-1], copy), newname)
    fresh[-1].append(copy)
    return checked(fresh[0], root)


def checked(new: Element, old: Element) -> Element:
    """The new root, when the names in it are allowed; its new rules get their UUIDs."""
    look(new, old, rulebase=False)
    return new


def look(new: Element, old: Element | None, *, rulebase: bool) -> None:
    """Walk what is fresh in `new`; only fresh nodes may be given a UUID."""
    kept = {id(child) for child in old} if old is not None else set()
    known = {key(child): child for child in old} if old is not None else {}
    for child in new:
        if id(child) in kept:
            continue
        if child.tag == "entry":
            look_at_entry(child, new.tag, rulebase=rulebase)
        look(child, known.get(key(child)), rulebase=rulebase or child.tag in RULEBASES)


def look_at_entry(entry: Element, parent: str, *, rulebase: bool) -> None:
    name = entry.get("name", "")
    if parent in LIMITED and len(name) > NAME_LIMIT:
        raise ApiError(
            Code.INVALID_OBJECT, f" {name} can be at most {NAME_LIMIT} characters, but current length: {len(name)}"
        )
    if parent == "rules" and rulebase and "uuid" not in entry.attrib:
        entry.set("uuid", str(uuid.uuid4()))
