"""PAN-OS XML from the outside: bounded, without DTDs or entities, as elements. It knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError
from xml.parsers.expat.errors import (
    XML_ERROR_NO_ELEMENTS,
    XML_ERROR_UNCLOSED_CDATA_SECTION,
    XML_ERROR_UNCLOSED_TOKEN,
    codes,
)

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from bridge.managers.panorama.rulebase import recognition

MAX_BYTES = 256 * 1024 * 1024
# What a parser meets at the end of a text that isn't whole: no element, an open token, an open CDATA section.
CUT_OFF = frozenset(
    codes[name] for name in (XML_ERROR_NO_ELEMENTS, XML_ERROR_UNCLOSED_TOKEN, XML_ERROR_UNCLOSED_CDATA_SECTION)
)


class DocumentError(Exception):
    """The text is not a PAN-OS configuration. The message says what is wrong with it."""


def parse(text: bytes) -> Element:
    """The root element. Raises DocumentError on anything but well-formed XML without a DTD, of a bounded size."""
    if len(text) > MAX_BYTES:
        raise DocumentError(f"it has {len(text)} bytes; at most {MAX_BYTES} are read")
    if not text.strip():
        raise DocumentError("it is empty")
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except DefusedXmlException as error:
        raise DocumentError("it declares a DTD or entities, which PAN-OS never does") from error
    except ParseError as error:
        cut = error.code in CUT_OFF and text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
        what = (
            "it ends in the middle, as a copy that was cut off; copy it again" if cut else "it is not well-formed XML"
        )
        raise DocumentError(f"{what}: {error}") from error
    except (ValueError, LookupError) as error:
        raise DocumentError(f"it is not well-formed XML: {error}") from error
    return root


def read_bytes(path: Path) -> bytes:
    """A file, a pipe or a device, of bounded size. Raises DocumentError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError(error.strerror or str(error)) from error
    if len(text) > MAX_BYTES:
        raise DocumentError(f"it has more than {MAX_BYTES} bytes, which is more than is read")
    return text


def read(path: Path) -> Element:
    """The `<config>` element of an exported configuration. Raises DocumentError."""
    root = parse_file(path)
    config = root if root.tag == "config" else root.find("result/config")
    if config is None:
        raise DocumentError(recognition.root_that_is_no_config(root))
    other = recognition.other_configuration(config)
    if other is not None:
        raise DocumentError(other)
    return config


def parse_file(path: Path) -> Element:
    """The root element of a file, packed or not. Raises DocumentError."""
    try:
        text = recognition.unpacked(read_bytes(path), MAX_BYTES)
    except recognition.UnusableError as error:
        raise DocumentError(str(error)) from error
    try:
        return parse(text)
    except DocumentError as error:
        known = recognition.text_that_is_no_xml(text)
        if known is None:
            raise
        raise DocumentError(known) from error


def entries(parent: Element, path: str) -> Iterator[tuple[str, Element]]:
    """Name and element of every `<entry>` under each element at `path`; nameless ones are passed over."""
    for section in parent.findall(path):
        for entry in section.findall("entry"):
            name = entry.get("name")
            if name:
                yield name, entry


def members(parent: Element | None) -> tuple[str, ...]:
    """The texts of an element's `<member>`s, in order, empty ones left out."""
    if parent is None:
        return ()
    return tuple([text for member in parent.findall("member") if (text := (member.text or "").strip())])


def children_of(parent: Element) -> dict[str, Element]:
    """The children by tag; of several with one tag the first."""
    children: dict[str, Element] = {}
    for child in parent:
        children.setdefault(child.tag, child)
    return children


def text_of(parent: Element, path: str) -> str | None:
    """The stripped text at `path`; None where there is none."""
    text = (parent.findtext(path) or "").strip()
    return text or None


def yes(parent: Element, path: str) -> bool:
    return text_of(parent, path) == "yes"
