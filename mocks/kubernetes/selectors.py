"""Label and field selectors: text to a predicate over objects. Pure; lists, watches and deletecollection use it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mocks.kubernetes.status import Json, bad_request

Predicate = Callable[[Json], bool]

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^)]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^=!\s]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^=!\s]*)$")
_EXISTS = re.compile(r"^(?P<absent>!?)\s*(?P<key>[^=!\s()]+)$")


def everything(_: Json) -> bool:
    return True


def both(first: Predicate, second: Predicate) -> Predicate:
    return lambda item: first(item) and second(item)


def label_selector(text: str) -> Predicate:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k`."""
    terms = [_label_term(term) for term in _split(text)]
    if text.rstrip().endswith(","):
        raise bad_request("found '', expected: identifier after ','")
    return lambda item: all(term(item["metadata"].get("labels") or {}) for term in terms)


def field_selector(text: str, known: Mapping[str, str]) -> Predicate:
    """`path=value,path!=value`, over the paths that this kind supports -> where they are stored."""
    terms = [_field_term(term.strip(), known) for term in text.split(",") if term.strip()]
    return lambda item: all(term(item) for term in terms)


def lookup(item: Json, path: str) -> Any:
    found: Any = item
    for step in path.strip(".").split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _split(text: str) -> list[str]:
    """Parts at the commas that are not inside parentheses."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", text) if part.strip()]


def _label_term(term: str) -> Callable[[dict[str, str]], bool]:
    if found := _SET.match(term):
        values = {value.strip() for value in found["values"].split(",")}
        return _within(found["key"], values, wanted=found["operator"] == "in")
    if found := _EQUAL.match(term):
        return _within(found["key"], {found["value"]}, wanted=found["operator"] != "!=")
    if found := _EXISTS.match(term):
        key, wanted = found["key"], not found["absent"]
        return lambda labels: (key in labels) is wanted
    raise bad_request(f'unable to parse requirement: found "{term}", expected a label selector')


def _within(key: str, values: set[str], *, wanted: bool) -> Callable[[dict[str, str]], bool]:
    """An absent label is in no set, so it satisfies every `notin` and `!=`."""
    return lambda labels: (key in labels and labels[key] in values) is wanted


def _field_term(term: str, supported: Mapping[str, str]) -> Predicate:
    found = _EQUAL.match(term)
    if found is None:
        raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
    path, value, wanted = found["key"], found["value"], found["operator"] != "!="
    if path not in supported:
        raise bad_request(f"field label not supported: {path}")
    return lambda item: (_text(lookup(item, supported[path])) == value) is wanted


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
