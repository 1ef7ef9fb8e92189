import pytest

from mocks.lab import Lab, unavailable
from tests.enforcer.world import World


@pytest.fixture(scope="module")
def world():
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with Lab("enf") as lab:
        yield World(lab)
