"""Both databases, as in the evidence's own tests."""

from __future__ import annotations

import pytest

from bridge.intervals.store import IntervalStore
from tests.bridge.evidence.conftest import database, postgresql, store, url

__all__ = ["database", "postgresql", "store", "url"]


@pytest.fixture
def intervals(store, database):
    """`store` has made the schema."""
    return IntervalStore(database)
