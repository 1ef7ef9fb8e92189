"""AWS Signature Version 4 of a POST with a body: what AWS asks of every request. Pure.

Written here because boto3 and the Kubernetes client can't be installed together: `docs/decisions/` tells.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """`session` is the token of temporary keys."""

    access: str
    secret: str
    session: str | None = None

    def __repr__(self) -> str:
        return f"Keys({self.access})"


@dataclass(frozen=True, slots=True)
class SigningScope:
    """Where a signature holds."""

    region: str
    service: str


def signed(  # noqa: PLR0917 - what is signed
    keys: Keys, scope: SigningScope, at: datetime, host: str, path: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    """The headers, and those that sign them. `at` is in UTC; `path` is encoded already."""
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    full = {**headers, "Host": host, "X-Amz-Date": stamp}
    if keys.session is not None:
        full["X-Amz-Security-Token"] = keys.session
    lines = sorted((name.lower(), " ".join(value.split())) for name, value in full.items())
    names = ";".join(name for name, _ in lines)
    canonical = "\n".join(
        ("POST", path, "", *(f"{name}:{value}" for name, value in lines), "", names, hashlib.sha256(body).hexdigest())
    )
    place = f"{stamp[:8]}/{scope.region}/{scope.service}/aws4_request"
    to_sign = "\n".join((_ALGORITHM, stamp, place, hashlib.sha256(canonical.encode()).hexdigest()))
    signature = hmac.digest(_key(keys.secret, place), to_sign.encode(), "sha256").hex()
    full["Authorization"] = (
        f"{_ALGORITHM} Credential={keys.access}/{place}, SignedHeaders={names}, Signature={signature}"
    )
    del full["Host"]  # the client sends it by itself
    return full


def _key(secret: str, place: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in place.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
