"""The one door to Panorama's XML API on the active HA peer, its failures as our errors.

It never runs two calls at once and knows nothing of rules. Calls block. Only a registrar writes, where a site opts in.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

import pan.xapi
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from bridge.errors import ManagerAnswerError, ManagerError, ManagerRefusedError, ManagerUnreachableError
from bridge.managers.panorama.rulebase.indexed_text import IndexedText
from bridge.managers.panorama.session.transport import (
    IN_PART,
    AnswerError,
    AnswerLimits,
    BoundedXapi,
    VerifiedPanorama,
    tls_context,
)
from zones.runtime.backoff import Backoff

HA_STATE = "<show><high-availability><state/></high-availability></show>"
_HTTP_CODE = re.compile(r"URLError: code: (\d+)")
_KEY_TROUBLE = re.compile(
    r"invalid credential|key expired|unauthori[sz]ed|invalid key|session timed out", re.IGNORECASE
)
_EXCERPT = 200


@dataclass(frozen=True, slots=True)
class PanoramaAccess:
    """Where and as whom. Either `api_key`, or `username` and `password` for keygen. Hosts are `host` or `host:port`."""

    hosts: tuple[str, ...]
    api_key: Callable[[], str] | None = None
    username: str | None = None
    password: Callable[[], str] | None = None
    ca_file: Path | None = None
    verify: bool = True
    limits: AnswerLimits = AnswerLimits()  # noqa: RUF009 - frozen
    attempts: int = 3


class ShownNode(NamedTuple):
    """A node, None where only what differs was parsed; and its text, None where that can't be read in part."""

    element: Element | None
    text: IndexedText | None


class PanoramaApi:
    """A session with whichever of the configured peers is active. Errors are `bridge.errors.ManagerError`."""

    def __init__(self, access: PanoramaAccess) -> None:
        self._access = access
        self._active: VerifiedPanorama | None = None
        self.session = 0
        """Rises with every new session: it may be another peer's, or one that was restarted."""
        self.calls = 0
        self.received = 0

    def show(self, xpath: str) -> Element | None:
        """The one running-configuration node at an XPath; None where there is none."""
        root = self._call(f"show {xpath}", lambda xapi: pan.xapi.PanXapi.show(xapi, xpath=xpath))
        return None if root is None else root.find("result/*")

    def show_again(self, xpath: str, before: IndexedText | None) -> ShownNode | None:
        """The same, given what it said `before`: only what differs from that is parsed, where that can be."""

        def show(xapi: BoundedXapi) -> None:
            with xapi.indexing(before):
                pan.xapi.PanXapi.show(xapi, xpath=xpath)

        root = self._call(f"show {xpath}", show)
        if root is None or self._active is None:
            return None
        text = self._active.xapi.indexed
        if root is IN_PART:
            return ShownNode(None, text)
        node = root.find("result/*")
        return None if node is None else ShownNode(node, text)

    def get(self, xpath: str) -> list[Element]:
        """The nodes that match an XPath in the candidate configuration (predefined content is only there)."""
        root = self._call(f"get {xpath}", lambda xapi: pan.xapi.PanXapi.get(xapi, xpath=xpath))
        return [] if root is None else root.findall("result/*")

    def op(self, command: str) -> Element:
        """The `<result>` of an operational command, given as XML."""
        root = self._call(f"op {command}", lambda xapi: pan.xapi.PanXapi.op(xapi, cmd=command))
        result = None if root is None else root.find("result")
        if result is None:
            raise ManagerAnswerError(f"asking Panorama for {command}: the answer has no result")
        return result

    def set(self, xpath: str, element: str) -> None:
        """Merge XML into the node at an XPath of the candidate, which is made where it is missing."""
        self._call(f"set {xpath}", lambda xapi: pan.xapi.PanXapi.set(xapi, xpath=xpath, element=element))

    def delete(self, xpath: str) -> None:
        """Delete what is at an XPath of the candidate; nothing where there is nothing."""
        self._call(f"delete {xpath}", lambda xapi: pan.xapi.PanXapi.delete(xapi, xpath=xpath))

    def carry_out(self, command: str) -> None:
        """An operational command that changes something, and whose answer has nothing to read."""
        self._call(f"op {command}", lambda xapi: pan.xapi.PanXapi.op(xapi, cmd=command))

    def commit(self, command: str) -> str | None:
        """Commit a part of the candidate; the job's number, None where there is nothing to commit. Asked only once."""
        root = self._once("a commit", lambda xapi: pan.xapi.PanXapi.commit(xapi, cmd=command, action="partial"))
        return None if root is None else root.findtext("result/job")

    def user_id(self, message: str) -> Element:
        """Send a User-ID message. The answer names the entries that were not taken, if any."""
        root = self._call("User-ID changes", lambda xapi: pan.xapi.PanXapi.user_id(xapi, cmd=message))
        if root is None:
            raise ManagerAnswerError("sending User-ID changes to Panorama: the answer can't be read")
        return root

    def check_active(self) -> None:
        """Where there are HA peers, make sure that the one in use is still the active one.

        One that doesn't say so is left too: it may be gone, or our key may have ended. The next call begins anew.
        """
        if len(self._access.hosts) == 1 or self._active is None:
            return
        try:
            active = _is_active(self._raw_op(self._active))
        except ManagerError:
            active = False
        if not active:
            self._active = None

    def live_session(self) -> int:
        """The number of the session with the active peer; a new one where there was none any more."""
        self.check_active()
        self._session()
        return self.session

    def close(self) -> None:
        """Forget the session; the next call starts a new one."""
        self._active = None

    def _call(self, what: str, call: Callable[[pan.xapi.PanXapi], None]) -> Element | None:
        for attempt in Retrying(
            stop=stop_after_attempt(self._access.attempts),
            wait=Backoff(0.2, 5.0),
            retry=retry_if_exception_type(ManagerUnreachableError),
            reraise=True,
        ):
            with attempt:
                return self._once(what, call)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _once(self, what: str, call: Callable[[pan.xapi.PanXapi], None]) -> Element | None:
        panorama = self._session()
        try:
            return self._exchange(panorama, what, call)
        except ManagerRefusedError:
            self._active = None
            if self._access.password is None:
                raise
            return self._exchange(self._session(), what, call)  # with a key of today
        except ManagerUnreachableError:
            self._active = None
            raise

    def _session(self) -> VerifiedPanorama:
        if self._active is None:
            self._active = self._connect()
            self.session += 1
        return self._active

    def _connect(self) -> VerifiedPanorama:
        """The first host that answers and, where there are peers, is the active one."""
        problems: list[ManagerError] = []
        for host in self._access.hosts:
            try:
                panorama = self._open(host)
                if len(self._access.hosts) == 1 or _is_active(self._raw_op(panorama)):
                    return panorama
                problems.append(ManagerUnreachableError(f"connecting to Panorama {host}: it is the passive HA peer"))
            except ManagerError as error:
                problems.append(error)
        if len(problems) == 1:
            raise problems[0]
        kind = ManagerRefusedError if any(isinstance(p, ManagerRefusedError) for p in problems) else None
        raise (kind or ManagerUnreachableError)("; ".join(str(problem) for problem in problems)) from problems[0]

    def _open(self, host: str) -> VerifiedPanorama:
        address = urlsplit(f"//{host}" if "//" not in host else host)
        try:
            tls = tls_context(self._access.ca_file, verify=self._access.verify, deadline=self._access.limits.deadline)
            key = self._access.api_key() if self._access.api_key else None
        except OSError as error:
            raise ManagerRefusedError(f"connecting to Panorama {host}: {error}; check the paths in panorama") from error
        panorama = VerifiedPanorama(
            address.hostname, port=address.port or 443, api_key=key or "none", tls=tls, limits=self._access.limits
        )
        if key is None:
            panorama.xapi.api_key = self._keygen(panorama)
        return panorama

    def _keygen(self, panorama: VerifiedPanorama) -> str:
        xapi = panorama.xapi
        xapi.api_username, xapi.api_password = self._access.username, (self._access.password or str)()
        self._exchange(panorama, "a new API key", pan.xapi.PanXapi.keygen)
        return str(xapi.api_key)

    def _raw_op(self, panorama: VerifiedPanorama) -> Element | None:
        return self._exchange(panorama, "its HA state", lambda xapi: pan.xapi.PanXapi.op(xapi, cmd=HA_STATE))

    def _exchange(
        self, panorama: VerifiedPanorama, what: str, call: Callable[[pan.xapi.PanXapi], None]
    ) -> Element | None:
        """One call. None where Panorama says that there is no such node. Bypasses the wrapper's copies and peers."""
        self.calls += 1
        xapi = panorama.xapi
        doing = f"asking Panorama {panorama.hostname} for {what}"
        try:
            call(xapi)
        except pan.xapi.PanXapiError as error:
            if "No such node" in str(error):
                return None
            if xapi.element_root is None or xapi.element_root.find("msg/line/uid-response") is None:
                raise _blame(doing, str(error), xapi.status, xapi.status_code) from error
        except (AnswerError, UnicodeError) as error:
            raise ManagerAnswerError(f"{doing}: the answer was not used: {error}") from error
        except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException, OSError) as error:
            raise ManagerUnreachableError(f"{doing}: {type(error).__name__}: {error}; it is tried again") from error
        finally:
            self.received += xapi.answer_bytes
            xapi.xml_document = None  # the text of a large answer, which nobody reads
        root: Element | None = xapi.element_root
        if root is None:
            raise ManagerAnswerError(f"{doing}: the answer is no XML; nothing was changed")
        return root


def _blame(doing: str, detail: str, status: str | None, code: str | None) -> ManagerError:
    """Whose fault an answer tells of: our credentials', the answer's, or the moment's."""
    excerpt = detail[:_EXCERPT]
    http_code = _HTTP_CODE.match(detail)
    if "CERTIFICATE_VERIFY_FAILED" in detail or "CertificateError" in detail:
        return ManagerRefusedError(f"{doing}: its TLS certificate doesn't verify: {excerpt}; set panorama.caFile")
    if _KEY_TROUBLE.search(detail) or status == "unauth" or code == "16" or (http_code and http_code[1] == "403"):
        return ManagerRefusedError(f"{doing}: it refuses our credentials: {excerpt}; renew the API key or its rights")
    if detail.startswith("URLError") and (
        http_code is None or http_code[1][0] == "5" or http_code[1] in {"408", "429"}
    ):
        return ManagerUnreachableError(f"{doing}: {excerpt}; it is tried again")
    if "ParseError" in detail or "content-type" in detail or http_code:
        return ManagerAnswerError(f"{doing}: the answer is no PAN-OS XML: {excerpt}; nothing was changed")
    return ManagerAnswerError(f"{doing}: it answers '{excerpt}'; nothing was changed")


def _is_active(root: Element | None) -> bool:
    """HA states are `primary-active`, `secondary-passive` …; a Panorama without HA is active."""
    if root is None or root.findtext("result/enabled") == "no":
        return True
    return (root.findtext("result/local-info/state") or "").endswith("active")
