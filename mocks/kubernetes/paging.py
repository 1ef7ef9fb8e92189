"""Lists in pages, each page of the same moment. Pure; `verbs` reads the store and asks here what to send."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from itertools import islice

from mocks.kubernetes.calls import Call
from mocks.kubernetes.selectors import Predicate
from mocks.kubernetes.status import Json, bad_request, too_large_version
from mocks.kubernetes.store import Key, key_of


@dataclass(frozen=True, slots=True)
class Moment:
    """What a list is asked of: the revision to read at (None: now), and the key to start after.

    `whole`: the limit doesn't count, since the real server answers from its cache.
    """

    revision: int | None = None
    after: Key | None = None
    whole: bool = False


def moment(call: Call, current: int) -> Moment:
    token = call.query.get("continue")
    if token:
        return _resume(token)
    asked = call.number("resourceVersion")
    if asked > current:
        raise too_large_version(asked, current)
    exact = call.query.get("resourceVersionMatch") == "Exact"
    return Moment(asked if exact else None, whole=call.query.get("resourceVersion") == "0")


def _resume(token: str) -> Moment:
    try:
        read = json.loads(base64.urlsafe_b64decode(token))
        namespace, _, name = read["start"].partition("/")
        return Moment(int(read["rv"]), (namespace, name))
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise bad_request(f"continue key is not valid: {error}") from error


def token(revision: int, last: Key) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": "/".join(last)})
    return base64.urlsafe_b64encode(text.encode()).decode()


def page(
    items: list[Json], chosen: Predicate, asked: Moment, limit: int, revision: int, *, counted: bool
) -> tuple[list[Json], Json]:
    """The chosen items of one page and the list's metadata.

    A page ends at the limit whether or not a later item fits the selectors, so the last one may be empty.
    """
    after = asked.after
    rest = items if after is None else [item for item in items if key_of(item) > after]
    metadata: Json = {"resourceVersion": str(revision)}
    fitting = (index for index, item in enumerate(rest) if chosen(item))
    places = list(islice(fitting, limit or None) if not asked.whole else fitting)
    shown = [rest[index] for index in places]
    left = len(rest) - places[-1] - 1 if places else 0
    if limit and not asked.whole and len(places) == limit and left:
        metadata["continue"] = token(revision, key_of(shown[-1]))
        if counted:
            metadata["remainingItemCount"] = left
    return shown, metadata
