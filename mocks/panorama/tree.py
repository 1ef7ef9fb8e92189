"""A configuration tree that is never changed in place: every edit makes a new root and shares what it left alone.

Running and candidate are two roots of mostly the same nodes, so a commit, a snapshot or a revert costs nothing. It
knows nothing of requests; the edits and the appliance use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from mocks.panorama.xpath import Step, Trail

MARKS = ("admin", "dirtyId", "time")
MAX_DEPTH = 150
Key = tuple[str, str | None]


class XmlError(ValueError):
    """The text is not XML that a configuration or a command could be."""


class ConfigError(ValueError):
    """The text or file is not a PAN-OS configuration."""


def parse_xml(text: str | bytes) -> Element:
    """Well-formed XML without DTD and entities, not absurdly deep, without the white space between elements."""
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise XmlError(str(error) or type(error).__name__) from error
    tidy(root)
    return root


def parse_forest(text: str | bytes) -> list[Element]:
    """The elements of a fragment that need not have one root."""
    data = text.encode() if isinstance(text, str) else text
    return list(parse_xml(b"<forest>" + data + b"</forest>"))


def tidy(root: Element) -> None:
    level = [root]
    for _ in range(MAX_DEPTH):
        for node in level:
            node.tail = None
            if len(node) and node.text is not None and not node.text.strip():
                node.text = None
        level = [child for node in level for child in node]
        if not level:
            return
    raise XmlError(f"elements nested deeper than {MAX_DEPTH}")


def load_config(source: Path | str) -> Element:
    """The <config> of a file or a text; an API response that holds one will do."""
    try:
        root = parse_xml(source.read_bytes() if isinstance(source, Path) else source)
    except (OSError, XmlError) as error:
        raise ConfigError(f"cannot read {named(source)}: {error}") from error
    found = root if root.tag == "config" else root.find("result/config")
    if found is None:
        raise ConfigError(f"cannot use {named(source)}: its root is <{root.tag}>, not <config>")
    unite(found)
    for node in found.iter():
        if "dirtyId" in node.attrib:
            node.attrib = plain(node)
    return found


def unite(root: Element) -> None:
    """Lay siblings that are the same node over each other, as a device that loads such a file holds one only."""
    for node in root.iter():
        if len(node) < 2:  # noqa: PLR2004 # a node and its twin
            continue
        kept: dict[Key, Element] = {}
        for child in node:
            first = kept.setdefault(key(child), child)
            if first is not child:
                first.text = child.text or first.text
                first.extend(list(child))
        if len(kept) < len(node):
            node[:] = kept.values()


def named(source: Path | str) -> str:
    return str(source) if isinstance(source, Path) else "the configuration text"


def serialize(node: Element) -> bytes:
    data: bytes = tostring(node, encoding="utf-8")
    return data.removeprefix(b"<?xml version='1.0' encoding='utf-8'?>\n")


def key(node: Element) -> Key:
    """What makes a node the same one among its siblings: its tag and name, or a member's text."""
    return (node.tag, node.text if node.tag == "member" else node.get("name"))


def shallow(node: Element, without: tuple[str, ...] = ()) -> Element:
    """A copy that may be changed; its children are still the shared ones."""
    fresh = Element(node.tag, {name: value for name, value in node.attrib.items() if name not in without})
    fresh.text = node.text
    fresh.extend(list(node))
    return fresh


def open_path(root: Element, steps: tuple[Step, ...], stamp: Mapping[str, str]) -> list[Element]:
    """Fresh copies of the nodes along a concrete path, made and marked where missing; the first is the new root."""
    fresh = [shallow(root)]
    for step in steps[1:]:
        parent = fresh[-1]
        wanted = [i for i, c in enumerate(parent) if c.tag == step.tag and step.entry in {None, c.get("name")}]
        if wanted:
            node = shallow(parent[wanted[0]])
            parent[wanted[0]] = node
        else:
            node = Element(step.tag, {**({"name": step.entry} if step.entry is not None else {}), **stamp})
            parent.append(node)
        fresh.append(node)
    return fresh


def rebuild(root: Element, trails: list[Trail], change: Callable[[Element], Element | None]) -> Element:
    """A new root in which the last node of each trail became what `change` makes of it, or went."""
    targets = {id(trail[-1]) for trail in trails}
    above = {id(node) for trail in trails for node in trail[:-1]}

    def rebuilt(node: Element) -> Element | None:
        if id(node) in targets:
            return change(node)
        if id(node) not in above:
            return node
        fresh = shallow(node)
        fresh[:] = [new for child in node if (new := rebuilt(child)) is not None]
        return fresh

    return rebuilt(root) or root


def mark(node: Element, stamp: Mapping[str, str]) -> None:
    """Say of a node and of everything below it that it isn't committed; all of them must be fresh."""
    for inner in node.iter():
        inner.attrib.update(stamp)


def marked_copy(node: Element, stamp: Mapping[str, str]) -> Element:
    fresh = deepcopy(node)
    mark(fresh, stamp)
    return fresh


def settle(node: Element, old: Element | None, committed: Callable[[int], bool]) -> Element:
    """The node without the marks of committed changes; what it shares with `old` has none and stays shared."""
    if node is old:
        return node
    kept = {id(child) for child in old} if old is not None else set()
    known = {key(child): child for child in old} if old is not None else {}
    fresh = shallow(node, MARKS if committed(int(node.get("dirtyId", "0"))) else ())
    fresh[:] = [c if id(c) in kept else settle(c, known.get(key(c)), committed) for c in node]
    return fresh


def same_uuids(new: Element, old: Element | None, like: Element | None) -> None:
    """Give the fresh nodes of `new`, those that `old` doesn't share, the UUIDs that their twins in `like` have."""
    kept = {id(child) for child in old} if old is not None else set()
    olds = {key(child): child for child in old} if old is not None else {}
    twins = {key(child): child for child in like} if like is not None else {}
    for child in new:
        if id(child) not in kept:
            twin = twins.get(key(child))
            if twin is not None and "uuid" in twin.attrib and "uuid" in child.attrib:
                child.set("uuid", twin.attrib["uuid"])
            same_uuids(child, olds.get(key(child)), twin)


def share(new: Element, old: Element, stamp: Mapping[str, str]) -> Element:
    """`new`, but made of the nodes of `old` wherever both say the same, and marked where they differ."""
    known = {key(child): child for child in old}
    olds = list(old)
    children = [
        share(child, known[key(child)], stamp) if key(child) in known else marked_copy(child, stamp) for child in new
    ]
    unlike = new.text != old.text or plain(new) != plain(old)
    if not unlike and len(children) == len(olds) and all(a is b for a, b in zip(children, olds, strict=True)):
        return old
    fresh = shallow(new)
    fresh[:] = children
    kept = {id(child) for child in olds}
    if unlike or all(id(child) in kept for child in children):  # itself changed, or lost or reordered children
        fresh.attrib.update(stamp)
    return fresh


def plain(node: Element) -> dict[str, str]:
    return {name: value for name, value in node.attrib.items() if name not in MARKS}
