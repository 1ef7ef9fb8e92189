"""What leads from one table to another."""

import pytest

from enforcer.kernel import table_change
from enforcer.kernel.transaction import Transaction
from enforcer.netlink.assemble import assemble
from enforcer.rules.members.address_index import ElementDelta
from enforcer.rules.table import Chain, Table, diff

LONG, SHORT = (assemble("ct state invalid accept"), assemble("tcp flags syn accept")), (assemble("accept"),)
OLD = Chain(("ct state new accept",), LONG)


def table(chain):
    return Table("zonebridge", {}, {"police": chain})


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(Chain(("drop",), SHORT), id="both kinds of rules differ"),
        pytest.param(Chain(OLD.rules, SHORT), id="only raw ones do"),
        pytest.param(Chain(OLD.rules), id="raw ones went"),
        pytest.param(Chain(("drop",), OLD.raw), id="only those in nft's words do"),
    ],
)
def test_a_chain_whose_rules_differ_is_emptied_and_filled_once(new):
    change = diff(table(OLD), table(new))
    written = Transaction("zonebridge")
    table_change.write(written, table(new), change, ElementDelta())
    expected = Transaction("zonebridge")
    expected.flush_chain("police")
    expected.add_rules("police", new)
    assert change.structural
    assert written.commands() == expected.commands()


def test_equal_chains_are_no_change():
    assert not diff(table(OLD), table(Chain(OLD.rules, OLD.raw)))
