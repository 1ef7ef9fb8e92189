"""The errors of the API, as the Status objects that clients read. Every verb raises these; none is handled here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

EXPIRED_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list "
    "without the continue parameter."
)


@dataclass(frozen=True, slots=True)
class Cause:
    """One fault of an object: where, of what sort, and in words."""

    reason: str
    message: str
    field: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"

    def body(self) -> Json:
        return {"reason": self.reason, "message": self.message, "field": self.field}


@dataclass(frozen=True, slots=True)
class Target:
    """What a request was about. `kind` is the plural, or the kind where the real server says the kind."""

    kind: str
    group: str = ""
    name: str = ""

    @property
    def qualified(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def details(self) -> Json:
        pairs = {"name": self.name, "group": self.group, "kind": self.kind}
        return {key: value for key, value in pairs.items() if value}


@dataclass(slots=True)
class ApiError(Exception):
    """An answer that is no success."""

    code: int
    reason: str
    message: str
    details: Json | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> Json:
        status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status |= {"message": self.message, "code": self.code} | ({"reason": self.reason} if self.reason else {})
        if self.details:
            status["details"] = self.details
        return status


def success(target: Target, uid: str) -> Json:
    status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return status | {"details": target.details() | {"uid": uid}}


def not_found(target: Target) -> ApiError:
    return ApiError(404, "NotFound", f'{target.qualified} "{target.name}" not found', target.details())


def no_such_resource() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def no_such_path() -> ApiError:
    """What a group that nobody serves is answered with: text, no Status."""
    return ApiError(404, "", "404 page not found")


def already_exists(target: Target) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{target.qualified} "{target.name}" already exists', target.details())


def conflict(target: Target, why: str = "") -> ApiError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {target.qualified} "{target.name}": {why}'
    return ApiError(409, "Conflict", message, target.details())


def apply_conflict(causes: Sequence[Cause], summary: str) -> ApiError:
    return ApiError(409, "Conflict", summary, {"causes": [cause.body() for cause in causes]})


def invalid(target: Target, causes: Sequence[Cause]) -> ApiError:
    """`target.kind` is the kind, not the plural: so does the real server."""
    texts = [str(cause) for cause in causes]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = target.details() | {"causes": [cause.body() for cause in causes]}
    return ApiError(422, "Invalid", f'{target.qualified} "{target.name}" is invalid: {listed}', details)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unsupported_media(accepted: Sequence[str]) -> ApiError:
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", message)


def too_large_version(asked: int, current: int) -> ApiError:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiError(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1})
