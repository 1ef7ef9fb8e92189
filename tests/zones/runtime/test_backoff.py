"""The one back-off: it doubles up to its longest, half of it is chance, and the other side's wish is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import Retrying, stop_after_attempt

from zones.runtime.backoff import Backoff


def test_it_doubles_up_to_the_longest():
    backoff = Backoff(0.5, 30.0)
    assert [backoff.seconds(failures, spread=1.0) for failures in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert [backoff.seconds(failures, spread=0.0) for failures in range(3)] == [0.25, 0.5, 1]


@given(st.integers(0, 10**6), st.floats(0.001, 10), st.floats(10, 1000), st.floats(0, 500))
def test_half_of_it_is_chance_and_the_wish_is_kept(failures, first, longest, wish):
    backoff = Backoff(first, longest)
    seconds = backoff.seconds(failures, wish)
    assert max(backoff.ceiling(failures) / 2, wish) <= seconds <= max(backoff.ceiling(failures), wish)


def test_two_who_failed_together_do_not_come_back_together():
    assert len({Backoff(1.0, 60.0).seconds(5) for _ in range(20)}) > 10


def test_tenacity_waits_by_it():
    waited = []
    retrying = Retrying(stop=stop_after_attempt(4), wait=Backoff(1.0, 3.0), sleep=waited.append, reraise=True)
    with pytest.raises(ZeroDivisionError):
        retrying(lambda: 1 / 0)
    assert [round(ceiling / seconds, 6) <= 2 for ceiling, seconds in zip((1, 2, 3), waited, strict=True)] == [True] * 3
    assert all(seconds <= ceiling for ceiling, seconds in zip((1, 2, 3), waited, strict=True))
