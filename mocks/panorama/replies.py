"""What Panorama says back: the XML envelopes of success and of every error, and the exception that carries one.

It decides nothing and reads nothing; every handler of the mock answers through it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

from mocks.panorama.tree import serialize

UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Code(IntEnum):
    """The response codes of the XML API that the mock uses."""

    UNKNOWN_COMMAND = 1
    INTERNAL = 2
    BAD_XPATH = 6
    NOT_PRESENT = 7
    INVALID_OBJECT = 12
    NOT_FOUND = 13
    NOT_POSSIBLE = 14
    DENIED = 15
    UNAUTHORIZED = 16
    INVALID_COMMAND = 17
    MALFORMED = 18
    SUCCESS = 19
    DONE = 20
    BAD_REQUEST = 400
    FORBIDDEN = 403


class ApiError(Exception):
    """A request that Panorama refuses, with the code and the words it uses."""

    def __init__(self, code: Code, message: str) -> None:
        self.message = UNPRINTABLE.sub("?", message)
        super().__init__(self.message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer, before it is one."""

    body: bytes
    status: int = 200
    reason: str | None = None


def attributes(values: Mapping[str, str]) -> str:
    return "".join(f" {name}={quoteattr(value)}" for name, value in values.items())


def envelope(inner: bytes, status: str = "success", code: Code | None = None) -> bytes:
    head = f'<response status="{status}"' + (f' code="{code.value}"' if code else "") + ">"
    return head.encode() + inner + b"</response>"


def result(*nodes: Element, code: Code | None = None, **counts: str) -> Reply:
    """Success with nodes inside the result."""
    names = {name.replace("_", "-"): value for name, value in counts.items()}
    inner = b"".join(serialize(node) for node in nodes)
    return Reply(envelope(b"<result" + attributes(names).encode() + b">" + inner + b"</result>", code=code))


def raw(text: str, code: Code | None = None) -> Reply:
    """Success with XML text inside the result."""
    return Reply(envelope(b"<result>" + text.encode() + b"</result>", code=code))


def message(text: str, code: Code = Code.DONE) -> Reply:
    return Reply(envelope(f"<msg>{escape(text)}</msg>".encode(), code=code))


def enqueued(job: int, words: str) -> Reply:
    """Success of a request that became a job."""
    return raw(f"<msg><line>{escape(words)} job enqueued with jobid {job}</line></msg><job>{job}</job>", Code.SUCCESS)


def refusal(error: ApiError) -> Reply:
    """The HTTP status follows the code: 400 and 403 are HTTP errors, the others are 200 with an error inside."""
    if error.code in {Code.BAD_REQUEST, Code.FORBIDDEN}:
        inner = f"<result><msg>{escape(error.message)}</msg></result>"
        reason = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in error.message)
        return Reply(envelope(inner.encode(), "error", error.code), error.code.value, reason)
    status = "unauth" if error.code is Code.UNAUTHORIZED else "error"
    return Reply(envelope(lines([error.message]).encode(), status, error.code))


def no_such_node() -> Reply:
    """What `show` answers unless exactly one node matches; it carries no code."""
    return Reply(envelope(lines(["No such node"]).encode(), "error"))


def lines(texts: Iterable[str]) -> str:
    return "<msg>" + "".join(f"<line>{escape(text)}</line>" for text in texts) + "</msg>"
