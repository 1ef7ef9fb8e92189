"""One HTTPS call to a Panorama through pan-os-python, without its traps: TLS verified, answers bounded, no DTDs.

It opens no second connection, follows no HA peer and retries nothing: that is the door's (`api.py`).
"""

# ruff: noqa: ANN401 - pan-os-python is untyped

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPSHandler, Request, build_opener
from xml.etree.ElementTree import Element

import panos.base
import panos.panorama

from bridge.managers.panorama.rulebase.document import MAX_BYTES
from bridge.managers.panorama.rulebase.indexed_text import IndexedText

CHUNK = 1 << 20
DEADLINE = 300.0
IN_PART = Element("response", status="success")


class AnswerError(Exception):
    """The answer is too large, too slow, or declares entities. Nothing of it was parsed."""


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """`timeout`: seconds without a byte; `deadline`: seconds for a whole answer; `size`: bytes of an answer."""

    timeout: int = 15
    deadline: float = DEADLINE
    size: int = MAX_BYTES


def tls_context(ca_file: Path | None, *, verify: bool = True, deadline: float = DEADLINE) -> ssl.SSLContext:
    """A verifying context; the system's authorities where no file is given. Raises OSError on an unreadable file.

    A connection is one call, and gives up `deadline` seconds after its answer began to be read.
    """
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.sslsocket_class = type("TimedSocket", (_TimedSocket,), {"deadline": deadline})
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _TimedSocket(ssl.SSLSocket):
    """Ends an answer that comes too slowly, its head included: a socket's own timeout is for each byte anew."""

    deadline: float
    until: float | None = None

    def recv_into(self, *args: Any) -> int:
        now = time.monotonic()
        self.until = self.until or now + self.deadline
        if now > self.until:
            raise AnswerError(f"it takes longer than {self.deadline:g} s")
        return super().recv_into(*args)


class VerifiedPanorama(panos.panorama.Panorama):  # type: ignore[misc]  # pan-os-python is untyped
    """pan-os-python's Panorama, whose API calls verify TLS and bound what they read."""

    def __init__(self, *args: Any, tls: ssl.SSLContext, limits: AnswerLimits, **kwargs: Any) -> None:
        self.tls = tls
        self.limits = limits
        super().__init__(*args, **kwargs)

    def generate_xapi(self) -> BoundedXapi:
        """What every call of pan-os-python goes through; its own leaves TLS unverified."""
        return BoundedXapi(
            tls=self.tls,
            limits=self.limits,
            api_key=self.api_key,
            hostname=self.hostname,
            port=self.port,
            timeout=self.limits.timeout,
            pan_device=self,
        )


class BoundedXapi(panos.base.PanDevice.XapiWrapper):  # type: ignore[misc]
    def __init__(self, *args: Any, tls: ssl.SSLContext, limits: AnswerLimits, **kwargs: Any) -> None:
        self._limits = limits
        super().__init__(*args, **kwargs)
        self.ssl_context = tls  # given to the constructor, pan-python would warn of an old protocol
        self._opener = build_opener(HTTPSHandler(context=tls))
        self.answer_bytes = 0
        self.indexed: IndexedText | None = None
        self._indexes = False

    @contextmanager
    def indexing(self, before: IndexedText | None) -> Iterator[None]:
        """Within it, `indexed` becomes the text of an answer, and `element_root` IN_PART where only some was parsed."""
        self.indexed, self._indexes = before, True
        try:
            yield
        finally:
            self._indexes = False

    def _PanXapi__set_xml_response(self, message_body: bytearray) -> bool:  # noqa: N802 - where all answers are parsed
        self.answer_bytes = len(message_body)
        if not self._indexes:
            return bool(super()._PanXapi__set_xml_response(message_body))
        text, before = bytes(message_body), self.indexed
        self.indexed = None if before is None else before.after(text)
        if self.indexed is not None:
            self.element_root, self.status = IN_PART, "success"
            return True
        done = bool(super()._PanXapi__set_xml_response(message_body))
        self.indexed = IndexedText.of(text, self.element_root) if done else None
        return done

    def _PanXapi__api_request(self, query: dict[str, str]) -> _Bounded | Literal[False]:  # noqa: N802 - the one place all calls pass
        """As pan-python does it, which makes an opener for each call: half of a call's processor time."""
        fields = dict(query)
        key = fields.pop("key", "")
        data = urlencode(fields) + (f"&key={key}" if key else "")  # a key is encoded already
        try:
            response = self._opener.open(Request(self.uri, data.encode()), timeout=self._limits.timeout)  # noqa: S310 - https
        except HTTPError as error:
            self.status_detail = f"URLError: code: {error.code} reason: {error.reason}"
            return False
        except URLError as error:
            self.status_detail = f"URLError: reason: {error.reason}"
            return False
        return _Bounded(response, self._limits)


class _Bounded:
    """An HTTP response whose body is read only as far as the limits say."""

    def __init__(self, response: Any, limits: AnswerLimits) -> None:
        self._response = response
        self._limits = limits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    def read(self) -> bytearray:
        with closing(self._response):  # a connection that is given up is not left to the garbage collector
            body = self._within_limits()
        if b"\0" in body:
            raise AnswerError("it is not UTF-8 text, which PAN-OS always sends")
        if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
            raise AnswerError("it declares a DTD or entities, which PAN-OS never does")
        return body

    def _within_limits(self) -> bytearray:
        body = bytearray()
        while chunk := self._response.read(CHUNK):
            body += chunk
            if len(body) > self._limits.size:
                raise AnswerError(f"it is larger than {self._limits.size} bytes")
        return body
