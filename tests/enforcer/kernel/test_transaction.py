"""Elements as the kernel takes them: many at once are the same bytes as each by itself."""

from hypothesis import given
from hypothesis import strategies as st

from enforcer.kernel import elements, transaction
from enforcer.netlink.messages import attributes, messages
from enforcer.rules.table import NamedSet, Table

MOST = 65_535  # bytes in an attribute
tails = st.sampled_from(["", ' : 0x00000000 . "web"', ' comment "x" : 0x00000000 . "net/corp"'])


@given(st.sampled_from([2, 4, 16]), st.lists(st.integers(0, 2**16 - 1)), tails)
def test_many_of_one_tail_are_as_one_by_one(length, numbers, tail):
    keys = [number.to_bytes(length, "big") for number in numbers]
    end = elements.element_type("ipv4_addr : mark . ifname").tail(tail)
    assert elements.keyed(keys, length, end) == [elements.record(elements.key(key), end) for key in keys]


def test_a_set_of_its_own_elements_is_as_one_by_one():
    found = list(elements.records("inet_service : verdict", {"80": " : goto allow-1", "*": " : drop"}, interval=False))
    kind = elements.element_type("inet_service : verdict")
    one = elements.record(elements.key((80).to_bytes(2, "big")), kind.tail(" : goto allow-1"))
    assert found[0] == one
    assert elements.key_of(found[0]) == (80).to_bytes(2, "big")
    assert elements.key_of(found[1]) == b""


@given(st.lists(st.integers(1, 30_000), max_size=12))
def test_all_records_go_in_order_into_as_many_messages_as_have_room_for_them(sizes):
    records = [bytes([at]) * (size - size % 4 + 4) for at, size in enumerate(sizes)]
    made = transaction.Transaction("t")
    made.add_elements("s", records)
    held = [attributes(each.body)[3] for each in messages(made.commands())]
    assert b"".join(held) == b"".join(records)
    assert all(0 < len(each) < MOST for each in held)
    assert len(made) == len(held) <= len(records)


def test_who_is_in_a_set_comes_after_the_rules_that_name_it():
    table = Table("t", {"s": NamedSet("ipv4_addr", {"10.0.0.1": ""})}, {})
    made, told = transaction.Transaction("t"), []
    transaction.write_all(made, table, transaction.own(table), [("s", elements.keyed([bytes(4)], 4, b""))])
    told = [made.named(number) for number in range(1, len(made) + 1)]
    assert told == ["adding the table t", "adding the set s", "adding elements to s", "adding elements to s"]
