"""The databases that the evidence may be in: every test of them runs with both, and gives the same."""

from __future__ import annotations

import pytest

from bridge.evidence.database import Database
from bridge.evidence.store import Store
from tests.postgresql import Postgresql, UnavailableError

BOTH = [pytest.param("sqlite", id="sqlite"), pytest.param("postgresql", id="postgresql", marks=pytest.mark.postgresql)]


@pytest.fixture(scope="session")
def postgresql():
    try:
        made = Postgresql.start()
    except UnavailableError as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture(params=BOTH)
def url(request, tmp_path):
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'evidence.db'}"
    return request.getfixturevalue("postgresql").url()


@pytest.fixture
def database(url):
    made = Database(url)
    yield made
    made.close()


@pytest.fixture
def store(database):
    made = Store(database)
    made.open()
    return made
