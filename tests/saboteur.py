"""Every way in which a call fails, and a server that fails one call in one of them, as often as it is made.

Which calls there are isn't written anywhere: they are those that are seen.
"""

import re
from collections import Counter
from urllib.parse import parse_qsl, urlsplit

from mocks.serving import Fault

KINDS = {
    "no answer": lambda: Fault("slow", seconds=0.6),
    "reset": lambda: Fault("reset"),
    "broken off": lambda: Fault("truncate"),
    "half of its JSON": lambda: Fault("status", status=200, body='{"metadata": {"resourceVer'),
    "429": lambda: Fault("status", status=429, headers={"Retry-After": "1"}),
} | {
    str(status): lambda status=status: Fault("status", status=status, body=f"no {status}")
    for status in (401, 403, 404, 409, 410, 500, 503)
}


def call_of(method, path):
    """A call's name: its verb and path, without names that are made up."""
    parts = urlsplit(path)
    query = dict(parse_qsl(parts.query))
    verb = "watch" if "watch" in query else "version" if query.get("limit") == "1" else method
    place = re.sub(
        r"/events/.*", "/events/*", re.sub(r"/(podslices|policychunks|addresssets|revisions)/.+", r"/\1/*", parts.path)
    )
    return verb, place


class Saboteur:
    """Fails one call, as often as it is made, while it is armed; and writes down all that are made."""

    def __init__(self, faults):
        self.seen = Counter()
        self.target = None
        self.hits = 0
        faults.choose = self

    def __call__(self, method, path):
        called = call_of(method, path)
        self.seen[called] += 1
        if self.target is None or called != self.target[0]:
            return None
        self.hits += 1
        return self.target[1]()
