"""A strict parser of one RFC 5424 message: octets in, Message out, or SyslogError with the octet. It does no I/O.

The receiver calls it for each frame; what the RFC forbids is an error, never a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

BOM = b"\xef\xbb\xbf"
PRI = re.compile(rb"<(0|[1-9][0-9]{0,2})>")
VERSION = re.compile(rb"[1-9][0-9]{0,2}")
TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
PRINTABLE = re.compile(rb"[!-~]+")
SD_NAME = re.compile(rb"[!#-<>-\\^-~]{1,32}")
PARAM_VALUE = re.compile(rb'(?:[^"\\\]]|\\["\\\]]|\\(?!["\\\]]))*', re.DOTALL)
ESCAPE = re.compile(r'\\(["\\\]])')
PRIVATE_ID = re.compile(r"[^@]+@\d+(?:\.\d+)*", re.ASCII)
REGISTERED = frozenset({"timeQuality", "origin", "meta", "snmp", "alarm", "ssign", "ssign-cert", "PCNNode", "PCNTerm"})
HIGHEST_PRI = 191
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

Params = tuple[tuple[str, str], ...]


class SyslogError(ValueError):
    """What is wrong with the octets, and where."""

    def __init__(self, why: str, position: int) -> None:
        super().__init__(f"octet {position}: {why}")
        self.why = why
        self.position = position


@dataclass(frozen=True, slots=True)
class Message:
    """One syslog message. A header field that is `-` on the wire is empty (or None) here."""

    facility: int
    severity: int
    timestamp: datetime | None
    host: str
    app: str
    procid: str
    msgid: str
    structured_data: dict[str, Params]
    msg: str
    bom: bool
    raw: bytes = field(repr=False)
    peer: str = field(default="", compare=False)

    def param(self, sd_id: str, name: str) -> str | None:
        """The first value of a parameter, unescaped."""
        return next((value for key, value in self.structured_data.get(sd_id, ()) if key == name), None)

    def line(self) -> dict[str, Any]:
        return {
            "via": "syslog",
            "facility": self.facility,
            "severity": SEVERITIES[self.severity],
            "timestamp": self.timestamp.isoformat() if self.timestamp else None,
            "host": self.host,
            "app": self.app,
            "procid": self.procid,
            "msgid": self.msgid,
            "structured_data": {sd_id: list(params) for sd_id, params in self.structured_data.items()},
            "msg": self.msg,
        }


def parse(octets: bytes, peer: str = "") -> Message:
    reader = Reader(octets)
    pri = read_pri(reader)
    read_version(reader)
    timestamp = read_timestamp(reader)
    host = reader.word("HOSTNAME", 255)
    app = reader.word("APP-NAME", 48)
    procid = reader.word("PROCID", 128)
    msgid = reader.word("MSGID", 32)
    structured_data = read_structured_data(reader)
    msg, bom = read_msg(reader)
    return Message(
        pri // 8, pri % 8, timestamp, host, app, procid, msgid, structured_data, msg, bom, raw=octets, peer=peer
    )


class Reader:
    """A position in the octets."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.position = 0

    @property
    def done(self) -> bool:
        return self.position == len(self.octets)

    def take(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        match = pattern.match(self.octets, self.position)
        if match is None:
            raise SyslogError(f"no {what} here: {self.octets[self.position : self.position + 20]!r}", self.position)
        self.position = match.end()
        return match

    def sees(self, octet: bytes) -> bool:
        return self.octets.startswith(octet, self.position)

    def expect(self, octet: bytes, after: str) -> None:
        if not self.sees(octet):
            found = self.octets[self.position : self.position + 1]
            raise SyslogError(f"{octet!r} must follow {after}, not {found!r}", self.position)
        self.position += len(octet)

    def word(self, what: str, longest: int) -> str:
        """A header field and the space before it; empty for `-`."""
        self.expect(b" ", f"the field before {what}")
        start = self.position
        text = self.take(PRINTABLE, what)[0].decode()
        if len(text) > longest:
            raise SyslogError(f"{what} has {len(text)} characters, {longest} are allowed", start)
        return "" if text == "-" else text


def read_pri(reader: Reader) -> int:
    value = int(reader.take(PRI, "PRI")[1])
    if value > HIGHEST_PRI:
        raise SyslogError(f"PRI {value} is above {HIGHEST_PRI}", 0)
    return value


def read_version(reader: Reader) -> None:
    start = reader.position
    version = reader.take(VERSION, "VERSION")[0]
    if version != b"1":
        raise SyslogError(f"VERSION is {version.decode()}, only 1 exists", start)


def read_timestamp(reader: Reader) -> datetime | None:
    start = reader.position + 1
    text = reader.word("TIMESTAMP", 32)
    if not text:
        return None
    if not TIMESTAMP.fullmatch(text):
        raise SyslogError(f"TIMESTAMP {text!r} isn't as RFC 5424 writes it", start)
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise SyslogError(f"TIMESTAMP {text!r}: {error}", start) from error


def read_structured_data(reader: Reader) -> dict[str, Params]:
    reader.expect(b" ", "MSGID")
    if reader.sees(b"-"):
        reader.position += 1
        return {}
    elements: dict[str, Params] = {}
    if not reader.sees(b"["):
        raise SyslogError("STRUCTURED-DATA is neither - nor [", reader.position)
    while reader.sees(b"["):
        start = reader.position
        sd_id, params = read_element(reader)
        if sd_id in elements:
            raise SyslogError(f"SD-ID {sd_id} stands twice", start)
        elements[sd_id] = params
    return elements


def read_element(reader: Reader) -> tuple[str, Params]:
    reader.expect(b"[", "SD-ELEMENT")
    start = reader.position
    sd_id = reader.take(SD_NAME, "SD-ID")[0].decode()
    if sd_id not in REGISTERED and not PRIVATE_ID.fullmatch(sd_id):
        raise SyslogError(f"SD-ID {sd_id} is neither registered nor name@enterprise-number", start)
    params = []
    while not reader.sees(b"]"):
        reader.expect(b" ", "SD-ID or PARAM")
        params.append(read_param(reader))
    reader.position += 1
    return sd_id, tuple(params)


def read_param(reader: Reader) -> tuple[str, str]:
    name = reader.take(SD_NAME, "PARAM-NAME")[0].decode()
    reader.expect(b'="', f"PARAM-NAME {name}")
    start = reader.position
    value = reader.take(PARAM_VALUE, "PARAM-VALUE")[0]
    reader.expect(b'"', f"the value of {name}, where only \\] may stand for ]")
    try:
        return name, ESCAPE.sub(r"\1", value.decode())
    except UnicodeDecodeError as error:
        raise SyslogError(f"the value of {name} is no UTF-8: {error.reason}", start + error.start) from error


def read_msg(reader: Reader) -> tuple[str, bool]:
    """The text, and whether a BOM vouched for UTF-8. Without one, octets that aren't UTF-8 become surrogates."""
    if reader.done:
        return "", False
    reader.expect(b" ", "STRUCTURED-DATA")
    start = reader.position
    rest = reader.octets[start:]
    if not rest.startswith(BOM):
        return rest.decode("utf-8", "surrogateescape"), False
    try:
        return rest[len(BOM) :].decode(), True
    except UnicodeDecodeError as error:
        raise SyslogError(f"MSG has a BOM but is no UTF-8: {error.reason}", start + len(BOM) + error.start) from error
