"""An attempt: who sends which requests, and what becomes of it. As data, so that the table in docs/security.md is made of it.

It sends nothing; test_tamper.py does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

Json = dict[str, Any]
OURS = "/apis/zonebridge.io/v1alpha1"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class By(StrEnum):
    """Who refuses, as docs/security.md names it."""

    RBAC = "RBAC"
    API = "the API's own rules"
    KIND = "the kind's own rules"
    NODE = "NodeRestriction"
    POD_SECURITY = "PodSecurity"
    TIER = "`zonebridge-tier`"
    STATES = "`zonebridge-nodestates`"
    SLICES = "`zonebridge-podslices`"
    QUARANTINES = "`zonebridge-quarantines`"
    ZONES = "`zonebridge-zones`"
    ADDRESSES = "`zonebridge-addresses`"
    NAMESPACES = "`zonebridge-namespaces`"
    NODES = "`zonebridge-nodes`"
    API_SERVER = "`zonebridge-api-server`"
    WORKLOADS = "`zonebridge-workloads`"
    SERVICES = "`zonebridge-services`"
    SYSTEM = "`zonebridge-system`"
    INSTALLATION = "`zonebridge-installation`"
    STATIC = "`zonebridge-policies.static.k8s.io`"


# How the refusal is known in the API server's answer.
SAID = {
    By.RBAC: 'ser "',
    By.KIND: "is invalid",
    By.NODE: "is forbidden: ",  # and no user who "cannot", as RBAC says it
    By.POD_SECURITY: "violates PodSecurity",
}


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    def impersonating(self, user: str, *more: tuple[str, str]) -> Request:
        return replace(self, headers=(("Impersonate-User", user), *more))


@dataclass(frozen=True, slots=True)
class Attempt:
    """`name` is the test's id. `says`: words that the refusal must have, for whoever must act on it."""

    name: str
    who: str
    what: str
    by: By
    requests: tuple[Request, ...]
    says: str = ""

    @property
    def outcome(self) -> str:
        return f"refused by {self.by}"


def post(path: str, body: Json) -> Request:
    return Request("POST", path, body)


def put(path: str, body: Json) -> Request:
    return Request("PUT", path, body)


def merge(path: str, body: Json) -> Request:
    return Request("PATCH", path, body, MERGE)


def patch(path: str, *operations: Json) -> Request:
    return Request("PATCH", path, list(operations), "application/json-patch+json")


def get(path: str) -> Request:
    return Request("GET", path)


def apply(path: str, body: Json) -> Request:
    """Server-side apply that takes every field over from whoever has it."""
    return Request("PATCH", path, body, APPLY, (("fieldManager", "somebody"), ("force", "true")))


def delete(path: str) -> Request:
    return Request("DELETE", path)
