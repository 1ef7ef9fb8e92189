"""What the kernel announces of our table is told to whoever wasn't its author; everything else is passed over."""

from contextlib import closing

import pytest

from enforcer.kernel.nft import Nftables
from enforcer.kernel.nft_monitor import NftMonitor
from enforcer.kernel.table_digest import ELEMENTS, RULES
from enforcer.kernel.transaction import Transaction
from enforcer.rules.table import Chain, NamedSet

pytestmark = pytest.mark.kernel
NAME = "heard"


@pytest.fixture
def kernel(world):
    with world.inside(), closing(Nftables()) as made:
        begun = Transaction(NAME)
        begun.add_table()
        begun.add_chain("some", Chain())
        begun.add_set("them", NamedSet("ipv4_addr", {}))
        made.commit(begun)
        yield made
        made.delete(NAME)


@pytest.fixture
def changes(world, kernel):
    with world.inside(), closing(NftMonitor(NAME, kernel.port)) as made:
        yield made


def ours(kernel):
    made = Transaction(NAME)
    made.add_rules("some", Chain(("accept",)))
    kernel.commit(made)


def test_every_transaction_of_others_is_one_edit_that_names_what_it_touched(world, kernel, changes):
    world.n1.nft(f"add element inet {NAME} them {{ 10.0.0.1, 10.0.0.2 }}\nadd rule inet {NAME} some drop")
    world.n1.nft(f"flush chain inet {NAME} some\nadd counter inet {NAME} many")
    first, second = changes.read()
    assert first.keys == {(ELEMENTS, "them"), (RULES, "some")}
    assert first.elements == {"them": {bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])}}
    assert second.keys == {(RULES, "some"), ("counter", "many")}
    assert {each.who.split(" (")[0] for each in (first, second)} == {"nft"}
    assert changes.seen == kernel.generation()
    assert not changes.overrun


def test_our_own_work_and_other_tables_are_no_edits(world, kernel, changes):
    ours(kernel)
    world.n1.nft(f"add table ip {NAME}\nadd chain ip {NAME} some\nadd table inet other_{NAME}")
    world.n1.nft(f"delete table ip {NAME}\ndelete table inet other_{NAME}")
    assert changes.read() == []
    assert changes.seen == kernel.generation()


def test_an_edit_between_our_own_changes_is_told(world, kernel, changes):
    ours(kernel)
    world.n1.nft(f"add chain inet {NAME} mine")
    ours(kernel)
    assert [each.keys for each in changes.read()] == [{("chain", "mine")}]


def test_of_too_many_announcements_it_is_known_that_some_are_missing(world, kernel, changes, monkeypatch):
    monkeypatch.setattr("enforcer.kernel.nft_monitor._MOST", 2)
    world.n1.nft(f"add element inet {NAME} them {{ 10.0.0.1, 10.0.0.2, 10.0.0.3 }}")
    changes.read()
    assert changes.overrun
    changes.resubscribe(kernel.generation())
    assert not changes.overrun


def test_while_deaf_nothing_is_heard_and_what_was_caught_up_with_is_not_told(world, kernel, changes):
    world.n1.nft(f"add chain inet {NAME} before")
    changes.unsubscribe()
    world.n1.nft(f"add chain inet {NAME} meanwhile")
    changes.resubscribe(kernel.generation())
    assert changes.read() == []
    world.n1.nft(f"add chain inet {NAME} later")
    assert [each.keys for each in changes.read()] == [{("chain", "later")}]
