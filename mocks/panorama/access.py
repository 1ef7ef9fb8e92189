"""Who may ask a Panorama, and what was asked: passwords, API keys, roles, and the calls that were received.

It keeps no password or key of a call. The appliance holds one of each; the handlers and tests read them.
"""

from __future__ import annotations

import base64
import secrets
from collections import Counter
from dataclasses import dataclass, field

from mocks.panorama.replies import ApiError, Code


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was received; passwords and keys are not kept."""

    type: str
    action: str
    subject: str
    user: str
    method: str
    at: float


@dataclass(slots=True)
class Traffic:
    """What clients did, for tests to ask about."""

    calls: list[Call] = field(default_factory=list)
    now: int = 0
    most: int = 0

    def enter(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def leave(self) -> None:
        self.now -= 1

    def counted(self) -> Counter[str]:
        """How many calls of each kind: `op`, `config/show`."""
        return Counter(f"{call.type}/{call.action}" if call.action else call.type for call in self.calls)

    def clear(self) -> None:
        self.calls.clear()
        self.most = self.now


@dataclass(slots=True)
class Keys:
    """API keys and whose they are."""

    users: dict[str, str]
    valid: dict[str, str] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)
    rights: dict[str, set[str]] = field(default_factory=dict)
    """The request types that a user's role allows; who is not in it may ask everything."""

    def generate(self, user: str) -> str:
        key = base64.b64encode(secrets.token_hex(50).encode()).decode()  # letters, digits and "=", as a real one
        self.valid[key] = user
        return key

    def check(self, user: str, password: str) -> bool:
        return user in self.users and secrets.compare_digest(self.users[user].encode(), password.encode())

    def owner(self, key: str) -> str:
        if key in self.expired:
            raise ApiError(Code.BAD_REQUEST, "Key Expired: generate a new API key")
        if key not in self.valid:
            raise ApiError(Code.FORBIDDEN, "Invalid Credential")
        return self.valid[key]

    def refuse_type(self, user: str, kind: str) -> None:
        if kind not in self.rights.get(user, {kind}):
            raise ApiError(Code.FORBIDDEN, f"Type [{kind}] not authorized for user role.")

    def expire(self) -> None:
        self.expired |= set(self.valid)
        self.valid.clear()
