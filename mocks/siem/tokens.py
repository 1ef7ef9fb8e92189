"""HEC tokens and who a request claims to be. It never reads a body; the collector calls it first."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from mocks.siem.codes import (
    CHANNEL_MISSING,
    INVALID_AUTHORIZATION,
    INVALID_CHANNEL,
    INVALID_TOKEN,
    NO_QUERY_AUTHORIZATION,
    TOKEN_DISABLED,
    TOKEN_REQUIRED,
    Refusal,
)

CHANNEL_HEADER = "X-Splunk-Request-Channel"


@dataclass(slots=True)
class Token:
    """One HEC input. Tests turn it off and on while the collector runs. No `indexes` means that any will do."""

    value: str
    name: str = "mock"
    use_ack: bool = False
    indexes: tuple[str, ...] = ()
    index: str = "main"
    sourcetype: str = "httpevent"
    query_authorization: bool = False
    enabled: bool = True


def authorise(headers: Mapping[str, str], query: Mapping[str, str], tokens: Mapping[str, Token]) -> Token:
    """The token that a request presents; raises Refusal."""
    header = headers.get("Authorization")
    if header is None and "token" not in query:
        raise Refusal(TOKEN_REQUIRED)
    token = tokens.get(query["token"] if header is None else presented(header))
    if token is None:
        raise Refusal(INVALID_TOKEN)
    if not token.enabled:
        raise Refusal(TOKEN_DISABLED)
    if header is None and not token.query_authorization:
        raise Refusal(NO_QUERY_AUTHORIZATION)
    return token


def presented(header: str) -> str:
    """`Splunk TOKEN`, or Basic with the token as the password."""
    scheme, _, value = header.partition(" ")
    if scheme == "Splunk" and value.strip():
        return value.strip()
    if scheme == "Basic":
        return basic_password(value)
    raise Refusal(INVALID_AUTHORIZATION)


def basic_password(value: str) -> str:
    try:
        pair = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refusal(INVALID_AUTHORIZATION) from error
    return pair.partition(":")[2]


def channel_of(headers: Mapping[str, str], query: Mapping[str, str], *, required: bool) -> str:
    """The data channel, a GUID, in lower case; empty where none is given and none is required."""
    given = headers.get(CHANNEL_HEADER) or query.get("channel", "")
    if not given:
        if required:
            raise Refusal(CHANNEL_MISSING)
        return ""
    try:
        return str(uuid.UUID(given))
    except ValueError as error:
        raise Refusal(INVALID_CHANNEL) from error
