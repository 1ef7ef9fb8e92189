"""The answers that describe the server instead of its objects: health, version, discovery, OpenAPI. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mocks.kubernetes import discovery, openapi
from mocks.kubernetes.catalog import Catalog
from mocks.kubernetes.status import Json

_AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Document:
    """One answer: JSON, or text where `text` is given."""

    body: Json
    content_type: str = "application/json"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a document depends on."""

    catalog: Catalog
    host: str
    aggregated: bool


_Maker = Callable[[Asked, re.Match[str]], Document]


def document(catalog: Catalog, path: str, host: str, accept: str) -> Document | None:
    """The document at a path, or None where the path is none."""
    asked = Asked(catalog, host, "g=apidiscovery.k8s.io;v=v2;" in accept.replace(" ", ""))
    for pattern, make in _ROUTES:
        if found := pattern.fullmatch(path):
            return make(asked, found)
    return None


def _core(asked: Asked, _: re.Match[str]) -> Document:
    if asked.aggregated:
        return Document(discovery.aggregated(asked.catalog, core=True), _AGGREGATED_TYPE)
    return Document(discovery.core_versions(asked.host))


def _groups(asked: Asked, _: re.Match[str]) -> Document:
    if asked.aggregated:
        return Document(discovery.aggregated(asked.catalog, core=False), _AGGREGATED_TYPE)
    return Document(discovery.group_list(asked.catalog))


_ROUTES: tuple[tuple[re.Pattern[str], _Maker], ...] = (
    (re.compile(r"/(healthz|readyz|livez)(/.*)?"), lambda _asked, _found: Document({}, "text/plain", "ok")),
    (re.compile(r"/version"), lambda _asked, _found: Document(discovery.VERSION)),
    (re.compile(r"/api"), _core),
    (re.compile(r"/apis"), _groups),
    (re.compile(r"/api/([^/]+)"), lambda asked, found: Document(discovery.resource_list(asked.catalog, "", found[1]))),
    (re.compile(r"/apis/([^/]+)"), lambda asked, found: Document(discovery.group(asked.catalog, found[1]))),
    (
        re.compile(r"/apis/([^/]+)/([^/]+)"),
        lambda asked, found: Document(discovery.resource_list(asked.catalog, found[1], found[2])),
    ),
    (re.compile(r"/openapi/v2"), lambda asked, _found: Document(openapi.v2_document(asked.catalog))),
    (re.compile(r"/openapi/v3"), lambda asked, _found: Document(openapi.v3_index(asked.catalog))),
    (re.compile(r"/openapi/v3/(.+)"), lambda asked, found: Document(openapi.v3_document(asked.catalog, found[1]))),
)
