"""Numbers of accepted connections: none is ever used again while a connection may still have it from before."""

import sys
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.errors import KernelError
from enforcer.kernel.mark_epochs import MarkEpochs
from enforcer.netlink.assemble import assemble
from enforcer.netlink.constants import NFTA_EXPR_NAME
from enforcer.netlink.messages import attributes
from enforcer.rules.chains import base_chains
from enforcer.rules.chains.base_chains import old_numbers
from enforcer.rules.connmark import ALL_BITS, LEAST_BITS, PHASES, STALE, UNJUDGED, ConnmarkLayout
from enforcer.rules.table import Chain

masks = st.integers(1, ALL_BITS).filter(lambda mask: LEAST_BITS <= mask.bit_count() <= 10)


@given(masks, st.data())
def test_a_number_stays_within_the_mask_and_is_read_again(mask, data):
    marks = ConnmarkLayout(mask)
    number = data.draw(st.integers(0, (1 << marks.width) - 1))
    others = data.draw(st.integers(0, ALL_BITS)) & marks.others
    assert marks.bits(number) & ~mask == 0
    assert marks.number(marks.bits(number) | others) == number


@given(masks)
def test_the_numbers_go_round_by_phases_and_are_none_of_the_reserved_ones(mask):
    marks = ConnmarkLayout(mask)
    numbers = [marks.first(PHASES[0])]
    while (following := marks.after(numbers[-1])) != numbers[0]:
        numbers.append(following)
    assert len(set(numbers)) == len(numbers) == 3 << marks.width - 2
    assert not {UNJUDGED, STALE} & set(numbers)
    assert sorted(numbers, key=marks.phase) == numbers


class Connections:
    """What the kernel's connections have as numbers: each was accepted at some time."""

    def __init__(self, marks):
        self.marks = marks
        self.numbers = set()
        self.sweeps = []
        self.refuses = False

    def sweep(self, marks, phase):
        if self.refuses:
            raise KernelError("listing the connections with old marks: not permitted")
        self.sweeps.append(phase)
        before = len(self.numbers)
        self.numbers = {number for number in self.numbers if marks.phase(number) != phase}
        return before - len(self.numbers)


@contextmanager
def numbered(marks, kernel):
    made = MarkEpochs(marks, kernel.sweep)
    try:
        yield made
    finally:
        made.close()


@given(masks.filter(lambda mask: mask.bit_count() <= 6), st.integers(1, 300))
def test_no_number_comes_again_while_a_connection_has_it(mask, many):
    marks = ConnmarkLayout(mask)
    kernel = Connections(marks)
    with numbered(marks, kernel) as numbering:
        for _ in range(many):
            number = numbering.following()
            assert number not in kernel.numbers
            numbering.taken(number)
            kernel.numbers.add(number)


def test_a_former_agents_numbers_are_avoided_and_swept_before_they_come():
    marks = ConnmarkLayout(0xFF)
    kernel = Connections(marks)
    kernel.numbers = {marks.first(1) + 3}
    with numbered(marks, kernel) as numbering:
        numbering.avoid(kernel.numbers)
        number = numbering.following()
        assert marks.phase(number) != 1
        assert kernel.sweeps == [marks.phase(number)]


def test_without_a_sweep_there_is_no_number_until_it_works():
    marks = ConnmarkLayout(0xFF)
    kernel = Connections(marks)
    kernel.refuses = True
    with numbered(marks, kernel) as numbering:
        assert numbering.following() is None
        assert "every packet is judged anew" in numbering.problem
        numbering.taken(None)
        kernel.refuses = False
        assert numbering.following() is not None
        assert not numbering.problem


def test_without_bits_there_is_never_a_number():
    marks = ConnmarkLayout(0)
    with numbered(marks, Connections(marks)) as numbering:
        assert numbering.following() is None
        assert not numbering.problem


@pytest.mark.parametrize("refused", [True, False])
def test_a_number_that_was_not_taken_comes_again(refused):
    marks = ConnmarkLayout(0xF0)
    with numbered(marks, Connections(marks)) as numbering:
        first = numbering.following()
        if not refused:
            numbering.taken(first)
        assert (numbering.following() == first) == refused


@pytest.mark.parametrize("number", [None, 64, 255])
def test_the_rules_that_hold_the_number_say_nothing_of_the_packet(number):
    """These expressions alone have no say in the kernel's check of a table, so it isn't walked through for them."""
    chain = Chain((old_numbers(ConnmarkLayout(), 65),), hook="type filter hook input priority 0; policy accept;")
    for written in base_chains.numbered({"input": chain}, ConnmarkLayout(), number).values():
        names = {name for rule in written.rules for part in assemble(rule).expressions for name in named(part)}
        assert names <= {"ct", "bitwise", "cmp"}
    assert base_chains.numbered({"input": chain}, ConnmarkLayout(), number)["input"] != chain


def named(part):
    """The kinds of the expressions in a piece of a rule."""
    while part:
        length = int.from_bytes(part[:2], sys.byteorder)
        yield attributes(part[4:length], 0)[NFTA_EXPR_NAME].rstrip(b"\0").decode()
        part = part[length + -length % 4 :]
