"""Whether who calls knows a token: as a bearer, or, from a browser, as the password of any user. Pure."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode


def knows_as_bearer(authorization: str, token: str) -> bool:
    """Of an Authorization header. An empty token is known by nobody."""
    kind, _, credential = authorization.partition(" ")
    return kind == "Bearer" and _same(credential.encode(errors="surrogateescape"), token)


def knows_as_password(authorization: str, token: str) -> bool:
    """Of an Authorization header of HTTP's Basic scheme."""
    kind, _, credential = authorization.partition(" ")
    if kind.lower() != "basic":
        return False
    try:
        _, colon, password = b64decode(credential.encode(errors="surrogateescape"), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    return bool(colon) and _same(password, token)


def _same(credential: bytes, token: str) -> bool:
    return bool(token) and hmac.compare_digest(credential, token.encode())
