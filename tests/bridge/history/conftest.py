"""Both databases, as in the evidence's own tests."""

from __future__ import annotations

from tests.bridge.evidence.conftest import database, postgresql, store, url

__all__ = ["database", "postgresql", "store", "url"]
