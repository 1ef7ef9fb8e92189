"""The agent's process and its SIEM, while either fails: `make soak-siem` plays the same scenarios in full."""

import pytest

from tests.enforcer import disks, siemfaults


@pytest.mark.parametrize("acknowledge", [False, True])
def test_what_arrives_while_the_siem_is_away_is_all_delivered_later(tmp_path, acknowledge):
    told = siemfaults.away(tmp_path, 6000, cuts=2, acknowledge=acknowledge)
    assert told["duplicates"]


def test_kill_9_under_load_costs_only_what_was_not_written_yet(tmp_path):
    siemfaults.kills(tmp_path, 2, within=0.3)


def test_a_revoked_token_is_an_alarm_and_no_loss(tmp_path):
    siemfaults.revoked(tmp_path, 4000)


def test_poisoned_events_cost_only_themselves(tmp_path):
    siemfaults.poisoned(tmp_path, 3000)


@pytest.mark.kernel
def test_a_full_disk_costs_what_memory_cannot_hold_and_all_of_that_is_told(tmp_path):
    with disks.small(tmp_path / "disk", 24 << 20) as disk:
        siemfaults.disk_full(disk, 25_000)
