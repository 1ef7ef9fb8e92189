"""The doors to nftables and netlink when something is wrong, and when a lot comes in at once."""

import select
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from enforcer.errors import KernelError, LoadError
from enforcer.kernel.nft import Nftables
from enforcer.kernel.transaction import Transaction, own, write_all
from enforcer.netlink import nflog
from enforcer.netlink.sockets import NflogSocket
from enforcer.rules.table import Chain
from tests.enforcer import nftprogram
from tests.enforcer.test_enforcement import policy
from tests.enforcer.test_ruleset import CASES, OBSERVED, rendered, ruleset
from tests.enforcer.world import GROUP, NOW


def table(case):
    return ruleset(case).table


@pytest.mark.kernel
class TestKernel:
    def test_a_refusal_names_the_command_and_changes_nothing(self, world):
        made = Transaction("zonebridge")
        made.add_table()
        made.add_rules("nowhere", Chain(("accept",)))
        with world.inside(), closing(Nftables()) as channel:
            with pytest.raises(LoadError, match="adding rules to the chain nowhere: No such file"):
                channel.commit(made)
            assert channel.flags("zonebridge") is None

    @pytest.mark.parametrize("case", [*CASES, *OBSERVED])
    def test_golden_rulesets_are_taken_by_nft_too_and_mean_the_same_to_it(self, world, case):
        """What people read is what is enforced: nft lists the same of our bytes as of our text."""
        made, text = table(case), rendered(case)
        transaction = Transaction(made.name)
        write_all(transaction, made, own(made), ())
        with world.inside(), closing(Nftables()) as channel:
            channel.commit(transaction)
            ours = nftprogram.listing()
            channel.delete(made.name)
            nftprogram.nft("--file", "-", text=text)
            theirs = nftprogram.listing()
            channel.delete(made.name)
        for name, chain in made.chains.items():
            if chain.raw:  # remarks to nft
                assert ours.objects.pop(("chain", name)) != theirs.objects.pop(("chain", name))
        assert ours == theirs

    def test_without_rights_the_kernel_is_not_asked_in_vain(self, world):
        """A process in a user namespace of its own has no say over the tables of another network namespace."""
        code = "from enforcer.kernel.nft import Nftables; Nftables().delete('zonebridge')"
        command = ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", sys.executable, "-c", code]
        done = subprocess.run(world.n1.command(command), capture_output=True, text=True, timeout=60, check=False)
        assert "PrivilegeError" in done.stderr
        assert "NET_ADMIN" in done.stderr

    def test_a_group_has_one_reader(self, world):
        with world.log(), world.inside(), pytest.raises(KernelError, match="another reader"):
            NflogSocket(GROUP)
        with world.log():
            pass  # and is free again

    def test_a_group_that_no_rule_logs_to_is_quiet(self, world):
        with world.log() as log:
            assert log.read() == []

    @pytest.mark.parametrize(("size", "loses"), [(16 * 2**20, False), (4096, True)])
    def test_a_burst_is_read_whole_or_its_loss_is_known(self, world, size, loses):
        """Ground truth is the rule's counter."""
        many = 20_000
        inventory = world.inventory(world.pod("p0", "web"), world.pod("p2", "data"))
        with world.reconciler() as reconciler, NflogSocket(GROUP, size) as log:
            if log.buffer_bytes < size:
                pytest.skip("only root of the whole machine gets a buffer for bursts")
            reconciler.apply(policy(), inventory, NOW)
            source = world.machines["p0"].netns.socket(socket.AF_INET, socket.SOCK_DGRAM)
            for _ in range(many):
                source.sendto(b"x", (world.machines["p2"].ip, 80))
            source.close()
            (counted,) = (packets for packets, _ in reconciler.counters().values() if packets)
            read = quiet = 0
            while quiet < 5:
                records = log.read()
                assert all(nflog.parse(each).protocol == socket.IPPROTO_UDP for each in records)
                read += len(records)
                quiet = 0 if records else quiet + 1
                if not records:
                    wait(log, 0.1)
            assert counted == many
            assert (read < many) == loses
            assert log.ours == read


def wait(log, seconds):
    select.select([log], [], [], seconds)
