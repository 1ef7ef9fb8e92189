"""The text of an external dynamic list: one entry a line, comments after it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Generic, TypeVar

from zones.net import AddressSet

T = TypeVar("T")
_LONGEST_NAME = 253
_LINE = re.compile("[^\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")  # one after the other: millions fit into a list
_MOST_READ = 4  # times the entries that a list may have: as many again may be wrong, or stand there twice


class ListError(ValueError):
    """The text is no list, or a larger one than is taken. The last good content stays."""


@dataclass(frozen=True, slots=True)
class Entries(Generic[T]):
    """What a list holds; `invalid` counts the lines that were passed over, as PAN-OS passes them over."""

    valid: tuple[T, ...]
    invalid: int


def addresses(text: str, exceptions: Iterable[str], most: int) -> Entries[AddressSet]:
    """The addresses, prefixes and ranges of a list. Raises ListError."""
    return _entries(text, exceptions, most, _address)


def domains(text: str, exceptions: Iterable[str], most: int) -> Entries[str]:
    """The names of a list. A wildcard can't be resolved: it counts as invalid. Raises ListError."""
    return _entries(text, exceptions, most, _domain)


def _entries(text: str, exceptions: Iterable[str], most: int, read: Callable[[str], T]) -> Entries[T]:
    left_out = {exception.strip().lower() for exception in exceptions}
    entries: dict[T, None] = {}
    invalid = 0
    for number, word in enumerate(_words(text)):
        if number >= most * _MOST_READ:
            raise ListError(f"it has more than {most * _MOST_READ} lines, for {most} entries at most")
        if word.lower() in left_out:
            continue
        try:
            entries[read(word)] = None
        except ValueError:
            invalid += 1
        if len(entries) > most:
            raise ListError(f"it holds more than {most} entries")
    if invalid > len(entries):
        raise ListError(f"{invalid} of its lines are no entries, and {len(entries)} are: it is no list")
    return Entries(tuple(entries), invalid)


def _words(text: str) -> Iterator[str]:
    for line in _LINE.finditer(text):
        word = line[0].partition("#")[0].split(maxsplit=1)
        if word and not word[0].startswith((";", "//")):
            yield word[0]


def _address(word: str) -> AddressSet:
    first, dash, last = word.partition("-")
    if dash:
        return AddressSet.between(ip_address(first), ip_address(last))
    return AddressSet.of([ip_network(word, strict=False)])


def _domain(word: str) -> str:
    name = word.lower().rstrip(".")
    labels = name.split(".")
    if len(name) > _LONGEST_NAME or not all(_is_label(label) for label in labels):
        raise ValueError(f"'{word}' is no name that can be resolved")
    return name


def _is_label(label: str) -> bool:
    return 0 < len(label) < 64 and label.replace("-", "").replace("_", "").isalnum()  # noqa: PLR2004 - RFC 1035
