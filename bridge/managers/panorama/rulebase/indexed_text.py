"""The XML of an answer as text in which the place of each entry is known, so that later only what differs is parsed.

    <response><result><entry name="dg"> <address> <entry name="a">..</entry> <entry name="b">..</entry> </address> ..
                                                  |---- entry 0 ----|        |---- entry 1 ----|

Two texts share a beginning and an end. What lies between, from the end of an entry of the one to the beginning of an
entry of the other, is parsed inside of the tags that are open there. So it is well-formed if and only if all of it is.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from sys import intern
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

# Tags of entries; and what may hold text that only looks like one.
_TAGS = re.compile(
    rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>"
    rb"|<(?P<end>/?)entry(?=[\s/>])[^>\"']*(?:(?:\"[^\"]*\"|'[^']*')[^>\"']*)*>",
    re.DOTALL,
)
_DECLARATION = re.compile(rb"\s*<\?xml\b[^>]*?\bencoding\s*=\s*[\"']([^\"']*)[\"']")
# An element's name may depend on such an attribute, wherever it stands.
_NAMESPACE = re.compile(rb"<[^<>\"']*(?:(?:\"[^\"]*\"|'[^']*')[^<>\"']*)*?\bxmlns")
_STEP = 1 << 14
# A configuration isn't nested deeper, between two entries one of which is in the other.
_DEEPEST = 64
Path = tuple[str, ...]
_Span = tuple[int, int]


class Window(NamedTuple):
    """Which entries of two texts may differ: of the earlier one, and of the later one."""

    before: range
    now: range


@dataclass(frozen=True)
class IndexedText:
    """`ancestors` are the tags from the root down to the element whose entries these are, each with its path below it.

    The entries stand in the order of the text; those within another entry are not counted.
    """

    text: bytes
    ancestors: Path
    paths: list[Path]
    names: list[str]
    starts: list[int]
    ends: list[int]

    @classmethod
    def of(cls, text: bytes, root: Element) -> IndexedText | None:
        """Of a text whose root element this is; None where it is not one that can be read by parts."""
        encoding = _DECLARATION.match(text)
        if (encoding and encoding[1].lower() not in {b"utf-8", b"us-ascii"}) or text.startswith(b"\xef\xbb\xbf"):
            return None
        if _has_namespaces(text):
            return None
        parent = _only_child(root)
        level = None if parent is None else _only_child(parent)
        if parent is None or level is None:
            return None
        places, spans = _places(level), _spans(text, within=int(level.tag == "entry"))
        if places is None or len(spans) != len(places):
            return None
        ancestors = (root.tag, parent.tag, level.tag)
        return cls(text, ancestors, [p for p, _ in places], [n for _, n in places], *_apart(spans))

    def after(self, text: bytes) -> IndexedText | None:
        """Of a later text, of which only what differs is parsed. None where that isn't enough; then all must be."""
        if text == self.text:
            return self
        begin, end = _shared(self.text, text)
        first = bisect_right(self.ends, begin)
        last = bisect_left(self.starts, len(self.text) - end)
        if first == 0:
            return None
        longer = len(text) - len(self.text)
        start = self.ends[first - 1]
        stop = (self.starts[last] if last < len(self.starts) else len(self.text)) + longer
        middle = text[start:stop]
        level = self._parsed(middle, first - 1, last)
        if level is None:
            return None
        places, spans = _places(level), _spans(middle, within=0)
        if places is None or len(spans) != len(places):
            return None
        starts, ends = _apart([(start + one, start + other) for one, other in spans])
        return IndexedText(
            text,
            self.ancestors,
            [*self.paths[:first], *(path for path, _ in places), *self.paths[last:]],
            [*self.names[:first], *(name for _, name in places), *self.names[last:]],
            [*self.starts[:first], *starts, *[at + longer for at in self.starts[last:]]],
            [*self.ends[:first], *ends, *[at + longer for at in self.ends[last:]]],
        )

    def _parsed(self, middle: bytes, above: int, below: int) -> Element | None:
        """The element whose entries these are, with nothing in it but what lies between two of them."""
        if _has_namespaces(middle):
            return None
        opened = "".join(f"<{tag}>" for tag in (*self.ancestors, *self.paths[above])).encode()
        closed = b""
        if below < len(self.paths):
            closed = "".join(f"</{tag}>" for tag in reversed((*self.ancestors, *self.paths[below]))).encode()
        try:
            root: Element = fromstring(opened + middle + closed, forbid_dtd=True)
        except (ParseError, DefusedXmlException, ValueError, LookupError):
            return None
        parent = _only_child(root)
        return None if parent is None else _only_child(parent)

    def differing(self, before: IndexedText) -> Window:
        """Which entries may differ from those of an earlier text."""
        if before is self:
            return Window(range(0), range(0))
        begin, end = _shared(before.text, self.text)
        first = bisect_right(before.ends, begin)
        last = bisect_left(before.starts, len(before.text) - end)
        now = len(self.paths) - (len(before.paths) - last)
        longer = len(self.text) - len(before.text)
        alike = (
            first <= now
            and self.ancestors == before.ancestors
            and self.ends[:first] == before.ends[:first]
            and self.paths[:first] == before.paths[:first]
            and self.paths[now:] == before.paths[last:]
            and [at - longer for at in self.starts[now : now + 1]] == before.starts[last : last + 1]
        )
        if not alike:
            return Window(range(len(before.paths)), range(len(self.paths)))
        return Window(range(first, last), range(first, now))

    def said(self, at: int) -> bytes:
        """All that an entry says."""
        return self.text[self.starts[at] : self.ends[at]]

    def element(self, at: int) -> Element:
        """An entry by itself."""
        entry: Element = fromstring(self.said(at), forbid_dtd=True)
        return entry

    @cached_property
    def at_path(self) -> dict[Path, list[int]]:
        """The entries by where they are."""
        places: dict[Path, list[int]] = {}
        for at, path in enumerate(self.paths):
            places.setdefault(path, []).append(at)
        return places


NOTHING = IndexedText(b"", (), [], [], [], [])


def _only_child(element: Element) -> Element | None:
    return element[0] if len(element) == 1 else None


def _has_namespaces(text: bytes) -> bool:
    return b"xmlns" in text and _NAMESPACE.search(text) is not None


def _places(level: Element) -> list[tuple[Path, str]] | None:
    """Path and name of each entry below an element that is in no other entry, in order. None where it is too deep."""
    places: list[tuple[Path, str]] = []
    waiting: list[tuple[Path, Iterator[Element]]] = [((), iter(level))]
    while waiting:
        path, children = waiting[-1]
        for child in children:
            if child.tag != "entry":
                waiting.append(((*path, intern(child.tag)), iter(child)))
                break
            places.append((path, child.get("name") or ""))
        else:
            waiting.pop()
        if len(waiting) > _DEEPEST:
            return None
    return places


def _spans(text: bytes, within: int) -> list[_Span]:
    """Where each entry begins and ends that is in `within` others, in a text that is well-formed."""
    spans: list[_Span] = []
    depth = start = 0
    for tag in _TAGS.finditer(text):
        end = tag["end"]
        if end is None:  # a comment, CDATA or an instruction
            continue
        if end:
            depth -= 1
        elif depth == within:
            start = tag.start()
        if depth == within and (end or text[tag.end() - 2] == ord("/")):
            spans.append((start, tag.end()))
        if not end and text[tag.end() - 2] != ord("/"):
            depth += 1
    return spans


def _apart(spans: list[_Span]) -> tuple[list[int], list[int]]:
    return [start for start, _ in spans], [end for _, end in spans]


def _shared(one: bytes, other: bytes) -> _Span:
    """How long the beginnings and the ends are that two texts share; they don't overlap in either."""
    most = min(len(one), len(other))
    begin = _far(most, lambda start, stop: one[start:stop] == other[start:stop])
    ends = len(one), len(other)
    end = _far(
        most - begin,
        lambda start, stop: one[ends[0] - stop : ends[0] - start] == other[ends[1] - stop : ends[1] - start],
    )
    return begin, end


def _far(most: int, same: Callable[[int, int], bool]) -> int:
    """Up to where all is the same: `same` compares from one place to another, by pieces, then by halves of a piece."""
    at = 0
    while at + _STEP <= most and same(at, at + _STEP):
        at += _STEP
    step = _STEP
    while step:
        if at + step <= most and same(at, at + step):
            at += step
        step //= 2
    return at
