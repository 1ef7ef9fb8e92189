"""What a file is that a user gave for a configuration: unpacked where it is packed, named where it is no such thing."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zipfile
import zlib
from xml.etree.ElementTree import Element

GZIP = b"\x1f\x8b"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # one with files, one without
OTHER_PACKERS = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"7z\xbc\xaf\x27\x1c": "7-Zip", b"\x28\xb5\x2f\xfd": "zstd"}
# Where a tar archive says that it is one.
TAR_MAGIC_AT, TAR_MAGIC = 257, b"ustar"
# What a Mac puts beside each file of a zip.
BESIDE_FILES = ("__MACOSX/", "._")
EXPORT = (
    "export it in Panorama > Setup > Operations > Export named Panorama configuration snapshot (running-config.xml)"
)
WHOLE = "type=op&cmd=<show><config><running/></config></show>"
MOST_NAMES = 5
_HEAD = 4096
_PROMPT = re.compile(rb"^[\w.-]+@[\w.() -]+[>#] ?", re.MULTILINE)
_PAGE = re.compile(rb"\A\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)
_SET = re.compile(rb"\A(?:\s|#[^\n]*\n)*(?:set|delete|edit|configure) ", re.IGNORECASE)
_CURLY = re.compile(rb"\A\s*[\w.-]+ \{\s*[\r\n]")


class UnusableError(Exception):
    """The file can't be used as it is; the message says what it is, and what to give instead."""


def unpacked(data: bytes, most: int) -> bytes:
    """The text of a file, out of gzip or of a zip with one XML file. Raises UnusableError."""
    if data.startswith(GZIP):
        data = _gunzip(data, most)
    if data.startswith(ZIP):
        data = _unzip(data, most)
    packer = next((name for magic, name in OTHER_PACKERS.items() if data.startswith(magic)), None)
    if packer is not None:
        raise UnusableError(f"it is a {packer} file, which is not unpacked here; unpack it and give what is in it")
    if data[TAR_MAGIC_AT:].startswith(TAR_MAGIC):
        raise UnusableError(_archive(data))
    return data


def _gunzip(data: bytes, most: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(most + 1)
    except EOFError as error:
        raise UnusableError("it is a gzip file that was cut off; copy it again") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise UnusableError(f"it is a gzip file that can't be unpacked: {error}; copy it again") from error
    if len(text) > most:
        raise UnusableError(f"it is a gzip file of more than {most} bytes unpacked, which is more than is read")
    return text


def _unzip(data: bytes, most: int) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [member.filename for member in archive.infolist() if _is_meant(member.filename)]
            if len(names) != 1:
                raise UnusableError(f"it is a zip file with {_named(names)}; unpack it and give the one that is meant")
            with archive.open(names[0]) as file:
                text = file.read(most + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, zlib.error) as error:
        raise UnusableError(f"it is a zip file that can't be unpacked: {error}") from error
    if len(text) > most:
        raise UnusableError(f"it is a zip file of more than {most} bytes unpacked, which is more than is read")
    return text


def _is_meant(name: str) -> bool:
    beside = name.startswith(BESIDE_FILES) or name.rpartition("/")[2].startswith(BESIDE_FILES)
    return name.lower().endswith(".xml") and not beside


def _archive(data: bytes) -> str:
    """A tech-support file, or a bundle of several devices' configurations."""
    names: list[str] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            names = [member.name for member in archive if member.isfile() and member.name.endswith(".xml")]
    except (tarfile.TarError, OSError, EOFError, ValueError):
        pass
    running = [name for name in names if name.endswith("running-config.xml")] or names
    return (
        f"it is an archive, as a tech-support file or an export of all devices is, with {_named(running)}; "
        "unpack it and give Panorama's running-config.xml"
    )


def _named(names: list[str]) -> str:
    if not names:
        return "no XML file in it"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    count = "one XML file" if len(names) == 1 else f"{len(names)} XML files"
    return f"{count}: {', '.join(names[:MOST_NAMES])}{more}"


def text_that_is_no_xml(data: bytes) -> str | None:
    """What a text is that isn't XML; None where that can't be said."""
    head = data[:_HEAD].removeprefix(b"\xef\xbb\xbf")
    if _PAGE.match(head):
        return f"it is a web page, as of a sign-in; {EXPORT}"
    if _PROMPT.search(head):
        return f"it is what was copied from a command line, prompt and all; {EXPORT}"
    if _SET.match(head):
        return f"it is a list of set commands; {EXPORT}"
    if _CURLY.match(head):
        return f"it is a configuration in the command line's own form, with braces; {EXPORT}"
    if head.lstrip().startswith((b"{", b"[")):
        return f"it is JSON; {EXPORT}"
    return None


def root_that_is_no_config(root: Element) -> str:
    """What an XML document is whose root is not `<config>`."""
    if root.tag == "response":
        return _answer(root)
    if root.tag.lower() == "html":
        return f"it is a web page, as of a sign-in; {EXPORT}"
    if root.tag in {"predefined", "device-group", "shared", "devices", "entry", "rules", "security"}:
        return f"it is only the part <{root.tag}> of a configuration; {EXPORT}"
    return f"its root is <{root.tag}>, not <config>: it is no PAN-OS configuration; {EXPORT}"


def _answer(root: Element) -> str:
    """An API's answer without a whole configuration in it."""
    if root.get("status") != "success":
        words = " ".join(" ".join(root.itertext()).split())[:200]
        code = f", code {root.get('code')}" if root.get("code") else ""
        return f"it is an API's error answer ({root.get('status')}{code}): {words or 'it says no more'}; ask again"
    result = root.find("result")
    parts = "nothing" if result is None or not len(result) else f"<{result[0].tag}>"
    return f"it is an API's answer that holds only {parts}; ask for all, with {WHOLE}"


def other_configuration(config: Element) -> str | None:
    """What a `<config>` is of that isn't Panorama's; None where it may be."""
    if any(config.find(f"devices/entry/{part}") is not None for part in ("device-group", "template", "template-stack")):
        return None
    if config.find("devices/entry/vsys/entry") is not None or config.find("devices/entry/network") is not None:
        return f"this is a firewall's own configuration, not Panorama's; {EXPORT}"
    if config.find("panorama") is None and config.find("devices/entry/vsys") is not None:
        return f"this is a firewall's own configuration, not Panorama's; {EXPORT}"
    return None
