"""Parts are read one by one, and only those that are asked for."""

import json

import pytest

from enforcer.cluster.tier_parts import TierParts


def test_only_what_is_asked_for_is_read():
    asked = []

    def read(text):
        asked.append(text)
        return json.loads(text)

    parts = TierParts({"one": b'{"spec": 1}', "broken": b"{"}, read)
    assert "one" in parts
    assert "two" not in parts
    assert (list(parts), len(parts), asked) == (["one", "broken"], 2, [])
    assert parts["one"] == {"spec": 1}
    assert asked == [b'{"spec": 1}']
    with pytest.raises(ValueError, match="Expecting"):
        parts["broken"]
    with pytest.raises(KeyError):
        parts["two"]
