"""The filter of a dynamic address group: `'a' and ('b' or 'c')`. `and` binds tighter than `or`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

Matcher = Callable[[frozenset[str]], bool]

_TOKEN = re.compile(r"""\s*(?:(?P<paren>[()])|'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<word>[^\s()'"]+))""")
_MAX_DEPTH = 64


class TagFilterError(ValueError):
    """The filter is no expression over tags. The message says where it goes wrong."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    at: int
    quoted: bool = False

    def is_operator(self, *operators: str) -> bool:
        return not self.quoted and self.text.lower() in operators


def parse_filter(text: str) -> Matcher:
    """A predicate over an object's tags. Raises FilterError."""
    parser = _Parser(_tokens(text))
    matcher = parser.either(0)
    rest = parser.peek()
    if rest is not None:
        raise TagFilterError(f"unexpected '{rest.text}' at position {rest.at}")
    return matcher


def words(text: str) -> frozenset[str]:
    """Every word of a filter: the tags that it asks for, and bare operators. Raises FilterError."""
    return frozenset(token.text for token in _tokens(text))


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise TagFilterError(f"a quote that is never closed at position {at}")
        kind = match.lastgroup or ""
        tokens.append(_Token(match[kind], match.start(kind), quoted=kind in {"single", "double"}))
        at = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def either(self, depth: int) -> Matcher:
        terms = [self._both(depth)]
        while self._accept("or"):
            terms.append(self._both(depth))
        return terms[0] if len(terms) == 1 else lambda tags: any(term(tags) for term in terms)

    def _both(self, depth: int) -> Matcher:
        terms = [self._term(depth)]
        while self._accept("and"):
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else lambda tags: all(term(tags) for term in terms)

    def _term(self, depth: int) -> Matcher:
        token = self.peek()
        if token is None:
            raise TagFilterError("it ends where a tag is expected")
        if depth > _MAX_DEPTH:
            raise TagFilterError(f"parentheses deeper than {_MAX_DEPTH}")
        if token.is_operator(")", "and", "or", "not"):
            raise TagFilterError(f"unexpected '{token.text}' at position {token.at}")
        self._at += 1
        if not token.is_operator("("):
            return lambda tags: token.text in tags
        inside = self.either(depth + 1)
        if not self._accept(")"):
            raise TagFilterError(f"the parenthesis at position {token.at} is never closed")
        return inside

    def _accept(self, operator: str) -> bool:
        token = self.peek()
        if token is None or not token.is_operator(operator):
            return False
        self._at += 1
        return True
