import pytest

from mocks.lab import Lab, unavailable


@pytest.fixture(scope="session")
def possible():
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)


@pytest.fixture
def lab(possible):
    with Lab("t") as made:
        yield made


@pytest.fixture
def pods(lab):
    """Two pods on one node, a third on another; each serves echo on 80."""
    one, two = lab.node("node-1", "10.244.1.0/24", "fd00:10:244:1::/64"), lab.node("node-2")
    made = one.pod("a"), one.pod("b"), two.pod("c")
    for pod in made:
        lab.listen(pod, 80)
    return made
