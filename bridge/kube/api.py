"""What any way to an API server offers, and its failures that a caller can do something about. Needs no library.

`bridge.kube.client` is the bridge's own way, `bridge.kubectl.proxy` that of the kubectl plugin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from bridge.errors import ClusterError

Json = dict[str, Any]
JSON = "application/json"
MERGE = "application/merge-patch+json"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json"
# No answer and no event is longer: an object has 3 MB at most.
LONGEST = 32 * 2**20
_EXCERPT = 300


class GoneError(ClusterError):
    """410: the changes since that version can't be had; it must be listed again."""


class TooLongError(ClusterError):
    """An answer of more octets than we may hold: ask for less."""


class Api(Protocol):
    """Requests to one cluster."""

    @property
    def name(self) -> str: ...
    async def get(
        self, path: str, what: str, query: Mapping[str, str] | None = None, most: int = LONGEST
    ) -> Json | None:
        """The object or list; None where there is none. Raises TooLongError where it has more octets than `most`."""

    async def call(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        most: int = LONGEST,
    ) -> Json | None:
        """The answer; None for 404. Raises ClusterError."""

    async def close(self) -> None: ...


def status_message(text: bytes) -> str:
    """A Status object's own message, or the start of whatever came."""
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text.decode(errors="replace")
    return " ".join(str(message).split())[:_EXCERPT]
