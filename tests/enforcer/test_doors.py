"""The doors to nft and netlink when something is wrong, and when a lot comes in at once."""

import select
import socket

import pytest

from enforcer import netlink, nflog
from enforcer.errors import ExitCode, KernelError, LoadError, PrivilegeError
from enforcer.netlink import NflogSocket
from enforcer.nft import Nft, parse_listing
from tests.enforcer.test_enforcement import policy
from tests.enforcer.test_ruleset import CASES, OBSERVED, rendered
from tests.enforcer.world import GROUP, NOW


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Nft(str(path), timeout=1)


def test_a_missing_program_is_said_to_be_missing():
    with pytest.raises(PrivilegeError, match="not installed") as caught:
        Nft("/no/such/nft").load("")
    assert caught.value.exit_code is ExitCode.BAD_INPUT


def test_missing_rights_are_said_to_be_missing(tmp_path):
    nft = script(tmp_path / "nft", "echo 'Error: Could not process rule: Operation not permitted' >&2; exit 1")
    with pytest.raises(PrivilegeError, match="NET_ADMIN"):
        nft.table_exists()


def test_a_program_that_hangs_is_stopped(tmp_path):
    with pytest.raises(KernelError, match="did not end within 1 s"):
        script(tmp_path / "nft", "exec sleep 60").load("")


def test_a_silent_refusal_is_told_as_such(tmp_path):
    with pytest.raises(LoadError, match="no reason"):
        script(tmp_path / "nft", "exit 1").load("x")


def test_a_listing_is_read_with_what_stands_between_quotes():
    text = (
        "table inet zonebridge {\n\tflags dormant\n\n\tmap pairs4 {\n\t\ttype ifname . ifname : verdict\n"
        '\t\telements = { "a" . "b" comment "x, y > z" : goto c1,\n\t\t\t     * : goto elsewhere }\n\t}\n\n'
        "\tchain c1 {\n\t\ttcp dport { 1, 2 } accept\n\t}\n}\n"
    )
    found = parse_listing(text, elements=True)
    assert found.elements == {"pairs4": {'"a" . "b" comment "x, y > z" : goto c1', "* : goto elsewhere"}}
    assert found.objects["map", "pairs4"] == "\t\ttype ifname . ifname : verdict\n"
    assert found.objects["table", "zonebridge"] == "tableinetzonebridge{flagsdormant}"
    assert found.objects["chain", "c1"] == "\t\ttcp dport { 1, 2 } accept\n"


@pytest.mark.kernel
class TestKernel:
    def test_a_refusal_names_the_line(self, world):
        with world.inside(), pytest.raises(LoadError, match="in line 2: add rule inet nowhere c accept"):
            Nft().load("add table inet zonebridge\nadd rule inet nowhere c accept\n")
        with world.inside():
            assert not Nft().table_exists()

    @pytest.mark.parametrize("case", [*CASES, *OBSERVED])
    def test_golden_rulesets_are_taken(self, world, case):
        with world.inside():
            Nft().check(rendered(case))

    def test_raw_rules_without_their_chain_are_refused_whole(self, world):
        with world.inside(), pytest.raises(LoadError, match="loading the dispatch"):
            netlink.load_rules("zonebridge", {"nowhere": ()})

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
            assert (read < many, log.lost > 0) == (loses, loses)


def wait(log, seconds):
    select.select([log], [], [], seconds)
