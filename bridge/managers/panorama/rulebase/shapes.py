"""The shape of objects, strictly: what of one is not as PAN-OS writes it is said, never passed over.

An element that this version doesn't know could change what the object holds. `<static>` beside `<dynamic>`, tcp beside
udp or a second `<port>` would leave a deny with one of the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from xml.etree.ElementTree import Element


class ElementShape(Enum):
    TEXT = "text"
    LIST = "list"
    NODE = "node"


TEXT, LIST, NODE = ElementShape.TEXT, ElementShape.LIST, ElementShape.NODE
_OF_EVERY_OBJECT: Mapping[str, ElementShape] = {"tag": LIST, "description": TEXT, "disable-override": TEXT}
_PORTS: Mapping[str, ElementShape] = {"port": TEXT, "source-port": TEXT, "override": NODE}
_LIST: Mapping[str, ElementShape] = {
    "url": TEXT,
    "recurring": NODE,
    "exception-list": LIST,
    "description": TEXT,
    "auth": NODE,
    "certificate-profile": TEXT,
}
# Kind -> path of a node, "" for the entry itself -> its children.
SHAPES: Mapping[str, Mapping[str, Mapping[str, ElementShape]]] = {
    "address": {"": {"ip-netmask": TEXT, "ip-range": TEXT, "ip-wildcard": TEXT, "fqdn": TEXT, **_OF_EVERY_OBJECT}},
    "address-group": {"": {"static": LIST, "dynamic": NODE, **_OF_EVERY_OBJECT}, "dynamic": {"filter": TEXT}},
    "external-list": {
        "": {"type": NODE, **_OF_EVERY_OBJECT},
        "type/ip": _LIST,
        "type/domain": {**_LIST, "expand-domain": TEXT},
        "type/predefined-ip": {"url": TEXT, "exception-list": LIST, "description": TEXT},
    },
    "region": {"": {"address": LIST, "geo-location": NODE, **_OF_EVERY_OBJECT}},
    "service": {
        "": {"protocol": NODE, **_OF_EVERY_OBJECT},
        "protocol/tcp": _PORTS,
        "protocol/udp": _PORTS,
        "protocol/sctp": _PORTS,
    },
    "service-group": {"": {"members": LIST, **_OF_EVERY_OBJECT}},
    "application-group": {"": {"members": LIST, **_OF_EVERY_OBJECT}},
}
# An object is one of these: path of the node, and its children that exclude each other; none named: all do.
_ONE_OF: Mapping[str, tuple[str, frozenset[str]]] = {
    "address": ("", frozenset({"ip-netmask", "ip-range", "ip-wildcard", "fqdn"})),
    "address-group": ("", frozenset({"static", "dynamic"})),
    "external-list": ("type", frozenset()),
    "service": ("protocol", frozenset()),
}


def misshapen(kind: str, entry: Element) -> str | None:
    """What of an object is not as PAN-OS writes it, as a clause; None where nothing is."""
    for path, children in SHAPES[kind].items():
        for node in entry.findall(path) if path else (entry,):
            flaw = _flaw_of_node(node, children)
            if flaw is not None:
                return flaw
    return _several_of_one(kind, entry)


def _several_of_one(kind: str, entry: Element) -> str | None:
    if kind not in _ONE_OF:
        return None
    path, names = _ONE_OF[kind]
    nodes = entry.findall(path) if path else (entry,)
    chosen = [child.tag for node in nodes for child in node if not names or child.tag in names]
    return f"is both '{chosen[0]}' and '{chosen[1]}'" if len(chosen) > 1 else None


def _flaw_of_node(node: Element, children: Mapping[str, ElementShape]) -> str | None:
    seen: list[str] = []  # so few that a set would take longer
    for child in node:
        tag = child.tag
        shape = children.get(tag)
        if shape is None:
            return f"has the element '{tag}', which is not known to this version"
        if tag in seen:
            return f"has '{tag}' twice"
        if shape is LIST and not is_list(child):
            return f"has a '{tag}' that is no list of members"
        if shape is TEXT and len(child):
            return f"has a '{tag}' that is no text"
        seen.append(tag)
    return None


def is_list(element: Element | None, tag: str = "member") -> bool:
    """Whether an element, where it is there, holds only children of this tag: nothing between, no empty `<member>`.

    An empty tag is none, and does no harm.
    """
    if element is None:
        return True
    if element.text and element.text.strip():
        return False
    words, may_be_empty = tag == "member", element.tag == "tag"
    for child in element:
        if child.tag != tag or (child.tail and child.tail.strip()):
            return False
        if words and (len(child) or not (may_be_empty or (child.text and child.text.strip()))):
            return False
    return True
