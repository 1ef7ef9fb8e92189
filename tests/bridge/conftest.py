"""Fixtures of the bridge's tests."""

import pytest
import structlog


@pytest.fixture(autouse=True)
def fresh_logging():
    """A command configures logging for its process; here it must not outlive the test."""
    yield
    structlog.reset_defaults()
