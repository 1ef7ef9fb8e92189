"""What any way to an API server offers. Needs no library, so that the kubectl plugin can go by it, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from zones.canonical import Json

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json"
# No answer and no event is longer: an object has 3 MB at most.
LONGEST = 32 * 2**20
_EXCERPT = 300


@dataclass(frozen=True, slots=True)
class Reply:
    """`body`: None where the API server has no such object or kind. `size`: its octets.

    `at`: the API server's time when it began to answer, in seconds since the epoch; None where it told none.
    """

    body: Json | None
    size: int
    at: float | None = None


class Api(Protocol):
    """Requests to one cluster. A way there is a subclass with `name`, `ask` and `close`."""

    @property
    def name(self) -> str: ...
    async def get(
        self, path: str, what: str, query: Mapping[str, str] | None = None, most: int = LONGEST
    ) -> Json | None:
        """The object; None where there is none. Raises AnswerTooLongError where it has more octets than `most`."""
        return await self.call("GET", path, f"reading {what}", query=query, most=most)

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
        reply = await self.ask(
            method, path, doing, body=body, query=query, content_type=content_type, accept=accept, most=most
        )
        return reply.body

    async def ask(
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
    ) -> Reply:
        """The answer, and what is known of it. Raises ClusterError."""

    async def close(self) -> None: ...


def of_cluster(name: str) -> str:
    """For messages, after what was being done. A cluster without a name is the only one."""
    return f" in cluster '{name}'" if name else ""


def status_message(text: bytes) -> str:
    """A Status object's own message, or the start of whatever came."""
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text.decode(errors="replace")
    return " ".join(str(message).split())[:_EXCERPT]
