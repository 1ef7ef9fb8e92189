"""Garbage is not looked for while a load goes on, and all of it afterwards."""

import gc
import weakref

import pytest

from enforcer import memory


class Ring:
    """Refers to itself."""

    def __init__(self):
        self.itself = self


@pytest.fixture
def as_it_was():
    enabled = gc.isenabled()
    yield
    gc.unfreeze()
    (gc.enable if enabled else gc.disable)()


@pytest.mark.usefixtures("as_it_was")
@pytest.mark.parametrize("enabled", [True, False])
def test_whoever_looked_for_garbage_does_so_again_whatever_happened(enabled):
    (gc.enable if enabled else gc.disable)()
    with memory.gc_paused():
        assert not gc.isenabled()
    assert gc.isenabled() is enabled
    with pytest.raises(ValueError, match="refused"), memory.gc_paused():
        raise ValueError("refused")
    assert gc.isenabled() is enabled


@pytest.mark.usefixtures("as_it_was")
def test_what_was_set_aside_is_garbage_when_nobody_needs_it_any_more():
    ring = Ring()
    gone = weakref.ref(ring)
    memory.trim()
    del ring
    assert gone() is not None
    memory.trim()
    assert gone() is None
