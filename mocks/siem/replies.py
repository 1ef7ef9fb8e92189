"""A request and a reply of the collector as values, and how replies are worded. It never sends; hec.py does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mocks.siem.codes import status_of, text_of
from mocks.siem.script import Step
from mocks.siem.tokens import CHANNEL_HEADER

HTTP_OK = 200


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer; then, or instead, to wait and to drop the connection."""

    status: int
    body: dict[str, Any] | str
    headers: dict[str, str] = field(default_factory=dict)
    events: int = 0
    reset: bool = False
    seconds: float = 0.0

    @property
    def code(self) -> int | None:
        code = self.body.get("code") if isinstance(self.body, dict) else None
        return code if isinstance(code, int) else None


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was answered, and how."""

    method: str
    path: str
    status: int
    code: int | None
    events: int
    wire_bytes: int
    encoding: str
    channel: str
    user_agent: str


def called(request: Request, reply: Reply) -> Call:
    headers = request.headers
    return Call(
        method=request.method,
        path=request.path,
        status=reply.status,
        code=reply.code,
        events=reply.events,
        wire_bytes=len(request.body),
        encoding=headers.get("Content-Encoding", ""),
        channel=headers.get(CHANNEL_HEADER) or request.query.get("channel", ""),
        user_agent=headers.get("User-Agent", ""),
    )


def reply_with(code: int, *, event_number: int | None = None, ack_id: int | None = None, events: int = 0) -> Reply:
    body: dict[str, Any] = {"text": text_of(code), "code": code}
    if event_number is not None:
        body["invalid-event-number"] = event_number
    if ack_id is not None:
        body["ackId"] = ack_id
    return Reply(status_of(code), body, events=events)


def decorated(reply: Reply, step: Step | None) -> Reply:
    """The usual reply as the script wants it: another code, a Retry-After, a wait, a reset."""
    if step is None:
        return reply
    status, body = reply.status, reply.body
    if step.code is not None and isinstance(body, dict) and reply.status == HTTP_OK:
        status, body = status_of(step.code), {**body, "text": text_of(step.code), "code": step.code}
    headers = {} if step.retry_after is None else {"Retry-After": str(step.retry_after)}
    return Reply(status, body, headers, reply.events, step.reset, step.seconds)


def page(status: int, title: str) -> str:
    return f"<html><head><title>{status} {title}</title></head><body><h1>{title}</h1></body></html>"
