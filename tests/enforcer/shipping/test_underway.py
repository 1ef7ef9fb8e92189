"""Batches count in their order, whatever order they are confirmed in."""

from hypothesis import given
from hypothesis import strategies as st

from enforcer.shipping.spool import Stored
from enforcer.shipping.underway import Batch, UnderWay


def batch(number, since=0.0):
    return Batch(number, number, Stored(number, b"{}", 0, 0), 1, since)


def test_what_is_confirmed_first_waits_for_what_was_sent_before_it():
    under_way = UnderWay(4)
    for number in range(3):
        under_way.begin(batch(number))
    assert under_way.settle({1}) == []
    assert under_way.receipts == [0, 2]
    assert [each.receipt for each in under_way.settle({0})] == [0, 1]
    assert under_way.last.number == 2


@given(st.permutations(range(8)), st.integers(1, 8))
def test_every_batch_arrives_once_and_in_order(order, at_once):
    under_way, arrived = UnderWay(8), []
    for number in range(8):
        under_way.begin(batch(number))
    assert under_way.full
    for at in range(0, 8, at_once):
        arrived += under_way.settle(set(order[at : at + at_once]))
    assert [each.receipt for each in arrived] == list(range(8))
    assert not under_way
    assert under_way.last is None


def test_the_oldest_alone_can_be_overdue():
    under_way = UnderWay(2)
    assert not under_way.overdue(100.0, 1.0)
    under_way.begin(batch(0, since=10.0))
    under_way.begin(batch(1, since=12.0))
    assert not under_way.overdue(11.0, 1.0)
    assert under_way.overdue(11.5, 1.0)
    under_way.begin_anew()
    assert not under_way.overdue(100.0, 1.0)


def test_what_was_confirmed_out_of_turn_is_known_until_the_position_is_past_it():
    under_way = UnderWay(4)
    for number in range(4):
        under_way.begin(batch(number))
    assert under_way.settle({1, 3}) == []
    assert under_way.begin_anew() == 2
    assert [under_way.knows(number) for number in range(5)] == [False, True, False, True, False]
    under_way.begin(batch(2))
    under_way.settle({2})
    assert [under_way.knows(number) for number in range(5)] == [False, False, False, True, False]
