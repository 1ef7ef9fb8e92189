"""The part of XPath that clients of the XML API send: absolute steps, `//`, `*`, and predicates on names and text.

It never changes a tree and knows nothing of PAN-OS; the handlers use it to find nodes, the edits to make a path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

Trail = tuple[Element, ...]  # the nodes from the root down to the one that matched
Test = Callable[[Element, int, int], bool]  # node, its position from 1, how many there are

CALL = [("op", "("), ("op", ")")]
MAX_LENGTH = 16_384
MAX_DEPTH = 32
TOKEN = re.compile(
    r"""\s*(?: (?P<string>'[^']*'|"[^"]*") | (?P<number>\d+(?![\w.-])) | (?P<op>//|/|\[|\]|\(|\)|,|!=|=|@|\*)
        | (?P<name>[A-Za-z_][\w.-]*) )""",
    re.VERBOSE,
)


class XPathError(ValueError):
    """The expression is not in the part of XPath that is understood here."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `entry` is the name when the only predicate says [@name='...']."""

    tag: str
    tests: tuple[Test, ...] = ()
    entry: str | None = None
    anywhere: bool = False

    @property
    def concrete(self) -> bool:
        """Whether the step says exactly which node to make when there is none."""
        return self.tag != "*" and not self.anywhere and (not self.tests or self.entry is not None)


@dataclass(slots=True)
class Tokens:
    """The tokens of one expression and how far the parser has come."""

    text: str
    items: list[tuple[str, str]]
    at: int = 0
    depth: int = 0

    @classmethod
    def of(cls, text: str) -> Tokens:
        items: list[tuple[str, str]] = []
        at = 0
        while at < len(text.rstrip()):
            found = TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise XPathError(f"{text[at : at + 20]!r} is not understood")
            items.append((found.lastgroup, found.group(found.lastgroup)))
            at = found.end()
        return cls(text, items)

    def peek(self) -> str:
        return self.items[self.at][1] if self.at < len(self.items) else ""

    def take(self, *wanted: str) -> bool:
        if self.at < len(self.items) and self.items[self.at][0] != "string" and self.peek() in wanted:
            self.at += 1
            return True
        return False

    def need(self, wanted: str) -> None:
        if not self.take(wanted):
            raise XPathError(f"{wanted!r} expected before {self.peek()!r}")

    def kind(self, kind: str) -> str | None:
        if self.at < len(self.items) and self.items[self.at][0] == kind:
            self.at += 1
            return self.items[self.at - 1][1]
        return None

    def literal(self) -> str:
        text = self.kind("string")
        if text is None:
            raise XPathError(f"a quoted text expected before {self.peek()!r}")
        return text[1:-1]


def parse(text: str) -> tuple[Step, ...]:
    """The steps of an absolute path; XPathError when it is none."""
    if len(text) > MAX_LENGTH:
        raise XPathError(f"longer than {MAX_LENGTH} characters")
    tokens = Tokens.of(text)
    steps = []
    while tokens.at < len(tokens.items):
        anywhere = tokens.take("//")
        if not anywhere:
            tokens.need("/")
        steps.append(parse_step(tokens, anywhere=anywhere))
    if not steps:
        raise XPathError("the path is empty")
    return tuple(steps)


def parse_step(tokens: Tokens, *, anywhere: bool) -> Step:
    tag = "*" if tokens.take("*") else tokens.kind("name")
    if tag is None:
        raise XPathError(f"an element name expected before {tokens.peek()!r}")
    tests: list[Test] = []
    start = tokens.at
    while tokens.take("["):
        tests.append(parse_or(tokens))
        tokens.need("]")
    return Step(tag, tuple(tests), only_name(tokens.items[start : tokens.at]), anywhere)


def only_name(items: list[tuple[str, str]]) -> str | None:
    """The name when the tokens of the predicates are exactly [@name='...']."""
    match [value for _, value in items]:
        case ["[", "@", "name", "=", quoted, "]"]:
            return quoted[1:-1]
    return None


def parse_or(tokens: Tokens) -> Test:
    tokens.depth += 1
    if tokens.depth > MAX_DEPTH:
        raise XPathError(f"predicates nested deeper than {MAX_DEPTH}")
    tests = [parse_and(tokens)]
    while tokens.take("or"):
        tests.append(parse_and(tokens))
    tokens.depth -= 1
    return tests[0] if len(tests) == 1 else lambda *at: any(test(*at) for test in tests)


def parse_and(tokens: Tokens) -> Test:
    tests = [parse_term(tokens)]
    while tokens.take("and"):
        tests.append(parse_term(tokens))
    return tests[0] if len(tests) == 1 else lambda *at: all(test(*at) for test in tests)


def parse_term(tokens: Tokens) -> Test:
    if tokens.take("("):
        inner = parse_or(tokens)
        tokens.need(")")
        return inner
    number = tokens.kind("number")
    if number is not None:
        wanted = int(number[:9])
        return lambda _node, position, _size: position == wanted
    return parse_function(tokens) or parse_comparison(tokens)


def parse_function(tokens: Tokens) -> Test | None:
    name = tokens.peek()
    if tokens.items[tokens.at + 1 : tokens.at + 2] != [("op", "(")] or name in {"text", "name", "local-name"}:
        return None
    tokens.at += 2
    test = function(name, tokens)
    tokens.need(")")
    return test


def function(name: str, tokens: Tokens) -> Test:
    if name == "not":
        inner = parse_or(tokens)
        return lambda *at: not inner(*at)
    if name == "last":
        return lambda _node, position, size: position == size
    if name not in {"contains", "starts-with"}:
        raise XPathError(f"{name}() is not understood")
    values = parse_values(tokens)
    tokens.need(",")
    part = tokens.literal()
    if name == "contains":
        return lambda node, *_: any(part in value for value in values(node))
    return lambda node, *_: any(value.startswith(part) for value in values(node))


def parse_comparison(tokens: Tokens) -> Test:
    values = parse_values(tokens)
    if tokens.take("="):
        wanted = tokens.literal()
        return lambda node, *_: wanted in values(node)
    if tokens.take("!="):
        other = tokens.literal()
        return lambda node, *_: any(value != other for value in values(node))
    return lambda node, *_: any(True for _ in values(node))


def parse_values(tokens: Tokens) -> Callable[[Element], Iterator[str]]:
    """What a predicate looks at: @attribute, local-name(), text(), or a child path."""
    if tokens.take("@"):
        attribute = tokens.kind("name") or ""
        return lambda node: iter([node.attrib[attribute]] if attribute in node.attrib else [])
    if tokens.peek() in {"local-name", "name"} and tokens.items[tokens.at + 1 : tokens.at + 3] == CALL:
        tokens.at += 3
        return lambda node: iter([node.tag])
    path: list[str] = []
    while (name := tokens.kind("name")) is not None:
        if name == "text" and tokens.take("("):
            tokens.need(")")
            break
        path.append(name)
        if not tokens.take("/"):
            break
    else:
        raise XPathError(f"a name, @name or text() expected before {tokens.peek()!r}")
    where = "/".join(path) or "."
    return lambda node: ((found.text or "").strip() for found in node.iterfind(where))


def select(root: Element, steps: tuple[Step, ...]) -> list[Trail]:
    """Every node that the path matches, each with the nodes above it."""
    trails: list[Trail] = [()]
    for step in steps:
        trails = [found for trail in trails for found in below(root, trail, step)]
    return trails


def below(root: Element, trail: Trail, step: Step) -> list[Trail]:
    if step.anywhere:
        parents = descend(root, trail)
        return [found for parent in parents for found in below(root, parent, Step(step.tag, step.tests, step.entry))]
    children = list(trail[-1]) if trail else [root]
    if step.entry is not None:
        return [(*trail, c) for c in children if c.get("name") == step.entry and step.tag in {"*", c.tag}]
    nodes = children if step.tag == "*" else [child for child in children if child.tag == step.tag]
    for test in step.tests:
        nodes = [node for at, node in enumerate(nodes, 1) if test(node, at, len(nodes))]
    return [(*trail, node) for node in nodes]


def descend(root: Element, trail: Trail) -> Iterator[Trail]:
    """The place itself and every place below it."""
    yield trail
    for child in list(trail[-1]) if trail else [root]:
        yield from descend(root, (*trail, child))
